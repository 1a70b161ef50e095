"""Rotary frequencies that change with length: replies and shares are as if encoded at once."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Phi3Config, PreTrainedModel

from holdfast.control.steering import RowSteering
from holdfast.core.backend import Sampling
from holdfast.core.control import parse
from holdfast.core.errors import ControlError
from holdfast.models.engine.batch import Batch
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.likelihood import likelihoods
from holdfast.models.engine.request import Guide, Request, Spans
from tiny_models import GROUPED, WINDOW

CHANGE = 30  # tokens up to which frequencies are the short ones


@cache
def judge(window: int | None = None) -> PreTrainedModel:
    torch.manual_seed(0)
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "original_max_position_embeddings": CHANGE,
    }
    config = Phi3Config(
        **GROUPED,
        rope_parameters=rope,
        original_max_position_embeddings=CHANGE,
        sliding_window=window,
    )
    return AutoModelForCausalLM.from_config(config).double().eval()


def logits(ids: tuple[int, ...]) -> Tensor:
    """Those of the next token, all ids encoded at once."""
    with torch.no_grad():
        return judge()(torch.tensor([ids]), use_cache=False).logits[0, -1]


def extend(ids: tuple[int, ...], steps: int) -> tuple[int, ...]:
    for _ in range(steps):
        ids = (*ids, int(logits(ids).argmax()))
    return ids[-steps:]


@pytest.mark.parametrize("length", [20, CHANGE - 1, CHANGE, CHANGE + 1, CHANGE + 2])
def test_a_reply_may_cross_the_change(length: int) -> None:
    texts = [tuple(range(start, start + length)) for start in (100, 150)]
    results = Engine(judge()).generate([Request(ids, 0) for ids in texts], Sampling(15, 0.0))
    assert [r.ids for r in results] == [extend(ids, 15) for ids in texts]


def test_keys_from_before_the_change_are_not_used_after() -> None:
    subject, ids = Engine(judge()), tuple(range(100, 110))
    (first,) = subject.generate([Request(ids, 0)], Sampling(15, 0.0))
    long = (*ids, *first.ids, *range(100, 120))
    (second,) = subject.generate([Request(long, 0)], Sampling(15, 0.0))
    assert second.cached_tokens == 0
    assert second.ids == extend(long, 15)


def test_a_steered_and_measured_reply_crosses_it_as_the_rows_alone_do() -> None:
    ids, spans = tuple(range(100, 125)), Spans((3, 8), (0, 10))
    steering = RowSteering(parse("split-softmax:0.5"), *spans)
    request = Request(ids, 0, spans=spans, measure=True, steering=steering, state="half")
    (whole,) = Engine(judge()).generate([request], Sampling(12, 0.0))
    assert whole.share is not None and len(whole.share.tokens) == 12
    longer = Request((*ids, *whole.ids[:8]), 0, spans=spans, measure=True, steering=steering)
    (rest,) = Engine(judge()).generate([longer], Sampling(4, 0.0))
    assert rest.ids == whole.ids[8:] and rest.share is not None
    assert rest.share.tokens == pytest.approx(whole.share.tokens[8:], abs=2e-5)


def test_a_row_that_has_ended_changes_no_frequencies_of_its_neighbours() -> None:
    subject = Engine(judge())
    short = [tuple(range(start, start + 6)) for start in range(60, 72)]
    with subject.decoding():
        rows = [subject.row(Request(tuple(range(100, 128)), 0), Sampling(2, 0.0))]
        rows += [subject.row(Request(ids, 0), Sampling(12, 0.0)) for ids in short]
        batch = Batch(subject)
        batch.join(rows)
        while batch.advance():
            batch.pick()
    assert [tuple(row.reply) for row in rows[1:]] == [extend(ids, 12) for ids in short]


def test_the_share_of_a_long_chat_is_that_of_the_keys_in_the_window() -> None:
    """Its cache drops the first columns, so that keys are no longer where columns are."""
    model, ids = judge(WINDOW), tuple(range(100, 140))
    for span in ((2, 6), (32, 36)):
        request = Request(ids, 0, spans=Spans(span, span), measure=True)
        (result,) = Engine(model).generate([request], Sampling(5, 0.0))
        assert result.share is not None
        eager = AutoModelForCausalLM.from_config(model.config, attn_implementation="eager")
        eager.load_state_dict(model.state_dict())
        with torch.no_grad():
            whole = torch.tensor([[*ids, *result.ids]])
            layers = eager.double().eval()(whole, output_attentions=True).attentions
        weights = torch.stack(layers)[:, 0, :, len(ids) - 1 : -1, span[0] : span[1]]
        expected = weights.sum(-1).mean((0, 1)).tolist()
        assert result.share.tokens == pytest.approx(expected, abs=2e-5)


def test_the_chat_without_the_persona_is_scored_at_its_own_frequencies() -> None:
    texts = [tuple(range(start, start + 40)) for start in (100, 150)]
    bare = [texts[0][-CHANGE + 4 :], texts[1][-CHANGE - 5 :]]
    requests = [Request(a, 0, guide=Guide(b, 2.0)) for a, b in zip(texts, bare, strict=True)]
    scores = likelihoods(Engine(judge()), requests, [[(5,), (6,)]] * 2)
    for whole, without, row in zip(texts, bare, scores, strict=True):
        one, other = (logits(ids).log_softmax(-1) for ids in (whole, without))
        joint = (other + 2 * (one - other)).log_softmax(-1)
        assert row == pytest.approx(joint[[5, 6]].tolist(), abs=1e-4)


def test_guidance_is_refused_where_only_the_chat_without_the_persona_is_too_long() -> None:
    request = Request((5, 6, 7), 0, guide=Guide(tuple(range(100, 140)), 2.0))
    with pytest.raises(ControlError, match="rows of different lengths side by side"):
        Engine(judge()).generate([request], Sampling(4))
