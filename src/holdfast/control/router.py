"""A prompt router: it decides from a query's text whether the persona goes with it.

It serves models whose hidden states cannot be read. A logistic regression on hashed words and
pairs of words gives the chance that the persona helps, calibrated on other queries than it was
trained on (Platt). PRISM trains it and saves it as JSON. Under the control `route:PATH` the
system prompt is dropped from a turn when the router says no to its last message.

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
from holdfast.core.extras import install
from holdfast.core.stats import Array

NAME = "route.json"
FEATURES = 4096


@dataclass(frozen=True)
class Router:
    """A linear score of hashed words, and its calibration p = σ(slope · score + shift)."""

    weights: dict[int, float]
    """Weights of the hashed features that are not 0."""
    bias: float
    """Added to the score."""
    slope: float
    """Calibration: what the score is multiplied by."""
    shift: float
    """Calibration: what is added afterwards."""
    auc: float
    """Area under the ROC curve on the calibration's queries."""
    threshold: float = 0.5
    """The least chance at which the persona goes with the query."""

    def chances(self, texts: Sequence[str]) -> Array:
        """p(the persona helps) of each query."""
        dense = np.zeros(FEATURES)
        dense[list(self.weights)] = list(self.weights.values())
        scores = hash_words(texts) @ dense + self.bias
        return np.asarray(1 / (1 + np.exp(-(self.slope * scores + self.shift))))

    def on(self, text: str) -> bool:
        """Whether the query should get its persona."""
        return bool(self.chances([text])[0] >= self.threshold)

    def save(self, folder: Path) -> Path:
        """Write route.json."""
        path = folder / NAME
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        return path


def hash_words(texts: Sequence[str]) -> Any:
    """Words and pairs of words of each text, hashed: sparse (texts, FEATURES)."""
    try:
        from sklearn.feature_extraction.text import HashingVectorizer
    except ModuleNotFoundError as missing:
        raise ModelError(f"a router needs scikit-learn: {install('prism')}.") from missing
    words = HashingVectorizer(
        ngram_range=(1, 2), n_features=FEATURES, alternate_sign=False, token_pattern=r"\w+|[^\w\s]"
    )
    return words.transform(texts)


def find_file(path: str) -> Path:
    """The file that a control's `route` names, itself or by its folder."""
    place = Path(path)
    return place / NAME if place.is_dir() else place


@lru_cache(maxsize=8)
def read(path: str) -> Router:
    """The router in a folder of `prism train`, or in a file. Raises `ControlError` without one."""
    try:
        record = json.loads(find_file(path).read_text(encoding="utf-8"))
        weights = {int(name): float(value) for name, value in record.pop("weights").items()}
        return Router(weights, **record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ControlError(
            f"there is no router in {path}: name a folder or file that holdfast prism train wrote."
        ) from error


def check(path: str | None) -> None:
    """Try the router of a control, so that a server says at its start what is wrong.

    Args:
        path: the control's `route`; None is a control without one.

    Raises:
        ControlError: there is no router.
        ModelError: scikit-learn is not installed.
    """
    if path is not None:
        read(path).on("a query")
