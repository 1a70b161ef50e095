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

MIXINGS = ("prompt", "rollout")
NOBODY = -1


class Row(NamedTuple):
    """A prompt: item number `item` in its `epoch`, under persona number `persona` or `NOBODY`."""

    epoch: int
    item: int
    persona: int


@dataclass(frozen=True)
class Mix:
    """`personas` to draw from evenly, the share `bare` of prompts without one, and the seed."""

    personas: int
    bare: float = 0.25
    per: str = "prompt"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per not in MIXINGS:
            raise HoldfastError(f"there is no mixing per {self.per!r}: use prompt or rollout.")
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

    def rows(self, items: int, prompts: int, rollouts: int) -> Iterator[Row]:
        """`prompts` prompts in the order of training; each `rollouts` times where it mixes them.

        Every item comes once in an epoch, and each epoch has an order of its own.
        """
        each = rollouts if self.per == "rollout" else 1
        for number in range(prompts):
            epoch, place = divmod(number, items)
            if place == 0:
                order = random.Random(seed_of("order", self.seed, epoch)).sample(
                    range(items), items
                )
            for rollout in range(each):
                yield Row(epoch, order[place], self.persona(epoch, order[place], rollout))
