"""Points stand where their values are, with intervals, a front and a shape of their own."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.report.charts.chart import Frame, Text
from holdfast.report.charts.scatter import SHAPES, Axis, Point, axis, mark, ranges, scatter

FRAME = Frame(200, 200, 50, 50, 50, 50)
TEXT = Text("k", "A title", "A description")
UNIT = Axis(0.0, 1.0, ((0.0, "0"), (1.0, "1")), "a")


def point(x: float, y: float, kind: str = "f-none thin", **more: object) -> Point:
    options: dict[str, object] = {"label": "label"} | more
    return Point(1, x, y, "none", kind, note="note", key="k1", link="#k1", **options)  # type: ignore[arg-type]


def draw(*points: Point, front: tuple[tuple[float, float], ...] = ()) -> ElementTree.Element:
    return ElementTree.fromstring(scatter(points, FRAME, TEXT, UNIT, UNIT, front))


def find_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [one for one in root.iter() if name in (one.get("class") or "").split()]


def test_a_point_lies_at_its_values() -> None:
    (dot,) = find_class(draw(point(0.25, 1.0)), "mark")
    assert (dot.get("cx"), dot.get("cy")) == ("75", "50")


def test_intervals_cross_the_point() -> None:
    bars = find_class(draw(point(0.5, 0.5, x_span=(0.4, 0.6), y_span=(0.25, 0.75))), "cross")
    assert [bar.get("d") for bar in bars] == ["M90.0 100.0L110.0 100.0", "M100.0 125.0L100.0 75.0"]


def test_a_missing_interval_has_no_bar() -> None:
    assert len(find_class(draw(point(0.5, 0.5, y_span=(0.4, 0.6))), "cross")) == 1


def test_the_front_is_a_staircase_from_the_left_to_the_bottom() -> None:
    (line,) = find_class(draw(front=((1.0, 0.5), (0.5, 1.0))), "frontier")
    corners = ["50.0 50.0", "100.0 50.0", "100.0 100.0", "150.0 100.0", "150.0 150.0"]
    assert line.get("d") == "M" + "L".join(corners)


def test_a_front_without_points_is_not_drawn() -> None:
    assert find_class(draw(), "frontier") == []


def test_the_recommended_has_a_ring() -> None:
    assert len(find_class(draw(point(0.2, 0.2, "f-none best"), point(0.8, 0.8)), "halo")) == 1


def test_a_point_says_its_note_and_leads_to_its_row() -> None:
    (link,) = [one for one in draw(point(0.5, 0.5)).iter() if one.tag == "a"]
    assert link.get("href") == "#k1"
    assert [title.text for title in link.iter("title")] == ["note"]


def test_points_at_one_spot_share_a_label() -> None:
    at = [replace(point(0.5, 0.5), number=n, label=str(n)) for n in (2, 3, 4, 7)]
    apart = replace(point(0.9, 0.5), number=9, label="9")
    plain = point(0.5, 0.501, label="none", rank=-1)
    texts = [one.text for one in find_class(draw(*at, apart), "label")]
    assert texts == ["2–4, 7", "9"]
    assert [one.text for one in find_class(draw(*at, plain), "label")] == ["none, 2–4, 7"]


def test_near_points_have_labels_of_their_own_with_leaders() -> None:
    near = [
        replace(point(0.5 + 0.05 * i, 0.5 + 0.05 * j), number=3 * i + j, label="label")
        for i in range(3)
        for j in range(3)
    ]
    root = draw(*near)
    assert len(find_class(root, "label")) == 9
    assert find_class(root, "leader")


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [([], []), ([4], ["4"]), ([1, 2], ["1", "2"]), ([1, 2, 3, 5, 7, 8, 9], ["1–3", "5", "7–9"])],
)
def test_numbers_in_a_row_are_a_range(numbers: list[int], texts: list[str]) -> None:
    assert ranges(numbers) == texts


@pytest.mark.parametrize("shape", [*SHAPES, "none", "split-softmax"])
def test_every_shape_surrounds_its_point(shape: str) -> None:
    one = ElementTree.fromstring(mark(shape, 50, 50, "mark"))
    if one.tag == "circle":
        return
    pairs = [p.split() for p in (one.get("d") or "").strip("MZ").split("L")]
    xs, ys = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    assert min(xs) < 50 < max(xs) and min(ys) < 50 < max(ys)
    assert max(map(abs, (min(xs) - 50, max(xs) - 50, min(ys) - 50, max(ys) - 50))) < 9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_axis_holds_its_values_and_a_few_round_ticks(values: list[float]) -> None:
    one = axis(values, "a", str)
    assert all(0 <= one.share(v) <= 1 for v in values)
    assert len(one.ticks) <= 7
    assert all(-1e-6 <= one.share(v) <= 1 + 1e-6 for v, _ in one.ticks)


def test_a_score_has_no_tick_above_one() -> None:
    one = axis([0.995, 1.0], "a", str, end=1.0)
    assert one.high > 1.0 and max(v for v, _ in one.ticks) == pytest.approx(1.0)


def test_an_axis_of_nothing_is_still_one() -> None:
    assert axis([None], "a", str).low < axis([None], "a", str).high


@pytest.mark.parametrize(
    "values", [(59.0, 59.2), (4.0, 900.0), (10_000.0, 1_900_000.0), (5.0, 5.0)]
)
def test_no_two_ticks_of_whole_numbers_read_alike(values: tuple[float, float]) -> None:
    ticks = axis(values, "tokens", "{:,.0f}".format, least=1).ticks
    labels = [label for _, label in ticks]
    assert 1 <= len(labels) <= 7 and len(set(labels)) == len(labels)
