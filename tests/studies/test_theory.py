"""Cones, simulated chats and the page's tables, against what is known exactly."""

from __future__ import annotations

import cones
import numpy as np
import pytest
from theory import Table, place_tables
from walk import Cone, leaving, mixing, walk


def test_intrinsic_volumes_of_an_orthant_are_binomial() -> None:
    volumes = cones.faces(np.eye(5)[:, :3], 4000, np.random.default_rng(0))
    assert volumes == pytest.approx([1 / 8, 3 / 8, 3 / 8, 1 / 8], abs=0.03)


def test_the_measure_of_a_neighbourhood_is_what_random_directions_find() -> None:
    rng = np.random.default_rng(1)
    generators = rng.normal(size=(6, 3))
    far = cones.distance(generators, rng.normal(size=(4000, 6)))
    volumes = cones.faces(generators, 4000, rng)
    steps = np.array([0.7, 0.5])
    shares = (far[:, None] <= steps).mean(0)
    assert cones.measure(volumes, steps, 6) == pytest.approx(shares, abs=0.03)


def test_the_whole_space_is_everything_and_a_line_is_what_a_cap_measures() -> None:
    assert cones.near_subspace(0.1, 4, 4) == pytest.approx(1.0)
    # In the plane the directions within ε of a line are 4 arcsin(ε) of 2π.
    assert cones.near_subspace(0.5, 1, 2) == pytest.approx(4 * np.arcsin(0.5) / (2 * np.pi))


def test_twice_the_dimension_of_random_vectors_span_with_probability_one_half() -> None:
    assert cones.wendel(16, 8) == pytest.approx(0.5)
    rng = np.random.default_rng(2)
    share = np.mean([cones.surrounds(rng.normal(size=(16, 8))) for _ in range(200)])
    assert share == pytest.approx(0.5, abs=0.12)


def test_the_bound_of_the_proposition_is_never_below_what_is_enough() -> None:
    for across in (2, 8, 40):
        for eta in (0.5, 0.1, 0.001):
            assert cones.enough(eta, across) <= cones.bound(eta, across)


def test_generated_tokens_stay_near_the_cone_where_every_map_keeps_it() -> None:
    cone = Cone()
    assert leaving(cone, "keeping", 200, np.random.default_rng(3)) <= cone.epsilon
    chats = walk(cone, "keeping", users="cone", runs=8, turns=2, own_tokens=6)
    assert chats.distance.max() <= cone.widening
    assert walk(cone, "random", users="cone", runs=8, turns=1).distance.max() > cone.widening


def test_the_extreme_pair_reaches_the_bound_and_random_mixtures_stay_below_it() -> None:
    cone = Cone()
    random, extreme = mixing(cone, 500, np.random.default_rng(4))
    assert random <= cone.widening == pytest.approx(extreme)


def test_a_table_goes_to_its_place_and_one_without_a_place_is_refused() -> None:
    table = Table("spanning", ("a", "b"), (("1", "2"),))
    page = "text\n<!-- theory:spanning -->\nold\n<!-- /theory -->\nmore\n"
    assert "| 1 | 2 |" in place_tables(page, [table])
    assert "old" not in place_tables(page, [table])
    with pytest.raises(SystemExit, match="no place"):
        place_tables("text", [table])
