"""The page of an effect study: its map, and the replies behind the cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.persona.experts import LENGTHS
from holdfast.report.effect import render, write_effect
from holdfast.results.effect import EffectNumbers, EffectRow, EffectSummary, ReplyPair

from .conftest import Open

HOSTILE = "<script>alert(1)</script>"


def row(category: str, delta: float | None, low: float | None, high: float | None) -> EffectRow:
    return EffectRow(
        model="m",
        category=category,
        length="full",
        persona="matched",
        placement="system",
        score=0.5,
        base=0.4,
        delta=delta,
        interval=(low, high),
        n=12,
    )


def summary(**changes: Any) -> EffectSummary:
    rows = (
        row("math", 0.12, 0.05, 0.2),
        row(HOSTILE, -0.3, -0.4, 0.1),
        row("gone", None, None, None),
    )
    numbers = EffectNumbers(
        rows=rows,
        overall=(row("all", 0.01, -0.01, 0.02),),
        matrix=(replace(row("math", 0.3, 0.1, 0.4), expert="clerk"),),
        advice={"m": "The persona helps with math: it changes the score by +0.12."},
        judge_failures=changes.pop("judge_failures", 0),
        texts=changes.pop("texts", 36),
    )
    whole = EffectSummary(
        models=("m",),
        tasks=36,
        samples=3,
        seed=0,
        judge_model=None,
        left_out=(),
        command="holdfast effect",
        numbers=numbers,
        seconds=3.0,
        note=None,
        report=None,
    )
    return replace(whole, **changes)


PAIR = ReplyPair("t", ("2 + 2?",), "clerk", (HOSTILE,), ("4",), (0.0, 1.0))
PAIRS = {"m/math/matched/full/system": [PAIR]}


def test_a_cell_has_its_difference_its_interval_and_leads_to_its_replies(tmp_path: Path) -> None:
    page = render(summary(), PAIRS)
    assert "+0.12" in page
    assert "+0.05 to +0.20" in page
    assert 'id="m/math/matched/full/system"' in page
    assert 'href="#m/math/matched/full/system"' in page
    write_effect(summary(), PAIRS, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page


def test_only_a_difference_whose_interval_leaves_out_0_is_marked() -> None:
    page = render(summary(), PAIRS)
    # In the map math alone, and the one cell of the matrix.
    assert page.count(' clear"') == 2
    assert "up-3 clear" in page
    assert 'class="shade down-4"' in page
    assert 'class="shade level">–' in page


def test_the_column_that_the_headline_is_of_is_framed_and_says_so() -> None:
    top = replace(row("math", 0.12, 0.05, 0.2), of_advice=True)
    other = replace(top, length="half", of_advice=False)
    numbers = replace(summary().numbers, rows=(other, top), matrix=())
    page = render(summary(numbers=numbers), {})
    assert page.count(' advised"') == 1
    assert '<th scope="col">half</th><th scope="col">full<small>at the top</small></th>' in page


def test_what_a_model_or_a_user_wrote_is_never_markup() -> None:
    page = render(summary(), PAIRS)
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page


def test_what_was_left_out_is_said() -> None:
    page = render(summary(left_out=("a", "b")), PAIRS)
    assert "2 tasks that only a model can judge were left out" in page


def test_the_page_says_how_many_tasks_differ_where_some_are_near_duplicates() -> None:
    assert "30 of the 36 tasks differ: near-duplicates count as one" in render(
        summary(texts=30), PAIRS
    )
    assert "near-duplicates count" not in render(summary(), PAIRS)


def test_the_headline_is_the_finding_and_its_figures_stand_below() -> None:
    page = render(summary(), PAIRS)
    assert "<h1>The persona helps with math</h1>" in page
    assert '<p class="basis">It changes the score by +0.12.</p>' in page
    row_head = '<th scope="row" dir="auto">math</th><td>0.40<small>n = 12</small></td>'
    assert row_head in page


def test_every_persona_length_and_interval_fits_a_wide_page(open_page: Open) -> None:
    cells = [(kind, one) for kind in ("matched", "other", "safety") for one in LENGTHS]
    rows = tuple(
        replace(row("extraction", -0.27, -0.47, 0.06), persona=kind, length=length)
        for kind, length in (*cells, ("random", "full"))
    )
    overall = tuple(replace(one, category="all") for one in rows)
    numbers = replace(summary().numbers, rows=rows, overall=overall, matrix=())
    page = open_page(render(summary(numbers=numbers), {})).page
    over = page.locator(".scroll").evaluate("e => e.scrollWidth - e.clientWidth")
    assert over <= 0


def test_the_pairs_are_listed_by_category_and_a_cell_opens_its_own(open_page: Open) -> None:
    cells = [row("math", 0.1, 0.0, 0.2), row("recall", 0.1, 0.0, 0.2)]
    rows = tuple(replace(one, length=length) for one in cells for length in LENGTHS)
    numbers = replace(summary().numbers, rows=rows, matrix=())
    page = open_page(render(summary(numbers=numbers), PAIRS)).page
    outer = page.locator("section > .cell-pairs > summary")
    assert outer.all_inner_texts() == ["math 3 cells", "recall 3 cells"]
    asked = page.get_by_text("2 + 2?")
    assert not asked.is_visible()
    page.locator('a[href="#m/math/matched/full/system"]').click()
    assert asked.is_visible()
