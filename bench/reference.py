"""Stock `generate`, which the benchmarks compare with, and a random model.

`Stock` is a backend like ours that answers one chat after another; transformers' own
`generate` encodes the whole chat each time. `random_llama` is a model of 100M parameters
that needs no download and whose replies all have the same length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.models.local.backend import LocalBackend


class Stock:
    """The model of a local backend, asked the plain way."""

    local = True

    def __init__(self, like: LocalBackend) -> None:
        self.like, self.name, self.context = like, like.name, like.context
        self.user_first, self.count, self.describe = like.user_first, like.count, like.describe

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """One `generate` per ask on the whole chat; no keys and values are kept."""
        return [self._one(ask, sampling) for ask in asks]

    def _one(self, ask: Ask, sampling: Sampling) -> Reply:
        torch.manual_seed(ask.seed)
        model: Any = self.like.engine.model
        ids = torch.tensor([self.like.template.render(ask.chat).ids], device=model.device)
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            pad_token_id=self.like.tokenizer.pad_token_id,
        )[0, ids.shape[1] :]
        text = str(self.like.tokenizer.decode(out, skip_special_tokens=True))
        return Reply(text, "stop", ids.shape[1], 0, len(out))

    def forget(self) -> None:
        """It keeps nothing."""


def random_llama(like: LocalBackend) -> LocalBackend:
    """100M random parameters behind the tokenizer of another model.

    A bias on its logits allows only tokens that are a space and a word. So no reply ends early,
    and its text has the same tokens when it is read again.
    """
    torch.manual_seed(0)
    tokenizer = like.tokenizer
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = AutoModelForCausalLM.from_config(config)
    words = [i for token, i in tokenizer.get_vocab().items() if token[:1] == "Ġ" and len(token) > 1]
    bias = torch.full((config.vocab_size,), -1e4)
    bias[words] = 0.0
    model.lm_head.bias = torch.nn.Parameter(bias)
    return LocalBackend(model, tokenizer, "random-100M")
