"""One model in several states: each persona meets its own, and nothing else is touched."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from functools import cache

import pytest
import torch
from routed import (
    RoutedBackend,
    decoder_layers,
    exchanges,
    hook_layers,
    pad_right,
    system_of,
    tokenize_dialogue,
)

import tiny_models
from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import agent_view
from holdfast.core.errors import ModelError
from holdfast.models.local.backend import LocalBackend

SHORT = Sampling(max_new_tokens=8, temperature=0.0)


@cache
def backend(template: str = "chatml") -> LocalBackend:
    return LocalBackend(tiny_models.model(), tiny_models.tokenizer(template), "small", batch_size=4)


def shift(by: float) -> AbstractContextManager[None]:
    """A state: the first layer's output, scaled."""
    layers = decoder_layers(backend().engine.model)
    return hook_layers([(layers[0], lambda hidden: hidden * by)])


def ask(prompt: str | None, question: str = "Who are you?", seed: int = 1) -> Ask:
    return Ask(agent_view(prompt, (), question), seed)


def replies(model: RoutedBackend | LocalBackend, *asks: Ask) -> list[str]:
    return [reply.text for reply in model.reply(asks, SHORT)]


def test_each_prompt_meets_its_own_state_and_all_others_the_plain_model() -> None:
    plain = backend()
    agent = RoutedBackend(plain, {"A": lambda: shift(3.0), "B": lambda: shift(-2.0)})
    asks = [ask("B"), ask(None), ask("A"), ask("C"), ask("B", "And now?")]
    with shift(3.0):
        (a,) = replies(RoutedBackend(plain, {}), ask("A"))
    plain.forget()
    with shift(-2.0):
        b, last = replies(RoutedBackend(plain, {}), ask("B"), ask("B", "And now?"))
    plain.forget()
    none, c = replies(plain, ask(None), ask("C"))
    assert replies(agent, *asks) == [b, none, a, c, last]
    assert len({a, b, none}) == 3


def test_likelihoods_are_those_of_each_asks_state() -> None:
    agent = RoutedBackend(backend(), {"A": lambda: shift(3.0)})
    asks, options = [ask("A"), ask(None), ask("A", "And now?")], [["x"], ["y", "z"], ["x"]]
    under, plain, last = agent.likelihoods(asks, options)
    near = pytest.approx  # rows side by side differ in rounding
    assert plain == near(backend().likelihoods([ask(None)], [["y", "z"]])[0])
    assert under != near(backend().likelihoods([ask("A")], [["x"]])[0], rel=1e-3)
    assert last == near(agent.likelihoods([asks[2]], [["x"]])[0])


def test_keys_of_one_state_are_never_met_in_another() -> None:
    plain = backend()
    fresh = replies(plain, ask("A"))
    agent = RoutedBackend(plain, {"A": lambda: shift(3.0)})
    under = replies(agent, ask("A"))
    assert under != fresh
    assert replies(plain, ask("A")) == fresh
    assert replies(agent, ask("A")) == under


def test_the_prompt_can_be_left_to_the_state_alone() -> None:
    still = RoutedBackend(backend(), {"A": lambda: shift(1.0)}, prompted=False)
    assert replies(still, ask("A")) == replies(backend(), ask(None))


def test_hooks_are_gone_afterwards_even_after_an_error() -> None:
    model = copy.deepcopy(tiny_models.model())
    ids = torch.arange(5, 15)[None]
    before = model(ids).logits
    layers = decoder_layers(model)
    with pytest.raises(KeyError), hook_layers([(layer, torch.neg) for layer in layers]):
        assert not torch.equal(model(ids).logits, before)
        raise KeyError
    assert torch.equal(model(ids).logits, before)


def test_the_decoders_layers_are_found_in_order() -> None:
    for kind in ("llama", "gpt_neox"):
        layers = decoder_layers(tiny_models.model(kind))
        assert [layer for layer in tiny_models.model(kind).modules() if layer in layers] == layers
        assert len(layers) == tiny_models.SHAPE["num_hidden_layers"]


def test_a_replys_tokens_are_the_same_with_and_without_the_prompt() -> None:
    template = backend().template
    turns = ["Hello.", "I am Ann.", "Again?", "Ann, as I said."]
    with_, without = (
        tokenize_dialogue(template, "You are Ann.", turns),
        tokenize_dialogue(template, None, turns),
    )
    assert with_.reply == without.reply and with_.start > without.start
    text = template.tokenizer.decode(list(with_.reply))
    assert text.startswith("Ann, as I said.")


def test_a_template_that_hides_part_of_a_reply_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be told apart"):
        tokenize_dialogue(backend("forgetful").template, None, ["Hello.", "One ~ two"])


def test_rows_are_filled_on_the_right_and_masked() -> None:
    rows = [tokenize_dialogue(backend().template, None, ["Hi.", text]) for text in ("a", "abc")]
    ids, mask = pad_right(rows)
    assert mask.sum(1).tolist() == [len(row.ids) for row in rows]
    assert all(ids[i, : len(row.ids)].tolist() == list(row.ids) for i, row in enumerate(rows))


def test_dialogues_hold_the_models_own_replies_round_after_round() -> None:
    openers = ["One?", "Two?", "Three?", "Four?"]
    dialogues = exchanges(backend(), "You are Ann.", openers, 2, seed=0)
    assert [turns[0] for turns in dialogues] == openers
    assert [turns[2] for turns in dialogues] == ["Three?", "Four?", "One?", "Two?"]
    assert all(len(turns) == 4 for turns in dialogues)
    assert dialogues == exchanges(backend(), "You are Ann.", openers, 2, seed=0)


def test_the_system_prompt_of_a_chat_is_its_first_message_or_none() -> None:
    assert system_of(agent_view("A", (), "?")) == "A"
    assert system_of(agent_view(None, (), "?")) is None
