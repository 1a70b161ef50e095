"""Answers judged by a spec that holds a rubric, which a judge model decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.core.backend import Backend
from holdfast.judge.rubric import Item, Rubric, Verdict
from holdfast.judge.score import Judge, Score
from holdfast.judge.spec import build, rubrics


def judge_answers(
    spec: Mapping[str, object], items: Sequence[Item], backend: Backend
) -> list[Verdict]:
    """Verdicts by any judge that holds a `rubric`, alone or in combinations.

    Each rubric in the spec grades all items in one batch; the combinations are then
    worked out as for other judges. Raises `JudgeError` for a spec that is wrong.
    """
    by_rubric = {
        rubric: Rubric(backend, *rubric).judge_all(items) for rubric in dict.fromkeys(rubrics(spec))
    }
    return [
        _verdict(spec, item.answer, {rubric: verdicts[n] for rubric, verdicts in by_rubric.items()})
        for n, item in enumerate(items)
    ]


def _verdict(
    spec: Mapping[str, object], answer: str, verdicts: Mapping[tuple[str, int], Verdict]
) -> Verdict:
    def grader(text: str, scale: int) -> Judge:
        return lambda _: Score(verdicts[text, scale].value, verdicts[text, scale].why)

    value, why = build(spec, grader=grader)(answer)
    grades = tuple(grade for verdict in verdicts.values() for grade in verdict.grades)
    return Verdict(value, why, None not in grades, grades)
