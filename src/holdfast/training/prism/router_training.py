"""Train the router that decides from a text whether the persona helps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.control.router import Router, hash_words
from holdfast.core.errors import ModelError
from holdfast.core.stats import auc
from holdfast.evals.tasks import near_duplicates

FOLDS = 5


def enough_queries(labels: Sequence[bool], groups: Sequence[int]) -> bool:
    """Whether both kinds have two queries that differ, so that one can be held out."""
    return _least(labels, groups) >= 2


def train_router(
    texts: Sequence[str],
    labels: Sequence[bool],
    groups: Sequence[int] | None = None,
    *,
    seed: int = 0,
) -> Router:
    """Train a router on queries.

    Args:
        texts: The queries.
        labels: Whether the persona won each.
        groups: Near-duplicates have one number; a group is held out whole. None takes them from
            the texts.
        seed: Decides the folds.

    Raises:
        ModelError: Fewer than two different queries are of either kind.
    """
    if groups is None:
        groups = near_duplicates.groups(texts)
    x, y = hash_words(texts), np.asarray(labels, bool)
    if not enough_queries(labels, groups):
        raise ModelError(
            "a router needs at least two queries of each kind, and "
            f"{int(y.sum())} of {len(y)} were won."
        )
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    model = LogisticRegression(class_weight="balanced", C=10.0, max_iter=1000)
    held_out = cross_val_predict(
        model, x, y, cv=_folds(y, groups, seed), method="decision_function"
    )
    platt = LogisticRegression().fit(held_out[:, None], y)
    model.fit(x, y)
    weights = {int(i): float(model.coef_[0, i]) for i in np.flatnonzero(model.coef_[0])}
    slope, shift = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    if slope < 0:  # worse than chance: no reason to do the opposite of what it learned
        slope, shift = 0.0, float(np.log(y.mean() / (1 - y.mean())))
    ranking = round(auc(held_out, [bool(win) for win in labels]), 4)
    return Router(weights, float(model.intercept_[0]), slope, shift, ranking)


def _folds(
    labels: np.ndarray[Any, Any], groups: Sequence[int], seed: int
) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Rows to learn from and rows held out, by whole groups, each time with both kinds to learn."""
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

    count = min(FOLDS, _least([bool(win) for win in labels], groups))
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    parts = list(splitter.split(labels, labels, groups))
    if all(len(set(labels[rows])) == 2 for rows, _ in parts):
        return parts
    # With few groups a fold can hold all of one kind; one group alone cannot.
    return list(LeaveOneGroupOut().split(labels, labels, groups))


def _least(labels: Sequence[bool], groups: Sequence[int]) -> int:
    """How many different queries the rarer kind has."""
    pairs = set(zip(groups, labels, strict=True))
    wins = sum(on for _, on in pairs)
    return min(wins, len(pairs) - wins)
