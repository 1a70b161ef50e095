"""Asking questions and grading answers: what both protocols and a judge's calibration share.

This module knows no protocol: who is asked what, `suite` and `personagym` say.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from holdfast.core.backend import Ask, Backend, tokens_drawn
from holdfast.core.chat import message
from holdfast.core.progress import Progress
from holdfast.core.run import RecordFile, Run
from holdfast.core.version import __version__
from holdfast.evals.fidelity.questionnaire import GRADES, tasks
from holdfast.evals.fidelity.settings import FidelitySettings
from holdfast.evals.fixed_batches import ask_missing, in_batches
from holdfast.judge.rubric import Item, Rubric, Verdict
from holdfast.results.calibration import CalibrationVerdict
from holdfast.results.fidelity import (
    FidelityManifest,
    QuestionnaireAnswer,
    QuestionnaireVerdict,
    SuiteAnswer,
)

ROWS = 128
"""Requests that are answered side by side."""
FAILED_STOPS = {"overflow", "error"}
"""How a reply ends that is no answer."""
A = TypeVar("A", SuiteAnswer, QuestionnaireAnswer)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=QuestionnaireVerdict | CalibrationVerdict)


@dataclass(frozen=True)
class Measurement:
    """Who is measured, by whom, and where the records go."""

    model: Backend
    judges: Sequence[Backend]
    """The models that grade."""
    settings: FidelitySettings
    """What is asked, and how often."""
    out: Path | str | None
    """Folder of the run."""
    progress: Progress
    """Shows how far the run is."""

    def tokens(self) -> int:
        """Tokens that the model has generated so far."""
        return tokens_drawn(self.model)

    @property
    def manifest(self) -> FidelityManifest:
        """What determines the records, whatever the protocol."""
        return FidelityManifest(
            command="fidelity",
            version=__version__,
            model=self.model.describe(),
            judges=tuple(judge.describe() for judge in self.judges),
            samples=self.settings.samples,
            seed=self.settings.seed,
            sampling=self.settings.sampling,
        )


def ask_under(prompt: str, question: str, seed: int) -> Ask:
    """A question under a system prompt, or under none where it is empty."""
    system = (message("system", prompt),) if prompt else ()
    return Ask((*system, message("user", question)), seed, keep=False)


def record_answers(
    measurement: Measurement,
    run: Run[Any, Any],
    questions: Sequence[tuple[A, Ask]],
    rows: int,
) -> None:
    """Ask the questions that the run has no answers to, and record the answers as they come.

    Args:
        measurement: the model that is asked.
        run: the records so far.
        questions: each answer without its text, and what to ask for it.
        rows: questions that are asked side by side.
    """

    def ask(batch: Mapping[Any, tuple[A, Ask]]) -> Iterator[A]:
        asks = [ask for _, ask in batch.values()]
        replies = measurement.model.reply(asks, measurement.settings.sampling)
        for (answer, _), reply in zip(batch.values(), replies, strict=True):
            yield replace(answer, text=reply.text, stop=reply.stop, thought=reply.thought)

    batches = in_batches({answer.key: (answer, ask) for answer, ask in questions}, rows)
    ask_missing(batches, run.record_file, measurement.model, ask, progress=measurement.progress)


def count_failures(
    answers: Sequence[SuiteAnswer] | Sequence[QuestionnaireAnswer],
) -> dict[str, Any]:
    """How many replies failed, how many of the others are empty or cut, and of how many."""
    there = [answer for answer in answers if answer.stop not in FAILED_STOPS]
    return {
        "failed_replies": len(answers) - len(there),
        "empty_replies": sum(not answer.text.strip() for answer in there),
        "cut_replies": sum(answer.stop == "length" for answer in there),
        "replies": len(answers),
    }


def grade(
    judge: Backend,
    calls: int,
    items: Sequence[tuple[K, str, Item]],
    file: RecordFile[V],
    record: Callable[[K, Verdict], V],
    key_of: Callable[[V], object],
) -> None:
    """Have a judge grade answers, one task's rubric and one answer to a call, and record it.

    Args:
        judge: the model that grades.
        calls: calls for each answer.
        items: a key, the name of the task and the answer for each verdict.
        file: the verdicts so far.
        record: makes a record of a verdict.
        key_of: the key of a record.
    """

    def own_key(verdict: V) -> object:
        return key_of(verdict) if verdict.judge == judge.name else None

    for name, task in tasks().items():
        rubric = Rubric(judge, task.criteria, GRADES, calls=calls, anchors=task.scale)

        def ask(batch: Mapping[K, Item], rubric: Rubric = rubric) -> Iterable[V]:
            return map(record, batch, rubric.judge_all(list(batch.values())))

        of_task = {key: item for key, of, item in items if of == name}
        ask_missing(in_batches(of_task, ROWS), file, judge, ask, key_of=own_key)
