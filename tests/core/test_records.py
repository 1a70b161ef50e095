"""Tables that a person wrote: what does not fit is named where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.core.records import is_deeper, read_record, read_table


@dataclass(frozen=True)
class Figure:
    what: str
    value: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Study:
    title: str
    method: Literal["long", "short"] = "long"
    steps: int = 1
    gap: float | None = None
    pairs: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()


def test_a_table_is_read_with_lists_as_tuples_and_whole_numbers_as_numbers() -> None:
    table = {"title": "x", "pairs": [["a", "b"]], "figures": [{"what": "y", "value": 1}]}
    study = Study(title="x", pairs=(("a", "b"),), figures=(Figure("y", 1.0),))
    assert read_table(Study, table, "a.toml") == study


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({}, "there is no title."),
        ({"title": "x", "step": 3}, "there is no step: did you mean steps?"),
        ({"title": "x", "gpus": 3}, "there is no gpus: use title, method, steps, gap, pairs, "),
        ({"title": "x", "figures": [{"wat": "y"}]}, "there is no figures.0.what."),
        ({"title": "x", "figures": [{"what": "y", "v": 1}]}, "there is no figures.0.v."),
        ({"title": 3}, "title should be a valid string, not 3."),
        ({"title": "x", "steps": "3"}, 'steps should be a valid integer, not "3".'),
        ({"title": "x", "steps": True}, "steps should be a valid integer, not true."),
        ({"title": "x", "steps": date(2026, 1, 2)}, 'steps should be a valid integer, not "2026-'),
        (
            {"title": "x", "figures": [{"what": "y", "value": float("inf")}]},
            "figures.0.value should be a finite number, not inf.",
        ),
        ({"title": "x", "gap": float("nan")}, "gap should be a finite number, not nan."),
        ({"title": "x", "method": "big"}, "method should be 'long' or 'short', not \"big\"."),
        ({"title": "x", "pairs": ["a"]}, 'pairs.0 should be a valid array, not "a".'),
        ({"title": "x", "figures": "y"}, 'figures should be a valid array, not "y".'),
        ({"title": "x", "figures": ["y"]}, 'figures.0 should be a table, not "y".'),
    ],
)
def test_what_does_not_fit_is_named_where_it_stands(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HoldfastError) as error:
        read_table(Study, table, "a.toml")
    assert str(error.value).startswith(f"a.toml: {sentence}")


def test_a_record_passes_over_keys_that_it_does_not_know() -> None:
    assert read_record(Study, {"title": "x", "later": 1}) == Study(title="x")


def test_lists_and_objects_are_counted_by_level() -> None:
    assert not is_deeper("text", 0) and not is_deeper([1, {}], 2)
    assert is_deeper([], 0) and is_deeper([1, {"a": []}], 2)
