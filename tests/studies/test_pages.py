"""Tables for the page: how numbers look, and where they go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import best, columns, fill, lengths, number, rivals, table, with_band

from holdfast.core.errors import HoldfastError

PAGE = """# Page

<!-- table one -->
old
<!-- end one -->

Between.

<!-- table two -->
kept
<!-- end two -->
"""


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.845, False, ".84"),
        (1.0, False, "1.00"),
        (0.12, True, "+.12"),
        (-0.12, True, "−.12"),
        (-0.001, True, ".00"),
        (None, True, "–"),
    ],
)
def test_numbers_have_two_places_and_no_leading_zero(
    value: float | None, signed: bool, text: str
) -> None:
    assert number(value, signed) == text


@given(st.floats(-2, 2))
def test_a_shown_number_reads_back_to_two_places(value: float) -> None:
    text = number(value, signed=True).replace("−", "-")
    assert float(text) == pytest.approx(value, abs=0.0051)


def test_an_interval_follows_its_number() -> None:
    row = {"delta": 0.2, "delta_interval": [-0.05, 0.41]}
    assert with_band(row, "delta", "delta_interval", signed=True) == "+.20 [−.05, +.41]"


def test_the_best_of_a_column_is_bold_unless_all_are_alike() -> None:
    assert best([0.5, 0.751, None, 0.749]) == [".50", "**.75**", "–", "**.75**"]
    assert best([1.0, 1.0]) == ["1.00", "1.00"]


def test_a_table_has_a_line_for_each_row() -> None:
    text = table(["a", "b"], [["1", "2"], ["3", "4"]])
    assert text.splitlines() == ["| a | b |", "| --- | ---: |", "| 1 | 2 |", "| 3 | 4 |"]


def test_columns_and_lengths_have_a_row_for_each_control() -> None:
    rows = [
        {"control": "none", "late": 0.2, "capability_by_kind": {"sum": 1.0, "recall": 0.9}},
        {"control": "window:1", "late": 0.9, "capability_by_kind": {"sum": 1.0, "recall": 0.0}},
    ]
    assert columns(rows, "capability_by_kind").splitlines()[2:] == [
        "| `none` | 1.00 | **.90** |",
        "| `window:1` | 1.00 | .00 |",
    ]
    recall = lengths({"2": rows, "16": rows}, "recall").splitlines()
    assert recall[0] == "| control | 2 rounds | 16 rounds |"
    assert recall[3] == "| `window:1` | .00 | .00 |"
    assert lengths({"2": rows}, "late").splitlines()[3] == "| `window:1` | **.90** |"


def test_a_page_is_filled_between_its_marks_and_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    for text in ("first", "second \\1"):
        fill(page, {"one": text, "three": "nowhere"})
    content = page.read_text(encoding="utf-8")
    assert content == PAGE.replace("old\n", "\nsecond \\1\n\n")


def test_a_page_without_marks_or_with_an_open_one_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Nothing\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="no marks"):
        fill(page, {"one": "x"})
    page.write_text("<!-- table one -->\nold\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="does not end it"):
        fill(page, {"one": "x"})


def test_the_other_studies_lines_become_tables_by_file_and_part(tmp_path: Path) -> None:
    band = [0.1, 0.3]
    row = {"control": "baking", "n": 8, "stability": 0.2, "interval": band}
    row |= {"late_stability": 0.2, "late_interval": band, "late_delta": 0.1}
    row |= {"late_delta_interval": band, "capability": 0.9, "capability_interval": band}
    training = {"persona": "upper-1", "replies": 4, "seconds": 12.3}
    training |= {"divergence": {"first": 0.5, "last": 0.01}}
    gain = {"variant": "gaps", "late": 0.1, "late_interval": band}
    gain |= {"late_beyond_control": -0.1, "late_beyond_control_interval": band}
    lines = {
        "baking": [{"part": "training", **training}, {"part": "reported", **row}],
        "positions": [{"part": "rows", "variant": "gaps", **row}, {"part": "gain", **gain}],
    }
    for name, rows in lines.items():
        text = "".join(json.dumps(line) + "\n" for line in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    tables = rivals(tmp_path)
    assert set(tables) == {"baking", "baking-training", "positions", "positions-gain"}
    assert "| `upper-1` | 4 | 0.5000 | 0.0100 | 12 |" in tables["baking-training"]
    assert "| `gaps` | `baking` | 8 | .20 [.10, .30] |" in tables["positions"]
    assert "−.10 [+.10, +.30]" in tables["positions-gain"]
