"""What a run will take is counted as the run counts it, and times what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors import Actor, suite
from holdfast.core.progress import Progress
from holdfast.evals.compare.compare import compare, estimate_compare
from holdfast.evals.drift import drift, estimate_drift

SMALL = suite()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"filler": False},
        {"history_floor": False, "runs": 3},
        {"user_persona": False, "rounds": 1},
    ],
)
def test_the_replies_of_a_plan_are_those_that_the_run_generates(settings: dict[str, Any]) -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 3, "rounds": 3, **settings}
    progress = Progress(enabled=False)
    drift(Actor(), progress=progress, **options)
    estimate = estimate_drift(Actor(), **options)
    assert estimate.replies == progress.replies
    assert (
        estimate.tokens == 3 * estimate.replies
        and estimate.tokens_at_most == 200 * estimate.replies
    )
    assert estimate.seconds == pytest.approx(
        estimate.tokens / estimate.tokens_per_second, rel=0.05, abs=0.2
    )


def test_only_one_step_is_asked_and_nothing_is_written(tmp_path: Path) -> None:
    actor = Actor()
    estimate_drift(actor, suite=SMALL, pairs=12, rounds=8)
    assert len(actor.calls) == 1 and all(len(ask.chat) <= 2 for ask in actor.calls[0])
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_counts_every_control() -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 3, "rounds": 2, "questions": "none"}
    progress = Progress(enabled=False)
    compare(Actor(), controls=["window:1"], progress=progress, **options)
    estimate = estimate_compare(Actor(), controls=["window:1"], **options)
    # The floor is asked once and not under each control.
    assert progress.replies <= estimate.replies <= progress.replies + 3 * 2


def test_a_plan_takes_the_controls_of_the_models_beside_the_first() -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 3, "rounds": 2, "questions": "none"}
    options["controls"] = ["also:other+window:1"]
    progress = Progress(enabled=False)
    compare(Actor(), also=[Actor(name="other")], progress=progress, **options)
    estimate = estimate_compare(Actor(), also=[Actor(name="other")], **options)
    # The floor is asked once and not under each control.
    assert progress.replies <= estimate.replies <= progress.replies + 3 * 4
