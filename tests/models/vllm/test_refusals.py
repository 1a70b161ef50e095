"""What the plugin refuses, from stand-ins of vLLM's configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.core.control import parse
from holdfast.models.vllm.refusals import why_not


def config(**changes: Any) -> Any:
    """A configuration that every control can be applied by, but for the changes."""
    text = {"num_hidden_layers": 6, "num_attention_heads": 4, "rope_parameters": {}}
    text |= changes.pop("text", {})
    window, size = changes.pop("window", None), changes.pop("size", 64)
    backend = changes.pop("backend", None)
    model = {
        "architectures": ["LlamaForCausalLM"],
        "use_mla": False,
        "max_model_len": 2048,
        "uses_mrope": False,
        "hf_text_config": SimpleNamespace(**text),
        "get_sliding_window": lambda: window,
        "get_head_size": lambda: size,
    }
    parallel = {
        "pipeline_parallel_size": 1,
        "tensor_parallel_size": 1,
        "decode_context_parallel_size": 1,
        "prefill_context_parallel_size": 1,
        "enable_dbo": False,
    }
    return SimpleNamespace(
        model_config=SimpleNamespace(**{**model, **changes.pop("model", {})}),
        parallel_config=SimpleNamespace(**{**parallel, **changes.pop("parallel", {})}),
        device_config=SimpleNamespace(device_type=changes.pop("device", "cpu")),
        cache_config=SimpleNamespace(cache_dtype=changes.pop("cache", "auto")),
        attention_config=SimpleNamespace(backend=backend and SimpleNamespace(name=backend)),
        speculative_config=changes.pop("drafts", None),
    )


CONTROLS = ("split-softmax:0.7", "boost:4@layers=0-5", "spotlight:0.2@heads=1-3", "anchor")


@pytest.mark.parametrize("text", ["none", *CONTROLS, "anchor+split-softmax:0.7"])
def test_a_plain_server_applies_the_attention_controls(text: str) -> None:
    assert why_not(parse(text), config()) is None


@pytest.mark.parametrize("text", ["window:3", "reminder:1", "guidance:2", "window:3+anchor"])
def test_what_needs_the_chat_is_left_to_the_gateway(text: str) -> None:
    why = why_not(parse(text), config())
    assert why is not None and text in why


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"device": "xpu"}, "none for xpu"),
        ({"device": "cuda"}, "--attention-backend FLASH_ATTN"),
        ({"device": "cuda", "backend": "FLASHINFER"}, "--attention-backend FLASH_ATTN"),
        ({"device": "cuda", "backend": "FLASH_ATTN", "size": 256}, "128 dimensions"),
        ({"cache": "fp8"}, "fp8"),
        ({"model": {"use_mla": True}}, "MLA"),
        ({"window": 512}, "window of 512"),
        ({"text": {"attn_logit_softcapping": 30.0}}, "soft-capping"),
        ({"model": {"architectures": ["OtherForCausalLM"]}}, "OtherForCausalLM"),
        ({"drafts": object()}, "speculatively"),
        ({"parallel": {"pipeline_parallel_size": 2}}, "pipelines"),
        ({"parallel": {"decode_context_parallel_size": 2}}, "context parallelism"),
    ],
)
def test_a_feature_that_is_not_held_is_named(changes: dict[str, Any], names: str) -> None:
    why = why_not(parse("split-softmax:0.7"), config(**changes))
    assert why is not None and names in why
    assert why_not(parse("none"), config(**changes)) is None  # and others are served


def test_on_cuda_it_holds_in_the_backend_that_was_named() -> None:
    assert why_not(parse("anchor"), config(device="cuda", backend="FLASH_ATTN")) is None


def test_a_window_as_long_as_the_context_leaves_nothing() -> None:
    assert why_not(parse("anchor"), config(window=2048)) is None


@pytest.mark.parametrize("text", ["boost:4@layers=4-6", "anchor@heads=4"])
def test_layers_and_heads_must_exist(text: str) -> None:
    assert "has the" in str(why_not(parse(text), config()))


def test_anchor_refuses_frequencies_that_change_with_length() -> None:
    server = config(text={"rope_parameters": {"rope_type": "dynamic"}})
    assert "dynamic" in str(why_not(parse("anchor"), server))
    assert why_not(parse("boost:4"), server) is None


def test_heads_on_several_gpus_take_shares_that_look_at_each_head_alone() -> None:
    server = config(parallel={"tensor_parallel_size": 2})
    assert why_not(parse("anchor+boost:4"), server) is None
    assert "split over GPUs" in str(why_not(parse("spotlight:0.2"), server))
    assert "split over GPUs" in str(why_not(parse("boost:4@heads=0-1"), server))


def test_another_architecture_may_be_tried_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    server = config(model={"architectures": ["OtherForCausalLM"]})
    monkeypatch.setenv("HOLDFAST_VLLM_ARCHITECTURES", "OtherForCausalLM")
    assert why_not(parse("anchor"), server) is None
