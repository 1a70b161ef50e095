"""Options of a chat template, such as `enable_thinking=false`: names that are free and are read.

This module knows names and the text of templates.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from holdfast.core.errors import HoldfastError

RESERVED_NAMES = {
    "conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt",
    "continue_final_message", "tokenize", "padding", "truncation", "max_length", "return_tensors",
    "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs", "bos_token", "eos_token",
}  # fmt: skip
"""Names that every chat gives to a template beside its options."""


def read_template_option(text: str) -> tuple[str, Any]:
    """NAME=VALUE as a name and a value: JSON where it is JSON, else the text itself.

    Raises:
        HoldfastError: it is not of that form, or the name is no option's.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise HoldfastError(f"`template_option` is NAME=VALUE, not {text!r}")
    if name in RESERVED_NAMES:
        raise HoldfastError(f"`template_option` may not set {name}, which every chat sets itself.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def warn_of_unread(name: str, backend: object, options: Iterable[str]) -> None:
    """Say on standard error which options a model's chat template does not read.

    That is no error: a command's models share its options, so that one may have what another has
    not.

    Args:
        name: the model's name.
        backend: the model.
        options: names of the options.
    """
    source = getattr(getattr(backend, "tokenizer", None), "chat_template", None)
    for unread in find_unread_options(source, options) if source else []:
        print(f"{name}: the chat template has no {unread}, which is left out", file=sys.stderr)


def find_unread_options(template: object, options: Iterable[str]) -> list[str]:
    """The options that a chat template does not name, so that they do nothing there."""
    source = f"{template} split_special_tokens"  # which the tokenizer reads
    return [name for name in options if not re.search(rf"\b{re.escape(name)}\b", source)]
