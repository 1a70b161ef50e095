"""Which tokens end a reply by a GGUF file.

A file names one token as its end, a second and a third under names that transformers leaves
unread, and none of the others that a `generation_config.json` would list. llama.cpp knows those by
their texts, of whatever type a file says that they are.

This module knows the header of a file, a model's generation config and a tokenizer.
"""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast.models.gguf.header import TOKENS, GgufHeader

_NAMED = ("eos", "eot", "eom")  # end of the text, of a turn, and of a message before a tool's
_TEXTS = {
    "<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>",
    "<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "<end_of_turn>", "<turn|>", "<eos>",
    "<|tool_response>", "<end_of_utterance>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
}  # fmt: skip
# Where replies are calls too, this ends a thought.
_END, _CALLS = "<|end|>", {"<|call|>", "<|calls|>"}


def find_ends(header: GgufHeader) -> dict[str, int]:
    """The tokens that end a reply by a file, with their ids.

    Args:
        header: the file's header.
    """
    tokens: list[str] = header.values.get(TOKENS) or []
    named = {header.values.get(f"tokenizer.ggml.{name}_token_id") for name in _NAMED}
    ends = {text: i for i, text in enumerate(tokens) if text in _TEXTS or i in named}
    if ends.keys() & _CALLS:
        ends.pop(_END, None)
    return ends


def restore_ends(model: PreTrainedModel, header: GgufHeader) -> None:
    """Give a model that was read from a GGUF file the ends of a reply.

    A generation config beside the file may be another model's, and is not asked.

    Args:
        model: the model; its generation config is changed in place.
        header: the file's header.
    """
    config: Any = model.generation_config
    config.eos_token_id = sorted(find_ends(header).values()) or config.eos_token_id


def restore_end_tokens(tokenizer: PreTrainedTokenizerBase, header: GgufHeader) -> None:
    """Have a tokenizer that was read from a GGUF file read the ends of a reply as control tokens.

    Of another type they would be cut into pieces, in the chat template, too.

    Args:
        tokenizer: the tokenizer; it is changed in place.
        header: the file's header.
    """
    known = {str(one) for one in tokenizer.added_tokens_decoder.values() if one.special}
    missing = sorted(find_ends(header).keys() - known)
    tokens = [AddedToken(text, normalized=False, special=True) for text in missing]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens}, False)
