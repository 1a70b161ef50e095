"""The reward: right or wrong, and blind to who was asked."""

from __future__ import annotations

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks.tasks import Task
from holdfast.training.permix.task_reward import Reward

TASKS = [Task("a", "math", ("2 + 2?",), answers=("4",)), Task("b", "x", ("Who?",), answers=("Al",))]


def messages(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "assistant", "content": text}] for text in texts]


def test_a_completion_is_paid_by_its_own_task_s_answer() -> None:
    with Reward(TASKS) as reward:
        completions = messages("It is 4.", "It is 5.", "It is Al.", "")
        assert reward(completions=completions, item=[0, 0, 1, 1]) == [1, 0, 1, 0]


def test_the_strict_reading_pays_only_where_the_answer_stands_where_it_was_to() -> None:
    loose = messages("Four, I mean 4, captain")
    with Reward(TASKS, reading="lenient") as lenient, Reward(TASKS, reading="strict") as strict:
        assert lenient(completions=loose, item=[0]) == [1]
        assert strict(completions=loose, item=[0]) == [0]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (0, "It is 3, 4 or 5."),
        (0, "<think>2 + 2 makes 4"),
        (0, "The answer is 3. The answer is 4."),
        (1, "Bo, Al, Cy, Di"),
        (1, "It is not Al."),
    ],
)
def test_a_guess_at_everything_is_not_paid(item: int, text: str) -> None:
    with Reward(TASKS) as reward:
        assert reward(completions=messages(text), item=[item]) == [0]


def test_a_verifier_of_one_s_own_sees_a_task_and_a_text() -> None:
    with Reward(TASKS, verify=lambda task, text: len(text) / 10) as reward:
        assert reward(completions=messages("four"), item=[0], prompts=[["x"]]) == [0.4]


def test_an_unknown_reading_and_a_task_without_an_answer_are_refused() -> None:
    with pytest.raises(HoldfastError, match="no reading"):
        Reward(TASKS, reading="kind")
    with pytest.raises(HoldfastError, match="no gold answer"):
        Reward([Task("c", "x", ("Sing.",), rubric="Well.")])
