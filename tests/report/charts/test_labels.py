"""Labels stay apart, off the points and inside, whatever the points."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.report.charts.labels import Box, PointLabel, around, place

BOUNDS = Box(0, 0, 400, 300)
LABELS = st.lists(
    st.builds(
        PointLabel,
        st.floats(0, 400),
        st.floats(0, 300),
        st.floats(5, 160),
        st.just(14.0),
    ),
    max_size=25,
)


@given(LABELS)
def test_no_label_covers_another_or_a_point_or_leaves_the_drawing(labels: list[PointLabel]) -> None:
    points = [around(one.x, one.y, 6) for one in labels]
    boxes = [box for box in place(labels, BOUNDS, points) if box is not None]
    assert not any(a.meets(b) for a, b in combinations(boxes, 2))
    assert not any(box.meets(point) for box in boxes for point in points)
    assert all(box.within(BOUNDS) for box in boxes)


@given(LABELS)
def test_a_label_keeps_its_size(labels: list[PointLabel]) -> None:
    for one, box in zip(labels, place(labels, BOUNDS), strict=True):
        if box is not None:
            assert abs(box.right - box.left - one.width) < 1e-6
            assert abs(box.bottom - box.top - one.height) < 1e-6


def test_a_lone_label_stands_right_of_its_point_and_near() -> None:
    (box,) = place([PointLabel(100, 100, 40, 14)], BOUNDS, [around(100, 100, 6)])
    assert box is not None
    assert 106 <= box.left <= 110 and box.top < 100 < box.bottom


def test_a_label_at_the_right_edge_goes_elsewhere() -> None:
    (box,) = place([PointLabel(398, 100, 40, 14)], BOUNDS, [around(398, 100, 6)])
    assert box is not None and box.right <= 400


def test_what_may_be_covered_is_avoided_where_it_costs_little() -> None:
    line = Box(100, 99, 300, 101)
    (box,) = place([PointLabel(100, 100, 40, 14)], BOUNDS, [around(100, 100, 6)], [line])
    assert box is not None and not box.meets(line)


def test_a_label_without_room_is_left_out() -> None:
    assert place([PointLabel(20, 20, 50, 14)], Box(0, 0, 40, 40)) == [None]


def test_the_first_has_the_first_choice() -> None:
    alone = place([PointLabel(100, 100, 40, 14)], BOUNDS)
    both = place([PointLabel(100, 100, 40, 14), PointLabel(100, 102, 40, 14)], BOUNDS)
    assert both[0] == alone[0] and both[1] is not None
