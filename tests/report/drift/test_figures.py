"""The figures show every number of the summary that was measured, in both widths."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from holdfast.report.drift import figures
from holdfast.report.drift import prompt_share as attention
from holdfast.results.drift import DriftSummary

from .sample import read_summary, run

UNMEASURED = dict.fromkeys(
    ("prompt_share", "share_detail", "filler", "filler_interval", "history_floor",
     "history_floor_interval", "user_persona", "user_persona_interval", "user_persona_floor")
)  # fmt: skip


def summary(**more: Any) -> DriftSummary:
    return read_summary(run(16, 8)[0] | more)


def test_the_main_figure_tabulates_every_curve_and_round() -> None:
    figure = figures.stability(summary())
    assert figure.table is not None
    assert figure.table.header == (
        "round",
        "n",
        "the agent’s persona",
        "floor: no system prompt, empty history",
        "ceiling: the empty history",
        "no system prompt, same history",
        "the user’s persona",
        "neutral filler in the user’s place",
    )
    assert [row[0] for row in figure.table.rows] == [str(r) for r in range(9)]
    assert figure.table.rows[0][1:3] == ("32", "1.00 (0.94 to 1.00)")


def test_both_widths_draw_the_same_lines() -> None:
    figure = figures.stability(summary())
    assert figure.wide.count('class="line ') == figure.narrow.count('class="line ') == 6
    assert figure.wide.count('class="band own"') == figure.narrow.count('class="band own"') == 1
    assert figure.wide.count('class="hit"') == 9


def test_there_is_room_for_the_longest_label_and_tick() -> None:
    text, series = (
        figures.Text("k", "A title", "A description"),
        [figures.Series("own", [0.25, 0.75], label="no persona 0.74")],
    )
    sizes, ticks = ((740, 300), (360, 300)), ((0.25, "0.25"), (0.75, "0.75"))
    figure = figures.line_figure(text, "", series, sizes, x=["1", "2"], ticks=ticks)
    for drawing, width in ((figure.wide, 740), (figure.narrow, 360)):
        (label,) = re.findall(r'class="label own" x="([\d.]+)"', drawing)
        (tick, _) = re.findall(r'class="tick" x="([\d.]+)" y="[\d.]+" text-anchor="end"', drawing)
        assert float(label) + 7 * len("no persona 0.74") <= width
        assert float(tick) >= 6.5 * len("0.75")


def test_what_was_not_measured_is_not_drawn() -> None:
    figure = figures.stability(summary(**UNMEASURED))
    assert figure.wide.count('class="line ') == 3
    assert attention.share(summary(**UNMEASURED)) is None
    assert attention.layers(summary(**UNMEASURED)) is None
    assert attention.within(summary(**UNMEASURED)) == attention.heads(summary(**UNMEASURED)) == []


def test_not_a_number_counts_as_missing() -> None:
    broken = run(16, 8)[0]
    broken["stability"][3] = float("nan")
    broken["interval"][3] = [float("nan"), float("nan")]
    figure = figures.stability(read_summary(broken))
    assert "nan" not in figure.wide
    assert figure.wide.count('class="line own"') == 2
    assert figure.table is not None and figure.table.rows[3][2] == "–"


def test_the_ledger_gives_start_and_end_with_intervals() -> None:
    rows = figures.ledger(summary())
    assert [row.kind for row in rows] == [
        "own", "left", "user", "filler", "history", "floor", "floor"
    ]  # fmt: skip
    assert rows[0].start_interval == "0.94 to 1.00"
    assert rows[5].end == ""


def test_the_ledger_leaves_out_what_was_not_measured() -> None:
    bare = summary(**UNMEASURED, normalised=[None] * 9, floor=None)
    assert [row.kind for row in figures.ledger(bare)] == ["own"]


def test_categories_come_by_fall_and_each_has_its_own_chart() -> None:
    panels = figures.categories(summary())
    falls = [float(p.line.split(" → ")[1][:4]) - float(p.line[:4]) for p in panels]
    assert len(panels) == 8 and falls == sorted(falls)
    assert len({p.wide for p in panels} | {p.narrow for p in panels}) == 16
    assert len(figures.category_table(summary()).rows) == 8


def test_a_category_without_an_interval_says_why_in_its_own_words() -> None:
    curves = summary().curves
    name, part = next(iter(curves.by_category.items()))
    few = replace(part, interval_note="No interval: fewer than 3 conversations.")
    one = replace(summary(), curves=replace(curves, by_category={name: few}))
    (panel,) = figures.categories(one)
    assert panel.line.endswith("conversations. No interval: fewer than 3 conversations.")


def test_the_heat_map_has_a_cell_for_every_layer_and_round() -> None:
    figure = attention.layers(summary())
    assert figure is not None and figure.table is not None
    assert figure.wide.count('class="cell"') == 6 * 9
    assert figure.wide.count('class="in-cell') == 6 * 9
    assert [row[0] for row in figure.table.rows] == ["1", "2", "3", "4", "5", "6"]


def test_a_deep_models_heat_map_writes_no_values_into_its_cells() -> None:
    one = run(16, 8)[0]
    one["share_detail"] |= {"layers": [[0.1] * 80 for _ in range(9)]}
    figure = attention.layers(read_summary(one))
    assert figure is not None
    assert figure.wide.count('class="cell"') == 80 * 9 and "in-cell" not in figure.wide


def test_a_round_without_attention_leaves_a_gap() -> None:
    summary = run(16, 8)[0]
    detail = summary["share_detail"]
    detail["layers"][0] = detail["heads"][0] = None
    detail["within"][0] = []
    summary["prompt_share"][0] = None
    one = read_summary(summary)
    figure = attention.layers(one)
    assert figure is not None and figure.wide.count('class="cell"') == 6 * 8
    assert attention.heads(one)[0].name == "round 1"
    assert attention.within(one)[1].wide.count('class="line share"') == 8
    assert attention.share(one) is not None


def test_the_share_figure_sets_dilution_and_template_beside_it() -> None:
    figure = attention.share(summary())
    assert figure is not None and figure.table is not None
    assert figure.table.header == (
        "round", "prompt share", "the prompt’s part of the text", "with template tokens"
    )  # fmt: skip
    assert figure.table.rows[0] == ("0", "27%", "45%", "36%")


def test_head_maps_run_from_the_first_round_to_the_last() -> None:
    assert [p.name for p in attention.heads(summary())] == [f"round {r}" for r in (0, 2, 4, 6, 8)]
    assert [p.name for p in attention.heads(read_summary(run(2, 1)[0]))] == ["round 0", "round 1"]


def test_profiles_have_a_curve_for_every_reply_and_every_answer_on_one_scale() -> None:
    replies, answers = attention.within(summary())
    assert replies.wide.count('class="line share"') == 8
    assert answers.wide.count('class="line share"') == 9
    ticks = [f.wide.count('class="tick"') - n for f, n in ((replies, 8), (answers, 9))]
    assert ticks[0] == ticks[1]


def test_every_id_of_every_drawing_is_its_own() -> None:
    one = summary()
    charts = [figures.stability(one), attention.share(one), attention.layers(one)]
    drawings = [d for f in (*charts, *attention.within(one)) if f for d in (f.wide, f.narrow)]
    drawings += [d for p in figures.categories(one) for d in (p.wide, p.narrow)]
    drawings += [p.wide for p in attention.heads(one)]
    ids = re.findall(r' id="([^"]+)"', "".join(drawings))
    assert len(ids) == len(set(ids)) == 2 * len(drawings)
