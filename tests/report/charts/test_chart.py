"""Charts put values where they belong, and break where there are none."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.report.charts import chart
from holdfast.report.charts import heatmap as tiles
from holdfast.report.charts.chart import Frame, Series, Text

SVG = Frame(100, 100, 0, 0, 0, 0)
TEXT = Text("k", "A title", "A description")


def parse(drawing: str) -> ElementTree.Element:
    """The drawing as XML: every test below also checks that it is well-formed."""
    return ElementTree.fromstring(drawing)


def draw(series: Series, **more: object) -> ElementTree.Element:
    x = [str(i) for i in range(len(series.values))]
    return parse(chart.lines([series], SVG, TEXT, x=x, ticks=(), **more))  # type: ignore[arg-type]


def test_a_line_starts_left_and_one_is_on_top() -> None:
    root = draw(Series("own", [1.0, 0.5, 0.0]))
    assert [p.get("d") for p in root.iter("path")] == ["M0.0 0.0L50.0 50.0L100.0 100.0"]


def test_a_missing_value_breaks_the_line() -> None:
    root = draw(Series("own", [1.0, 0.5, None, 0.2, 0.1]))
    assert len(list(root.iter("path"))) == 2


def test_a_value_between_two_missing_ones_is_a_dot() -> None:
    root = draw(Series("own", [None, 0.5, None]))
    assert [c.get("cy") for c in root.iter("circle")] == ["50"]
    assert not list(root.iter("path"))


def test_a_band_encloses_its_interval() -> None:
    root = draw(Series("own", [0.5, 0.5], [(0.4, 0.6), (0.3, 0.7)]))
    band = next(p for p in root.iter("path") if "band" in (p.get("class") or ""))
    assert band.get("d") == "M0.0 40.0L100.0 30.0L100.0 70.0L0.0 60.0Z"


def test_a_band_of_one_point_is_a_whisker() -> None:
    root = draw(Series("own", [0.5], [(0.4, 0.6)]))
    assert [p.get("class") for p in root.iter("path")] == ["whisker own"]


def test_labels_are_escaped() -> None:
    frame = Frame(100, 100, 0, 40, 0, 0)
    series = [Series('a"b', [0.5, 0.5], label="<script>")]
    drawing = chart.lines(series, frame, TEXT, x=["0", "1"], ticks=())
    assert "<script>" not in drawing
    labels = [t for t in parse(drawing).iter("text") if t.get("class") == 'label a"b']
    assert [label.text for label in labels] == ["<script>"]


def test_a_label_is_at_the_last_point_of_its_line() -> None:
    frame = Frame(240, 100, 0, 40, 0, 0)
    series = [
        Series("own", [0.5, 0.5, 0.5], label="to the end"),
        Series("user", [None, 0.5, None], label="once"),
    ]
    root = parse(chart.lines(series, frame, TEXT, x=["1", "2", "3"], ticks=()))
    places = {t.text: (t.get("x"), t.get("y")) for t in root.iter("text") if t.text in
              ("to the end", "once")}  # fmt: skip
    assert places == {"to the end": ("214", "54"), "once": ("106", "45")}


def test_a_drawing_names_and_describes_itself() -> None:
    root = draw(Series("own", [1.0, 0.0]))
    assert root.get("aria-labelledby") == "k-title k-desc"
    assert (root.findtext("title"), root.findtext("desc")) == ("A title", "A description")


def test_what_the_pointer_shows_covers_the_plot_without_gaps() -> None:
    root = draw(Series("own", [1.0, 0.5, 0.0]), notes=["a", "b", "c"])
    boxes = [(float(r.get("x", "")), float(r.get("width", ""))) for r in root.iter("rect")]
    assert [r.findtext("title") for r in root.iter("rect")] == ["a", "b", "c"]
    for (x, width), (after, _) in pairwise(boxes):
        assert x + width == pytest.approx(after)


@given(st.lists(st.floats(0, 200), min_size=1, max_size=9))
def test_labels_keep_their_distance_and_their_order(goals: list[float]) -> None:
    places = chart.spread(goals, 16, 0, 200)
    heights = sorted(places)
    assert all(b - a >= 16 - 1e-6 for a, b in pairwise(heights))
    assert heights[-1] <= 200 + 1e-6
    for i, one in enumerate(goals):
        assert all(places[i] < places[j] for j, other in enumerate(goals) if one < other)


def test_labels_with_room_stay_where_they_belong() -> None:
    assert chart.spread([20, 100, 60], 16, 0, 200) == [20, 100, 60]


def heat(rows: list[list[float | None]], **more: object) -> ElementTree.Element:
    x = [str(i) for i in range(len(rows[0]))]
    y = [str(i) for i in range(len(rows))]
    top = 0.5

    def note(i: int, j: int, v: float) -> str:
        return f"{i} {j} {v}"

    drawing = tiles.heat(rows, SVG, TEXT, x=x, y=y, top=top, note=note, **more)  # type: ignore[arg-type]
    return parse(drawing)


def test_a_heat_map_has_a_cell_for_every_value_and_none_for_a_missing_one() -> None:
    root = heat([[0.5, 0.25], [None, 0.0]])
    cells = list(root.iter("rect"))
    assert [c.findtext("title") for c in cells] == ["0 0 0.5", "0 1 0.25", "1 1 0.0"]
    shades = [float(c.get("fill-opacity", "")) for c in cells]
    assert shades[0] == 1 and shades[0] > shades[1] > shades[2] > 0


def test_a_heat_map_marks_values_by_the_shade_they_stand_on() -> None:
    root = heat([[0.5, 0.34, 0.1]], inside=lambda v: f"{v}")
    kinds = [t.get("class") for t in root.iter("text") if "in-cell" in (t.get("class") or "")]
    assert kinds == ["in-cell on-full", "in-cell on-half", "in-cell"]


def test_a_mosaic_draws_every_cell_with_few_paths() -> None:
    rows = [[(i * 40 + j) / 1600 for j in range(40)] for i in range(40)]
    root = parse(tiles.mosaic(rows, SVG, TEXT, top=1.0))
    paths = list(root.iter("path"))
    assert len(paths) <= tiles.SHADES + 1
    assert sum((p.get("d") or "").count("M") for p in paths) == 1600


def test_profiles_stay_inside_their_slots() -> None:
    slots = [[0.4, 0.3, 0.3], [0.2, 0.1]]
    drawing = chart.profiles(slots, SVG, TEXT, x=["1", "2"], ticks=(), top=0.4, notes=["a", "b"])
    paths = [p.get("d") or "" for p in parse(drawing).iter("path")]
    xs = [[float(pair.split()[0]) for pair in re.split("[ML]", d)[1:]] for d in paths]
    assert max(xs[0]) < 50 < min(xs[1]) and max(xs[1]) < 100


def test_a_strip_is_fuller_for_a_higher_score() -> None:
    root = parse(chart.strip([1.0, 0.5, None], TEXT))
    bars = [float(r.get("height", "")) for r in root.iter("rect") if r.get("class") == "bar"]
    assert bars == [14, 7]


@given(st.floats(0, 1, exclude_min=True))
def test_an_axis_ends_at_or_above_the_largest_value(value: float) -> None:
    top, ticks = chart.ceiling_for([value, None])
    assert top >= value - 1e-6
    assert ticks[0] == 0 and ticks[-1] == pytest.approx(top) and 2 <= len(ticks) <= 6


def test_an_axis_of_zeros_has_a_top() -> None:
    assert chart.ceiling_for([0.0])[0] > 0


def test_an_axis_may_start_above_zero() -> None:
    root = draw(Series("own", [1.0, 0.75, 0.5]), low=0.5)
    assert [p.get("d") for p in root.iter("path")] == ["M0.0 0.0L50.0 50.0L100.0 100.0"]


def test_a_line_with_a_note_shows_it_under_the_pointer() -> None:
    root = draw(Series("own", [1.0, 0.5], note="a < b", key="k3"))
    (group,) = (g for g in root.iter("g"))
    assert group.get("data-k") == "k3"
    assert [t.text for t in group.iter("title")] == ["a < b"]
    assert [p.get("class") for p in group.iter("path")] == ["line own", "reach"]


def test_an_axis_of_very_many_points_labels_a_few() -> None:
    xs = [i / 100 for i in range(10_000)]
    labels = chart.x_axis(SVG, xs, [str(i) for i in range(10_000)], "")
    assert 1 < len(labels) <= 5
