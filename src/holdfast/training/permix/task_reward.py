"""The reward: 1 for a completion that has the gold answer, else 0, under any persona.

A reward that sees the persona would pay for playing it or for dropping it, and robustness would
be bought with one of the two. So it gets a completion and an answer, and looks at no prompt.

This module knows texts and answers. It knows no personas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.core.settings import require_name
from holdfast.evals.tasks import verifier
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.tasks import Task
from holdfast.training.permix.rollout_text import is_cut, read_completion

READINGS = ("final", "lenient", "strict")
Verify = Callable[[Task, str], float]
"""A verifier of the user's own: a task and a completion to a reward."""


class Reward:
    """A reward function as TRL calls one: it uses completions and the column `item` alone.

    Use it in `with`, which ends the verifier's own process.
    """

    __name__ = "right"

    def __init__(
        self,
        tasks: Sequence[Task],
        kind: str = "auto",
        reading: str = "final",
        verify: Verify | None = None,
    ) -> None:
        """Choose a verifier for each task.

        Args:
            tasks: What `item` numbers.
            kind: The verifier of answers in words and numbers (`verifier.CHOICES`).
            reading: Where an answer is looked for (`READINGS`).
            verify: A verifier of one's own, in place of both.

        Raises:
            HoldfastError: There is no such reading, or a task cannot be verified.
        """
        require_name("reading", reading, READINGS)
        self.tasks = tasks
        self.kind = kind
        self.reading = reading
        self.math = MathCheck()
        self.ends: frozenset[int] = frozenset()
        self._kinds = [verifier.verifier(task, kind) for task in tasks]
        self._verify = verify

    def over(self, tasks: Sequence[Task]) -> Reward:
        """The reward for other tasks."""
        return Reward(tasks, self.kind, self.reading, self._verify)

    def __enter__(self) -> Reward:
        return self

    def __exit__(self, *exc: object) -> None:
        self.math.close()

    @property
    def errors(self) -> int:
        """Checks in which the verifier itself failed; their reward is 0."""
        return self.math.errors

    def __call__(
        self,
        *,
        completions: Sequence[Any],
        item: Sequence[int],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **rest: Any,
    ) -> list[float]:
        """A reward for each completion.

        Args:
            completions: Texts, or lists of messages.
            item: The number of each one's task.
            completion_ids: Their tokens, of which `ends` tells whether the limit cut them.
            rest: What else a trainer passes; it is not looked at.
        """
        token_ids = [()] * len(completions) if completion_ids is None else completion_ids
        return [
            self.score(i, read_completion(one), cut=is_cut(ids, self.ends))
            for one, i, ids in zip(completions, item, token_ids, strict=True)
        ]

    def score(self, item: int, reply: str, *, cut: bool = False) -> float:
        """The reward of a reply to a task.

        Args:
            item: Number of the task.
            reply: The whole reply.
            cut: Whether the limit of tokens cut it: such a reply has committed itself to nothing.
        """
        task = self.tasks[item]
        if self._verify is not None:
            return float(self._verify(task, reply))
        if cut and self.reading == "final":
            return 0.0
        verdict = verifier.verify(task, self._kinds[item], [reply], self.math)
        return float(getattr(verdict, self.reading))
