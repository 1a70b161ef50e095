"""The backend for CUDA in vLLM on a CPU, with plain torch where FlashAttention's kernels would be.

All of it runs but the kernels: vLLM's own metadata and attention, its cache's blocks, the
persona's share from the log-sum-exp. What it cannot show is that tensors meet on one device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.models.vllm.conftest import vllm_or_skip, weights
from tests.models.vllm.test_laws import CONTROLS, NEW, ask, mix, start, talks, texts
from torch import Tensor

from holdfast.control.kernels import attend
from holdfast.core.backend import Ask, Sampling
from holdfast.core.control import parse
from holdfast.models.load import load

vllm_or_skip()
pytestmark = pytest.mark.vllm


LSE_CALLS: list[bool] = []  # whether each call asked for the log-sum-exp


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    cu_seqlens_q: Tensor,
    seqused_k: Tensor,
    softmax_scale: float,
    block_table: Tensor,
    return_softmax_lse: bool = False,
    **others: Any,
) -> Any:
    """As FlashAttention, of blocks (n, tokens, Hkv, D): the output and (H, queries)."""
    assert others["causal"] is True and not others.get("softcap")
    LSE_CALLS.append(return_softmax_lse)
    parts = []
    starts = cu_seqlens_q.tolist()
    for i, length in enumerate(seqused_k.tolist()):
        first, end = starts[i], starts[i + 1]
        if first == end:
            continue
        blocks = block_table[i, : -(-length // k.shape[1])].long()
        key, value = (x[blocks].flatten(0, 1)[:length].transpose(0, 1)[None] for x in (k, v))
        own = q[first:end].transpose(0, 1)[None]
        one, lse = attend(own, key, value, None, softmax_scale, causal=True)
        out[first:end] = one[0].transpose(0, 1)
        parts.append(lse[0])
    return (out, torch.cat(parts, 1)) if return_softmax_lse else out


def reshape_and_cache_flash(
    key: Tensor, value: Tensor, keys: Tensor, values: Tensor, slots: Tensor, *_: Any
) -> None:
    """As vLLM's operation: write new keys and values at their slots."""
    tokens = keys.shape[1]
    slots = slots[slots >= 0]
    for states, cache in ((key, keys), (value, values)):
        cache[slots // tokens, slots % tokens] = states[: len(slots)]


@pytest.fixture(scope="module")
def flash() -> Iterator[Any]:
    """vLLM on this CPU whose attention is the plugin's for CUDA."""
    from vllm.v1.attention import selector
    from vllm.v1.attention.backends import flash_attn
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend

    place = AttentionBackendEnum.CPU_ATTN
    before = place.get_path()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flash_attn, "flash_attn_varlen_func", flash_attn_varlen_func, raising=False)
        patch.setattr(flash_attn, "reshape_and_cache_flash", reshape_and_cache_flash, raising=False)
        patch.setattr(flash_attn, "get_flash_attn_version", lambda **_: 2)
        register_backend(place, "holdfast.models.vllm.flash_backend.FlashBackend")
        selector._cached_get_attn_backend.cache_clear()
        try:
            yield lambda name, **options: start(weights(name), **options)
        finally:
            register_backend(place, before)
            selector._cached_get_attn_backend.cache_clear()


def test_five_turns_in_one_batch_are_those_of_our_own_engine(flash: Any) -> None:
    llm = flash("mini", max_num_batched_tokens=64, enable_chunked_prefill=True)
    chats, controls, replies = mix("mini", turns=range(5))
    assert texts(ask(llm, chats[:1], ["none"])) == replies[:1]
    assert LSE_CALLS and not any(LSE_CALLS)  # a step without a held row is vLLM's own
    assert texts(ask(llm, chats, controls)) == replies
    assert any(LSE_CALLS)


def test_the_prompt_share_is_that_of_the_local_backend(flash: Any) -> None:
    options = {"enforce_eager": True, "max_model_len": 512, "block_size": 32, "max_num_seqs": 16}
    chat = talks("mini")["none"][2][0]
    asks = [Ask(chat, 0, parse(text), measure=True) for text in CONTROLS]
    greedy = Sampling(max_new_tokens=NEW, temperature=0.0)
    ours = load(weights("mini"), dtype="float32").reply(asks, greedy)
    theirs = load("vllm:mini", dtype="float32", **options).reply(asks, greedy)
    for one, other in zip(ours, theirs, strict=True):
        assert one.share is not None and other.share is not None
        assert other.text == one.text
        assert other.share.tokens == pytest.approx(one.share.tokens, abs=3e-5)
