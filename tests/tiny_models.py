"""Small random models and a byte-level tokenizer, made in this process: nothing is downloaded."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

SPECIALS = (
    "<pad>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
)

CHATML = """
{%- for m in messages -%}
{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif -%}
"""

# A default system prompt where none is given, as Qwen 2.5 has one.
DEFAULTING = (
    """
{%- if messages[0].role != 'system' -%}
{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}
{%- endif -%}
"""
    + CHATML
)

LLAMA2 = """
{%- if messages[0].role == 'system' -%}
{%- set rest = messages[1:] -%}
{%- set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' -%}
{%- else -%}{%- set rest = messages -%}{%- set system = '' -%}
{%- endif -%}
{%- for m in rest -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant') }}
{%- endif -%}
{%- set content = system + m.content if loop.first else m.content -%}
{%- if m.role == 'user' -%}{{ bos_token + '[INST] ' + content | trim + ' [/INST]' }}
{%- else -%}{{ ' ' + content | trim + ' ' + eos_token }}
{%- endif -%}
{%- endfor -%}
"""

LLAMA3 = """
{{- bos_token -}}
{%- for m in messages -%}
{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif -%}
"""

GEMMA = """
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}
{{ raise_exception('System role not supported') }}
{%- endif -%}
{%- for m in messages -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif -%}
{%- set role = 'model' if m.role == 'assistant' else m.role -%}
{{ '<start_of_turn>' + role + '\n' + m.content | trim + '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif -%}
"""

# Replies that are not the last lose what stands before their last "~", as Qwen3 drops thoughts.
FORGETFUL = """
{%- for m in messages -%}
{%- set content = m.content.split('~')[-1] if m.role == 'assistant' else m.content -%}
{{ '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n~' }}{% endif -%}
"""

# Leaves out what comes before the first user message, without a word.
SILENT = """
{%- set seen = namespace(user=false) -%}
{%- for m in messages -%}
{%- if m.role == 'user' %}{% set seen.user = true %}{% endif -%}
{%- if seen.user or m.role == 'system' -%}
{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif -%}
"""

# The system prompt goes into the last user message, as in Mistral v0.3.
MISTRAL = """
{%- if messages[0].role == 'system' -%}
{%- set rest = messages[1:] -%}{%- set system = messages[0].content + '\n\n' -%}
{%- else -%}{%- set rest = messages -%}{%- set system = '' -%}
{%- endif -%}
{{- bos_token -}}
{%- for m in rest -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('After the optional system message, roles must alternate') }}
{%- endif -%}
{%- if m.role == 'user' -%}
{{ '[INST] ' + (system if loop.last else '') + m.content + '[/INST]' }}
{%- else -%}{{ ' ' + m.content | trim + eos_token }}
{%- endif -%}
{%- endfor -%}
"""

# Of the form of Qwen3's: thoughts before the last question are dropped, a reply that ends a chat
# has one even if it is empty, and a chat that shall have no thought begins its reply with one.
QWEN3 = """
{%- set last = namespace(user=-1) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set last.user = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for m in messages -%}
{{ '<|im_start|>' + m.role + '\\n' }}
{%- if m.role == 'assistant' and (loop.last or m.reasoning_content) and loop.index0 > last.user -%}
{{ '<think>\\n' + (m.reasoning_content or '') + '\\n</think>\\n\\n' }}
{%- endif -%}
{{ m.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false -%}
{{ '<think>\\n\\n</think>\\n\\n' }}
{%- endif -%}
{%- endif -%}
"""

TEMPLATES = {
    "chatml": CHATML,
    "defaulting": DEFAULTING,
    "llama2": LLAMA2,
    "llama3": LLAMA3,
    "gemma": GEMMA,
    "forgetful": FORGETFUL,
    "silent": SILENT,
    "mistral": MISTRAL,
}


def tokenizer(template: str | None = "chatml") -> PreTrainedTokenizerFast:
    """One token per byte, and the special tokens of every template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate([*SPECIALS, *alphabet])}
    inner = Tokenizer(BPE(vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    result = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(SPECIALS[3:]),
    )
    if template is not None:
        result.chat_template = TEMPLATES[template]
    return result


VOCABULARY = len(SPECIALS) + 256

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    # Weights of the usual .02 make a model of this size all but deaf to its input.
    "initializer_range": 0.4,
}
GROUPED = SHAPE | {"num_key_value_heads": 2}
# Shorter than the test's texts, so that the window leaves tokens behind.
WINDOW = 12

CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**GROUPED),
    "qwen3": Qwen3Config(**GROUPED, head_dim=8),
    "gemma3": Gemma3TextConfig(
        **GROUPED,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "mistral": MistralConfig(**GROUPED, sliding_window=WINDOW),
    "olmo2": Olmo2Config(**GROUPED),
    "phi3": Phi3Config(**GROUPED, original_max_position_embeddings=1024),
    "gpt_neox": GPTNeoXConfig(**SHAPE),
}

# Attention that no fused kernel computes: soft-capped scores, and sinks.
ODD_CONFIGS: dict[str, PreTrainedConfig] = {
    "gemma2": Gemma2Config(
        **GROUPED,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=WINDOW,
        attn_logit_softcapping=2.0,
    ),
    "gpt_oss": GptOssConfig(
        **GROUPED,
        head_dim=8,
        sliding_window=WINDOW,
        num_local_experts=2,
        num_experts_per_tok=1,
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
}


@cache
def model(
    kind: str = "llama", seed: int = 0, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """A random model of a kind in `CONFIGS` or `ODD_CONFIGS`; shared, so leave it as it is.

    In float64 no draw hangs on how a sum was rounded.
    """
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config((CONFIGS | ODD_CONFIGS)[kind])
    return network.to(dtype).eval()
