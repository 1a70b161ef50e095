"""How the tokenizer of a GGUF file splits a text before it joins bytes.

A file names it in a word (`tokenizer.ggml.pre`). transformers knows some of them, and splits as
GPT-2 does for the others, so that "\\n\\n1" has other tokens than in training.

This module knows the header of a file and a tokenizer.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, pre_tokenizers
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from holdfast.core.errors import ModelError
from holdfast.models.gguf.header import GgufHeader

_WORD, _KIND = "tokenizer.ggml.pre", "tokenizer.ggml.model"
# Every digit alone, and then as GPT-2.
_SINGLE_DIGITS = {
    "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
}  # fmt: skip
_AS_QWEN2 = {"stablelm2"}
_AS_GPT2 = {
    None, "default", "gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "granite-docling",
    "exaone4", "gigachat", "a.x-4.0", "mellum",
}  # fmt: skip


def restore_split(name: str, tokenizer: PreTrainedTokenizerBase, header: GgufHeader) -> None:
    """Have a tokenizer that was read from a GGUF file split texts as the file says.

    Args:
        name: the model's name, for errors.
        tokenizer: the tokenizer; it is changed in place.
        header: the file's header.

    Raises:
        ModelError: transformers knows no such split.
    """
    word = header.values.get(_WORD)
    if header.values.get(_KIND) != "gpt2" or word in _AS_GPT2 or word in _known_words(str(word)):
        return
    if word in _SINGLE_DIGITS:
        first: Any = pre_tokenizers.Digits(individual_digits=True)
    elif word in _AS_QWEN2:
        first = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    else:
        raise ModelError(
            f"{name} splits texts in a way that transformers does not know in GGUF files"
            f" (`{word}`), so that some would have other tokens than in training: choose the"
            " original weights, or serve it behind an API and name it api:NAME."
        )
    then = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=word in _SINGLE_DIGITS)
    own: Any = tokenizer
    own.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, then])


def _known_words(word: str) -> set[str]:
    """The words that transformers knows; any where an older one does not say."""
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
    except ImportError:
        return {word} - _SINGLE_DIGITS - _AS_QWEN2
    return set(GGUF_PRE_TOKENIZER_SPLITS)
