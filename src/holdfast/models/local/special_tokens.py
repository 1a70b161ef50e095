"""Special tokens that a message merely mentions, encoded as the plain text that they are.

A chat template writes control tokens (`<|im_end|>`) between messages. A message whose text has
the same characters would end itself there and open another one. So the control tokens in messages
are replaced by words, the chat is rendered and encoded, and every stretch of text between true
control tokens that has such words is encoded anew with special tokens split into their characters.

This module knows the special tokens of a tokenizer and a model. It knows no templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.chat import Chat, Message

Span = tuple[int, int]
Encoding = tuple[tuple[int, ...], list[Span]]

_WORD = "qzx{}tokenxzq"  # letters and a number, which no template trims or splits
_WORDS = re.compile(r"qzx(\d+)tokenxzq")


class SpecialTokens:
    """A tokenizer's special tokens, as text and as ids."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        added = {i: str(t) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        self._ids = {*tokenizer.all_special_ids, *added}
        self._texts = sorted({*map(str, tokenizer.all_special_tokens), *added.values()} - {""})
        longest = sorted(self._texts, key=len, reverse=True)
        usable = tokenizer.is_fast and longest
        self._pattern = re.compile("|".join(map(re.escape, longest))) if usable else None

    def encode(self, chat: Chat, text: str, render: Callable[[Chat], str]) -> Encoding | None:
        """Encode a chat whose messages mention special tokens.

        Args:
            chat: the messages.
            text: the chat as rendered.
            render: renders a chat.

        Returns:
            Token ids and the characters of `text` under each; None if no message mentions a
            special token, or if the template itself reads them in messages.
        """
        if self._pattern is None or not any(
            self._pattern.search(m["content"] + m.get("reasoning_content", "")) for m in chat
        ):
            return None
        words = render(tuple(self._with_words(m) for m in chat))
        if self._with_tokens(words) != text:
            return None
        ids, spans = self._encode(words, split=False)
        result: Encoding = ((), [])
        start = shift = 0
        for token, (first, last) in [*zip(ids, spans, strict=True), (None, (len(words),) * 2)]:
            if token is not None and token not in self._ids:
                continue
            between = self._with_tokens(words[start:first])
            new_ids, new_spans = self._encode(between, split=True)
            at = start + shift
            result = (result[0] + new_ids, result[1] + [(a + at, b + at) for a, b in new_spans])
            shift += len(between) - (first - start)
            start = last
            if token is not None:
                result = ((*result[0], token), [*result[1], (first + shift, last + shift)])
        return result

    def _with_words(self, message: Message) -> Message:
        pattern = self._pattern
        assert pattern is not None
        texts = {
            key: pattern.sub(lambda match: _WORD.format(self._texts.index(match[0])), text)
            for key, text in message.items()
            if key in ("content", "reasoning_content") and isinstance(text, str)
        }
        return cast(Message, {**message, **texts})

    def _with_tokens(self, text: str) -> str:
        return _WORDS.sub(lambda match: self._texts[int(match[1])], text)

    def _encode(self, text: str, *, split: bool) -> Encoding:
        out = self._tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            split_special_tokens=split,
        )
        return tuple(out["input_ids"]), list(out["offset_mapping"])


def longest_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Characters of the longest token; 0 if one token may stand for any stretch of text."""
    inner = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    joined = getattr(inner, "fuse_unk", True) and not getattr(inner, "byte_fallback", False)
    if tokenizer.unk_token_id is not None and joined:
        return 0
    return max(map(len, tokenizer.get_vocab()), default=0)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that end a reply: the generation config's and the tokenizer's."""
    config = getattr(model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    if ends is None:
        ends = model.config.get_text_config(decoder=True).eos_token_id
    ids = set() if ends is None else {ends} if isinstance(ends, int) else set(ends)
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    return frozenset(ids)
