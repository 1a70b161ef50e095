"""Who talks to whom, about what: the plan of a drift run, drawn before anything runs.

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
    """One planned self-chat: the agent's persona, the user model's, and how it opens.

    `script` holds the turns of a recorded chat (user, agent, user, …), which then stand
    in place of both models'. `control` is the agent's, where it is not the protocol's;
    without `floor` the probe is not asked without a system prompt.
    """

    id: int
    agent: Persona
    user: Persona
    starter: str
    seed: int
    script: tuple[str, ...] | None = None
    control: Control | None = None
    floor: bool = True

    def probe(self, run: int) -> str:
        """The agent's probe for a run: the persona's probes in turn, from a drawn start."""
        probes = self.agent.probes
        return probes[(self.seed + run) % len(probes)]

    @property
    def user_probe(self) -> str:
        """The probe of the user's persona, to be asked of the agent."""
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
    """The conversations of a run, in order; `topic` opens all of them.

    Raises HoldfastError where more pairs are asked for than exist.
    """
    rng = random.Random(seed_of(seed, "plan"))
    possible = [(a, u) for a in agents for u in users if a.id != u.id]
    if pairs == "all":
        chosen = possible
    else:
        if not 1 <= pairs <= len(possible):
            raise HoldfastError(
                f"{pairs} pairs were asked for, but {len(agents)} agent and {len(users)} user "
                f"personas make {len(possible)}; choose --pairs from 1 to {len(possible)}"
            )
        chosen = _balanced(rng, possible, pairs)
    starters = (topic,) if topic else suite.starters
    if not starters:
        raise HoldfastError(f"the suite {suite.name} has no starters; give one with --topic")
    order = list(itertools.islice(_endless(rng, starters), len(chosen)))
    return tuple(
        Conversation(i, agent, user, order[i], seed_of(seed, "conversation", i))
        for i, (agent, user) in enumerate(chosen)
    )


def _balanced(
    rng: random.Random, possible: list[tuple[Persona, Persona]], pairs: int
) -> list[tuple[Persona, Persona]]:
    """Pairs without repetition, the agents' categories in turn, their personas in turn."""
    waiting: dict[str, dict[str, list[tuple[Persona, Persona]]]] = {}
    for agent, user in rng.sample(possible, len(possible)):
        waiting.setdefault(agent.category, {}).setdefault(agent.id, []).append((agent, user))
    chosen: list[tuple[Persona, Persona]] = []
    while len(chosen) < pairs:
        for category in sorted(waiting):
            if len(chosen) == pairs or not waiting[category]:
                continue
            agent_id, its_pairs = next(iter(waiting[category].items()))
            chosen.append(its_pairs.pop())
            del waiting[category][agent_id]
            if its_pairs:
                waiting[category][agent_id] = its_pairs  # to the back of the queue
    return chosen


def _endless(rng: random.Random, items: Sequence[str]) -> Iterator[str]:
    """The items in a drawn order, each once before any again, without end."""
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
