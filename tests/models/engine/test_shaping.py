"""Logits are changed as vLLM and transformers define it, each row for itself."""

from __future__ import annotations

import pytest
import torch
from transformers import MinPLogitsWarper, RepetitionPenaltyLogitsProcessor

from holdfast.core.backend import Sampling
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.request import Request
from holdfast.models.engine.shaping import Shaper, Shaping, make_shaper
from tiny_models import model

PROMPT = (5, 9, 9, 3)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(model("llama", dtype=torch.float64), name="small", batch_size=4)


def logits(seed: int = 0, size: int = 50) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 3


def test_min_p_keeps_what_transformers_keeps() -> None:
    x, temperature = logits(), 0.7
    result = Shaper(Shaping(min_p=0.2), temperature, PROMPT)(x, [])
    there = MinPLogitsWarper(0.2)(torch.zeros(1, 0, dtype=torch.long), x[None] / temperature)[0]
    assert torch.equal(torch.isfinite(result), torch.isfinite(there))
    assert 0 < int(torch.isfinite(result).sum()) < len(x)


def test_the_repetition_penalty_counts_prompt_and_reply_as_transformers_does() -> None:
    x, reply = logits(1), [7, 7, 2]
    change = Shaper(Shaping(repetition_penalty=1.3), 1.0, PROMPT)
    change(x, reply[:1])
    result = change(x, reply)
    there = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([[*PROMPT, *reply]]), x[None])[0]
    assert torch.allclose(result, there)


def test_frequency_counts_and_presence_does_not_and_the_prompt_is_in_neither() -> None:
    x = logits(2)
    result = Shaper(Shaping(frequency_penalty=0.5, presence_penalty=0.25), 1.0, PROMPT)(
        x, [7, 7, 2]
    )
    assert result[7] == pytest.approx(float(x[7]) - 1.25)
    assert result[2] == pytest.approx(float(x[2]) - 0.75)
    same = [i for i in range(len(x)) if i not in (2, 7)]
    assert torch.equal(result[same], x[same])


def test_a_row_that_wants_nothing_has_no_shaper() -> None:
    assert make_shaper(None, 1.0, PROMPT, None) is None
    assert make_shaper(Shaping(), 1.0, PROMPT, None) is None


def test_a_shaped_row_does_not_change_its_neighbours(engine: Engine) -> None:
    sampling = Sampling(12, temperature=1.0, top_p=1.0)
    plain = [Request(PROMPT, seed) for seed in (1, 2)]
    other = Request(PROMPT, 1, shaping=Shaping(presence_penalty=2.0, repetition_penalty=2.0))
    alone = engine.generate(plain, sampling)
    beside = engine.generate([plain[0], other, plain[1]], sampling)
    assert [one.ids for one in alone] == [beside[0].ids, beside[2].ids]
    assert beside[1].ids != beside[0].ids


def test_a_strong_penalty_lets_no_greedy_reply_repeat_itself(engine: Engine) -> None:
    greedy = Sampling(30, temperature=0.0)
    request = Request(PROMPT, 0, shaping=Shaping(presence_penalty=1e4))
    (reply,) = engine.generate([request], greedy)
    assert len(set(reply.ids)) == len(reply.ids) == 30
    (plain,) = engine.generate([Request(PROMPT, 0)], greedy)
    assert len(set(plain.ids)) < 30


def test_log_probabilities_are_those_of_the_model(engine: Engine) -> None:
    request = Request(PROMPT, 0, logprobs=0, shaping=Shaping(presence_penalty=1e4))
    (reply,) = engine.generate([request], Sampling(8, temperature=0.0))
    assert all(one.value > -50 for one in reply.logprobs)


def test_a_grammar_without_a_tokenizer_is_an_error(engine: Engine) -> None:
    with pytest.raises(ValueError, match="no tokenizer"):
        engine.generate([Request(PROMPT, 0, shaping=Shaping(grammar="start: /a/"))], Sampling(4))
