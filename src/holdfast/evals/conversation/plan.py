"""Who talks to whom, about what: the plan of a drift run, sampled before it starts.

Everything random that is not a token is decided here, from the seed: the pairs of
personas, each conversation's starter, probes and fillers. Agents go round the
categories in turn, so that each category is measured on nearly as many
conversations as any other; no agent meets its own persona.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from holdfast.core.control import Control
from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of
from holdfast.persona.suite import Persona, Suite


@dataclass(frozen=True)
class Conversation:
    """One planned self-chat: the two personas, and how it opens."""

    id: int
    """Its number in the plan and in the records."""
    agent: Persona
    """The agent's persona."""
    user: Persona
    """The user model's persona."""
    starter: str
    """The user's first message."""
    seed: int
    """Seeds its turns, probes and fillers."""
    script: tuple[str, ...] | None = None
    """Turns of a recorded chat (user, agent, user, …), which replace those of both models."""
    control: Control | None = None
    """The agent's control, where it is not the protocol's."""
    floor: bool = True
    """Ask the probe without a system prompt too, on the empty history."""

    def rounds(self, most: int) -> int:
        """The rounds that it can have of `most`: a recorded chat ends with its script."""
        return most if self.script is None else min(most, len(self.script) // 2)

    def probe(self, run: int) -> str:
        """The agent's probe for a run: the persona's probes in turn, from a random start."""
        probes = self.agent.probes
        return probes[(self.seed + run) % len(probes)]

    @property
    def user_probe(self) -> str:
        """The probe of the user's persona, which the agent answers too."""
        return self.user.probes[self.seed % len(self.user.probes)]


def plan(
    agents: Sequence[Persona],
    users: Sequence[Persona],
    suite: Suite,
    *,
    pairs: int | Literal["all"] = 24,
    seed: int = 0,
    topic: str | None = None,
) -> tuple[Conversation, ...]:
    """The conversations of a run, in order.

    Args:
        agents: personas of the agents.
        users: personas of the user models.
        suite: where the starters come from.
        pairs: how many pairs of different personas; "all" for every pair.
        seed: decides the pairs and starters.
        topic: opens every conversation; by default a starter of the suite does.

    Raises:
        HoldfastError: there are fewer pairs, or no starters.
    """
    rng = random.Random(seed_of(seed, "plan"))
    possible = [(a, u) for a in agents for u in users if a.id != u.id]
    if not possible:
        raise HoldfastError(
            "the agents' and the users' personas make no pair of two different ones; choose more "
            "of them with `agents` or `users`"
        )
    if pairs == "all":
        persona_pairs = possible
    else:
        if not 1 <= pairs <= len(possible):
            raise HoldfastError(
                f"{pairs} pairs were asked for, but {len(agents)} agent and {len(users)} user "
                f"personas make {len(possible)}; choose `pairs` from 1 to {len(possible)}"
            )
        persona_pairs = _draw_pairs(rng, possible, pairs)
    starters = (topic,) if topic else suite.starters
    if not starters:
        raise HoldfastError(f"the suite {suite.name} has no starters; give one with `topic`")
    order = list(itertools.islice(_endless(rng, starters), len(persona_pairs)))
    return tuple(
        Conversation(i, agent, user, order[i], seed_of(seed, "conversation", i))
        for i, (agent, user) in enumerate(persona_pairs)
    )


def _draw_pairs(
    rng: random.Random, possible: list[tuple[Persona, Persona]], pairs: int
) -> list[tuple[Persona, Persona]]:
    """Pairs without repetition, the agents' categories in turn, their personas in turn."""
    waiting: dict[str, dict[str, list[tuple[Persona, Persona]]]] = {}
    for agent, user in rng.sample(possible, len(possible)):
        waiting.setdefault(agent.category, {}).setdefault(agent.id, []).append((agent, user))
    persona_pairs: list[tuple[Persona, Persona]] = []
    while len(persona_pairs) < pairs:
        for category in sorted(waiting):
            if len(persona_pairs) == pairs or not waiting[category]:
                continue
            agent_id, its_pairs = next(iter(waiting[category].items()))
            persona_pairs.append(its_pairs.pop())
            del waiting[category][agent_id]
            if its_pairs:
                waiting[category][agent_id] = its_pairs  # to the back of the queue
    return persona_pairs


def _endless(rng: random.Random, items: Sequence[str]) -> Iterator[str]:
    """The items without end: shuffled, then shuffled again, and so on."""
    while True:
        yield from rng.sample(items, len(items))


def filler(fillers: Sequence[str], tokens: int, seed: int, count: Callable[[str], int]) -> str:
    """Neutral text of about `tokens` tokens: whole messages, the last cut at a word."""
    rng = random.Random(seed)
    text = ""
    messages = _endless(rng, fillers)
    while True:
        message = next(messages)
        longer = f"{text} {message}".strip()
        if count(longer) >= tokens:
            return _cut(text, message, tokens, count)
        text = longer


def _cut(text: str, message: str, tokens: int, count: Callable[[str], int]) -> str:
    """`text` and the first words of `message`, as near to `tokens` tokens as words allow."""
    words = message.split()

    def first(n: int) -> str:
        return f"{text} {' '.join(words[:n])}".strip()

    enough = bisect.bisect_left(range(len(words)), tokens, key=lambda n: count(first(n)))
    near = [first(n) for n in (enough - 1, enough, enough + 1) if 0 <= n <= len(words) and first(n)]
    return min(near, key=lambda option: abs(count(option) - tokens))
