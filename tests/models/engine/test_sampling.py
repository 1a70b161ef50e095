"""Draws against their definition, computed the slow way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.backend import Sampling
from holdfast.models.engine.sampling import CHUNK, GROUP, HEAD, draw, draw_uniforms, find_largest


def slow_draw(logits: list[float], u: float, sampling: Sampling) -> int:
    """The definition: sort, cut, renormalise, walk."""
    x = np.array(logits) / sampling.temperature
    p = np.exp(x - x.max())
    p /= p.sum()
    order = sorted(range(len(p)), key=lambda i: (-p[i], i))
    if sampling.top_k:
        order = order[: sampling.top_k]
    mass = sum(p[i] for i in order)
    nucleus, reach = [], 0.0
    for i in order:
        nucleus.append(i)
        reach += p[i] / mass
        if reach >= sampling.top_p:
            break
    target, position = u * sum(p[i] for i in nucleus), 0.0
    for i in nucleus:
        position += p[i]
        if position > target:
            return i
    return nucleus[-1]


@pytest.mark.parametrize("size", [5, HEAD, HEAD + 1, 700])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(top_p=0.3),
        Sampling(temperature=0.5, top_p=0.95),
        Sampling(top_k=3, top_p=0.8),
        Sampling(top_k=50, top_p=1.0),
    ],
)
def test_draws_follow_the_definition(size: int, sampling: Sampling) -> None:
    generator = torch.Generator().manual_seed(size)
    # Flat rows need the whole vocabulary sorted, peaked ones only its head.
    spread = torch.tensor([0.3, 1.0, 3.0, 8.0]).repeat(8)[:, None]
    logits = torch.randn(32, size, generator=generator) * spread
    u = torch.rand(32, generator=generator, dtype=torch.float64)
    tokens, sound = draw(logits, u, sampling)
    expected = [
        slow_draw(row, float(x), sampling)
        for row, x in zip(logits.double().tolist(), u, strict=True)
    ]
    assert tokens.tolist() == expected
    assert bool(sound.all())


def test_without_limits_every_token_comes_as_often_as_it_should() -> None:
    p = torch.tensor([0.5, 0.0, 0.2, 0.3])
    u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    tokens, _ = draw(p.log().expand(1000, 4), u, Sampling(top_p=1.0))
    assert torch.bincount(tokens, minlength=4).tolist() == [500, 0, 200, 300]


def test_the_likeliest_of_a_large_vocabulary_are_in_the_groups_of_the_largest_maxima() -> None:
    torch.manual_seed(5)
    x = torch.randn(3, 4 * HEAD * GROUP + 3)  # the last three are in no group
    x[1, -1] = 9.0
    values, places = find_largest(x, HEAD)
    expected = x.topk(HEAD)
    assert torch.equal(values, expected.values) and torch.equal(places, expected.indices)


def test_many_rows_are_drawn_as_each_alone() -> None:
    torch.manual_seed(4)
    logits, u = torch.randn(3 * CHUNK + 1, 900) * 4, torch.rand(3 * CHUNK + 1, dtype=torch.float64)
    logits[5, 7] = torch.nan
    sampling = Sampling(temperature=0.8)
    tokens, sound = draw(logits, u, sampling)
    for i in range(len(logits)):
        token, fine = draw(logits[i : i + 1], u[i : i + 1], sampling)
        assert (token, fine) == (tokens[i], sound[i]) and bool(fine) == (i != 5)


def test_temperature_zero_takes_the_largest() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 1.0, 5.0]])
    tokens, _ = draw(logits, torch.rand(2).double(), Sampling(temperature=0))
    assert tokens.tolist() == [1, 0]


def test_a_minute_temperature_overflows_nothing() -> None:
    logits = torch.tensor([[900.0, -900.0, 899.0]])
    tokens, sound = draw(logits, torch.tensor([0.99]).double(), Sampling(temperature=1e-30))
    assert (tokens.tolist(), sound.tolist()) == ([0], [True])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0), Sampling(top_k=2)])
def test_only_the_row_with_a_bad_logit_is_unsound(bad: float, sampling: Sampling) -> None:
    logits = torch.zeros(3, 300)
    logits[1, 250] = bad
    _, sound = draw(logits, torch.full((3,), 0.5).double(), sampling)
    assert sound.tolist() == [True, False, True]


def test_masked_tokens_are_never_drawn_and_are_sound() -> None:
    logits = torch.full((1, 400), -torch.inf)
    logits[0, 17] = 1.0
    tokens, sound = draw(logits, torch.tensor([0.999]).double(), Sampling())
    assert (tokens.tolist(), sound.tolist()) == ([17], [True])


@settings(max_examples=40, deadline=None)
@given(st.integers(-(2**70), 2**130), st.integers(1, 30))
def test_a_longer_limit_draws_the_same_numbers_first(seed: int, steps: int) -> None:
    numbers = draw_uniforms(seed, steps)
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert np.array_equal(draw_uniforms(seed, steps + 5)[:steps], numbers)


@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_a_temperature_that_is_nothing_in_float32_is_greedy(top_p: float) -> None:
    logits, u = torch.tensor([[1.0, 3.0, 2.0], [5.0, 5.0, 0.0]]), torch.tensor([0.9, 0.1])
    for temperature in (0.0, 1e-30, 1e-50, 5e-324):
        sampling = Sampling(temperature=temperature, top_p=top_p)
        assert draw(logits, u, sampling)[0].tolist() == [1, 0]
