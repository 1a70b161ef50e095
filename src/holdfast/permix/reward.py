"""The reward: 1 where a completion has the gold answer, else 0, whoever said it.

A reward that sees the persona would pay for playing it or for dropping it, and robustness would
be bought with one of the two. So it gets a completion and an answer; `check` tries at the
start of every run that no prompt changes it.

This module knows texts and answers. It knows no personas beyond that check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.tasks import Task

Verify = Callable[[Task, str], float]


def verified(task: Task, completion: str) -> float:
    """1 where the completion is right, by the task's own verifier."""
    score = task.score([completion])
    if score is None:
        raise HoldfastError(f"the task {task.id} has no gold answer that could be verified.")
    return float(score)


class Reward:
    """A reward function as TRL calls one: completions and the column `item`, nothing else used."""

    __name__ = "right"

    def __init__(self, tasks: Sequence[Task], verify: Verify = verified) -> None:
        self.tasks = tasks
        self.verify = verify

    def __call__(
        self, *, completions: Sequence[Any], item: Sequence[int], **rest: Any
    ) -> list[float]:
        """A reward for each completion (a text, or a list of messages)."""
        said = zip(completions, item, strict=True)
        return [float(self.verify(self.tasks[i], text(one))) for one, i in said]


def text(completion: Any) -> str:
    """A completion's text, be it one or messages."""
    if isinstance(completion, str):
        return completion
    return str(completion[-1]["content"]) if completion else ""


def check(
    reward: Callable[..., Sequence[float]], prompts: Sequence[Sequence[Any]], items: Sequence[int]
) -> None:
    """Raise `HoldfastError` where the same completion is paid differently under another prompt.

    `prompts` are lists of prompts, one list for each persona, with a prompt for each of `items`.
    """
    said = [[{"role": "assistant", "content": f"It is {i}."}] for i in range(len(items))]
    paid = [
        list(reward(prompts=list(asked), completions=said, item=list(items))) for asked in prompts
    ]
    if any(one != paid[0] for one in paid):
        raise HoldfastError(
            "the reward depends on the persona: it has to see the completion and the answer alone."
        )
