"""The names of a GGUF file's control tokens, which a byte-level tokenizer may lose.

transformers spells every name beyond the byte-level alphabet in bytes (DeepSeek's `<｜User｜>` is
`<ï½ľUserï½ľ>` then). A chat's `<｜User｜>` is cut into pieces, and the end of a text becomes a new
token, beyond what the model was trained on.

This module knows the header of a file and a tokenizer.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from holdfast.models.gguf.ends import find_ends
from holdfast.models.gguf.header import TOKENS, TYPES, GgufHeader

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # types of a token


def restore_names(
    tokenizer: PreTrainedTokenizerBase, header: GgufHeader
) -> PreTrainedTokenizerBase:
    """Give the added tokens of a tokenizer that was read from a GGUF file the file's names.

    Returns the tokenizer itself where none is lost.

    Args:
        tokenizer: the tokenizer as transformers read it.
        header: the file's header.
    """
    names: list[str] = header.values.get(TOKENS) or []
    types: tuple[int, ...] = header.values.get(TYPES) or (_NORMAL,) * len(names)
    known, ends = tokenizer.get_vocab(), {*find_ends(header).values()}
    lost = {
        i: name
        for i, (name, kind) in enumerate(zip(names, types, strict=False))
        if (kind in (_CONTROL, _USER_DEFINED) or i in ends) and known.get(name) != i
    }
    if not lost:
        return tokenizer
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        file = Path(folder) / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        model = content["model"]
        model["vocab"] = {lost.get(i, name): i for name, i in model["vocab"].items()}
        old = [one for one in content["added_tokens"] if one["id"] < len(names)]
        new = [_added_token(i, name, types[i] != _USER_DEFINED) for i, name in lost.items()]
        content["added_tokens"] = sorted(old + new, key=lambda one: int(one["id"]))
        file.write_text(json.dumps(content), encoding="utf-8")
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _added_token(number: int, name: str, special: bool) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": name, **plain, "special": special}
