"""Judges: a reply's text to a score in [0, 1], chosen by name and parameters in TOML.

`build({"name": "case", "to": "upper"})` gives a judge, a pure function from text to
`Score`. Combinations (`all`, `any`, `mean`, `not`) hold other judges. `rubric`, the
one judge that is not a function of the text alone, needs a model: see
`holdfast.judge.rubric`. docs/reference/judges.md describes each of them.
"""

from __future__ import annotations

from holdfast.judge.score import Judge, Score
from holdfast.judge.spec import (
    COMBINATIONS,
    NAMES,
    asks_who_speaks,
    build,
    check,
    needs_embeddings,
    needs_model,
    rubrics,
)

__all__ = [
    "COMBINATIONS",
    "NAMES",
    "Judge",
    "Score",
    "asks_who_speaks",
    "build",
    "check",
    "needs_embeddings",
    "needs_model",
    "rubrics",
]
