"""Small random models of several families as GGUF files, made in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import torch
from gguf.constants import MODEL_ARCH_NAMES
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from tiny_models import CHATML, SPECIALS, tokenizer


def random_model(config: PreTrainedConfig) -> PreTrainedModel:
    """A random model whose norms and biases are not those that it began with."""
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.2 * torch.randn_like(weight) * (weight.dim() == 1)
    return network  # type: ignore[no-any-return]


def write_family(
    path: Path,
    subject: Any,
    family: str,
    *,
    state: Callable[[Any], None] = lambda file: None,
    split: str | None = None,
    template: str | None = CHATML,
    leave_out: str = "",
    tokens: Mapping[int, str] = {},
    kinds: Mapping[int, int] = {},
) -> Path:
    """A model as llama.cpp's converter writes its family, with the byte-level tokenizer.

    Args:
        path: the file.
        subject: the model.
        family: llama.cpp's name of the family.
        state: adds further values to the file.
        split: how the tokenizer splits texts.
        template: the chat template; None for a file without one.
        leave_out: a tensor that the file lacks.
        tokens: other texts of tokens, by their ids.
        kinds: other types of tokens (1 normal, 3 control, 4 user-defined), by their ids.
    """
    config, file = subject.config, gguf.GGUFWriter(str(path), family)
    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    file.add_context_length(config.max_position_embeddings)
    file.add_embedding_length(config.hidden_size)
    file.add_block_count(config.num_hidden_layers)
    file.add_feed_forward_length(config.intermediate_size)
    file.add_head_count(config.num_attention_heads)
    file.add_head_count_kv(config.num_key_value_heads)
    file.add_key_length(getattr(config, "head_dim", None) or 8)
    file.add_layer_norm_rms_eps(getattr(config, "rms_norm_eps", 1e-5))
    file.add_layer_norm_eps(1e-5)
    file.add_rope_freq_base(rope["rope_theta"])
    if getattr(config, "sliding_window", None):
        file.add_sliding_window(config.sliding_window)
    state(file)
    _add_tokenizer(file, split, template, tokens, kinds)
    names = gguf.get_tensor_name_map(
        next(key for key, name in MODEL_ARCH_NAMES.items() if name == family),
        config.num_hidden_layers,
    )
    for key, weight in subject.state_dict().items():
        module, _, part = key.rpartition(".")
        if module == "lm_head" and config.tie_word_embeddings:
            continue
        if family == "llama" and ("q_proj" in module or "k_proj" in module):
            heads = config.num_attention_heads if "q_" in module else config.num_key_value_heads
            pairs = weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2)
            weight = pairs.reshape(weight.shape)
        shift = 1 if family.startswith("gemma") and "norm" in module else 0
        name = f"{names.get_name(module)}.{part}"
        if name != leave_out:
            file.add_tensor(name, (weight + shift).detach().numpy())
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path


def _add_tokenizer(
    file: Any,
    split: str | None,
    template: str | None,
    tokens: Mapping[int, str],
    kinds: Mapping[int, int],
) -> None:
    plain = tokenizer()
    names: Any = plain.convert_ids_to_tokens(list(range(len(plain))))
    last = len(SPECIALS) - 1
    names[last] = "ĊĊ"  # in place of a special token that ChatML does not use
    names = [tokens.get(i, name) for i, name in enumerate(names)]
    file.add_tokenizer_model("gpt2")
    if split is not None:
        file.add_tokenizer_pre(split)
    file.add_token_list(names)
    file.add_token_types([kinds.get(i, 3 if i < last else 1) for i in range(len(names))])
    file.add_token_merges(["Ċ Ċ"])
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_pad_token_id(0)
    if template is not None:
        file.add_chat_template(template)
