"""Measure how long a language model keeps a persona, and hold it.

Three lines do what the command line does:

    import holdfast

    model = holdfast.load("mini")
    result = holdfast.drift(model, pairs=24, rounds=8, out="run")

Everything is imported when it is first used, so that `import holdfast` (and with it the plugin of
pytest, which every pytest on the machine loads) takes no time, and only what runs a model here
loads torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.core.backend import Ask, Backend, Reply, Sampling
    from holdfast.core.errors import HoldfastError
    from holdfast.core.version import __version__
    from holdfast.evals.compare.compare import Comparison, compare
    from holdfast.evals.consistency.consistency import consistency
    from holdfast.evals.drift import DriftResult, DriftSettings, drift
    from holdfast.evals.effect.effect import Effect, effect
    from holdfast.evals.explain.explain import Explanation, explain
    from holdfast.evals.fidelity.fidelity import Fidelity, fidelity
    from holdfast.evals.gate.gate import GateSettings, gate
    from holdfast.evals.robustness.robustness import Robustness, robustness
    from holdfast.models.api.client import ApiBackend
    from holdfast.models.load import load
    from holdfast.models.local.backend import LocalBackend
    from holdfast.models.local.hold.hold import hold
    from holdfast.persona.cards.card import read_card
    from holdfast.persona.cards.persona import draft_card
    from holdfast.persona.draft.drafting import Draft, draft
    from holdfast.persona.suite import Persona, Suite, load_suite
    from holdfast.results.gate import GateSummary

__all__ = [
    "ApiBackend",
    "Ask",
    "Backend",
    "Comparison",
    "Draft",
    "DriftResult",
    "DriftSettings",
    "Effect",
    "Explanation",
    "Fidelity",
    "GateSettings",
    "GateSummary",
    "HoldfastError",
    "LocalBackend",
    "Persona",
    "Reply",
    "Robustness",
    "Sampling",
    "Suite",
    "__version__",
    "compare",
    "consistency",
    "draft",
    "draft_card",
    "drift",
    "effect",
    "explain",
    "fidelity",
    "gate",
    "hold",
    "load",
    "load_suite",
    "read_card",
    "robustness",
]

_PLACES = {
    "holdfast.core.backend": ("Ask", "Backend", "Reply", "Sampling"),
    "holdfast.core.errors": ("HoldfastError",),
    "holdfast.core.version": ("__version__",),
    "holdfast.evals.compare.compare": ("Comparison", "compare"),
    "holdfast.evals.consistency.consistency": ("consistency",),
    "holdfast.evals.drift": ("DriftResult", "DriftSettings", "drift"),
    "holdfast.evals.effect.effect": ("Effect", "effect"),
    "holdfast.evals.explain.explain": ("Explanation", "explain"),
    "holdfast.evals.fidelity.fidelity": ("Fidelity", "fidelity"),
    "holdfast.evals.gate.gate": ("GateSettings", "gate"),
    "holdfast.evals.robustness.robustness": ("Robustness", "robustness"),
    "holdfast.models.api.client": ("ApiBackend",),
    "holdfast.models.load": ("load",),
    "holdfast.models.local.backend": ("LocalBackend",),
    "holdfast.models.local.hold.hold": ("hold",),
    "holdfast.persona.cards.card": ("read_card",),
    "holdfast.persona.cards.persona": ("draft_card",),
    "holdfast.persona.draft.drafting": ("Draft", "draft"),
    "holdfast.persona.suite": ("Persona", "Suite", "load_suite"),
    "holdfast.results.gate": ("GateSummary",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
