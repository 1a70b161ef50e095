"""The settings of `holdfast effect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import option, require_name
from holdfast.evals.tasks.settings import PLACES, TaskSampling, form_option, read_names
from holdfast.persona.experts import LENGTHS, Expert
from holdfast.persona.files import find_repeat


@dataclass(frozen=True, kw_only=True)
class EffectSettings:
    """Which tasks are asked, and under which personas."""

    tasks: str | Path | None = option(
        None,
        "core, exercises, mini, mmlu, gsm8k, math-500, or a JSONL or TOML file.",
        parse=str,
        metavar="TEXT",
    )
    """Source of the tasks (`load_tasks`); by default mini's own for mini, else core."""
    personas: str | Path | Sequence[Expert] | None = option(
        None, "core, mini, or a TOML file of [[expert]] tables.", parse=str, metavar="TEXT"
    )
    """Source of the personas (`load_experts`), or personas; by default as `tasks`."""
    form: str | None = form_option()
    """Said after each question; by default what `FORMS` has for the source, "" for nothing."""
    lengths: tuple[str, ...] = option(
        LENGTHS, "Lengths of the personas, with commas between.", parse=read_names, metavar="TEXT"
    )
    """Lengths of the personas: minimal, half and full."""
    placements: tuple[str, ...] = option(
        PLACES, "Where the personas go, with commas between.", parse=read_names, metavar="TEXT"
    )
    """Where the personas are: system, user, or both."""
    tasks_per_category: int | None = option(None, "Tasks of each category at most.")
    samples: int = option(3, "Times that each task is asked.")
    """Times that each task is asked; more tell chance from effect within a task."""
    seed: int = option(0, "Decides everything that is drawn.")
    matrix: bool = option(False, "Ask every task under every persona as well.", "--matrix")
    """Whether every task is asked under every persona too, at its longest, in the first place."""
    sampling: TaskSampling = field(default_factory=TaskSampling)
    """How replies are drawn."""

    def check(self) -> None:
        """Raise `HoldfastError` for an unknown length or place, or a number out of range."""
        _check_names(self.lengths, LENGTHS, "length")
        _check_names(self.placements, PLACES, "placement")
        if self.samples < 1:
            raise HoldfastError(f"at least 1 sample of each task is needed, not {self.samples}")


def _check_names(names: Sequence[str], choices: Sequence[str], what: str) -> None:
    for name in names:
        require_name(what, name, choices)
    if (twice := find_repeat(names)) is not None:
        raise HoldfastError(f"the {what} {twice} is named twice: name each once.")
    if not names:
        raise HoldfastError(f"at least one {what} is needed: {', '.join(choices)}.")
