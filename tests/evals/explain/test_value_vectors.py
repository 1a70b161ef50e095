"""Value vectors are the model's own, and the sets of a round are what was in view then."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from actors import persona
from holdfast.core.backend import Sampling
from holdfast.core.control import NONE, parse
from holdfast.core.errors import ModelError
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.explain.intrinsic_dimension import dimension
from holdfast.evals.explain.value_vectors import (
    VectorSet,
    conversation_dimensions,
    dimension_array,
    prefix_dimensions,
    probe_ask,
    tokens_in_view,
)
from holdfast.models.engine.request import Request
from holdfast.models.local.backend import LocalBackend
from tiny_models import model, tokenizer

PLAN = Conversation(0, persona("amber"), persona("birch"), "Hello.", 7)
TURNS = ["Hello.", "amber, I say", "And you?", "amber once more"]
COUNTS = {"few": 12, "many": 30}


def backend(kind: str = "llama") -> LocalBackend:
    return LocalBackend(model(kind), tokenizer(), kind)


def project_values(subject: LocalBackend, ids: tuple[int, ...]) -> list[torch.Tensor]:
    """What the model's own value projections give, seen by hooks in one plain pass."""
    values: list[torch.Tensor] = []

    def note(_: Any, __: Any, out: torch.Tensor) -> None:
        values.append(out[0].float())

    inner = subject.engine.model
    layers = [m for name, m in inner.named_modules() if name.endswith("v_proj")]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.inference_mode():
            inner(torch.tensor([ids]))
    finally:
        for hook in hooks:
            hook.remove()
    return values


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral", "gemma3", "gemma2"])
def test_values_are_those_of_the_models_value_projections(kind: str) -> None:
    subject = backend(kind)
    probe = probe_ask(PLAN, TURNS, 2, NONE)
    expected = project_values(subject, subject.ids(probe))
    for _ in range(2):  # computed, then read from what is kept
        for value, own in zip(subject.values(probe), expected, strict=True):
            assert value.shape == own.shape and torch.allclose(value, own, atol=1e-4)


def test_values_under_a_control_are_what_it_left_of_them() -> None:
    # In float64, since two parts and one attention round differently, by a last bit of values.
    subject = LocalBackend(copy.deepcopy(model("llama")).double(), tokenizer(), "llama")
    plain = subject.values(probe_ask(PLAN, TURNS, 2, NONE))
    split = subject.values(probe_ask(PLAN, TURNS, 2, parse("split-softmax:0.3")))
    span = subject.template.render(probe_ask(PLAN, TURNS, 2, NONE).chat).content
    assert span is not None
    assert torch.allclose(split[0], plain[0], atol=1e-6)
    assert torch.allclose(split[1][: span[1]], plain[1][: span[1]], atol=1e-6)
    assert not torch.allclose(split[1], plain[1], atol=1e-3)


def test_values_that_there_is_no_room_for_are_refused() -> None:
    subject = LocalBackend(model("llama"), tokenizer(), "small", cache_bytes=100)
    with pytest.raises(ModelError, match="value vectors of 9 tokens of small cannot be read"):
        subject.engine.values(Request(tuple(range(20, 29)), 0))


def test_what_is_in_view_ends_where_the_probe_begins() -> None:
    subject = backend()
    tokens = tokens_in_view(subject, PLAN, TURNS, NONE)
    ids = [subject.ids(probe_ask(PLAN, TURNS, r, NONE)) for r in range(3)]
    texts = [subject.tokenizer.decode(i[:n]) for i, n in zip(ids, tokens, strict=True)]
    assert texts[0].endswith("user\n") and PLAN.agent.prompt in texts[0]
    assert texts[1].startswith(texts[0]) and "amber, I say" in texts[1]
    assert texts[2].startswith(texts[1]) and texts[2].endswith("user\n")
    near = tokens_in_view(subject, PLAN, TURNS, parse("window:1"))
    assert near == [tokens[0]] * 3


def test_what_is_in_view_under_a_control_is_the_conversations_own_chat() -> None:
    subject = backend()
    plan = replace(PLAN, agent=replace(PLAN.agent, authors_note="Say amber more often."))
    with_note = tokens_in_view(subject, plan, TURNS, parse("note:2"))
    ids = subject.ids(probe_ask(plan, TURNS, 2, parse("note:2")))
    text = subject.tokenizer.decode(ids[: with_note[2]])
    assert text.count("Say amber more often.") == 1 and text.count(PLAN.agent.prompt) == 1
    turns = ["Hello.", "amber", "And you?", "amber", "And now?", "nothing", "So?", "nothing"]
    after_slip = tokens_in_view(subject, PLAN, turns, parse("auto:window:1"))
    assert after_slip[-1] < tokens_in_view(subject, PLAN, turns, NONE)[-1]


def test_a_conversations_sets_are_counted_with_all_and_with_equal_numbers_of_vectors() -> None:
    subject = backend()
    record = conversation_dimensions(subject, PLAN, TURNS, NONE, COUNTS)
    assert record.tokens == tokens_in_view(subject, PLAN, TURNS, NONE)
    values = subject.values(probe_ask(PLAN, TURNS, 1, NONE))
    first = dimension(values[0].numpy()[: record.tokens[1]])
    assert record.rounds[1]["all"][0] == pytest.approx(first, abs=1e-3)
    for r, n in enumerate(record.tokens):
        for name, count in COUNTS.items():
            for value, _ in record.rounds[r][name]:
                assert np.isnan(value) if n < count else 1 <= value <= count - 1
    assert record == conversation_dimensions(subject, PLAN, TURNS, NONE, COUNTS)


def test_shuffled_tokens_are_the_same_tokens_after_the_system_message() -> None:
    subject = backend()
    own = conversation_dimensions(subject, PLAN, TURNS, NONE, COUNTS)
    other = prefix_dimensions(subject, PLAN, TURNS, own.tokens, COUNTS, "shuffled", shuffle=True)
    assert other.tokens == own.tokens
    # Values of the first layer know their token alone, so that all of them are the same set.
    assert other.rounds[2]["all"][0] == pytest.approx(own.rounds[2]["all"][0], abs=1e-3)
    assert other.rounds[0] == own.rounds[0]
    assert other.rounds[2]["all"][1] != own.rounds[2]["all"][1]


def test_a_conversation_that_is_shorter_gives_as_many_vectors_as_it_has() -> None:
    subject = backend()
    record = prefix_dimensions(subject, PLAN, TURNS[:2], [5, 10_000], COUNTS, "no persona")
    whole = len(subject.ids(probe_ask(PLAN, TURNS[:2], 1, NONE)))
    assert record.tokens == [5, whole]


def test_counts_come_back_from_records_by_conversation_with_gaps_where_there_are_none() -> None:
    rounds = [{"few": [[2.0, 1.0]], "all": [[3.0, 2.0]]}, {"few": [[None, None]], "all": [[4, 3]]}]
    array = dimension_array([VectorSet("none", 9, [5, 9], rounds)], [4, 9], "few", 2)
    assert array.shape == (2, 3, 1, 2)
    assert array[1, 0, 0].tolist() == [2.0, 1.0]
    assert np.isnan(array[0]).all() and np.isnan(array[1, 1:]).all()


def test_reading_values_asks_for_no_reply_that_is_kept() -> None:
    subject = backend()
    subject.values(probe_ask(PLAN, TURNS, 1, NONE))
    probe = probe_ask(PLAN, TURNS, 1, NONE)
    fresh = backend().reply([probe], Sampling(max_new_tokens=5))
    assert subject.reply([probe], Sampling(max_new_tokens=5))[0].text == fresh[0].text
