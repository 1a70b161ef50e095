"""What `holdfast prism` prints."""

from __future__ import annotations

from holdfast.cli.prism import _describe_gate
from holdfast.results.training.prism import GateScores


def test_a_gate_that_could_not_be_tried_says_why() -> None:
    few = "too few queries were won and lost to hold some out"
    untried = _describe_gate(GateScores(None, None, None, None, 0))
    assert few in untried and "AUC" not in untried
    assert few in _describe_gate(GateScores(None, 0.6, None, None, 0))
    assert few not in _describe_gate(GateScores(0.7, 0.6, 0.5, 0.5, 40))


def test_the_queries_that_a_gate_is_right_for_are_counted_and_those_of_held_out_personas() -> None:
    sentence = _describe_gate(GateScores(0.7, 0.6, 0.5, 0.55, 40))
    assert "AUC of 0.60 among queries it never saw and 0.70 under personas it never saw" in sentence
    assert "of 40 queries of the latter it is right for 0.50" in sentence
