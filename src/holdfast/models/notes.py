"""What the name of a model tells: warnings that pages show with its results, and its own sources.

This module knows names. It loads no model.
"""

from __future__ import annotations

MINI = ("mini", "vllm:mini")
"""Names of the embedded model: in our engine, and in vLLM."""


def own_source(name: str) -> str:
    """Where a model's tasks and personas come from by default: mini speaks its own world."""
    return "mini" if name in MINI else "core"


_MINI_NOTE = (
    "mini is a model organism: a 2.7M-parameter model of a small synthetic world, made "
    "so that every instrument moves on a laptop. It says nothing about large models."
)
NOTES = dict.fromkeys(MINI, _MINI_NOTE)
"""A warning for each model that has one, by its name."""
