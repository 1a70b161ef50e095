"""What a study of real models asks for: its plan, in a TOML file that is written first."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.core.backend import Sampling
from holdfast.core.errors import HoldfastError
from holdfast.persona.suite import Suite, load_suite

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Plan:
    """Which conversations are held, under which controls."""

    seeds: list[int]
    """Their conversations are held side by side, under one control after another."""
    suites: list[Suite]
    """Of each seed: whose personas talk."""
    pairs: int
    """Conversations of a seed."""
    rounds: int
    runs: int
    """Probe answers at each point."""
    recall_questions: int
    """Of a conversation, after the last round."""
    max_new_tokens: int
    temperature: float
    controls: list[str]
    """None first, then those of one family of tests."""
    agents: list[str] = field(default_factory=list)
    """Personas that were screened before; the two below are for those that are not."""
    screen_at: float = 0.75
    """Mean score at round 0 from which a persona is kept."""
    screen_seed: int = 0
    later: list[str] = field(default_factory=list)
    """Controls of another family."""
    only: list[str] = field(default_factory=list)
    """Of the controls, those to run now; all where it is empty."""
    users: Suite | None = None
    """Whose personas the users have; those of the agents' suite where it is None."""
    first: int = 1
    """The round that the primary measure begins with; it ends with the last."""
    met: dict[str, list[str]] = field(default_factory=dict)
    """Agents that talked in an earlier study, by model; empty where there was none."""
    more: dict[str, Any] = field(default_factory=dict)
    """Tables of the file that only a study of its own reads."""

    @property
    def all_controls(self) -> tuple[str, ...]:
        """In the order of their runs."""
        return (*self.controls, *self.later)

    def with_only(self, controls: list[str]) -> Plan:
        """The plan that runs these of its controls; `HoldfastError` for one that it lacks."""
        if others := [one for one in controls if one not in self.all_controls]:
            raise HoldfastError(
                f"the plan has no {', '.join(others)}: it has {', '.join(self.all_controls)}."
            )
        return replace(self, only=controls)

    @property
    def sampling(self) -> Sampling:
        """How replies are drawn."""
        return Sampling(self.max_new_tokens, self.temperature)


def read_plan(file: Path = FOLDER / "real_models.toml") -> Plan:
    """Read the `[conversations]` of a study; by default those of docs/studies/real-models.md."""
    whole = tomllib.loads(file.read_text(encoding="utf-8"))
    table = whole["conversations"]
    tail = table.pop("tail", "")  # of every persona's prompt
    category = table.pop("category", None)  # of the agents
    suites = {
        name: _lengthen(_of_category(load_suite(name), category), tail)
        for name in set(table["suites"])
    }
    own = [suites[name] for name in table["suites"]]
    users = load_suite(table["users"]) if "users" in table else None
    more = {name: whole[name] for name in whole.keys() - {"question", "conversations", "met"}}
    return Plan(
        **table | {"suites": own, "users": users, "met": whole.get("met", {}), "more": more}
    )


def _of_category(suite: Suite, category: str | None) -> Suite:
    """The suite's personas of a category; all where it is None."""
    some = tuple(one for one in suite.personas if category in (None, one.category))
    return replace(suite, personas=some)


def _lengthen(suite: Suite, tail: str) -> Suite:
    """The suite with a text after each of its personas' prompts."""
    longer = tuple(replace(one, prompt=one.prompt + tail) for one in suite.personas)
    return replace(suite, personas=longer)
