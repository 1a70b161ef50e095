"""The memory of a training step: what autograd keeps is counted, and nothing is left changed."""

from __future__ import annotations

import gc
import weakref
from copy import deepcopy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from holdfast.models.local.backend import LocalBackend
from holdfast.training.step_memory import SLACK, lora_parameters, step_memory
from tiny_models import model, tokenizer

SHAPE: dict[str, Any] = {"tokens": 64, "scored_tokens": 64, "scored_bytes": 1000}
LORA = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")


def backend(dtype: torch.dtype = torch.float32) -> LocalBackend:
    return LocalBackend(model("llama", dtype=dtype), tokenizer(), "small", batch_size=16)


def test_a_lora_needs_less_memory_than_all_weights_and_rows_need_more() -> None:
    own = backend()
    lora = step_memory(own, rank=2, rows=400, **SHAPE)
    assert lora < step_memory(own, rank=2, rows=800, **SHAPE)
    assert lora > step_memory(own, rank=2, rows=400, checkpointed=True, **SHAPE)
    small, all_ = (step_memory(own, rank=rank, rows=0, **SHAPE) for rank in (2, 0))
    assert small < all_


def test_a_model_that_was_measured_is_freed() -> None:
    network = deepcopy(model("llama"))
    own = LocalBackend(network, tokenizer(), "small", batch_size=16)
    step_memory(own, rank=2, rows=1, **SHAPE)
    weight = weakref.ref(network.model.layers[0].mlp.down_proj.weight)
    del own, network
    gc.collect()
    assert weight() is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_counted_for_a_lora_is_what_one_keeps(dtype: torch.dtype) -> None:
    """Beside a real adapter of peft, whose forward pass is counted in the same way."""
    own = backend(dtype)
    none, many = (step_memory(own, rank=4, rows=rows, **SHAPE) for rows in (0, 10**6))
    prediction = (many - none) / 10**6 / SHAPE["tokens"] / SLACK
    learner: Any = get_peft_model(own.engine.model, LORA)
    sizes: dict[int, int] = {}
    tensors: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        tensors.append(tensor)
        return tensor

    ids = torch.ones(1, SHAPE["tokens"], dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        learner.base_model.model.model(input_ids=ids, use_cache=False)
    weights = {one.untyped_storage().data_ptr() for one in learner.parameters()}
    measurement = sum(n for place, n in sizes.items() if place not in weights) / SHAPE["tokens"]
    learner.unload().requires_grad_(True)  # the random model is shared
    assert 0.9 * measurement < prediction < 1.4 * measurement


def test_the_model_is_as_it_was_after_it_was_counted() -> None:
    weights = list(backend().engine.model.parameters())
    weights[0].requires_grad_(False)
    step_memory(backend(), rank=2, rows=1, **SHAPE)
    assert [one.requires_grad for one in weights] == [False] + [True] * (len(weights) - 1)
    assert all(one.grad is None for one in weights)
    weights[0].requires_grad_(True)


def test_a_loras_parameters_are_those_that_peft_adds() -> None:
    own = backend().engine.model
    count = lora_parameters(own, 4)
    learner: Any = get_peft_model(own, LORA)
    parameters = sum(p.numel() for name, p in learner.named_parameters() if "lora_" in name)
    learner.unload().requires_grad_(True)
    assert parameters == count
