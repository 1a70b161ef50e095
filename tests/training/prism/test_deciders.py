"""What a training says of its gate."""

from __future__ import annotations

import pytest

from holdfast.results.training.prism import GateScores
from holdfast.training.prism.deciders import gate_warning


@pytest.mark.parametrize(
    ("scores", "reasons"),
    [
        (GateScores(0.44, 0.53, 0.60, 0.94, 50), ["no more often (0.60)", "(0.94)", "AUC of 0.44"]),
        (GateScores(0.75, 0.80, 0.90, 0.90, 50), ["no more often (0.90)"]),
        (GateScores(0.55, 0.80, 0.90, 0.60, 50), ["AUC of 0.55 under personas it never saw"]),
        (GateScores(None, 0.52, None, None, 0), ["AUC of 0.52 among queries it never saw"]),
    ],
)
def test_a_gate_that_is_no_better_than_chance_is_called_so_with_what_to_do(
    scores: GateScores, reasons: list[str]
) -> None:
    warning = gate_warning(scores) or ""
    assert all(reason in warning for reason in (*reasons, "holdfast prism eval", "more queries"))
    assert warning.count("no more often") + warning.count("AUC") == sum(
        "no more often" in reason or "AUC" in reason for reason in reasons
    )


@pytest.mark.parametrize(
    "scores", [GateScores(0.75, 0.8, 0.9, 0.6, 50), GateScores(None, None, None, None, 0)]
)
def test_nothing_is_said_against_a_gate_that_decides_well_or_could_not_be_tried(
    scores: GateScores,
) -> None:
    assert gate_warning(scores) is None
