"""Measure how long a language model keeps a persona, and hold it.

Three lines do what the command line does:

    import holdfast

    model = holdfast.load("mini")
    result = holdfast.drift(model, pairs=24, rounds=8, out="run")

The backends are imported when they are first used, so that `import holdfast` (and
`holdfast --help`) loads neither torch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.version import __version__
from holdfast.evals.compare.compare import Comparison, compare
from holdfast.evals.drift import DriftResult, DriftSettings, drift
from holdfast.evals.effect.effect import Effect, effect
from holdfast.evals.explain.explain import Explanation, explain
from holdfast.evals.fidelity.fidelity import Fidelity, fidelity
from holdfast.evals.robustness.robustness import Robustness, robustness
from holdfast.models.load import load
from holdfast.persona.suite import Persona, Suite, load_suite

if TYPE_CHECKING:
    from holdfast.models.api.client import ApiBackend
    from holdfast.models.local.backend import LocalBackend
    from holdfast.models.local.hold import hold

__all__ = [
    "ApiBackend",
    "Ask",
    "Backend",
    "Comparison",
    "DriftResult",
    "DriftSettings",
    "Effect",
    "Explanation",
    "Fidelity",
    "HoldfastError",
    "LocalBackend",
    "Persona",
    "Reply",
    "Robustness",
    "Sampling",
    "Suite",
    "__version__",
    "compare",
    "drift",
    "effect",
    "explain",
    "fidelity",
    "hold",
    "load",
    "load_suite",
    "robustness",
]

_LATER = {
    "ApiBackend": "holdfast.models.api.client",
    "LocalBackend": "holdfast.models.local.backend",
    "hold": "holdfast.models.local.hold",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
