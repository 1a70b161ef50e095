"""Stage 4 of training: the gate and the router, and how well they predict what they did not see.

The gate learns from what it reads as a control: the first message of a query's conversation, and
where there are more also all of them. Its scores are those of its decision at the first message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from holdfast.core.seeds import numpy_seed
from holdfast.core.stats import Array, auc, mean, numbers
from holdfast.evals.tasks.near_duplicates import groups
from holdfast.models.local import gate
from holdfast.report.words import number
from holdfast.results.training.prism import GateScores, Query, RouterScores
from holdfast.training.prism.gate_training import folds, train_gate
from holdfast.training.prism.queries import gate_chats, query_text
from holdfast.training.prism.router_training import enough_queries, train_router
from holdfast.training.prism.stages import Training

FOLDS = 5
NEAR_CHANCE = 0.6  # an AUC below: with the few wins of a training, chance gives as much


def train_deciders(
    training: Training, queries: Sequence[Query], wins: Sequence[bool]
) -> tuple[GateScores, RouterScores | None]:
    """Train and save the gate, and the router where there are queries enough for one."""
    model = training.model
    seed = numpy_seed(training.settings.seed)
    chats = [(i, chat) for i, query in enumerate(queries) for chat in gate_chats(query)]
    prompts = [model.template.render(chat).ids for _, chat in chats]
    h = gate.compute_features(model.engine.model, prompts, model.name)
    texts = groups([query_text(query) for query in queries])
    rows = np.array([i for i, _ in chats])
    scores = _gate_scores(h, rows, wins, [query.expert for query in queries], texts, seed)
    labels = [wins[i] for i in rows]
    train_gate(h, labels, seed=seed).save(training.folder, model=model.name, seed=seed)
    if not enough_queries(wins, texts):
        return scores, None
    router = train_router([query.query for query in queries], wins, texts, seed=seed)
    router.save(training.folder)
    return scores, RouterScores(router.auc)


def _gate_scores(
    h: Tensor,
    rows: np.ndarray[Any, Any],
    wins: Sequence[bool],
    personas: Sequence[str],
    texts: Sequence[int],
    seed: int,
) -> GateScores:
    """Test gates at the first message of queries whose persona or text they did not learn from.

    `h` has a row for each chat of a query; `rows` has the query's number.
    """
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    row_wins, row_texts = [wins[i] for i in rows], [texts[i] for i in rows]
    row_personas = [personas[i] for i in rows]
    chances = held_out_probabilities(h, row_wins, row_personas, row_texts, seed)[first]
    by_query = held_out_probabilities(h, row_wins, row_texts, row_texts, seed)[first]
    labels = np.asarray(wins)
    is_tested = ~np.isnan(chances)
    correct = np.asarray((chances[is_tested] >= gate.THRESHOLD) == labels[is_tested], float)
    share = float(mean(np.asarray(labels[is_tested], float)))
    return GateScores(
        auc=numbers(auc(chances, wins)),
        auc_queries=numbers(auc(by_query, wins)),
        accuracy=numbers(mean(correct)),
        majority=numbers(max(share, 1 - share)),
        held_out=int(is_tested.sum()),
    )


def gate_warning(scores: GateScores) -> str | None:
    """What to know and do where nothing shows that the gate has learned when a persona helps."""
    reasons = []
    accuracy, majority = scores.accuracy, scores.majority
    if accuracy is not None and majority is not None and accuracy <= majority:
        reasons.append(
            f"is right no more often ({number(accuracy)}) than always saying the more frequent "
            f"answer ({number(majority)})"
        )
    where = "under personas" if scores.auc is not None else "among queries"
    area = scores.auc if scores.auc is not None else scores.auc_queries
    if area is not None and area < NEAR_CHANCE:
        reasons.append(f"has an AUC of {number(area)} {where} it never saw, near chance or below")
    if not reasons:
        return None
    return (
        f"Nothing shows that this gate knows when a persona helps, since it {' and '.join(reasons)}"
        ": before you use it, see in holdfast prism eval whether the arm prism is above random and "
        "always, and for a better gate train on more queries, of tasks that personas win about as "
        "often as not."
    )


def held_out_probabilities(
    h: Tensor, wins: Sequence[bool], units: Sequence[Any], texts: Sequence[int], seed: int
) -> Array:
    """The probability of a win, by a gate that saw neither its unit nor its text.

    NaN where such a gate would have only one kind of query to learn from.
    """
    chances = np.full(len(wins), np.nan)
    for out in folds(units, FOLDS, seed):
        texts_out = {texts[i] for i in out}
        rest = [i for i in np.setdiff1d(np.arange(len(wins)), out) if texts[i] not in texts_out]
        labels = [wins[i] for i in rest]
        if any(labels) and not all(labels):
            chances[out] = train_gate(h[rest], labels, seed=seed).probabilities(h[out]).numpy()
    return chances
