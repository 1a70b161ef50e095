"""Thoughts of a thinking model, split from its reply.

A thinking model writes its thought before its reply, between tags (`<think>…</think>`) or in
channels of its own (gpt-oss: `<|channel|>analysis<|message|>…<|end|>`). Its chat template may have
opened the thought already. Thoughts stand at the beginning only: the same tags further on are text
of the reply.

`split_thought` splits a whole text, `ThoughtSplitter` one that comes in pieces; both give the same.

`ThoughtDecoder` does it for token ids.

This module knows text and a tokenizer. It knows no templates and no models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, AnyStr, NamedTuple

from holdfast.core.backend import find_stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TAGS = {
    "<think>": "</think>",  # Qwen3, DeepSeek R1, SmolLM3, GLM…
    "[THINK]": "[/THINK]",  # Magistral
    "<seed:think>": "</seed:think>",  # Seed-OSS
    "◁think▷": "◁/think▷",  # Kimi
    "<thought>": "</thought>",  # EXAONE Deep
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command A
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<|channel>thought": "<channel|>",  # Gemma 4
}
"""What opens a thought, and what closes it."""
CHANNEL, _MESSAGE, _START = "<|channel|>", "<|message|>", "<|start|>"
_FINAL = "final"
"""The channel of gpt-oss that is the reply."""
_ENDS = ("<|end|>", "<|return|>", "<|call|>")
_TAIL = 8  # tokens at a prompt's end that hold a tag, if one is there
TAG_MARKS = frozenset({*TAGS, *TAGS.values(), "<|channel>"})
CHANNEL_MARKS = frozenset({CHANNEL, _MESSAGE, _START, *_ENDS})
"""Everything that tells a thought from a reply; to be kept where token ids become text."""


class Split(NamedTuple):
    """A text of a model as its thought and its reply."""

    thought: str | None
    """The thought without blanks around it; None where there is none."""
    reply: str
    """The reply; after a thought without blanks at its start."""
    unfinished: bool = False
    """Whether the text ended within the thought."""


class SplitPiece(NamedTuple):
    """What a further piece of text adds."""

    thought: str
    """Text of the thought."""
    reply: str
    """Text of the reply."""


def shows_thoughts(template: str) -> bool:
    """Whether a chat template has the marks of thoughts, as those of thinking models do."""
    return any(mark in template for mark in (*TAG_MARKS, CHANNEL))


def opens_thought(prompt: str) -> bool:
    """Whether a rendered chat, the header of the next reply included, ends with an open thought."""
    return prompt.rstrip().endswith(tuple(TAGS))


def split_thought(text: str, *, opened: bool = False) -> Split:
    """Split the thought from the reply.

    Args:
        text: all that the model wrote.
        opened: whether the chat template had opened a thought (`opens_thought`). A text that
            closes a thought before it opens one shows that the template had.
    """
    if not opened:
        first = min((at for tag in TAGS if (at := text.find(tag)) >= 0), default=len(text))
        opened = any(text.find(tag, 0, first) >= 0 for tag in TAGS.values())
    splitter = ThoughtSplitter(opened=opened)
    pieces = [splitter.feed(text), splitter.end()]
    thought = "".join(piece.thought for piece in pieces).strip()
    reply = "".join(piece.reply for piece in pieces)
    return Split(thought or None, reply, splitter.thinking)


class ThoughtSplitter:
    """Splits a text that comes in pieces; what may be the beginning of a tag waits."""

    def __init__(self, *, opened: bool = False) -> None:
        """Begin a text; `opened` says that the chat template has opened a thought."""
        self._waiting = ""
        self._kind = "thought" if opened else "start"  # or "header", "reply"
        self._closers: tuple[str, ...] = tuple(TAGS.values()) if opened else ()
        self._strip = opened
        """Whether blanks are dropped that come next."""

    @property
    def thinking(self) -> bool:
        """Whether a thought is open."""
        return self._kind in ("thought", "header")

    def feed(self, text: str) -> SplitPiece:
        """Take more text, and return what is certain."""
        self._waiting += text
        return self._read(last=False)

    def end(self) -> SplitPiece:
        """Return what waited: no text will follow."""
        return self._read(last=True)

    def _read(self, *, last: bool) -> SplitPiece:
        parts = {"thought": "", "reply": ""}
        while True:
            before = self._kind, self._waiting
            if self._kind == "start":
                self._begin(last)
            elif self._kind == "header":
                self._read_header()
            else:
                parts[self._kind] += self._read_body(last)
            if (self._kind, self._waiting) == before:
                return SplitPiece(**parts)

    def _begin(self, last: bool) -> None:
        """Find out what comes next: a thought, a channel or the reply."""
        text = self._waiting.lstrip()
        openers = (*TAGS, CHANNEL, _START)
        for opener in openers:
            if text.startswith(opener):
                self._kind = "thought" if opener in TAGS else "header"
                self._closers, self._strip = (TAGS.get(opener, ""),), True
                self._waiting = text.removeprefix(opener) if opener != _START else text
                return
        if last or (text and not any(opener.startswith(text) for opener in openers)):
            self._kind, self._closers = "reply", ()

    def _read_header(self) -> None:
        """Read the header of a channel, up to its message."""
        header, mark, rest = self._waiting.partition(_MESSAGE)
        if mark:
            name = header.rpartition(CHANNEL)[2].split()
            self._kind = "reply" if name[:1] == [_FINAL] else "thought"
            self._closers, self._waiting = (*_ENDS, _START, CHANNEL), rest

    def _read_body(self, last: bool) -> str:
        """The text of the thought or the reply, as far as it is certain."""
        if self._strip:
            self._waiting = self._waiting.lstrip()
            self._strip = not self._waiting
        places = [
            (at, closer) for closer in self._closers if (at := self._waiting.find(closer)) >= 0
        ]
        if places:
            at, closer = min(places)
            text, self._waiting = self._waiting[:at], self._waiting[at:]
            if closer not in (_START, CHANNEL):
                self._waiting = self._waiting.removeprefix(closer)
            self._kind, self._strip = "start", True
            return text
        size = 0 if last else measure_beginning(self._waiting, self._closers)
        certain = len(self._waiting) - size
        text, self._waiting = self._waiting[:certain], self._waiting[certain:]
        return text


class ThoughtDecoder:
    """Token ids as text that still has the marks by which a thought is told from a reply."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Find the marks among the tokenizer's special tokens, which decoding would drop."""
        self._tokenizer = tokenizer
        tokens = tokenizer.added_tokens_decoder.items()
        special = {i: str(token) for i, token in tokens if token.special}
        self._dropped = {*special, *tokenizer.all_special_ids}
        # Other models close messages with <|end|>, which marks a channel only where there are any.
        marks = TAG_MARKS | CHANNEL_MARKS if CHANNEL in special.values() else TAG_MARKS
        self._dropped -= {i for i, token in special.items() if token in marks}

    def decode(self, ids: Sequence[int]) -> str:
        """Return token ids as text; of special tokens the marks alone."""
        content = [i for i in ids if i not in self._dropped]
        text = self._tokenizer.decode(content, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def opens(self, prompt: Sequence[int]) -> bool:
        """Return whether a rendered chat ends with a thought that its template opened."""
        return opens_thought(self.decode(prompt[-_TAIL:]))

    def close(self, prompt: tuple[int, ...]) -> tuple[int, ...]:
        """Return a rendered chat with its open thought closed, empty: a reply may follow."""
        end = self.decode(prompt[-_TAIL:]).rstrip()
        closer = next((closer for tag, closer in TAGS.items() if end.endswith(tag)), None)
        if closer is None:
            return prompt
        ids = self._tokenizer(f"\n{closer}\n\n", add_special_tokens=False)["input_ids"]
        return (*prompt, *ids)

    def split(self, prompt: Sequence[int], ids: Sequence[int]) -> Split:
        """Return what a model wrote after a rendered chat as its thought and its reply."""
        return split_thought(self.decode(ids), opened=self.opens(prompt))

    def halt(self, prompt: Sequence[int], stops: Sequence[str]) -> Callable[[Sequence[int]], bool]:
        """Return a function that finds a stop string in a reply; in a thought it ends nothing."""
        opened = self.opens(prompt)
        return lambda ids: (
            find_stop(split_thought(self.decode(ids), opened=opened).reply, stops) is not None
        )


def measure_beginning(text: AnyStr, words: Sequence[AnyStr]) -> int:
    """Length of the longest end of a text that one of the words begins with."""
    longest = max(map(len, words), default=1) - 1
    sizes = range(min(longest, len(text)), 0, -1)
    return next((n for n in sizes if any(word.startswith(text[-n:]) for word in words)), 0)
