"""The page of a fidelity run: the personas with the lowest scores first."""

from __future__ import annotations

from holdfast.report.fidelity import LOWEST, render
from holdfast.results.fidelity import (
    FidelitySummary,
    PersonaFidelity,
    PersonaScores,
    SuiteDetails,
    WeakestAnswer,
)

from .conftest import Open


def summary(personas: int) -> FidelitySummary:
    answer = WeakestAnswer(question="Who?", text="Me.", score=0.0, why="", prompt="Be brief.")
    rows = tuple(
        PersonaFidelity(f"p{i}", i / personas, {"memory": i / personas}, answer)
        for i in reversed(range(personas))
    )
    none = (None, None)
    scores = PersonaScores(
        score=0.5, interval=none, std=None, by_task={"memory": 0.5},
        by_task_interval={"memory": none}, by_task_personas={"memory": personas},
        personas=personas, answers=personas, rows=rows,
    )  # fmt: skip
    details = SuiteDetails(
        floor=None, floor_interval=none, floor_by_task={}, parse_failures=0, judge_calls=0,
        failed_replies=0, empty_replies=0,
    )  # fmt: skip
    return FidelitySummary(
        model="m", command=None, scores=scores, details=details, judges=(), samples=1, seed=0,
        seconds=1.0, note=None, report=None,
    )  # fmt: skip


def test_the_lowest_personas_are_listed_and_the_others_folded(open_page: Open) -> None:
    page = open_page(render(summary(LOWEST + 3))).page
    outer = page.locator("section > .cell-pairs > summary").all_inner_texts()
    assert len(outer) == LOWEST + 1 and outer[0] == "p0 0.00" and outer[-1] == "3 more personas"
    highest = page.get_by_text(f"p{LOWEST + 2}", exact=True)
    assert not highest.is_visible()
    page.get_by_text("3 more personas").click()
    assert highest.is_visible()


def test_few_personas_are_listed_without_a_fold() -> None:
    assert "more persona" not in render(summary(LOWEST))
