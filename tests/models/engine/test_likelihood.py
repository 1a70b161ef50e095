"""Log-likelihoods of given replies against a plain forward pass, and under controls."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Lfm2Config, LlamaConfig, PreTrainedModel

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import agent_view
from holdfast.core.control import parse
from holdfast.core.errors import ModelError, ServiceError
from holdfast.models.api.client import ApiBackend
from holdfast.models.engine.likelihood import likelihoods
from holdfast.models.engine.request import Guide, Request
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.hold.hold import hold
from tiny_models import CONFIGS, GROUPED, ODD_CONFIGS, VOCABULARY, model, tokenizer

OPTIONS = ["yes", "no", "yes, perhaps", "nowhere", "n"]
LETTERS = "ABCD"
PERSONA = "Be a pirate."
CONTROLS = [
    "split-softmax:0.4",
    "boost:4",
    "restore:1",
    "spotlight:0.5",
    "anchor",
    "anchor+boost:3",
]
VIEWS = [
    agent_view(PERSONA, ["Hi", "Ho", "Is it so?"]),
    agent_view("Be brief.", ["Is it?"]),
    agent_view(None, ["Well?"]),
]


def backend(
    batch_size: int = 8, judge: PreTrainedModel | None = None, **options: Any
) -> LocalBackend:
    exact = judge or model(dtype=torch.float64)
    return LocalBackend(exact, tokenizer(), "tiny", batch_size=batch_size, **options)


def asks(control: str = "none") -> list[Ask]:
    return [Ask(view, 0, parse(control)) for view in VIEWS]


def plain(subject: LocalBackend, ask: Ask, option: str) -> float:
    """The definition: one row, one forward pass of transformers, no padding."""
    ids, tail = subject.template.render(ask.chat).ids, subject.tokenizer(option)["input_ids"]
    with torch.inference_mode():
        logits = subject.engine.model(torch.tensor([[*ids, *tail]])).logits[0]
    logs = logits[len(ids) - 1 : -1].log_softmax(-1)
    return float(sum(logs[i, token] for i, token in enumerate(tail)))


def close(a: Any, b: Any) -> None:
    assert a == [pytest.approx(row, abs=2e-4) for row in b]


@pytest.mark.parametrize("kind", [*CONFIGS, *ODD_CONFIGS])
def test_a_score_is_the_sum_of_the_log_probabilities_of_its_tokens(kind: str) -> None:
    subject = backend(judge=model(kind))
    scores = subject.likelihoods(asks(), [OPTIONS] * 3)
    close(scores, [[plain(subject, ask, option) for option in OPTIONS] for ask in asks()])


@pytest.mark.parametrize("control", CONTROLS)
def test_under_a_control_scores_are_those_of_a_held_model(control: str) -> None:
    subject, ask = backend(), asks(control)[0]
    scores = subject.likelihoods([ask], [OPTIONS])
    with hold(subject.engine.model, control, PERSONA, tokenizer=subject.tokenizer):
        close(scores, [[plain(subject, ask, option) for option in OPTIONS]])
    assert abs(scores[0][0] - plain(subject, ask, OPTIONS[0])) > 1e-3


@pytest.mark.parametrize("control", [*CONTROLS, "guidance:2", "anchor+guidance:1.5", "reminder:1"])
def test_a_score_does_not_depend_on_the_batch(control: str) -> None:
    together = backend().likelihoods(asks(control), [OPTIONS] * 3)
    close(together, backend(batch_size=1).likelihoods(asks(control), [OPTIONS] * 3))
    # A chat without a persona is left alone.
    close([together[2]], [backend().likelihoods(asks(), [OPTIONS] * 3)[2]])


@pytest.mark.parametrize("control", ["none", "guidance:2", "boost:4", "anchor", "window:1"])
def test_the_likeliest_token_is_the_one_that_greedy_decoding_takes(control: str) -> None:
    subject = backend()
    requests = [subject.request(ask) for ask in asks(control)]
    every = [[(token,) for token in range(VOCABULARY)]] * 3
    scores = likelihoods(subject.engine, requests, every)
    assert [math.fsum(map(math.exp, row)) for row in scores] == [pytest.approx(1, abs=1e-5)] * 3
    results = subject.engine.generate(requests, Sampling(max_new_tokens=1, temperature=0))
    assert [row.index(max(row)) for row in scores] == [result.ids[0] for result in results]


def test_guidance_scores_by_the_joint_distribution() -> None:
    subject = backend()
    (request,) = (subject.request(ask) for ask in asks("guidance:2")[:1])
    bare = subject.request(Ask(VIEWS[0][1:], 0))
    every = [[(token,) for token in range(VOCABULARY)]]
    with_, without, joint = (
        torch.tensor(likelihoods(subject.engine, [r], every)[0])
        for r in (subject.request(asks()[0]), bare, request)
    )
    expected = (without + 2 * (with_ - without)).log_softmax(-1)
    assert torch.allclose(joint, expected, atol=1e-4)


def test_all_letters_of_a_chat_cost_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, shapes = backend(), []
    forward = subject.engine.model.forward

    def record(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        shapes.append((kwargs["input_ids"].shape[0], output.logits.shape[1]))
        return output

    monkeypatch.setattr(subject.engine.model, "forward", record)
    subject.likelihoods(asks(), [LETTERS] * 3)
    assert shapes == [(3, 1)]


def test_a_model_with_a_state_of_its_own_is_scored_without_padding() -> None:
    torch.manual_seed(0)
    judge = AutoModelForCausalLM.from_config(
        Lfm2Config(**GROUPED, layer_types=["conv", "full_attention"])
    )
    subject = backend(judge=judge.eval())
    scores = subject.likelihoods(asks(), [OPTIONS] * 3)
    close(scores, [[plain(subject, ask, option) for option in OPTIONS] for ask in asks()])


def test_what_does_not_fit_the_context_has_no_likelihood() -> None:
    subject = backend()
    full = len(subject.request(asks()[0]).ids) + 2  # an option's token and one that ends it
    subject.engine.context = full
    scores = subject.likelihoods(asks()[:2], [LETTERS, LETTERS])
    assert all(map(math.isfinite, scores[0] + scores[1]))
    subject.engine.context = full - 1
    scores = subject.likelihoods(asks()[:2], [LETTERS, LETTERS])
    assert scores[0] == [-math.inf] * 4 and all(map(math.isfinite, scores[1]))


def test_a_chat_without_the_persona_that_does_not_fit_has_no_likelihood() -> None:
    """A template may put a longer prompt of its own in the persona's place."""
    subject = backend().engine
    context = subject.context
    assert context is not None
    options = [[(5,), (6,)]]
    for length, fits in ((context - 2, True), (context - 1, False)):
        request = Request((5, 6, 7), 0, guide=Guide((8,) * length, 1.5))
        (scores,) = likelihoods(subject, [request], options)
        assert all(map(math.isfinite, scores)) == fits


def test_a_tokenizer_of_another_model_is_an_error() -> None:
    small = AutoModelForCausalLM.from_config(LlamaConfig(**(GROUPED | {"vocab_size": 100})))
    subject = LocalBackend(small, tokenizer(), "tiny")
    with pytest.raises(ModelError, match="the tokenizer belongs to another model"):
        subject.likelihoods(asks()[:1], [LETTERS])


def test_a_full_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = backend()

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(subject.engine.model, "forward", full)
    with pytest.raises(ModelError, match="the memory of cpu is full"):
        subject.likelihoods(asks()[:1], [LETTERS])


def test_logits_that_are_no_numbers_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = backend()
    forward = subject.engine.model.forward

    def broken(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits[:] = torch.nan
        return output

    monkeypatch.setattr(subject.engine.model, "forward", broken)
    with pytest.raises(ModelError, match="not finite"):
        subject.likelihoods(asks(), [LETTERS] * 3)


def test_no_option_is_empty() -> None:
    with pytest.raises(ValueError, match="so does each option"):
        backend().likelihoods(asks()[:1], [["yes", ""]])
    assert backend().likelihoods((), ()) == []


def test_an_api_refuses_with_a_sentence() -> None:
    with pytest.raises(ServiceError, match="score by generation"):
        ApiBackend("m", base_url="http://127.0.0.1:1/v1").likelihoods(asks(), [OPTIONS] * 3)
