"""The quick pass through a Llama-like model is the model's own, and runs only where it is."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from holdfast.control import steered_pass
from holdfast.control.steering import RowSteering
from holdfast.core.backend import Sampling
from holdfast.core.control import parse
from holdfast.models.engine import loaded
from holdfast.models.engine.batch import Batch
from holdfast.models.engine.decoder import make_decoder
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.request import Continuation, Request, Spans
from tiny_models import GROUPED, model

SCALING = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0}
SCALING |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 64}
FAMILIES: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**GROUPED, attention_bias=True, mlp_bias=True),
    "llama, scaled": LlamaConfig(**GROUPED, rope_parameters=SCALING, hidden_act="gelu"),
    "mistral": MistralConfig(**GROUPED, sliding_window=None),
    "qwen2": Qwen2Config(**GROUPED),
    "qwen3": Qwen3Config(**GROUPED, head_dim=16),
}
LENGTHS = (30, 41, 9, 41)


def build(config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    subject: Any = AutoModelForCausalLM.from_config(config).to(dtype).eval()
    with torch.no_grad():
        for parameter in subject.parameters():  # biases begin at 0, and scales at 1
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
    return subject


def decode(subject: Engine, control: str = "none", tokens: int = 12) -> list[Continuation]:
    """Replies of rows of several lengths, under a control and measured."""
    rng, read, requests = torch.Generator().manual_seed(1), parse(control), []
    for seed, length in enumerate(LENGTHS):
        ids = tuple(torch.randint(20, 260, (length,), generator=rng).tolist())
        steering = (
            RowSteering(read, (2, 5), (1, 6), tuple(range(6, length, 7))) if read.steers else None
        )
        spans = Spans((2, 5), (1, 6))
        requests.append(Request(ids, seed, True, spans, True, read.state, steering))
    first = subject.generate(requests, Sampling(tokens, 0.8))
    longer = [
        Request(a.ids + r.ids + a.ids[6:], a.seed, True, a.spans, True, a.state, a.steering)
        for a, r in zip(requests, first, strict=True)
    ]
    return [*first, *subject.generate(longer, Sampling(tokens, 0.8))]


@pytest.mark.parametrize("control", ["none", "anchor", "boost:4@layers=1-1", "split-softmax:0.5"])
@pytest.mark.parametrize("family", FAMILIES)
def test_replies_and_shares_are_those_of_the_models_own_forward_pass(
    family: str, control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = build(FAMILIES[family], torch.float64)
    assert make_decoder(subject) is not None
    quick = decode(Engine(subject), control)
    monkeypatch.setattr(loaded, "make_decoder", lambda *_: None)
    for one, other in zip(quick, decode(Engine(subject), control), strict=True):
        assert one.ids == other.ids
        assert one.share is not None and other.share is not None
        assert one.share.tokens == pytest.approx(other.share.tokens, abs=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_models_own_to_its_precision(family: str, dtype: torch.dtype) -> None:
    subject = build(FAMILIES[family], dtype)
    logits: list[torch.Tensor] = []
    for quick in (True, False):
        own = Engine(subject)
        with own.decoding():
            if not quick:
                own.decoder = None
            batch = Batch(own)
            rows = [own.row(Request(tuple(range(20, 20 + n)), n), Sampling(4)) for n in (9, 30)]
            batch.join(rows)
            assert batch.advance() and batch.logits is not None
            logits.append(batch.logits.float())
    scale = float(logits[1].abs().max())
    assert float((logits[0] - logits[1]).abs().max()) <= 80 * torch.finfo(dtype).eps * scale


@pytest.mark.parametrize("kind", ["gemma3", "olmo2", "phi3", "gpt_neox", "mistral"])
def test_other_families_and_sliding_windows_are_called_as_they_are(kind: str) -> None:
    assert make_decoder(model(kind)) is None


class Own(nn.Linear):
    """Not a plain linear layer: a quantized one, say."""


def change(how: str) -> PreTrainedModel:
    subject: Any = copy.deepcopy(model("llama"))
    layer = subject.model.layers[1]
    match how:
        case "hook":
            layer.mlp.register_forward_hook(lambda *_: None)
        case "early hook":
            layer.register_forward_pre_hook(lambda *_: None)
        case "forward":
            layer.self_attn.forward = layer.self_attn.forward
        case "layer":
            layer.mlp.up_proj = Own(32, 48, bias=False).eval()
        case "adapter":
            inject_adapter_in_model(LoraConfig(target_modules=["q_proj"]), subject)
            subject.eval()
        case "device":
            layer.to("meta")
        case "training":
            layer.train()
    return subject


@pytest.mark.parametrize(
    "how", ["hook", "early hook", "forward", "layer", "adapter", "device", "training"]
)
def test_a_model_that_does_more_than_its_family_is_called_as_it_is(how: str) -> None:
    assert make_decoder(change("nothing")) is not None
    assert make_decoder(change(how)) is None


def test_a_hook_that_is_set_between_two_batches_is_called() -> None:
    subject: Any = copy.deepcopy(model("llama"))
    own = Engine(subject)
    decode(own)
    calls: list[int] = []
    subject.model.layers[0].mlp.register_forward_hook(lambda *_: calls.append(1))
    decode(own)
    assert calls


@pytest.mark.parametrize("control", ["anchor", "boost:4", "anchor+split-softmax:0.5"])
def test_with_many_keys_one_query_is_steered_as_with_few(
    control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = build(FAMILIES["llama"], torch.float64)
    few = decode(Engine(subject), control)
    monkeypatch.setattr(steered_pass, "FEW_KEYS", 0)
    for one, other in zip(few, decode(Engine(subject), control), strict=True):
        assert one.ids == other.ids
        assert one.share is not None and other.share is not None
        assert one.share.tokens == pytest.approx(other.share.tokens, abs=2e-5)


@pytest.mark.parametrize("control", ["none", "anchor"])
def test_a_row_alone_goes_on_from_what_is_kept(
    control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LENGTHS", (37,))
    subject = build(FAMILIES["llama"], torch.float64)
    quick = decode(Engine(subject), control)
    assert quick[1].cached_tokens > 0
    monkeypatch.setattr(loaded, "make_decoder", lambda *_: None)
    assert [one.ids for one in quick] == [one.ids for one in decode(Engine(subject), control)]
