"""Which persona a prompt is asked under: draws from (seed, epoch, item), and nothing else.

Per *prompt*, all rollouts of a group share the persona, so that the group's baseline is that
of its persona. Per *rollout*, each rollout of a question draws its own, and they share one
baseline, which pushes down whatever a weak persona says. A draw depends on no state: a row that is
fetched again, by another process or after a restart, has the persona that it had.

This module knows numbers. It knows no texts, no models and no trainer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of
from holdfast.core.settings import require_name

MIXINGS = ("prompt", "rollout")
NOBODY = -1
"""In place of a persona's number: the prompt has none."""


class PromptRow(NamedTuple):
    """A prompt of training."""

    epoch: int
    """How often all items came before."""
    item: int
    """Number of the task."""
    persona: int
    """Number of the persona, or `NOBODY`."""


@dataclass(frozen=True)
class PersonaMix:
    """How personas are drawn for prompts."""

    personas: int
    """Personas to draw from evenly."""
    bare: float = 0.25
    """Share of prompts without a persona."""
    per: str = "prompt"
    """What has a persona of its own: a prompt or a rollout."""
    seed: int = 0
    """Decides all draws."""

    def __post_init__(self) -> None:
        require_name("mixing per", self.per, MIXINGS)
        if not 0 <= self.bare <= 1:
            raise HoldfastError(
                f"the share of prompts without a persona is between 0 and 1, not {self.bare}."
            )

    def persona(self, epoch: int, item: int, rollout: int = 0) -> int:
        """The persona's number, or `NOBODY`; per prompt, every rollout has the first one's."""
        path = (self.seed, epoch, item, rollout if self.per == "rollout" else 0)
        if not self.personas or seed_of("bare", *path) < self.bare * 2**63:
            return NOBODY
        return seed_of("persona", *path) % self.personas

    def rows(self, items: int, prompts: int, rollouts: int) -> Iterator[PromptRow]:
        """The prompts of training in order.

        Every item comes once in an epoch, and each epoch has an order of its own.

        Args:
            items: Number of tasks.
            prompts: Number of prompts.
            rollouts: Rollouts of a prompt, each a row of its own if mixing is per rollout.
        """
        copies = rollouts if self.per == "rollout" else 1
        for number in range(prompts):
            epoch, place = divmod(number, items)
            if place == 0:
                rng = random.Random(seed_of("order", self.seed, epoch))
                order = rng.sample(range(items), items)
            for rollout in range(copies):
                yield PromptRow(epoch, order[place], self.persona(epoch, order[place], rollout))
