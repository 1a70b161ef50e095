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

from holdfast.core.errors import ControlError, ModelError
from holdfast.core.stats import Array

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
