"""The reward: 1 where a completion has the gold answer, else 0, whoever said it.

A reward that sees the persona would pay for playing it or for dropping it, and robustness would
be bought with one of the two. So it gets a completion and an answer; `check` tries at the
start of every run that no prompt changes it.

This module knows texts and answers. It knows no personas beyond that check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks import verifier
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.tasks import Task

READINGS = ("final", "lenient", "strict")
Verify = Callable[[Task, str], float]


class Reward:
    """A reward function as TRL calls one: completions and the column `item`, nothing else used.

    `wanted` and `reading` choose the verifier (`verifier.CHOSEN`) and how an answer is looked for;
    `verify` is another one in their place. Use it in `with`, for the verifier's own process.
    """

    __name__ = "right"

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        wanted: str = "auto",
        reading: str = "final",
        verify: Verify | None = None,
    ) -> None:
        if reading not in READINGS:
            raise HoldfastError(f"there is no reading {reading!r}: use {' or '.join(READINGS)}.")
        self.tasks = tasks
        self.reading = reading
        self.math = MathCheck()
        self._kinds = [verifier.verifier(task, wanted) for task in tasks]
        self._verify = verify

    def __enter__(self) -> Reward:
        return self

    def __exit__(self, *exc: object) -> None:
        self.math.close()

    @property
    def errors(self) -> int:
        """Checks in which the verifier itself failed, and which were paid as wrong."""
        return self.math.errors

    def __call__(
        self, *, completions: Sequence[Any], item: Sequence[int], **rest: Any
    ) -> list[float]:
        """A reward for each completion (a text, or a list of messages)."""
        return [self._one(i, text(one)) for one, i in zip(completions, item, strict=True)]

    def _one(self, item: int, reply: str) -> float:
        task = self.tasks[item]
        if self._verify is not None:
            return float(self._verify(task, reply))
        found = verifier.verify(task, self._kinds[item], [reply], self.math)
        return float(
            {"strict": found.strict, "lenient": found.lenient}.get(self.reading, found.final)
        )


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
