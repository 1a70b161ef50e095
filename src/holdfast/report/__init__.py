"""The page a run leaves behind, made for reading: figures, words and the conversations."""

from __future__ import annotations

from holdfast.report.compare.page import write_compare
from holdfast.report.drift.page import write_drift
from holdfast.report.effect import write_effect
from holdfast.report.explain.page import write_explain
from holdfast.report.fidelity import write_fidelity
from holdfast.report.permix import write_permix
from holdfast.report.robustness import write_robustness

__all__ = [
    "write_compare",
    "write_drift",
    "write_effect",
    "write_explain",
    "write_fidelity",
    "write_permix",
    "write_robustness",
]
