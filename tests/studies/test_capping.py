"""Capping: what the floor does to a projection, and to nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from capping import Setting, activations, apply_floor, cap_persona, direction, directions, settings
from hypothesis import given
from hypothesis import strategies as st
from routed import decoder_layers, tokenize_dialogue

import tiny_models
from actors import persona
from holdfast.models.local.backend import LocalBackend

OPENERS = [f"What is {word}?" for word in ("tea", "rain", "bread", "snow")]


@cache
def backend() -> LocalBackend:
    return LocalBackend(tiny_models.model(), tiny_models.tokenizer(), "small")


@cache
def persona_direction():  # type: ignore[no-untyped-def]
    who = persona("amber")
    return directions(backend(), [who], OPENERS, seed=0)[who.prompt]


@given(st.integers(0, 1000), st.floats(-3, 3))
def test_no_projection_is_below_the_floor_and_the_rest_stays(seed: int, least: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, 3, 8, generator=generator, dtype=torch.float64)
    vector = torch.nn.functional.normalize(
        torch.randn(8, generator=generator, dtype=torch.float64), dim=0
    )
    after = apply_floor(hidden, vector, least, largest=float("inf"))
    before, now = hidden @ vector, after @ vector
    assert (now >= least - 1e-9).all()
    assert torch.allclose(now, before.clamp(min=least))
    rest = [h - (h @ vector)[..., None] * vector for h in (hidden, after)]
    assert torch.allclose(*rest)


def test_sinks_are_left_as_they_are_and_count_to_no_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    under, without = torch.randn(2, 1, 50, 8, generator=generator)
    plain = direction(under, without)
    sink = torch.full((1, 1, 8), 1000.0)
    with_sinks = direction(torch.cat([under, sink], 1), torch.cat([without, -sink], 1))
    assert torch.allclose(with_sinks.vectors, plain.vectors, atol=1e-5)
    hidden = torch.stack([sink[0, 0], under[0, 0]])
    after = apply_floor(
        hidden, -with_sinks.vectors[0], least=100, largest=float(with_sinks.largest[0])
    )
    assert torch.equal(after[0], hidden[0])
    assert after[1] @ -with_sinks.vectors[0] == pytest.approx(100, abs=1e-3)


def test_directions_are_units_and_thresholds_rise_with_the_quantile() -> None:
    own = persona_direction()
    assert torch.allclose(own.vectors.norm(dim=-1), torch.ones(len(own.vectors)))
    for layer in range(len(own.vectors)):
        rising = [own.threshold(layer, q) for q in (0.0, 0.25, 0.5, 0.95)]
        assert rising == sorted(rising)


def test_activations_are_the_layers_outputs_at_the_replys_tokens() -> None:
    model = tiny_models.model()
    chats = [
        tokenize_dialogue(backend().template, "Be brief.", ["Hi.", text])
        for text in ("Yes.", "Oh no!")
    ]
    outputs = activations(model, decoder_layers(model), chats)
    expected = []
    for chat in chats:
        hidden = model(torch.tensor([chat.ids]), output_hidden_states=True).hidden_states[1]
        expected.append(hidden[0, chat.start : -1])
    assert torch.allclose(outputs[0], torch.cat(expected), atol=1e-4)


def test_a_floor_below_everything_changes_nothing_and_a_high_one_does() -> None:
    model, ids = tiny_models.model(), torch.arange(5, 25)[None]
    layers, own = decoder_layers(model), persona_direction()
    before = model(ids).logits
    with cap_persona(model, layers, own, Setting((0, 1), 0.99))():
        high = model(ids).logits
    low = replace(own, projections=own.projections - 1e6)
    with cap_persona(model, layers, low, Setting((0, 1), 0.25))():
        assert torch.equal(model(ids).logits, before)
    assert not torch.equal(high, before)
    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("count", [1, 2, 6, 32])
def test_every_setting_names_layers_that_there_are(count: int) -> None:
    grid = settings(count)
    assert all(0 <= s.layers[0] <= s.layers[1] < count for s in grid)
    assert len({str(s) for s in grid}) == len(grid)
