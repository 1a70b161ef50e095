"""The coverage study fails where an interval misses, resumes, and writes its tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import coverage
import coverage_plans
import coverage_statistics
import numpy as np
import pytest
from coverage_rows import LEAST, Row, outside, summary, table, widening

from holdfast.core.errors import RunError
from holdfast.core.intervals import Sample
from holdfast.core.stats import Array
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.persona.suite import load_suite

LEVEL = Row("level", 24, 0.5, 0.95, 0.2, 4000, sparse=False, plan="mini", scores="binary")


def test_a_row_fails_outside_its_bounds() -> None:
    within = [LEVEL, replace(LEVEL, coverage=0.995, sparse=True)]
    within += [replace(LEVEL, coverage=share, n=12) for share in (0.9, 1.0)]
    too_low, too_high = replace(LEVEL, coverage=0.89), replace(LEVEL, coverage=0.995)
    assert outside([*within, too_low, too_high]) == [too_low, too_high]


def test_the_slack_of_a_bound_is_in_its_own_standard_errors() -> None:
    few = replace(LEVEL, replications=800)
    assert replace(few, coverage=0.9895).is_within(2) and replace(few, coverage=0.901).is_within(2)
    assert not replace(few, coverage=0.9905).is_within(2)
    assert not replace(few, coverage=0.8995).is_within(2)


def test_of_two_thousand_rows_at_their_bound_none_fails_by_chance_and_a_low_one_does() -> None:
    shares = np.random.default_rng(0).binomial(4000, LEAST, 2000) / 4000
    rows = [replace(LEVEL, coverage=float(share)) for share in shares]
    assert sum(not row.is_within(2) for row in rows) > 10
    assert outside(rows) == []
    low = replace(LEVEL, coverage=0.895)
    assert outside([*rows, low]) == [low]


def test_an_interval_that_is_never_given_has_no_row() -> None:
    nothing = np.full((10, 2), np.nan)
    assert Row.of("level", nothing, 0.5, 24, 0.5, False) is None
    some = np.array([[0.4, 0.6], [np.nan, np.nan], [0.6, 0.7], [0.5, 0.8]])
    row = Row.of("level", some, 0.5, 24, 0.5, False)
    assert row is not None and row.replications == 3 and row.coverage == pytest.approx(2 / 3)


def test_a_small_simulation_covers() -> None:
    label, conversations = next(p for p in coverage_plans.plans(True) if len(p[1]) == 24)
    rows = coverage_plans.cells(label, conversations, "binary", 1, 300, 1)
    assert len(rows) > 8 and not outside(rows)


@pytest.mark.parametrize("layout", coverage_statistics.LAYOUTS)
def test_near_duplicate_tasks_are_simulated_and_covered(layout: str) -> None:
    rng = np.random.default_rng(2)
    rows = [*coverage_statistics.accuracy(rng, 300, 24), *coverage_statistics.effect(rng, 300, 24)]
    some = [row for row in rows if row is not None and row.interval.endswith(layout)]
    assert len(some) == 5 and not outside(some)


def test_near_duplicates_that_are_taken_as_independent_do_not_cover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coverage_statistics, "_sample", lambda texts: Sample(len(texts)))
    rows = coverage_statistics.accuracy(np.random.default_rng(2), 300, 48)
    failures = [row.interval for row in outside([row for row in rows if row is not None])]
    assert any("four of each" in name for name in failures)


def test_tables_have_a_column_for_each_kind_of_score_and_mark_what_fails() -> None:
    rows = [
        LEVEL,
        replace(LEVEL, scores="binary, 3 runs", coverage=0.85, width=0.1),
        Row("kappa, grades alike", 50, 0.95, 0.94, 0.6, 400, sparse=True),
    ]
    text = table(rows)
    assert "| interval | plan | conversations | mean | binary | binary, 3 runs | width |" in text
    assert "| level | mini | 24 | 0.50 | 0.950 | 0.850 ! | 0.200 |" in text
    assert "| kappa, grades alike | 50 | 0.95 | 0.940 | 0.600 |" in text
    assert "| level | 2 | 0.850 · 0.900 · 0.950 | – | – |" in summary(rows)
    assert "| kappa | 1 | – | 0.940 · 0.940 · 0.940 | – |" in summary(rows)


def test_the_tables_go_between_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("intervals.md", "coverage.md"):
        marks = "<!-- table coverage -->\nold\n<!-- end coverage -->"
        (tmp_path / name).write_text(f"before\n{marks}\nafter\n", "utf-8")
    monkeypatch.setattr(coverage, "DOCS", tmp_path)
    coverage.write([LEVEL], coverage.Settings(4000, quick=False, seed=0, code=""))
    text = (tmp_path / "coverage.md").read_text("utf-8")
    assert "old" not in text and "| level | mini | 24 | 0.50 | 0.950 | 0.200 |" in text
    assert text.startswith("before") and text.endswith("after\n")
    assert "| level | 1 | 0.950" in (tmp_path / "intervals.md").read_text("utf-8")


def small(quick: bool) -> Iterator[tuple[str, tuple[Conversation, ...]]]:
    """One plan of 24 conversations, in place of all."""
    suite = load_suite("mini")
    yield "mini", plan(suite.personas, suite.personas, suite, pairs=24)


@pytest.fixture
def one_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage_plans, "plans", small)
    monkeypatch.setattr(coverage_statistics, "parts", lambda quick: iter(()))


@pytest.mark.usefixtures("one_plan")
def test_the_quick_study_exits_0_within_its_bounds_and_1_outside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert coverage.main(["--quick", "--replications", "200"]) == 0
    honest = Sample.score_interval

    def narrow(sample: Sample, values: Array) -> Array:
        limits = honest(sample, values)
        middle = limits.mean(-1, keepdims=True)
        return middle + (limits - middle) / 3

    monkeypatch.setattr(Sample, "score_interval", narrow)
    assert coverage.main(["--quick", "--replications", "200"]) == 1
    assert "outside: level, mini, binary, n = 24" in capsys.readouterr().out


@pytest.mark.usefixtures("one_plan")
def test_a_study_that_was_stopped_goes_on_and_comes_to_the_same_rows(tmp_path: Path) -> None:
    settings = coverage.Settings(50, quick=True, seed=0, code="")
    whole = coverage.simulate(settings, tmp_path, workers=1)
    records = tmp_path / "records.jsonl"
    lines = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join(lines[:2]) + lines[2][:40])  # killed while it wrote the third
    assert coverage.simulate(settings, tmp_path, workers=2) == whole
    assert coverage.simulate(settings, None, workers=1) == whole
    with pytest.raises(RunError, match="seed"):
        coverage.simulate(replace(settings, seed=1), tmp_path, workers=1)
    assert coverage.main(["--quick", "--out", str(tmp_path)]) == 2


def test_an_interval_that_is_wider_from_more_conversations_fails() -> None:
    many = replace(LEVEL, n=48, width=0.3)
    assert list(widening([LEVEL, many])) == [("level, mini, binary", 24, 48)]
    assert not list(widening([LEVEL, replace(many, width=0.1)]))
    few = [replace(row, plan="8 own personas") for row in (LEVEL, many)]
    assert list(widening(few)) and not list(widening([few[0], replace(few[1], width=0.21)]))
    assert not list(widening([replace(LEVEL, replications=30), many]))
