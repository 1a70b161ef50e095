"""A prompt router: whether a query is asked with its persona or without, from its text alone.

For models that show no states. Hashed words and pairs of words go into a logistic regression,
whose chances are calibrated on held-out queries (Platt); it is trained on the verdicts of
`pipeline` and saved as JSON. Under the control `route:PATH` a turn whose last message it
says no to is asked without the system prompt.

This module knows texts and labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.errors import ControlError, ModelError
from holdfast.stats import Array, auc

NAME = "route.json"
FEATURES = 4096


@dataclass(frozen=True)
class Router:
    """A linear score of hashed words, and its calibration p = σ(slope · score + shift)."""

    weights: dict[int, float]
    bias: float
    slope: float
    shift: float
    auc: float  # of held-out queries
    threshold: float = 0.5

    def chances(self, texts: Sequence[str]) -> Array:
        """p(the persona helps) of each query."""
        dense = np.zeros(FEATURES)
        dense[list(self.weights)] = list(self.weights.values())
        scores = hashed(texts) @ dense + self.bias
        return np.asarray(1 / (1 + np.exp(-(self.slope * scores + self.shift))))

    def on(self, text: str) -> bool:
        """Whether the query is asked with its persona."""
        return bool(self.chances([text])[0] >= self.threshold)

    def save(self, folder: Path) -> Path:
        """Write route.json."""
        path = folder / NAME
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        return path


def hashed(texts: Sequence[str]) -> Any:
    """Words and pairs of words of each text, hashed: sparse (texts, FEATURES)."""
    try:
        from sklearn.feature_extraction.text import HashingVectorizer
    except ModuleNotFoundError as missing:
        raise ModelError("a router needs scikit-learn: pip install 'holdfast[prism]'.") from missing
    words = HashingVectorizer(
        ngram_range=(1, 2), n_features=FEATURES, alternate_sign=False, token_pattern=r"\w+|[^\w\s]"
    )
    return words.transform(texts)


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


@lru_cache(maxsize=8)
def read(path: str) -> Router:
    """The router in a folder of `prism train`, or in a file. Raises `ControlError` for none."""
    place = Path(path) / NAME if Path(path).is_dir() else Path(path)
    try:
        held = json.loads(place.read_text(encoding="utf-8"))
        weights = {int(name): float(value) for name, value in held.pop("weights").items()}
        return Router(weights, **held)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ControlError(
            f"there is no router in {path} ({error}): holdfast prism train writes one."
        ) from error
