"""Value vectors of what a model has in view, round by round, and how many dimensions they have.

The set at round r is everything before the text of the probe that is asked after r rounds:
at r = 0 the system message alone (and the head of the user message that the probe stands
in). The vectors are those that the model computed under its control, the heads of a layer
side by side. Each set is counted three times over (`dimension`): with all its vectors,
and at two equal numbers of them, since more vectors always seem to have more dimensions:
`few` is what the shortest system message has, `many` what the shortest conversation has
in view after one round.

Two sets stand beside a conversation's own and show what no persona and no order gives:

    plain      the first tokens of a conversation that nobody has a persona in, as many as the
               conversation had in view
    shuffled   its own tokens after the system message, in a drawn order

This module knows a local model and texts. It does not know how an answer was judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.core.backend import Ask
from holdfast.core.chat import agent_view
from holdfast.core.control import NONE, Control
from holdfast.core.records import Record
from holdfast.core.seeds import seed_of
from holdfast.core.stats import Array
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.explain.intrinsic_dimension import Dimension, dimension, equal
from holdfast.results.conversation import RoundRecord

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend

COUNTS = ("all", "few", "many")
DRAWS = 16  # sets of an equal number of vectors that a count is averaged over
_OTHER = "qzxotherxzq"  # a probe that shares no token with any


def said(records: Sequence[RoundRecord], conversation: int) -> list[str]:
    """The turns of a conversation, in order."""
    mine = sorted((r for r in records if r.conversation == conversation), key=lambda r: r.round)
    return [turn.text for record in mine for turn in (record.user, record.agent) if turn]


def ask(plan: Conversation, turns: Sequence[str], r: int, control: Control) -> Ask:
    """The chat that asks the agent's own probe after r rounds."""
    view = agent_view(plan.agent.prompt, turns[: 2 * r], plan.probe(0))
    return Ask(view, 0, control)


def in_view(
    model: LocalBackend, plan: Conversation, turns: Sequence[str], control: Control
) -> list[int]:
    """Tokens before the text of the probe, after each round: rounds + 1 of them."""
    found = []
    for r in range(len(turns) // 2 + 1):
        other = Ask(agent_view(plan.agent.prompt, turns[: 2 * r], _OTHER), 0, control)
        found.append(_common(model.ids(ask(plan, turns, r, control)), model.ids(other)))
    return found


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def own(
    model: LocalBackend,
    plan: Conversation,
    turns: Sequence[str],
    control: Control,
    counts: Mapping[str, int],
) -> Record:
    """The dimensions of a conversation's sets, by round and layer."""
    tokens = in_view(model, plan, turns, control)
    rounds = []
    for r, n in enumerate(tokens):
        layers = [v.numpy()[:n] for v in model.values(ask(plan, turns, r, control))]
        rounds.append(_counted(layers, counts, seed_of(plan.seed, "vectors", r)))
    return {"tokens": tokens, "rounds": rounds}


def first_of(
    model: LocalBackend,
    plan: Conversation,
    turns: Sequence[str],
    tokens: Sequence[int],
    counts: Mapping[str, int],
) -> Record:
    """The dimensions of the first `tokens` tokens of a conversation, for each number of them."""
    asked = ask(plan, turns, len(turns) // 2, NONE)
    layers = [v.numpy() for v in model.values(asked)]
    return _prefixes(layers, tokens, counts, plan.seed)


def shuffled(
    model: LocalBackend,
    plan: Conversation,
    turns: Sequence[str],
    tokens: Sequence[int],
    counts: Mapping[str, int],
) -> Record:
    """The same of the conversation's own tokens, those after the first set in a drawn order."""
    asked = ask(plan, turns, len(turns) // 2, NONE)
    ids = list(model.ids(asked)[: tokens[-1]])
    rng = np.random.default_rng(seed_of(plan.seed, "shuffled"))
    order = [*range(tokens[0]), *(tokens[0] + rng.permutation(tokens[-1] - tokens[0]))]
    layers = [v.numpy() for v in model.values(asked, [ids[i] for i in order])]
    return _prefixes(layers, tokens, counts, plan.seed)


def _prefixes(
    layers: Sequence[Array],
    tokens: Sequence[int],
    counts: Mapping[str, int],
    seed: int,
) -> Record:
    kept = [min(n, len(layers[0])) for n in tokens]
    rounds = [
        _counted([v[:n] for v in layers], counts, seed_of(seed, "vectors", r))
        for r, n in enumerate(kept)
    ]
    return {"tokens": kept, "rounds": rounds}


def _counted(
    layers: Sequence[Array], counts: Mapping[str, int], seed: int
) -> dict[str, list[list[float]]]:
    """Both counts of each layer's vectors: with all of them, and at each equal number."""
    found: dict[str, list[list[float]]] = {"all": [_rounded(dimension(v)) for v in layers]}
    for name, count in counts.items():
        # The same draw in every layer: the same tokens.
        drawn = [equal(v, count, DRAWS, np.random.default_rng(seed)) for v in layers]
        found[name] = [_rounded(one) for one in drawn]
    return found


def _rounded(found: Dimension) -> list[float]:
    return [round(float(x), 4) for x in found]


def array(
    records: Sequence[Mapping[str, Any]], conversations: Sequence[int], count: str, rounds: int
) -> Array:
    """A set's counts: (conversations, rounds + 1, layers, 2), NaN where there are none.

    The last axis is participation and components; `count` is one of `COUNTS`.
    """
    rows = {id_: row for row, id_ in enumerate(conversations)}
    layers = max((len(r["rounds"][0]["all"]) for r in records), default=0)
    found = np.full((len(rows), rounds + 1, layers, 2), np.nan)
    for record in records:
        for r, counted in enumerate(record["rounds"]):
            # JSON has no NaN: a count that could not be taken comes back as None.
            found[rows[record["conversation"]], r] = np.array(counted[count], float)
    return found
