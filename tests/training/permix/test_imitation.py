"""Answers that an arm imitates: a run that goes on reads them as they were written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.core.backend import Reply
from holdfast.core.records import dumps
from holdfast.evals.tasks.tasks import Task
from holdfast.results.training.permix import OwnAnswer
from holdfast.training.permix.imitation import NAME, with_answers
from holdfast.training.permix.mixing import NOBODY, PromptRow
from holdfast.training.permix.plan import TrainingPlan
from holdfast.training.permix.settings import TrainerSettings
from holdfast.training.permix.task_reward import Reward

TASK = Task("a", "math", ("2 + 2?",), answers=("4",))


def plan_of(rows: int) -> TrainingPlan:
    """A plan to imitate own answers to one task, so many times."""
    return TrainingPlan(
        arm="rft",
        rows=[PromptRow(0, 0, NOBODY)] * rows,
        next_rows=[],
        tasks=[TASK],
        personas=[],
        mixing="prompt",
        steps=1,
        seed=0,
        settings=TrainerSettings(),
    )


class Writer:
    """A model with replies of its own."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = replies

    def reply(self, *args: Any) -> tuple[Reply, ...]:
        return self.replies


@pytest.mark.parametrize("reading", ["final", "lenient", "strict"])
def test_a_reply_that_the_limit_cut_is_not_imitated_whatever_it_is_paid(
    tmp_path: Path, reading: str
) -> None:
    writer: Any = Writer(Reply("4", stop="length"), Reply("4."), Reply("The answer is 4."))
    with Reward([TASK], reading=reading) as reward:
        plan = with_answers(writer, plan_of(3), reward, tmp_path)
    assert "4" not in plan.answers and set(plan.answers) <= {"4.", "The answer is 4."}


def test_a_reply_with_separators_that_json_holds_as_they_are_is_read_back(tmp_path: Path) -> None:
    nobody: Any = None  # neither model nor reward is asked again
    replies = ["It is\u2028four.\x85", "It is 4."]
    answers = [OwnAnswer(i, reply, True) for i, reply in enumerate(replies)]
    text = "".join(dumps(one) + "\n" for one in answers)
    (tmp_path / NAME).write_text(text, encoding="utf-8")
    assert with_answers(nobody, plan_of(2), nobody, tmp_path).answers == replies


class Template:
    """A chat template that shows a thought before a reply."""

    @staticmethod
    def text(chat: Any, *, prompt: bool) -> str:
        return str(chat)


def test_a_right_answer_comes_with_its_thought(tmp_path: Path) -> None:
    writer: Any = Writer(Reply("4.", thought="2 and 2"), Reply("It is 4."), Reply("5."))
    writer.template = Template()
    with Reward([TASK]) as reward:
        plan = with_answers(writer, plan_of(3), reward, tmp_path)
    nobody: Any = SimpleNamespace(template=Template())  # as where a run goes on
    for one in (plan, with_answers(nobody, plan_of(3), nobody, tmp_path)):
        assert one.answers == ["4.", "It is 4.", "4."]
        assert one.thoughts == ["2 and 2", "", "2 and 2"]
