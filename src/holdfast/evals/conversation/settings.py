"""Settings of conversations: those that drift, compare and explain share, and the protocol.

`ConversationSettings` says who talks to whom and how replies are sampled. Each command's own
settings extend it, so that an option is declared once. A command turns its settings into a
`ConversationProtocol`, which says what is asked in a round; the manifest holds it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from holdfast.core.backend import Sampling
from holdfast.core.control import Control, parse
from holdfast.core.errors import HoldfastError
from holdfast.core.settings import option, require_at_least
from holdfast.persona.suite import Suite, load_suite

Pairs = int | Literal["all"]
Resume = Literal["batch", "round"]
"""Where a local model's unfinished batch goes on: from its beginning, or its last whole round."""


def read_pairs(text: str) -> Pairs:
    """A number of pairs, or "all", from its text."""
    if text == "all":
        return "all"
    try:
        return int(text)
    except ValueError:
        raise HoldfastError(f"`pairs` is a number or “all”, not {text!r}") from None


@dataclass(frozen=True, kw_only=True)
class ConversationSettings:
    """Who talks to whom, and how replies are sampled."""

    pairs: Pairs = option(
        24, "Pairs of personas to draw, or “all”.", parse=read_pairs, metavar="TEXT"
    )
    seed: int = option(0, "Decides everything that is drawn.")
    runs: int = option(2, "Probe answers drawn at each point.")
    suite: Suite | str | Path | None = option(
        None,
        "core, mini, ifeval, a TOML file, a folder of them, SUITE:ID, or a published NAME:FILE.",
        parse=str,
        metavar="TEXT",
    )
    """Where personas come from; by default `mini` for the embedded model, `core` for others."""
    persona: Suite | str | Path | None = option(
        None,
        "A TOML file with your own personas for the agent, or FILE:ID.",
        parse=Path,
        metavar="PATH",
    )
    """Personas of the agent in place of the suite's; users still come from the suite."""
    agents: tuple[str, ...] = option(
        (), "Only agents with this persona id (repeat).", "--agent", metavar="TEXT"
    )
    users: tuple[str, ...] = option(
        (), "Only users with this persona id (repeat).", "--user", metavar="TEXT"
    )
    screen: bool = option(
        False, "Keep only the personas that the model holds at round 0.", "--screen"
    )
    """Ask every agent's probes on the empty history first, on other seeds, and keep the personas
    whose mean score reaches `screen_at`."""
    screen_at: float = option(0.75, "Mean score that keeps a persona under --screen.")
    """The least mean score, of four draws, that keeps a persona: three of four right."""
    resume: Resume = option(
        "batch", "Where a local model's unfinished batch goes on: its beginning, or the last round."
    )
    """Where a local model's unfinished batch goes on. Run again whole (batch), its records are byte
    for byte what they would have been; after its last whole round (round), no work is lost."""
    topic: str | None = option(None, "Starter of every conversation.")
    """First message of every conversation; by default each draws one of the suite's."""
    sampling: Sampling = field(default_factory=Sampling)
    """How replies are sampled."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run, before a model is loaded for it."""
        if not 0 < self.screen_at <= 1:
            raise HoldfastError(f"`screen_at` is above 0 and at most 1, not {self.screen_at:g}")
        require_at_least(1, self, "runs")
        if self.pairs != "all" and self.pairs < 1:
            raise HoldfastError(f"choose `pairs` from 1 on, or “all”, not {self.pairs}")
        for name in ("suite", "persona"):
            if isinstance(source := getattr(self, name), str | Path):
                object.__setattr__(self, name, load_suite(source))  # read once, here


def check_controls(controls: str | Sequence[str | Control]) -> tuple[str | Control, ...]:
    """Controls one by one, from a sequence or from their text with commas between.

    Raises:
        ControlError: one of them is no control.
        HoldfastError: there is none.
    """
    texts = read_controls(controls) if isinstance(controls, str) else controls
    if not texts:
        raise HoldfastError("at least one control is needed, as in none,anchor")
    for text in texts:
        parse(text, models=True)
    return tuple(texts)


def read_controls(text: str) -> tuple[str, ...]:
    """Controls from a text with commas between; one before an option belongs to its control."""
    return tuple(one.strip() for one in re.split(r",(?!\s*\w+=)", text))


@dataclass(frozen=True, kw_only=True)
class ConversationProtocol:
    """What is asked in the rounds of a conversation, apart from who takes part in it."""

    rounds: int = 8
    """Rounds of each conversation; 0 asks the probes on the empty history alone."""
    seed: int = 0
    """Decides everything that is drawn."""
    runs: int = 2
    """Answers drawn to each probe."""
    control: str = "none"
    """The agents' control, where a conversation has none of its own."""
    sampling: Sampling = field(default_factory=Sampling)
    """How replies are sampled."""
    filler: bool = True
    """Hold a twin of each conversation, whose user says neutral filler of equal length."""
    history_floor: bool = True
    """Ask the probe on the same history without a system prompt too."""
    user_persona: bool = True
    """Ask the agent the probe of the user's persona too."""
    measure: bool = True
    """Measure the prompt share (local models only)."""
    reference: bool = False
    """Fold the newlines of every reply into spaces, as the paper's code does."""
    batch: int = 64
    """Conversations held side by side."""

    def __post_init__(self) -> None:
        require_at_least(0, self, "rounds")
        require_at_least(1, self, "runs", "batch")


def own_probes(
    settings: ConversationSettings, rounds: int, batch: int, *, measure: bool = False
) -> ConversationProtocol:
    """A protocol that asks the agents' own probes alone."""
    return ConversationProtocol(
        rounds=rounds,
        seed=settings.seed,
        runs=settings.runs,
        sampling=settings.sampling,
        filler=False,
        history_floor=False,
        user_persona=False,
        measure=measure,
        batch=batch,
    )
