"""Log-likelihoods of given replies against a plain forward pass."""

from __future__ import annotations

import pytest
import torch

from holdfast.api import ApiBackend
from holdfast.backend import Ask
from holdfast.chat import agent_view
from holdfast.errors import ServiceError
from holdfast.local import LocalBackend
from models import model, tokenizer

OPTIONS = ["yes", "no", "perhaps so"]


def backend(batch_size: int = 8) -> LocalBackend:
    exact = model(dtype=torch.float64)
    return LocalBackend(exact, tokenizer(), "tiny", batch_size=batch_size)


def asks(control: str = "none") -> list[Ask]:
    views = [
        agent_view("Be a pirate.", ["Hi", "Ho", "Is it so?"]),
        agent_view("Be brief.", ["Is it?"]),
        agent_view(None, ["Well?"]),
    ]
    return [Ask(view, 0, control) for view in views]


def test_a_score_is_the_sum_of_the_log_probabilities_of_its_tokens() -> None:
    subject = backend()
    found = subject.likelihoods(asks(), [OPTIONS] * 3)
    for ask, scores in zip(asks(), found, strict=True):
        ids = list(subject.template.render(ask.chat).ids)
        for option, score in zip(OPTIONS, scores, strict=True):
            tail = subject.tokenizer(option)["input_ids"]
            with torch.inference_mode():
                logs = subject.engine.model(torch.tensor([ids + tail])).logits[0].log_softmax(-1)
            at = range(len(ids) - 1, len(ids) + len(tail) - 1)
            expected = sum(float(logs[i, token]) for i, token in zip(at, tail, strict=True))
            assert score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("control", ["boost:4", "anchor", "guidance:2", "reminder:1"])
def test_scores_are_taken_under_the_control_whatever_the_batch(control: str) -> None:
    together = backend().likelihoods(asks(control), [OPTIONS] * 3)
    single = backend(batch_size=1).likelihoods(asks(control), [OPTIONS] * 3)
    for a, b in zip(together, single, strict=True):
        assert a == pytest.approx(b, abs=1e-4)
    plain = backend().likelihoods(asks(), [OPTIONS] * 3)
    assert abs(together[0][0] - plain[0][0]) > 1e-3
    assert together[2] == pytest.approx(plain[2], abs=1e-4)  # a chat without a persona


def test_an_api_refuses_with_a_sentence() -> None:
    with pytest.raises(ServiceError, match="score by generation"):
        ApiBackend("m", base_url="http://127.0.0.1:1/v1").likelihoods(asks(), [OPTIONS] * 3)
