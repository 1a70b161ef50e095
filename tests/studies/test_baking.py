"""Baking: what the adapter learns, and that the model itself is left as it was."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from baking import Recipe, bake, divergence, pairs, reply_logits, wearing

import tiny_models
from actors import persona
from holdfast.models.local.backend import LocalBackend

RECIPE = Recipe(rank=4, steps=8, batch=6, learning_rate=1e-2, rounds=1)
OPENERS = [f"What is {word}?" for word in ("tea", "rain", "bread", "snow", "music", "a lamp")]


@cache
def backend() -> LocalBackend:
    return LocalBackend(copy.deepcopy(tiny_models.model()), tiny_models.tokenizer(), "small")


@cache
def data(rounds: int = 1):  # type: ignore[no-untyped-def]
    recipe = Recipe(rounds=rounds)
    return pairs(backend(), persona("amber"), OPENERS, recipe, seed=0)


def test_every_reply_of_a_dialogue_is_learned_from() -> None:
    assert len(data()) == len(OPENERS)
    assert len(data(2)) == 2 * len(OPENERS)
    assert all(pair.prompted.reply == pair.bare.reply for pair in data(2))


def test_logits_are_those_that_predict_the_replys_tokens() -> None:
    model, chats = tiny_models.model(), [pair.bare for pair in data()]
    logits = reply_logits(model, chats)
    first = chats[0]
    alone = model(torch.tensor([first.ids])).logits[0]
    expected = alone[first.start - 1 : -1]
    assert torch.allclose(logits[: len(expected)], expected, atol=1e-4)
    assert len(logits) == sum(len(chat.reply) for chat in chats)


def test_divergence_is_the_mean_of_each_tokens() -> None:
    teacher, student = torch.randn(2, 5, 9, dtype=torch.float64)
    p, q = teacher.softmax(-1), student.softmax(-1)
    expected = (p * (p / q).log()).sum(-1).mean()
    assert divergence(teacher, student) == pytest.approx(expected.item())
    assert divergence(teacher, teacher) == pytest.approx(0)


def test_with_the_prompt_there_would_be_nothing_to_learn() -> None:
    chats = [pair.prompted for pair in data()]
    logits = reply_logits(tiny_models.model(), chats)
    assert divergence(logits, logits).item() == pytest.approx(0, abs=1e-6)
    bare = reply_logits(tiny_models.model(), [pair.bare for pair in data()])
    assert divergence(logits, bare).item() > 0.01


@pytest.mark.parametrize("student", ["without", "both"])
def test_an_adapter_comes_nearer_to_the_prompt_and_is_taken_off_again(student: str) -> None:
    model = copy.deepcopy(tiny_models.model())
    ids = torch.arange(5, 25)[None]
    before = model(ids).logits
    recipe = Recipe(student, 4, 8, 6, 1e-2, 1)  # type: ignore[arg-type]
    losses = bake(model, "one", data(), recipe)
    assert losses["last"] < losses["first"] * 0.9
    model.disable_adapters()
    assert torch.equal(model(ids).logits, before)
    with wearing(model, "one"):
        assert not torch.equal(model(ids).logits, before)
    assert torch.equal(model(ids).logits, before)


def test_personas_have_adapters_of_their_own() -> None:
    model = copy.deepcopy(tiny_models.model())
    ids = torch.arange(5, 25)[None]
    bake(model, "one", data(), RECIPE)
    with wearing(model, "one"):
        one = model(ids).logits
    bake(model, "two", data()[:3], RECIPE)
    with wearing(model, "two"):
        assert not torch.equal(model(ids).logits, one)
    with wearing(model, "one"):
        assert torch.equal(model(ids).logits, one)
