"""The counts of dimensions, on clouds whose dimension is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evals.explain.intrinsic_dimension import (
    components,
    dimension,
    participation,
    spectrum,
    subsampled_dimension,
)


def cloud(count: int, inside: int, across: int, seed: int = 0) -> np.ndarray:
    """Normal vectors in a random `inside`-dimensional subspace of `across` dimensions."""
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.normal(size=(across, inside)))[0]
    return np.asarray(rng.normal(size=(count, inside)) @ frame.T)


def test_points_on_a_line_have_one_dimension_wherever_the_line_is() -> None:
    place = np.array([5.0, -7.0, 2.0])
    line = np.outer(np.linspace(-1, 3, 20), [3.0, 4.0, 0.0]) + place
    assert dimension(line) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(("inside", "across"), [(3, 64), (8, 16), (16, 16)])
def test_a_cloud_has_the_dimensions_of_its_subspace(inside: int, across: int) -> None:
    counts = dimension(cloud(20_000, inside, across))
    assert counts.participation == pytest.approx(inside, rel=0.01)
    assert counts.components == inside


def test_participation_follows_the_formula_where_directions_differ() -> None:
    values = np.array([4.0, 2.0, 1.0])
    assert participation(values) == pytest.approx(49 / 21)
    assert components(values, 0.5) == 1 and components(values, 0.6) == 2
    assert components(values) == 3


def test_the_spectrum_is_that_of_the_covariance_from_either_product() -> None:
    rng = np.random.default_rng(1)
    for shape in ((5, 30), (30, 5)):
        vectors = rng.normal(size=shape)
        expected = np.linalg.eigvalsh(np.cov(vectors.T, bias=True))[::-1][: min(shape)]
        assert spectrum(vectors) == pytest.approx(expected.clip(min=0), abs=1e-12)


@given(st.integers(3, 12), st.integers(1, 12), st.integers(0, 99), st.floats(0.01, 100.0))
def test_counts_know_neither_place_nor_size_nor_turning(
    count: int, across: int, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, across)) * rng.uniform(0.1, 3, size=across)
    turn = np.linalg.qr(rng.normal(size=(across, across)))[0]
    image = scale * vectors @ turn + rng.normal(size=across)
    counts = dimension(vectors)
    assert dimension(image) == pytest.approx(counts)
    assert 1 - 1e-9 <= counts.participation <= min(count - 1, across) + 1e-9
    assert 1 <= counts.components <= min(count - 1, across)


def test_few_vectors_seem_to_have_few_dimensions_and_an_equal_number_can_be_compared() -> None:
    few, many = cloud(12, 40, 40, seed=1), cloud(400, 40, 40, seed=2)
    assert dimension(few).participation < 11 < 30 < dimension(many).participation
    sample = subsampled_dimension(many, 12, 200, np.random.default_rng(0))
    assert sample.participation == pytest.approx(dimension(few).participation, rel=0.1)


def test_all_vectors_drawn_are_all_vectors_and_more_than_there_are_is_no_number() -> None:
    vectors, rng = cloud(9, 4, 6), np.random.default_rng(0)
    assert subsampled_dimension(vectors, 9, 5, rng) == dimension(vectors)
    assert np.isnan(subsampled_dimension(vectors, 10, 5, rng)).all()


def test_vectors_that_do_not_differ_have_no_dimension() -> None:
    assert np.isnan(dimension(np.ones((6, 4)))).all()
    assert np.isnan(dimension(np.eye(4)[:2])).all()
