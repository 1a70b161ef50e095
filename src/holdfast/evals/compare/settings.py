"""Settings of a comparison: what is compared, over which lengths, and what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.control import Control
from holdfast.core.errors import HoldfastError
from holdfast.core.settings import option, require_at_least
from holdfast.evals.conversation.settings import ConversationSettings, check_controls, read_controls

SCORING = ("generation", "likelihood")
"""How multiple choice is answered; everything else is generated."""

# What `holdfast compare` tries by default: Li et al.'s three methods over their range, the two
# later attention controls, the plainest rival, and anchor alone and joined.
DEFAULT_CONTROLS = (
    "none",
    *(f"window:{n}" for n in (1, 3, 7)),
    *(f"reminder:{p}" for p in (0.25, 0.5, 1)),
    *(f"guidance:{a}" for a in (1.25, 1.5, 2, 3)),
    *(f"split-softmax:{k}" for k in (0.9, 0.8, 0.7, 0.5, 0.3)),
    *(f"boost:{m}" for m in (2, 4, 10)),
    *(f"spotlight:{t}" for t in (0.1, 0.2, 0.3)),
    "restore:1",
    "anchor",
    "anchor+reminder:0.5",
    "anchor+split-softmax:0.7",
    "anchor+restore:1",
)

_ROUNDS: int | Sequence[int] = 8


def read_lengths(text: str) -> int | Sequence[int]:
    """One or several numbers of rounds from a text with commas between."""
    try:
        return tuple(int(piece) for piece in str(text).split(","))  # the default is a number
    except ValueError:
        raise HoldfastError(
            f"`rounds` is a number, or several with commas between, not {text!r}"
        ) from None


@dataclass(frozen=True, kw_only=True)
class CompareSettings(ConversationSettings):
    """What a comparison does."""

    controls: str | Sequence[str | Control] | None = option(
        None,
        "Controls, with commas between; by default all, at several strengths.",
        parse=read_controls,
        metavar="TEXT",
    )
    """The controls; by default `DEFAULT_CONTROLS` without those that the model refuses."""
    rounds: int | Sequence[int] = option(
        _ROUNDS,
        "Rounds of each conversation, or several lengths: 2,4,8,16.",
        parse=read_lengths,
        metavar="TEXT",
    )
    """Rounds of each conversation, or several lengths that one run to the longest serves."""
    questions: str | Path | None = option(
        None,
        "What capability is asked with: mini, core, mmlu, gsm8k, a JSONL file, or none.",
        parse=str,
        metavar="TEXT",
    )
    """Source of the capability questions (`capability.load`); "none" asks nothing. By default
    `mini` for the embedded model and `core` for others."""
    each: int = option(
        2, "Questions of each kind, per conversation and length.", "--questions-per-kind"
    )
    question_rounds: tuple[int, ...] = option(
        (), "Ask them after this round (repeat; the last by default).", "--question-round"
    )
    """The rounds that questions follow; by default the last of every length."""
    scoring: str = option(
        SCORING[0], "How multiple choice is answered: generation or likelihood (local models)."
    )
    """`likelihood` answers multiple choice with the likeliest letter."""
    batch: int | None = option(None, "Conversations held side by side, each under every control.")
    """Conversations held side by side, each under every control; by default 384 rows in all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lengths()
        require_at_least(1, self, "batch")
        if self.each < 1:
            raise HoldfastError(f"at least 1 question of each kind is needed, not {self.each}")
        if self.scoring not in SCORING:
            raise HoldfastError(f"`scoring` is {' or '.join(SCORING)}, not {self.scoring!r}")
        if self.controls is not None:
            object.__setattr__(self, "controls", check_controls(self.controls))

    def lengths(self) -> list[int]:
        """The lengths in rounds, in ascending order."""
        lengths = sorted({self.rounds} if isinstance(self.rounds, int) else {*self.rounds})
        if not lengths or lengths[0] < 1:
            least = lengths[0] if lengths else "none"
            raise HoldfastError(f"`rounds` is 1 or more, not {least}.")
        return lengths
