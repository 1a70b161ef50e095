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

__version__ = "0.1.0"

# After the version, which the modules below record.
from holdfast.backend import Ask, Backend, Reply, Sampling
from holdfast.compare import Comparison, compare
from holdfast.conversation import Protocol
from holdfast.curve import Result
from holdfast.drift import drift
from holdfast.effect import Effect, effect
from holdfast.errors import HoldfastError
from holdfast.explain import Explanation, explain
from holdfast.fidelity import Fidelity, fidelity
from holdfast.models import load
from holdfast.persona import Persona, Suite, load_suite
from holdfast.robustness import Robustness, robustness

if TYPE_CHECKING:
    from holdfast.api import ApiBackend
    from holdfast.holding import hold
    from holdfast.local import LocalBackend

__all__ = [
    "ApiBackend",
    "Ask",
    "Backend",
    "Comparison",
    "Effect",
    "Explanation",
    "Fidelity",
    "HoldfastError",
    "LocalBackend",
    "Persona",
    "Protocol",
    "Reply",
    "Result",
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
    "ApiBackend": "holdfast.api",
    "LocalBackend": "holdfast.local",
    "hold": "holdfast.holding",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
