"""Where personas do nothing, the sentence and the marks hardly ever say that they do something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from holdfast.evals.effect.summary import _rows, adjust_table
from holdfast.evals.effect.summary import advice as advice_of
from holdfast.persona.experts import LENGTHS
from holdfast.results.effect import EffectRow

ARM = "matched/full/system"


def advice(rows: list[EffectRow]) -> str:
    return advice_of(adjust_table(rows))


def table(rng: np.random.Generator, gain: float, categories: int = 8) -> list[EffectRow]:
    """Rows of categories of twenty tasks; a persona helps in the first by `gain`."""
    rows: list[EffectRow] = []
    for k in range(categories):
        easy = rng.beta(2, 2, (20, 1))
        better = easy + gain * (k == 0) * (1 - easy)
        scores = {
            "none": (rng.random((20, 3)) < easy).astype(float),
            ARM: (rng.random((20, 3)) < better).astype(float),
        }
        rows += _rows(scores, "m", f"category {k}", range(20))
    return rows


def test_without_an_effect_at_most_one_run_in_twenty_says_helps_or_hurts() -> None:
    rng, runs = np.random.default_rng(0), 60
    tables = [table(rng, 0.0) for _ in range(runs)]
    sentences = [advice(rows) for rows in tables]
    false = sum("helps" in s or "hurts" in s for s in sentences)
    marks = sum(any(row.sign for row in adjust_table(rows)) for rows in tables)
    assert false <= 0.05 * runs + 2 and marks == false


def test_a_persona_that_helps_is_still_found() -> None:
    rng = np.random.default_rng(1)
    sentences = [advice(table(rng, 0.9)) for _ in range(10)]
    assert sum("helps with category 0" in s for s in sentences) >= 9


def test_many_categories_without_an_effect_are_counted_and_not_named() -> None:
    rng = np.random.default_rng(2)
    assert "no effect is shown for any of the 24 categories." in advice(table(rng, 0.0, 24))
    sentence = advice(table(rng, 0.95, 24))
    assert "it changes the score of category 0 by +" in sentence
    assert "shown for the other 23 categories." in sentence


def test_many_categories_with_an_effect_are_counted_in_the_headline_and_named_after_it() -> None:
    scores = {"none": np.zeros((9, 1)), ARM: np.ones((9, 1))}
    rows = [row for k in range(5) for row in _rows(scores, "m", f"set: {k}", range(9))]
    assert advice(rows[:4]).startswith(
        "The matched persona helps with set:\N{NO-BREAK SPACE}0, set:\N{NO-BREAK SPACE}1"
    )
    headline, _, figures = advice(rows).partition(": ")
    assert headline == "The matched persona helps with 5 categories"
    assert all(f"set: {k} by +1.00 [" in figures for k in range(5))


def test_a_sample_that_failed_on_one_side_counts_on_neither() -> None:
    gap = float("nan")
    scores = {"none": np.array([[1.0, 0.0]] * 4), ARM: np.array([[1.0, gap]] * 4)}
    (row,) = _rows(scores, "m", "c", range(4))
    assert (row.score, row.base, row.delta, row.n) == (1.0, 1.0, 0.0, 4)


def test_the_advice_takes_the_longest_length_in_whatever_order_they_are_named() -> None:
    scores = {"none": np.zeros((4, 1)), ARM: np.zeros((4, 1))}
    scores["matched/minimal/system"] = np.zeros((4, 1))
    assert advice(list(_rows(scores, "m", "c", range(4)))).partition(": ")[2].startswith("full ")


def cell(category: str, delta: float, p: float, **changes: Any) -> EffectRow:
    row = EffectRow(
        model="m",
        category=category,
        length="full",
        persona="matched",
        placement="system",
        score=0.5,
        base=0.5 - delta,
        delta=delta,
        interval=(delta - 0.2, delta + 0.2),
        n=20,
        p_value=p,
    )
    return replace(row, **changes)


def test_a_cell_that_the_advice_calls_shown_is_marked_in_a_table_of_many_cells() -> None:
    own = [cell("recall", -0.3, 0.02), cell("math", 0.0, 1.0)]
    others = [
        cell(one.category, 0.0, 1.0, persona=kind, length=length)
        for one in own
        for kind in ("other", "safety")
        for length in LENGTHS
    ]
    rows = adjust_table([*others, *own])
    assert advice_of(rows).startswith("The matched persona hurts recall: ")
    assert [row.cell for row in rows] == [row.cell for row in (*others, *own)]
    assert [row.category for row in rows if row.sign] == ["recall"]
    assert [row.category for row in rows if row.of_advice] == ["recall", "math"]


def test_the_advice_names_a_category_that_other_cells_alone_show_an_effect_for() -> None:
    own = [cell("recall", 0.3, 0.01), cell("extraction", -0.1, 0.5), cell("math", 0.0, 1.0)]
    others = [replace(one, placement="user") for one in own]
    others[1] = cell("extraction", -0.3, 0.001, placement="user")
    assert advice([*own, *others]).endswith(
        "no effect is shown for extraction and math, though under another persona, length or "
        "placement one is for extraction."
    )
    assert advice([*own, others[0], others[2]]).endswith("for extraction and math.")
