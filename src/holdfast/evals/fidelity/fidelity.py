"""How well a model stays in character: its answers to questions that a persona decides.

Two protocols, one summary (`score`):

    a suite           every persona's own probes, judged by its own judge: a score in [0, 1],
                      by category, beside a floor, the same probes without the system prompt
    a questionnaire   PersonaGym's five tasks (`personagym`): grades 1 to 5 by any number of judge
                      models, by task

A reply that failed or is empty has the lowest score and is counted, never dropped, and so does a
judge's call that gave no grade.

This module knows no protocol; those are in `suite` and `personagym`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from holdfast import report
from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.settings import settle
from holdfast.evals.estimate import RunEstimate, estimate_asks
from holdfast.evals.fidelity.answers import Measurement
from holdfast.evals.fidelity.personagym import measure_questionnaire, questionnaire_asks
from holdfast.evals.fidelity.settings import FidelitySettings
from holdfast.evals.fidelity.suite import measure_suite, suite_asks
from holdfast.evals.tasks.model_judge import check_judge
from holdfast.models.notes import NOTES
from holdfast.results.fidelity import FidelitySummary, PersonaFidelity


@dataclass(frozen=True)
class Fidelity:
    """The result of `fidelity`."""

    summary: FidelitySummary
    """The object that `holdfast fidelity --json` prints."""

    @property
    def score(self) -> float:
        """Mean over personas of the mean over their tasks."""
        return float(self.summary.scores.score or 0.0)

    @property
    def rows(self) -> tuple[PersonaFidelity, ...]:
        """One row per persona."""
        return self.summary.scores.rows


def fidelity(
    model: Backend,
    settings: FidelitySettings | None = None,
    *,
    judges: Sequence[Backend] = (),
    author_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Fidelity:
    """Measure how well a model stays in character, as `holdfast fidelity` does.

    Args:
        model: the model to measure.
        settings: what is asked, and how often.
        judges: models that grade where no rule can; none of them `model`. A questionnaire needs
            at least one.
        author_model: writes questions and example answers; by default the first judge.
        out: folder of the run, which the same call resumes; None keeps everything in memory.
        command: the command line, for the summary and the page.
        progress: shows how far the run is.
        **changes: fields of `settings` to change.

    Raises:
        HoldfastError: what the user can mend.
    """
    start = time.monotonic()
    settings = settle(settings, FidelitySettings, changes, model, author_model or model, *judges)
    _check(model, judges, settings)
    progress = progress or Progress(enabled=False)
    measurement = Measurement(model, judges, settings, out, progress)
    run, scores, details = (
        measure_suite(measurement)
        if settings.questions is None
        else measure_questionnaire(measurement, author_model)
    )
    summary = FidelitySummary(
        model=model.name,
        command=command,
        scores=scores,
        details=details,
        judges=tuple(judge.name for judge in judges),
        samples=settings.samples,
        seed=settings.seed,
        **run.of_work(seconds=round(time.monotonic() - start, 1)),
        note=NOTES.get(model.name),
        report=run.page,
    )
    run.finish(summary, partial(report.write_fidelity, summary))
    return Fidelity(summary)


def estimate_fidelity(
    model: Backend,
    settings: FidelitySettings | None = None,
    *,
    judges: Sequence[Backend] = (),
    **changes: Any,
) -> RunEstimate:
    """Measure one step and say what the answers will take; `holdfast fidelity --plan`.

    The arguments are those of `fidelity`. What judges and authors write is not counted.
    """
    settings = settle(settings, FidelitySettings, changes, model, *judges)
    _check(model, judges, settings)
    measurement = Measurement(model, judges, settings, None, Progress(enabled=False))
    if settings.questions is None:
        asks = suite_asks(measurement)
        count = len(asks)
    else:
        asks, count = questionnaire_asks(measurement)
    return estimate_asks(model, asks, settings.sampling, count)


def _check(model: Backend, judges: Sequence[Backend], settings: FidelitySettings) -> None:
    settings.check()
    names = [judge.name for judge in judges]
    for judge in judges:
        check_judge([model], judge)
    if len(set(names)) < len(names):
        raise HoldfastError(f"each judge is named once, not {', '.join(names)}.")
