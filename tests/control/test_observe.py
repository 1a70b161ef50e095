"""Prompt share against the attention weights that transformers itself reports."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, FalconConfig, LlamaConfig, PreTrainedModel

from holdfast.control import steered_pass
from holdfast.control.kernels import apply_weights
from holdfast.control.observe import fused_attention, recording
from holdfast.control.recorder import Recorder
from holdfast.control.reference_attention import reference_weights
from holdfast.control.steered_pass import SteeredPass
from holdfast.control.steering import RowSteering, Steering
from holdfast.control.switch import FUSED, attention_for
from holdfast.core.backend import Sampling, Share
from holdfast.core.control import parse
from holdfast.models.engine.batch import Batch
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.request import Continuation, Request, Spans, result_of
from tiny_models import CONFIGS, GROUPED, ODD_CONFIGS, SHAPE, VOCABULARY, WINDOW, model

SAMPLING = Sampling(max_new_tokens=12)
SPANS = Spans(content=(3, 8), template=(0, 10))


def batch(count: int = 5, measure: bool = True) -> list[Request]:
    rng = random.Random(3)
    return [
        Request(
            tuple(rng.randrange(12, VOCABULARY) for _ in range(rng.randrange(11, 30))),
            seed,
            spans=SPANS,
            measure=measure,
        )
        for seed in range(count)
    ]


def read_shares(judge: PreTrainedModel, request: Request, result: Continuation) -> torch.Tensor:
    """π by query, span, layer and head from `output_attentions`, all in one plain pass."""
    ids = torch.tensor([[*request.ids, *result.ids]])
    # A copy, since transformers leaves hooks on a model that has returned its attentions.
    judge = copy.deepcopy(judge)
    judge.set_attn_implementation("eager")
    with torch.no_grad():
        layers = judge(ids, output_attentions=True).attentions
    first = len(request.ids) - 1
    weights = torch.stack([layer[0, :, first : first + result.steps] for layer in layers])
    parts = [weights[..., a:b].sum(-1) for a, b in SPANS]
    return torch.stack(parts).permute(3, 0, 1, 2)


@pytest.mark.parametrize("kind", [*CONFIGS, *ODD_CONFIGS])
def test_share_is_the_eager_attentions_own(kind: str) -> None:
    judge = model(kind)
    subject = Engine(judge, batch_size=5)
    requests = batch()
    for request, result in zip(requests, subject.generate(requests, SAMPLING), strict=True):
        pi = read_shares(judge, request, result)
        share = result.share
        assert share is not None
        close(share.heads, pi[:, 0].mean(0))
        close(share.heads_template, pi[:, 1].mean(0))
        close(share.tokens, pi[:, 0].mean((1, 2)))
        assert (share.span, share.length) == (5, len(request.ids))


def close(value: object, expected: torch.Tensor, atol: float = 1e-5 + 5e-6) -> None:
    assert torch.allclose(torch.tensor(value), expected, atol=atol)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "gemma2"])
def test_measuring_changes_no_token(kind: str) -> None:
    plain = Engine(model(kind), batch_size=5).generate(batch(measure=False), SAMPLING)
    results = Engine(model(kind), batch_size=5).generate(batch(), SAMPLING)
    assert [r.ids for r in plain] == [r.ids for r in results]
    assert all(r.share is None for r in plain)


@pytest.mark.parametrize("kind", [*CONFIGS, *ODD_CONFIGS])
def test_under_a_share_function_the_share_after_is_that_function_of_the_share_before(
    kind: str,
) -> None:
    once = Sampling(max_new_tokens=1)  # one query, so that means are the values themselves
    requests = steer_batch("split-softmax:0.5")
    plain = Engine(model(kind), batch_size=5).generate(batch(), once)
    for request, result, bare in zip(
        requests, Engine(model(kind), batch_size=5).generate(requests, once), plain, strict=True
    ):
        assert result.share and result.share.heads_before and bare.share
        before = torch.tensor(result.share.heads_before)
        close(result.share.heads, torch.where(before > 0, before.sqrt(), before), atol=2e-3)
        # Nothing before the first layer's attention is under control.
        close(result.share.heads_before[0], torch.tensor(bare.share.heads[0]))
        assert bare.share.heads_before is None and len(request.ids) == result.share.length


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_under_anchor_the_share_before_is_that_of_the_persona_where_it_was(kind: str) -> None:
    once = Sampling(max_new_tokens=1)
    results = Engine(model(kind), batch_size=5).generate(steer_batch("anchor"), once)
    plain = Engine(model(kind), batch_size=5).generate(batch(), once)
    for result, bare in zip(results, plain, strict=True):
        assert result.share and result.share.heads_before and bare.share
        close(result.share.heads_before[0], torch.tensor(bare.share.heads[0]))
        assert result.share.heads != result.share.heads_before


def steer_batch(control: str) -> list[Request]:
    """The batch under a control, each row's last token a turn of its own."""
    return [
        replace(
            request,
            steering=RowSteering(parse(control), *SPANS, (len(request.ids) - 1,)),
            state=control,
        )
        for request in batch()
    ]


def test_share_of_a_fork_is_that_of_the_whole() -> None:
    subject = Engine(model("llama"))
    whole = subject.generate(batch(), SAMPLING)
    fork = subject.generate(batch(), SAMPLING)
    assert all(r.cached_tokens > 0 for r in fork)
    for a, b in zip(whole, fork, strict=True):
        assert a.share is not None and b.share is not None
        close(a.share.heads, torch.tensor(b.share.heads))


def test_share_survives_rows_that_leave_the_batch() -> None:
    judge, requests = model("llama"), batch(8)
    free = Engine(judge, batch_size=8).generate(requests, SAMPLING)
    ends = frozenset(r.ids[i] for i, r in enumerate(free))
    for request, result in zip(
        requests, Engine(judge, batch_size=8).generate(requests, SAMPLING, ends), strict=True
    ):
        assert result.share is not None
        assert len(result.share.tokens) == result.steps
        close(result.share.heads, read_shares(judge, request, result)[:, 0].mean(0))


def test_a_window_that_has_left_the_prompt_behind_gives_it_nothing() -> None:
    ids = tuple(range(12, 12 + SPANS.template[1] + WINDOW))
    (result,) = Engine(model("mistral")).generate(
        [Request(ids, 0, spans=SPANS, measure=True)], SAMPLING
    )
    assert result.share is not None
    assert set(sum(result.share.heads, ())) == {0.0}


def test_rows_without_a_system_prompt_have_no_share() -> None:
    requests = [*batch(2), Request((20, 21, 22), 0, measure=True)]
    results = Engine(model("llama")).generate(requests, SAMPLING)
    assert [r.share is None for r in results] == [False, False, True]


def test_a_share_is_plain_rounded_numbers() -> None:
    (result,) = Engine(model("llama")).generate(batch(1), SAMPLING)
    share = result.share
    assert isinstance(share, Share)
    flat = [*share.tokens, *sum(share.heads, ()), *sum(share.heads_template, ())]
    assert all(type(x) is float and x == round(x, 5) and 0 <= x <= 1 for x in flat)
    shape = (len(share.heads), len(share.heads[0]), len(share.tokens))
    assert shape == (SHAPE["num_hidden_layers"], SHAPE["num_attention_heads"], 12)


def test_what_cannot_be_observed_says_why() -> None:
    falcon = AutoModelForCausalLM.from_config(FalconConfig(**SHAPE))
    assert attention_for(falcon) == (
        None,
        "FalconForCausalLM does not let its attention be observed",
    )
    (result,) = Engine(falcon).generate(batch(1), SAMPLING)
    assert result.share is None
    flex = LlamaConfig(**GROUPED, attn_implementation="flex_attention")
    kind, why = attention_for(AutoModelForCausalLM.from_config(flex))
    assert kind is None
    assert why is not None and why.endswith("load the model with `sdpa`")


@pytest.mark.parametrize("masked", [False, True])
def test_the_observed_attention_equals_sdpa(masked: bool) -> None:
    """A user may leave it switched on: padding and grouped heads included."""
    judge = model("qwen3")
    ids = torch.randint(12, VOCABULARY, (3, 14), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    if masked:
        mask[1, :5] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    run = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    with torch.no_grad():
        expected = judge(**run).logits
        before = judge.config._attn_implementation
        judge.set_attn_implementation(FUSED)
        try:
            logits = judge(**run).logits
        finally:
            judge.set_attn_implementation(before)
    real = mask.bool()
    assert torch.allclose(logits[real], expected[real], atol=1e-4)


def test_weights_of_the_last_query_are_a_softmax() -> None:
    query, key = torch.randn(2, 4, 3, 8), torch.randn(2, 2, 7, 8)
    mask = torch.ones(2, 1, 3, 7, dtype=torch.bool)
    mask[1, :, :, :4] = False
    weights = reference_weights(query[:, :, -1:], key, mask[:, :, -1:])[0][:, :, 0]
    assert weights.shape == (2, 4, 7)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4))
    assert not weights[1, :, :4].any()
    scores = query[0, 3, -1] @ key[0, 1].T / 8**0.5
    assert torch.allclose(weights[0, 3], scores.softmax(-1), atol=1e-6)


def test_a_long_row_that_ends_early_takes_no_share_from_its_neighbours() -> None:
    """When it leaves, the others move to the left, and go on being measured."""
    subject = Engine(model("llama"), batch_size=8)
    batch = Batch(subject)
    with subject.decoding():
        rows = [
            subject.row(
                Request((20,) * length, seed, spans=Spans((2, 9), (0, 10)), measure=True),
                Sampling(4 if length == 300 else 40),
            )
            for seed, length in enumerate((20, 24, 300))
        ]
        batch.join(rows)
        while batch.advance():
            batch.pick()
    for row in rows:
        share = result_of(row).share
        assert share is not None and len(share.tokens) == row.steps


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("heads", [1, 6])
def test_one_narrow_query_is_attended_to_by_heads_that_share_keys(masked: bool, heads: int) -> None:
    torch.manual_seed(0)
    module: Any = SimpleNamespace(layer_idx=0, is_causal=True, num_key_value_groups=3)
    query, key, value = (
        torch.randn(2, n, length, 16, dtype=torch.bfloat16)
        for n, length in ((6, 1), (2, 9), (2, 9))
    )
    mask = torch.zeros(2, heads, 1, 9, dtype=torch.bfloat16)
    mask[1, :, :, :4] = -torch.inf
    output, _ = fused_attention(module, query, key, value, mask if masked else None)
    weights = reference_weights(query, key, mask if masked else None)[0]
    expected = apply_weights(weights, value.float()).transpose(1, 2)
    assert output.shape == (2, 1, 6, 16)
    assert torch.allclose(output.float(), expected, atol=0.03)


@pytest.mark.parametrize("masked", [False, True])
def test_the_share_of_a_narrow_query_is_that_of_its_weights(masked: bool) -> None:
    torch.manual_seed(1)
    module: Any = SimpleNamespace(layer_idx=0, is_causal=True, num_key_value_groups=3)
    query, key, value = (
        torch.randn(2, n, length, 16, dtype=torch.bfloat16)
        for n, length in ((6, 1), (2, 9), (2, 9))
    )
    mask = None
    if masked:
        mask = torch.zeros(2, 1, 1, 9, dtype=torch.bfloat16)
        mask[1, :, :, :4] = -torch.inf
    starts, ends = torch.tensor([[2, 5], [1, 0]]), torch.tensor([[4, 8], [8, 0]])
    recorder = Recorder(starts, ends)
    for columns in (8, 9):  # the keys gathered in the first pass serve the second
        recorder.begin(columns)
        with recording(recorder):
            visible = None if mask is None else mask[..., :columns]
            fused_attention(module, query, key[:, :, :columns], value[:, :, :columns], visible)
        weights = reference_weights(query, key[:, :, :columns], visible)[0][:, :, 0]
        share = recorder.result()[0, :, :, 0]
        for span in (0, 1):
            for row in (0, 1):
                inside = slice(int(starts[span, row]), int(ends[span, row]))
                expected = weights[row, :, inside].sum(-1)
                assert torch.allclose(share[span, row], expected, atol=2e-3)


def conversations(text: str) -> list[Request]:
    """Three turns under a control in rows of several lengths, and a row that is left alone."""
    return [
        replace(
            request,
            ids=request.ids * 2,
            steering=RowSteering(parse(text), *SPANS, (10, 14, 20), (12, 17)) if i else None,
            state=text,
        )
        for i, request in enumerate(batch(4))
    ]


@pytest.mark.parametrize(
    "dtype, atol, text",
    [
        (torch.float32, 2e-5, "split-softmax:0.4"),
        (torch.float32, 2e-5, "boost:6@heads=1-2"),
        (torch.float32, 2e-5, "anchor+boost:3"),
        (torch.float32, 2e-5, "restore:0.9"),
        (torch.float32, 2e-5, "anchor+restore:1@from=all"),
        (torch.bfloat16, 2e-3, "split-softmax:0.4"),
        (torch.bfloat16, 2e-3, "anchor"),
        (torch.bfloat16, 2e-3, "anchor@layers=1-1"),
    ],
)
@pytest.mark.parametrize("alike", [False, True])
def test_a_query_steered_in_parts_is_measured_by_them_as_by_its_weights(
    dtype: torch.dtype, atol: float, text: str, alike: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steered_pass, "FEW_KEYS", 0)  # in parts in float32 too
    judge = copy.deepcopy(model("llama")).to(dtype)
    requests = conversations(text)
    requests = [replace(requests[1], seed=seed) for seed in range(3)] if alike else requests

    def shares() -> list[Share]:
        results = Engine(judge, batch_size=4).generate(requests, SAMPLING)
        return [result.share for result in results if result.share is not None]

    with monkeypatch.context() as patch:
        patch.setattr(SteeredPass, "weights", None)  # nobody makes them
        by_parts = shares()
    monkeypatch.setattr(Recorder, "knows", lambda *_: False)
    for share, expected in zip(by_parts, shares(), strict=True):
        close(share.heads, torch.tensor(expected.heads), atol)
        close(share.heads_template, torch.tensor(expected.heads_template), atol)
        assert (share.heads_before is None) == (expected.heads_before is None)
        if share.heads_before is not None:
            close(share.heads_before, torch.tensor(expected.heads_before), atol)
    assert len(by_parts) == len(requests)


def test_a_persona_outside_of_the_measured_spans_is_measured_by_the_weights() -> None:
    """As where a control's persona is another part of the prompt than the one that is measured."""
    steering = Steering([RowSteering(parse("boost:2"), (2, 8), (2, 8))])
    spans = torch.tensor([[3], [3]]), torch.tensor([[8], [8]])
    assert not Recorder(*spans).knows(steering)
    assert Recorder(spans[0] - 1, spans[1]).knows(steering)
