"""Value vectors of what a model has in view, round by round, and how many dimensions they have.

The set at round r is everything before the text of the probe that is asked after r rounds:
at r = 0 the system message alone (and the beginning of the user message that holds the probe).
The model computes the vectors under its control; the heads of a layer are side by side. The
dimensions of each set are counted three times (`intrinsic_dimension`): with all its vectors, and
at two equal numbers of them, since more vectors always seem to have more dimensions. `few` is the
number of the shortest system message, `many` that of the shortest conversation after one round.

Two more sets show what one finds without a persona and without an order:

    no persona   the first tokens of a conversation in which nobody has a persona, as many as the
                 conversation had in view
    shuffled     the conversation's own tokens, those after the system message in random order

This module knows a local model and texts. It does not know how an answer was judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from holdfast.core.backend import Ask
from holdfast.core.chat import agent_view
from holdfast.core.control import NONE, Control
from holdfast.core.seeds import seed_of
from holdfast.core.stats import Array
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.explain.intrinsic_dimension import Dimension, dimension, subsampled_dimension
from holdfast.results.conversation import RoundRecord

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend

COUNTS = ("all", "few", "many")
DRAWS = 16
"""Draws of an equal number of vectors that a dimension is averaged over."""
_OTHER_PROBE = "qzxotherxzq"  # shares no token with any probe

Dimensions = dict[str, list[tuple[float | None, float | None]]]
"""By number of vectors, for each layer: participation and components."""


@dataclass(frozen=True)
class VectorSet:
    """The dimensions of one set of one conversation, as its line in the records has them."""

    set: str
    """The control, `no persona` or `shuffled`."""
    conversation: int
    """Id of the conversation."""
    tokens: list[int]
    """Number of vectors at each round."""
    rounds: list[Dimensions]


def turns_of(records: Sequence[RoundRecord], conversation: int) -> list[str]:
    """The texts of a conversation's turns, in order."""
    rounds = [r for r in records if r.conversation == conversation and r.user and r.agent]
    rounds.sort(key=lambda record: record.round)
    return [turn.text for r in rounds for turn in (r.user, r.agent) if turn]


def probe_ask(plan: Conversation, turns: Sequence[str], r: int, control: Control) -> Ask:
    """The chat that asks the agent's own probe after r rounds.

    Args:
        plan: the conversation.
        turns: the texts of its turns.
        r: rounds before the probe.
        control: what it is asked under.
    """
    agent = plan.agent
    chat = agent_view(agent.prompt, turns[: 2 * r], plan.probe(0), note=agent.authors_note)
    return Ask(chat, 0, control, judge=agent.judge)


def tokens_in_view(
    model: LocalBackend, plan: Conversation, turns: Sequence[str], control: Control
) -> list[int]:
    """Number of tokens before the text of the probe, after each round: rounds + 1 numbers.

    Args:
        model: has the tokenizer and the template.
        plan: the conversation.
        turns: the texts of its turns.
        control: what the probe is asked under.
    """
    tokens = []
    other_plan = replace(plan, agent=replace(plan.agent, probes=(_OTHER_PROBE,)))
    for r in range(len(turns) // 2 + 1):
        own, other = (probe_ask(one, turns, r, control) for one in (plan, other_plan))
        tokens.append(_common_prefix(model.ids(own), model.ids(other)))
    return tokens


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def conversation_dimensions(
    model: LocalBackend,
    plan: Conversation,
    turns: Sequence[str],
    control: Control,
    counts: Mapping[str, int],
) -> VectorSet:
    """The dimensions of a conversation's vectors under a control, by round and layer.

    Args:
        model: computes the vectors.
        plan: the conversation.
        turns: the texts of its turns.
        control: what it was held under.
        counts: the equal numbers of vectors.
    """
    tokens = tokens_in_view(model, plan, turns, control)
    rounds = []
    for r, n in enumerate(tokens):
        layers = [v.numpy()[:n] for v in model.values(probe_ask(plan, turns, r, control))]
        rounds.append(_dimensions(layers, counts, seed_of(plan.seed, "vectors", r)))
    return VectorSet(control.text, plan.id, tokens, rounds)


def prefix_dimensions(
    model: LocalBackend,
    plan: Conversation,
    turns: Sequence[str],
    tokens: Sequence[int],
    counts: Mapping[str, int],
    name: str,
    *,
    shuffle: bool = False,
) -> VectorSet:
    """The dimensions of the first `tokens[r]` tokens of a whole conversation, for each r.

    Args:
        model: computes the vectors, without a control.
        plan: the conversation.
        turns: the texts of its turns.
        tokens: the number of tokens at each round.
        counts: the equal numbers of vectors.
        name: name of the set.
        shuffle: put the tokens after the system message in random order.
    """
    ask, ids = probe_ask(plan, turns, len(turns) // 2, NONE), None
    if shuffle:
        in_order = list(model.ids(ask)[: tokens[-1]])
        rng = np.random.default_rng(seed_of(plan.seed, "shuffled"))
        order = [*range(tokens[0]), *(tokens[0] + rng.permutation(tokens[-1] - tokens[0]))]
        ids = [in_order[i] for i in order]
    layers = [v.numpy() for v in model.values(ask, ids)]
    lengths = [min(n, len(layers[0])) for n in tokens]
    rounds = [
        _dimensions([v[:n] for v in layers], counts, seed_of(plan.seed, "vectors", r))
        for r, n in enumerate(lengths)
    ]
    return VectorSet(name, plan.id, lengths, rounds)


def _dimensions(layers: Sequence[Array], counts: Mapping[str, int], seed: int) -> Dimensions:
    """Both counts of each layer's vectors: with all of them, and at each equal number."""
    dimensions: Dimensions = {"all": [_round(dimension(v)) for v in layers]}
    for name, count in counts.items():
        # The same draw in every layer: the same tokens.
        dimensions[name] = [
            _round(subsampled_dimension(v, count, DRAWS, np.random.default_rng(seed)))
            for v in layers
        ]
    return dimensions


def _round(one: Dimension) -> tuple[float, float]:
    return round(float(one.participation), 4), round(float(one.components), 4)


def dimension_array(
    sets: Sequence[VectorSet], conversations: Sequence[int], count: str, rounds: int
) -> Array:
    """One set's dimensions: (conversations, rounds + 1, layers, 2), NaN where there are none.

    Args:
        sets: the set of every conversation.
        conversations: their ids, in the order of the first axis.
        count: one of `COUNTS`.
        rounds: R. The last axis is participation and components.
    """
    rows = {id_: row for row, id_ in enumerate(conversations)}
    layers = max((len(one.rounds[0]["all"]) for one in sets), default=0)
    array = np.full((len(rows), rounds + 1, layers, 2), np.nan)
    for one in sets:
        for r, dimensions in enumerate(one.rounds):
            # JSON has no NaN: a dimension that could not be taken comes back as None.
            array[rows[one.conversation], r] = np.array(dimensions[count], float)
    return array
