"""The settings of `holdfast robustness`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import option, require_name
from holdfast.evals.tasks.settings import PLACES, GreedyTaskSampling, form_option
from holdfast.results.robustness import PoolPersona

READINGS = ("lenient", "strict", "final")
PSS = ("worst/best", "worst", "mean-std", "all-correct")
"""The one numbers, higher for more robust, from the estimates without bias (`Lottery`)."""


@dataclass(frozen=True, kw_only=True)
class RobustnessSettings:
    """Which tasks are asked under which personas, and how answers become one number."""

    tasks: str | Path | None = option(
        None,
        "core, exercises, mini, mmlu, gsm8k, math-500, or a JSONL or TOML file.",
        parse=str,
        metavar="TEXT",
    )
    """Source of the tasks (`load_items`); by default mini's own for mini, else core."""
    personas: str | Path | Sequence[PoolPersona] | None = option(
        None, "core, mini, or a TOML file of [[persona]] tables.", parse=str, metavar="TEXT"
    )
    """Source of the personas (`pool.load`), or personas; by default as `tasks`."""
    split: str = option("all", "Personas: all, train or held-out.")
    tasks_per_category: int | None = option(None, "Tasks of each category at most.")
    """Tasks of each category at most; 20 for mini."""
    samples: int = option(1, "Times that each task is asked.")
    """Times that each task is asked; one, since replies are greedy."""
    seed: int = option(0, "Decides everything that is drawn.")
    placement: str = option("system", "Where the persona goes: system or user.")
    """Where a persona is: in the system prompt, or before the user's message."""
    verifier: str = option(
        "auto", "How answers in words and numbers are checked: auto, exact, numeric or math."
    )
    reading: str = option("lenient", "How the matrix reads answers: lenient, strict or final.")
    form: str | None = form_option()
    """Said after each question; by default what `FORMS` has for the source, "" for nothing."""
    pss: str = option("worst/best", "The one number: worst/best, worst, mean-std or all-correct.")
    search: bool = option(False, "Choose the best persona on half of the items.", "--search")
    sampling: GreedyTaskSampling = field(default_factory=GreedyTaskSampling)
    """How replies are drawn."""

    def check(self) -> None:
        """Raise `HoldfastError` for an unknown name, or a number out of range."""
        if self.samples < 1:
            raise HoldfastError(f"at least 1 sample of each task is needed, not {self.samples}")
        require_name("placement", self.placement, PLACES)
        require_name("reading", self.reading, READINGS)
        require_name("PSS", self.pss, PSS)
