"""The coverage study fails where an interval misses, and writes its table where it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import coverage
import pytest

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.persona.suite import load_suite


def test_a_cell_fails_outside_its_bounds() -> None:
    cell = coverage.Cell("level", 24, 0.5, 0.95, 0.2, 4000, sparse=False)
    assert cell.passes
    assert not replace(cell, coverage=0.9).passes and not replace(cell, coverage=0.995).passes
    assert replace(cell, coverage=0.995, sparse=True).passes
    assert replace(cell, coverage=0.9, n=12).passes


def test_a_small_simulation_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    label, planned = next(p for p in coverage.plans(True) if len(p[1]) == 24)
    cells = [c for c in coverage.cells(label, planned, 300, 1, "binary", 1) if c is not None]
    assert len(cells) > 8 and all(cell.passes for cell in cells)


def test_the_table_goes_between_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "intervals.md"
    page.write_text(f"before\n{coverage.MARKS[0]}\nold\n{coverage.MARKS[1]}\nafter\n", "utf-8")
    monkeypatch.setattr(coverage, "PAGE", page)
    coverage.write([coverage.Cell("level", 24, 0.5, 0.9, 0.2, 4000, sparse=False)], 4000)
    text = page.read_text("utf-8")
    assert "old" not in text and "| level | 24 | 0.50 | 0.900 ! | 0.200 |" in text
    assert text.startswith("before") and text.endswith("after\n")


def small(quick: bool) -> Iterator[tuple[str, tuple[Conversation, ...]]]:
    """One plan of 24 conversations, in place of all."""
    suite = load_suite("mini")
    yield "mini", plan(suite.personas, suite.personas, suite, pairs=24)


def test_the_quick_study_exits_0_within_its_bounds_and_1_outside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(coverage, "plans", small)
    monkeypatch.setattr(coverage, "statistics", lambda replications, seed: iter(()))
    assert coverage.main(["--quick", "--replications", "200"]) == 0
    honest = Sample.score_interval

    def narrow(sample: Sample, values: Array, level: float = 0.95) -> Array:
        return honest(sample, values, 0.5)

    monkeypatch.setattr(Sample, "score_interval", narrow)
    assert coverage.main(["--quick", "--replications", "200"]) == 1
    assert "outside: level, mini, binary, n = 24" in capsys.readouterr().out


def test_an_interval_that_is_wider_from_more_conversations_fails() -> None:
    few = coverage.Cell("level", 24, 0.5, 0.95, 0.2, 400, sparse=False)
    many = replace(few, n=48, width=0.3)
    assert list(coverage.widening([few, many])) == [("level", 24, 48)]
    assert not list(coverage.widening([few, replace(many, width=0.1)]))
    assert not list(coverage.widening([replace(few, replications=30), many]))
