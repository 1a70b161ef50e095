"""Answers that an arm imitates: a run that goes on reads them as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.core.records import dumps
from holdfast.evals.tasks.tasks import Task
from holdfast.results.training.permix import OwnAnswer
from holdfast.training.permix.imitation import NAME, with_answers
from holdfast.training.permix.mixing import NOBODY, PromptRow
from holdfast.training.permix.plan import TrainingPlan
from holdfast.training.permix.settings import TrainerSettings


def test_a_reply_with_separators_that_json_holds_as_they_are_is_read_back(tmp_path: Path) -> None:
    nobody: Any = None  # neither model nor reward is asked again
    plan = TrainingPlan(
        arm="rft",
        rows=[PromptRow(0, 0, NOBODY)] * 2,
        next_rows=[],
        tasks=[Task("a", "math", ("2 + 2?",), answers=("4",))],
        personas=[],
        mixing="prompt",
        steps=1,
        seed=0,
        settings=TrainerSettings(),
    )
    replies = ["It is\u2028four.\x85", "It is 4."]
    answers = [OwnAnswer(i, reply, True) for i, reply in enumerate(replies)]
    text = "".join(dumps(one) + "\n" for one in answers)
    (tmp_path / NAME).write_text(text, encoding="utf-8")
    assert with_answers(nobody, plan, nobody, tmp_path).answers == replies
