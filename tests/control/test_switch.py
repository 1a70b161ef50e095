"""Models that look at the name of their attention, or keep other keys than their tokens'."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV4Config,
    DeepseekV32Config,
    Gemma4TextConfig,
    GraniteSWAConfig,
    Lfm2Config,
    ModernBertDecoderConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

import holdfast
from holdfast.control.steering import RowSteering
from holdfast.control.switch import attention_for
from holdfast.core.backend import Sampling
from holdfast.core.control import parse
from holdfast.core.errors import ControlError
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.request import Continuation, Request, Spans
from tiny_models import GROUPED, SHAPE

LATENT: dict[str, Any] = SHAPE | {
    "num_key_value_heads": 4,
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 2,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
}
PROMPT = torch.arange(20, 60)
PERSONA = (2, 11)


def build(config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).to(dtype).eval()


def first(engine: Engine, **options: Any) -> Continuation:
    request = Request(tuple(PROMPT.tolist()), 0, logprobs=1, **options)
    return engine.generate([request], Sampling(max_new_tokens=1, temperature=0))[0]


def own(model: PreTrainedModel) -> float:
    """The largest log-probability after the prompt, by one pass of the model alone."""
    with torch.no_grad():
        logits = model(input_ids=PROMPT[None], use_cache=False).logits[0, -1]
    return float(logits.log_softmax(-1).max())


def test_a_model_that_hides_keys_under_the_names_that_it_knows_runs_under_its_own() -> None:
    model = build(DeepseekV32Config(**LATENT, index_topk=8))
    assert first(Engine(model)).logprobs[0].value == pytest.approx(own(model), abs=1e-4)
    why = "which ones depends on its attention's name"
    with pytest.raises(ControlError, match=why), holdfast.hold(model, "boost:4", [PERSONA]):
        pass


def test_keys_that_stand_for_several_tokens_are_neither_measured_nor_steered() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(DeepseekV4Config(num_hidden_layers=3))
    kind, why = attention_for(model)
    assert kind is None and why is not None and "several tokens" in why


@pytest.mark.parametrize("control", ["boost:6", "anchor", "anchor+boost:4", "restore:1@from=all"])
def test_layers_that_get_the_last_queries_alone_are_steered_as_the_whole(control: str) -> None:
    kinds = ["sliding_attention", "full_attention"] * 2
    shape = GROUPED | {"num_hidden_layers": 4, "layer_types": kinds, "num_kv_shared_layers": 2}
    more = {"head_dim": 8, "global_head_dim": 8, "sliding_window": 16}
    per_layer = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 268}
    model = build(Gemma4TextConfig(**shape, **more, **per_layer))
    with torch.no_grad(), holdfast.hold(model, control, [PERSONA], turns=[[11, 20, 31]]):
        whole = model(input_ids=PROMPT[None], use_cache=False).logits[0, -4:]
        last = model(input_ids=PROMPT[None], use_cache=False, logits_to_keep=1).logits[0]
        some = model(input_ids=PROMPT[None], use_cache=False, logits_to_keep=4).logits[0]
    torch.testing.assert_close(some, whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(last, whole[-1:], rtol=0, atol=1e-4)


def test_the_share_counts_sinks_that_a_models_own_weights_leave_out() -> None:
    model = build(GraniteSWAConfig(**GROUPED, sliding_window=64, attention_multiplier=0.35))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("sinks"):
                parameter.fill_(3.0)
    options = {"spans": Spans(PERSONA, PERSONA), "measure": True}
    plain = first(Engine(model), **options).share
    control = parse("boost:1.0000001@layers=0")
    row = RowSteering(control, PERSONA, PERSONA)
    share = first(Engine(model), **options, steering=row, state="other").share
    assert plain is not None and share is not None and share.heads_before is not None
    assert torch.allclose(torch.tensor(plain.heads), torch.tensor(share.heads_before), atol=1e-4)


def test_padded_rows_of_plain_attention_in_double_precision_are_numbers() -> None:
    model = build(GraniteSWAConfig(**GROUPED, sliding_window=64), torch.float64)
    requests = [Request(tuple(PROMPT.tolist()), 0), Request((30, 31), 1)]
    assert len(Engine(model).generate(requests, Sampling(max_new_tokens=2))) == 2


def test_a_decoder_is_found_where_the_head_has_its_name() -> None:
    shape = SHAPE | {"local_attention": 16, "cls_token_id": 1, "sep_token_id": 2}
    model = build(ModernBertDecoderConfig(**shape))
    assert first(Engine(model)).logprobs[0].value == pytest.approx(own(model), abs=1e-4)
    with torch.no_grad(), holdfast.hold(model, "boost:9", [PERSONA]):
        assert own(model) != pytest.approx(0)
    assert first(Engine(model)).logprobs[0].value == pytest.approx(own(model), abs=1e-4)


def test_layers_without_attention_are_not_steered_in_silence() -> None:
    model = build(Lfm2Config(**GROUPED, layer_types=["conv", "full_attention"]))
    hold = holdfast.hold(model, "boost:4@layers=0", [PERSONA])
    with torch.no_grad(), pytest.raises(ControlError, match="no attention in the layers"), hold:
        model(input_ids=PROMPT[None])
