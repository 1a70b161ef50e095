"""Train the router that decides from a text whether the persona helps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.control.router import Router, hashed
from holdfast.core.errors import ModelError
from holdfast.core.stats import auc


def train(texts: Sequence[str], labels: Sequence[bool], *, seed: int = 0) -> Router:
    """A router for queries and whether a persona won them.

    Raises `ModelError` where fewer than two queries are of either kind.
    """
    x, y = hashed(texts), np.asarray(labels, bool)
    least = int(min(y.sum(), (~y).sum()))
    if least < 2:
        raise ModelError(
            "a router needs at least two queries of each kind, and "
            f"{int(y.sum())} of {len(y)} were won."
        )
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    made = LogisticRegression(class_weight="balanced", C=10.0, max_iter=1000)
    folds = StratifiedKFold(min(5, least), shuffle=True, random_state=seed)
    held_out = cross_val_predict(made, x, y, cv=folds, method="decision_function")
    platt = LogisticRegression().fit(held_out[:, None], y)
    made.fit(x, y)
    weights = {int(i): float(made.coef_[0, i]) for i in np.flatnonzero(made.coef_[0])}
    slope, shift = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    ranked = round(auc(held_out, [bool(won) for won in labels]), 4)
    return Router(weights, float(made.intercept_[0]), slope, shift, ranked)
