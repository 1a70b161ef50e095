"""What Inspect finds by the entry point `holdfast`: a provider of models, and a task.

inspect eval TASK --model holdfast/mini -M control=anchor
inspect eval holdfast/drift --model holdfast/mini
"""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi

from holdfast.evals.inspect.task import drift

__all__ = ["drift", "holdfast"]


@modelapi(name="holdfast")
def holdfast() -> type[ModelAPI]:
    """The provider, imported once it is asked for."""
    from holdfast.evals.inspect.provider import HoldfastAPI

    return HoldfastAPI
