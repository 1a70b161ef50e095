"""Special tokens that a message merely mentions, encoded as the plain text that they are.

A chat template writes control tokens (`<|im_end|>`) between messages. A message whose text has
the same characters would end itself there and open another one. So the control tokens in messages
are replaced by words, the chat is rendered and encoded, and every stretch of text between true
control tokens that has such words is encoded anew with special tokens split into their characters.
Whether a tokenizer splits them is a state of it, which another thread may change in between, so a
copy does that.

This module knows the special tokens of a tokenizer and a model. It knows no templates.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, cast
from weakref import WeakKeyDictionary

from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.chat import Chat, Message

Span = tuple[int, int]
Encoding = tuple[tuple[int, ...], list[Span]]

_STEMS = re.compile(r"qzx(\d{1,9})token")
_TEXTS = ("content", "reasoning_content")  # fields of a message that templates show as they are
_splitting: WeakKeyDictionary[PreTrainedTokenizerBase, Tokenizer] = WeakKeyDictionary()


class _Words:
    """Words for special tokens: letters and numbers, which no template trims or splits.

    Args:
        tokens: the special tokens.
        text: what holds none of the words.
    """

    def __init__(self, tokens: Sequence[str], text: str) -> None:
        used = {int(number) for number in _STEMS.findall(text)}
        self._tokens = tokens
        self._stem = f"qzx{next(n for n in count() if n not in used)}token"
        self._pattern = re.compile(rf"{self._stem}(\d+)xzq")

    def word(self, token: str) -> str:
        """The word for a token."""
        return f"{self._stem}{self._tokens.index(token)}xzq"

    def with_tokens(self, text: str) -> str:
        """A text with the tokens in place of their words."""
        return self._pattern.sub(lambda match: self._tokens[int(match[1])], text)


class SpecialTokens:
    """A tokenizer's special tokens, as text and as ids.

    Args:
        tokenizer: the tokenizer; a slow one finds nothing in messages.
        split: False reads special tokens in messages as what they are.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, split: bool = True) -> None:
        self._tokenizer = tokenizer
        special = {i: str(t) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        self._ids = {*tokenizer.all_special_ids, *special}
        self._texts = sorted({*map(str, tokenizer.all_special_tokens), *special.values()} - {""})
        longest = sorted(self._texts, key=len, reverse=True)
        usable = split and tokenizer.is_fast and longest
        self._pattern = re.compile("|".join(map(re.escape, longest))) if usable else None

    def encode(self, chat: Chat, text: str, render: Callable[[Chat], str]) -> Encoding | None:
        """Encode a chat whose messages mention special tokens.

        Args:
            chat: the messages.
            text: the chat as rendered.
            render: renders a chat.

        Returns:
            Token ids and the characters of `text` under each; None if no message mentions a
            special token but those that the template itself reads in messages.
        """
        if self._pattern is None:
            return None
        words = _Words(self._texts, text)
        with_words = self._render_with_words(tuple(chat), text, render, words)
        if with_words is None:
            return None
        ids: list[int] = []
        spans: list[Span] = []
        start = length = 0  # of `with_words` that are encoded, and of `text` that they stand for
        for token, (first, last) in self._find_control_tokens(with_words):
            between = words.with_tokens(with_words[start:first])
            new_ids, new_spans = self._split(between)
            ids += new_ids
            spans += [(a + length, b + length) for a, b in new_spans]
            length += len(between)
            if token is not None:
                ids.append(token)
                spans.append((length, length + last - first))
                length += last - first
            start = last
        return tuple(ids), spans

    def _find_control_tokens(self, text: str) -> Iterator[tuple[int | None, Span]]:
        """The special tokens of a text and their characters; at the end None and the text's end."""
        out = self._tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            split_special_tokens=False,
        )
        for token, span in zip(out["input_ids"], out["offset_mapping"], strict=True):
            if token in self._ids:
                yield token, span
        yield None, (len(text), len(text))

    def _split(self, text: str) -> Encoding:
        """Encode a text, special tokens in it as the characters that they are."""
        if self._tokenizer not in _splitting:
            own: Any = self._tokenizer
            tokenizer = copy.deepcopy(own.backend_tokenizer)
            tokenizer.no_truncation()
            tokenizer.no_padding()
            tokenizer.encode_special_tokens = True
            _splitting[self._tokenizer] = tokenizer
        encoding = _splitting[self._tokenizer].encode(text, add_special_tokens=False)
        return tuple(encoding.ids), encoding.offsets

    def _render_with_words(
        self, chat: Chat, text: str, render: Callable[[Chat], str], words: _Words
    ) -> str | None:
        """Render the chat with words for the special tokens that its messages mention."""
        every = set(self._texts)
        # A template may escape what is in a call's arguments: then the texts alone are replaced.
        for fields in (None, _TEXTS):
            changed = self._with_words(chat, words, every, fields)
            if changed == chat:
                return None
            if words.with_tokens(result := render(changed)) == text:
                return result
        # It may read some of them itself, such as the end of a thought: these stay.
        mentions = [one for one in every if self._with_words(chat, words, {one}, _TEXTS) != chat]
        best, plain = None, set[str]()
        parts = [sorted(mentions)]
        while parts:  # halved where it reads one, so that a few renderings tell them apart
            part = parts.pop()
            result = render(self._with_words(chat, words, plain.union(part), _TEXTS))
            if words.with_tokens(result) == text:
                plain.update(part)
                best = result
            elif len(part) > 1:
                parts += part[: len(part) // 2], part[len(part) // 2 :]
        return best

    def _with_words(
        self, chat: Chat, words: _Words, tokens: Collection[str], fields: Collection[str] | None
    ) -> Chat:
        """The chat with words for some tokens in some fields of its messages; None for all."""

        def change_message(one: Message) -> Message:
            names = one.keys() - {"role"} if fields is None else one.keys() & set(fields)
            changed = {name: change(value) for name, value in one.items() if name in names}
            return cast(Message, {**one, **changed})

        def change(value: Any) -> Any:
            if isinstance(value, str):
                assert self._pattern is not None
                return self._pattern.sub(to_word, value)
            if isinstance(value, Mapping):
                return {name: change(one) for name, one in value.items()}
            return [change(one) for one in value] if isinstance(value, list) else value

        def to_word(match: re.Match[str]) -> str:
            return words.word(match[0]) if match[0] in tokens else match[0]

        return tuple(map(change_message, chat))


def measure_longest_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Characters of the longest token; 0 if one token may stand for any stretch of text."""
    inner = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    joined = getattr(inner, "fuse_unk", True) and not getattr(inner, "byte_fallback", False)
    if tokenizer.unk_token_id is not None and joined:
        return 0
    return max(map(len, tokenizer.get_vocab()), default=0)


def find_end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that end a reply: the generation config's and the tokenizer's."""
    config = getattr(model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    if ends is None:
        ends = model.config.get_text_config(decoder=True).eos_token_id
    ids = set() if ends is None else {ends} if isinstance(ends, int) else set(ends)
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    return frozenset(ids)
