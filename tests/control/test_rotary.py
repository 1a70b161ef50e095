"""The laws of turning queries back, on small random models of many kinds."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    CohereConfig,
    DeepseekV2Config,
    DeepseekV3Config,
    FalconConfig,
    Gemma4TextConfig,
    GlmConfig,
    GPT2Config,
    HunYuanDenseV1Config,
    LlamaConfig,
    OlmoConfig,
    OPTConfig,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    SmolLM3Config,
)

from holdfast.control.rotary import Rotary, _run_probe
from holdfast.core.errors import ControlError
from tiny_models import CONFIGS, GROUPED, ODD_CONFIGS, SHAPE, VOCABULARY, WINDOW

THETA = {"rope_theta": 10000.0, "original_max_position_embeddings": 64}
SCALINGS: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 2.0, **THETA},
    "yarn": {"rope_type": "yarn", "factor": 4.0, **THETA},
    "llama3": {
        "rope_type": "llama3",
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        **THETA,
    },
    "dynamic": {"rope_type": "dynamic", "factor": 2.0, **THETA},
    "longrope": {
        "rope_type": "longrope",
        "factor": 4.0,
        "short_factor": [1.0] * 4,
        "long_factor": [2.0] * 4,
        **THETA,
    },
}

MOVES: dict[str, PreTrainedConfig] = {
    **CONFIGS,
    **ODD_CONFIGS,
    **{
        f"llama-{kind}": LlamaConfig(**GROUPED, rope_parameters=SCALINGS[kind])
        for kind in ("linear", "yarn", "llama3")
    },
    "olmo": OlmoConfig(**GROUPED),
    "phi": PhiConfig(**GROUPED, partial_rotary_factor=0.5),
    # Interleaved pairs, of all dimensions and of half of them.
    "cohere": CohereConfig(**GROUPED),
    "glm": GlmConfig(**GROUPED, head_dim=8),
    # Layers without positions.
    "cohere2": Cohere2Config(
        **GROUPED, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"]
    ),
    "smollm3": SmolLM3Config(**GROUPED, no_rope_layers=[1, 0]),
    # Head sizes and rotations that differ by layer.
    "gemma4": Gemma4TextConfig(
        **GROUPED,
        head_dim=8,
        global_head_dim=16,
        vocab_size_per_layer_input=VOCABULARY,
        hidden_size_per_layer_input=8,
        layer_types=["sliding_attention", "full_attention"],
    ),
    # The last dimensions are rotated.
    "deepseek_v3": DeepseekV3Config(
        **(SHAPE | {"num_key_value_heads": 4}),
        kv_lora_rank=8,
        q_lora_rank=8,
        qk_rope_head_dim=8,
        qk_nope_head_dim=16,
        v_head_dim=8,
        n_routed_experts=2,
        num_experts_per_tok=1,
        n_group=1,
        topk_group=1,
        moe_intermediate_size=16,
    ),
}


def build(config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(deepcopy(config), dtype=dtype).eval()


@cache
def subject(kind: str) -> tuple[PreTrainedModel, Rotary]:
    network = build(MOVES[kind])
    return network, Rotary(network)


def states(kind: str, place: int) -> dict[int, tuple[nn.Module, Tensor, Tensor]]:
    """The model's own rotated queries and keys of two tokens that stand alone at `place`."""
    ids, positions = torch.tensor([[40], [90]]), torch.full((2, 1), place)
    return _run_probe(subject(kind)[0].get_decoder(), ids, positions)


def shifts(by: int, like: Tensor) -> Tensor:
    return torch.full((like.shape[0], like.shape[2]), by)


@pytest.mark.parametrize("kind", MOVES)
def test_no_shift_is_the_identity(kind: str) -> None:
    for module, query, _ in states(kind, 7).values():
        assert torch.equal(subject(kind)[1].turn_back(module, query, shifts(0, query)), query)


@pytest.mark.parametrize("by", [1, 50, 600])
@pytest.mark.parametrize("kind", MOVES)
def test_a_query_moved_back_is_the_models_own_query_there(kind: str, by: int) -> None:
    there = states(kind, 650 - by)
    for layer, (module, query, _) in states(kind, 650).items():
        turn = subject(kind)[1].turn_back(module, query, shifts(by, query))
        torch.testing.assert_close(turn, there[layer][1], atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("kind", MOVES)
def test_scores_are_those_of_keys_moved_forward(kind: str) -> None:
    near, far = states(kind, 480), states(kind, 20)
    for layer, (module, query, key) in states(kind, 500).items():
        turn = subject(kind)[1].turn_back(module, query, shifts(460, query))
        heads = query.shape[1] // key.shape[1]
        far_keys, forward = (k.repeat_interleave(heads, 1) for k in (far[layer][2], near[layer][2]))
        scores, expected = (turn * far_keys).sum(-1), (query * forward).sum(-1)
        torch.testing.assert_close(scores, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", MOVES)
def test_lengths_are_kept(kind: str) -> None:
    for module, query, _ in states(kind, 300).values():
        turn = subject(kind)[1].turn_back(module, query, shifts(123, query))
        torch.testing.assert_close(turn.norm(dim=-1), query.norm(dim=-1))


def test_every_row_and_query_has_a_shift_of_its_own() -> None:
    rotary = subject("llama")[1]
    query = torch.randn(2, 4, 3, 8, generator=torch.Generator().manual_seed(0))
    module = states("llama", 3)[1][0]
    shift = torch.tensor([[0, 4, 9], [2, 0, 77]])
    turn = rotary.turn_back(module, query, shift)
    for row in range(2):
        for place in range(3):
            alone = query[row : row + 1, :, place : place + 1]
            expected = rotary.turn_back(module, alone, shift[row : row + 1, place : place + 1])
            torch.testing.assert_close(turn[row, :, place], expected[0, :, 0])


def test_waves_are_made_once_for_a_shift_and_anew_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, rotary = subject("gemma3")
    embedding: Any = network.get_decoder().rotary_emb
    calls = []
    monkeypatch.setattr(
        embedding,
        "forward",
        lambda *args, own=embedding.forward, **kwargs: calls.append(1) or own(*args, **kwargs),
    )
    layers = states("gemma3", 5)
    calls.clear()
    for by in (6, 6):
        shift = torch.full((2, 1), by)
        for _ in range(3):
            for module, query, _key in layers.values():
                rotary.turn_back(module, query, shift)
    # Two shifts, each for the frequencies of two kinds of layers.
    assert len(calls) == 4


@pytest.mark.parametrize("kind", ["llama", "phi"])
def test_most_models_turn_in_few_operations_and_not_by_their_own_function(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*states: Tensor) -> Tensor:
        raise AssertionError("the model's own function was asked")

    monkeypatch.setattr("holdfast.control.rotary._rotation", lambda module: refuse)
    assert Rotary(build(MOVES[kind])).rotating


def test_half_precision_turns_in_full_and_comes_back_in_half() -> None:
    rotary = subject("llama-yarn")[1]
    query = torch.randn(1, 4, 1, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    module = states("llama", 3)[0][0]
    expected = rotary.turn_back(module, query.float(), torch.tensor([[300]]))
    turn = rotary.turn_back(module, query, torch.tensor([[300]]))
    assert turn.dtype == torch.bfloat16
    torch.testing.assert_close(turn.float(), expected, atol=0, rtol=2**-8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", MOVES)
def test_models_in_half_precision_pass_the_check(kind: str, dtype: torch.dtype) -> None:
    full = subject(kind)[1]
    half = Rotary(build(MOVES[kind], dtype))
    rotations = {i: layer and (layer.start, layer.width) for i, layer in half._layers.items()}
    assert rotations == {
        i: layer and (layer.start, layer.width) for i, layer in full._layers.items()
    }


def test_gradients_go_through() -> None:
    query = torch.randn(1, 4, 2, 8, requires_grad=True)
    module = states("llama", 3)[0][0]
    turn = subject("llama")[1].turn_back(module, query, torch.tensor([[5, 0]]))
    (turn**2).sum().backward()
    # A rotation keeps lengths, so their gradient is that of the query's own.
    assert query.grad is not None
    torch.testing.assert_close(query.grad, 2 * query.detach())


def test_layers_without_positions_leave_queries_alone() -> None:
    for kind in ("cohere2", "smollm3"):
        module, query, _ = states(kind, 40)[1]
        assert subject(kind)[1].turn_back(module, query, shifts(9, query)) is query
        module, query, _ = states(kind, 40)[0]
        assert not torch.equal(subject(kind)[1].turn_back(module, query, shifts(9, query)), query)


def test_the_check_leaves_the_model_as_it_was() -> None:
    network = build(MOVES["llama"])
    network.train()
    network.get_submodule("model.layers.1").eval()
    modes = [part.training for part in network.modules()]
    attention = network.config._attn_implementation
    Rotary(network)
    assert [part.training for part in network.modules()] == modes
    assert network.config._attn_implementation == attention
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_frequencies_that_change_with_length_are_refused(kind: str) -> None:
    network = build(LlamaConfig(**GROUPED, rope_parameters=SCALINGS[kind]))
    with pytest.raises(ControlError, match=rf"^anchor .*`{kind}`.*: use reminder\.$"):
        Rotary(network)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4), "GPT2LMHeadModel"),
        (
            OPTConfig(**(SHAPE | {"ffn_dim": 32, "word_embed_proj_dim": 32})),
            "OPTForCausalLM",
        ),
        (FalconConfig(**SHAPE, alibi=False), "does not let its attention be observed"),
        (
            SmolLM3Config(**GROUPED, no_rope_layers=[0, 0]),
            "no layer of SmolLM3ForCausalLM uses rotary positions",
        ),
    ],
)
def test_models_without_rotary_positions_are_refused(config: PreTrainedConfig, why: str) -> None:
    with pytest.raises(ControlError, match=why):
        Rotary(build(config))


def test_queries_that_are_changed_after_they_are_rotated_are_refused() -> None:
    network = build(HunYuanDenseV1Config(**GROUPED, head_dim=8))
    Rotary(network)
    # This model norms rotated queries; with weights that differ by dimension no rotation commutes.
    norm: Any = network.get_submodule("model.layers.1.self_attn.query_layernorm")
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1.0, 9.0))
    with pytest.raises(ControlError, match=r"^layer 1 of HunYuanDenseV1ForCausalLM does not turn"):
        Rotary(network)


def test_positions_that_enter_in_another_way_as_well_are_refused() -> None:
    network = build(MOVES["llama"])
    decoder: Any = network.get_decoder()

    def add(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        states_in = decoder.embed_tokens(kwargs.pop("input_ids"))
        places = torch.sin(kwargs["position_ids"][..., None] * torch.linspace(0.1, 1, 32))
        return args, {**kwargs, "inputs_embeds": states_in + places}

    decoder.register_forward_pre_hook(add, with_kwargs=True)
    with pytest.raises(ControlError, match=r"^layer 0 of LlamaForCausalLM does not turn"):
        Rotary(network)


def test_a_model_that_rotates_by_complex_numbers_is_refused_in_a_sentence() -> None:
    config = DeepseekV2Config(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, n_routed_experts=2, n_shared_experts=1,
        num_experts_per_tok=1, first_k_dense_replace=2, kv_lora_rank=8, q_lora_rank=8,
        qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8, head_dim=8,
    )  # fmt: skip
    with pytest.raises(ControlError, match="rotates by complex numbers"):
        Rotary(AutoModelForCausalLM.from_config(config))
