"""Chats to token ids through a tokenizer's own chat template, and where the persona is in them.

What a template allows is found out by rendering small chats with it: whether it
has a system role, and whether a chat must open with a user message (Llama 2 and
Gemma insist). Where there is no system role the prompt is folded into the first
user message, prompt, blank line, message, as those models' own users do.

The persona's span comes from rendering too. The prompt is swapped for a marker:
what stands before the marker and after it bounds the content. The system
message as a whole ends where a rendering of it alone ends, or else where
renderings with and without it begin to agree.

This module knows text and token ids. It knows no models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from holdfast.core.chat import Chat, Message, message
from holdfast.core.errors import ModelError

Span = tuple[int, int]

# Text that no template and no user writes; letters only, so that no template trims or splits it.
MARK, ASIDE, REPLY = "qzxmarkerxzq", "qzxasidexzq", "qzxreplyxzq"
AGAIN, TOLD = "qzxagainxzq", "qzxtoldxzq"

KNOWN = 4096  # prompts whose places are remembered


class Rendered(NamedTuple):
    """A chat as token ids, with the token ranges of the system prompt (None without one)."""

    ids: tuple[int, ...]
    content: Span | None = None
    template: Span | None = None


class Template:
    """A tokenizer's chat template. `options` are passed to it (`enable_thinking`, for instance).

    Raises `ModelError` where the tokenizer has none, or where it renders no plain chat.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        name: str = "the model",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.options = dict(options or {})
        if not tokenizer.chat_template:
            raise ModelError(
                f"{name} has no chat template: choose a chat (instruct) model, or put a"
                " chat_template.jinja into its folder."
            )
        if not self._shows(message("user", ASIDE)):
            raise ModelError(f"{name}'s chat template does not render a plain user message.")
        asked = message("user", ASIDE)
        answered = message("assistant", REPLY)
        #: The template has no system role: the prompt goes into the first user message.
        self.folds_system = not self._shows(message("system", MARK), asked)
        #: A chat must open with a user message, after the system prompt.
        self.user_first = self.folds_system or not (
            self._shows(answered, asked) and self._shows(message("system", MARK), answered, asked)
        )
        #: A system message may stand in mid-chat, before a user message.
        self.system_anywhere = not self.folds_system and self._shows(
            message("system", MARK),
            asked,
            answered,
            message("system", AGAIN),
            message("user", TOLD),
        )
        #: Token ids that open a user message (none where the template shows no such head).
        self.turn_ids = self._turn_ids()
        self._bounds = lru_cache(maxsize=4096)(self._find_bounds)
        self._heads: dict[str, tuple[tuple[int, ...], Span, Span]] = {}

    def text(self, chat: Sequence[Message], *, prompt: bool = True) -> str:
        """The chat as text, with the header of the next reply unless `prompt` is False."""
        messages: list[Any] = [dict(m) for m in chat]
        try:
            text = self.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=prompt,
                **self.options,
            )
        except TemplateError as error:
            raise ModelError(f"the chat template refuses this chat: {error}") from error
        assert isinstance(text, str)
        return text

    def render(self, chat: Chat) -> Rendered:
        """Token ids of a chat and of its system prompt, the next reply's header included."""
        system = chat[0]["content"] if chat and chat[0]["role"] == "system" else ""
        text = self.text(self.fold(chat))
        if not system.strip():
            return Rendered(self._encode(text)[0])
        known = self._heads.get(system)
        if known is not None:
            # The same prompt is rendered in every round: where its tokens were, they still are.
            ids = self._encode(text)[0]
            if ids[: len(known[0])] == known[0]:
                return Rendered(ids, known[1], known[2])
        ids, offsets = self._encode(text, places=True)
        bounds = self._bounds(system)
        if bounds is None or not text.startswith(bounds.head):
            return Rendered(ids)
        content = self._tokens(text, ids, offsets, bounds.start, bounds.end)
        whole = (0, self._tokens(text, ids, offsets, 0, len(bounds.head))[1])
        # One token more than the message, so that a token grown across its end is noticed.
        if len(self._heads) >= KNOWN:
            del self._heads[next(iter(self._heads))]
        self._heads[system] = (ids[: whole[1] + 1], content, whole)
        return Rendered(ids, content, whole)

    def fold(self, chat: Chat) -> Chat:
        """The chat as this template takes it: the system prompt folded where it must be."""
        if not chat or chat[0]["role"] != "system":
            return chat
        if not chat[0]["content"].strip():
            return chat[1:]
        if not self.folds_system:
            return chat
        rest = list(chat[1:])
        for i, m in enumerate(rest):
            if m["role"] == "user":
                rest[i] = message("user", f"{chat[0]['content']}\n\n{m['content']}")
                return tuple(rest)
        return (message("user", chat[0]["content"]), *rest)

    def _turn_ids(self) -> tuple[int, ...]:
        """What stands before the first user message and before a later one alike.

        Blanks at its end are left out: a tokenizer may join them to the message.
        """
        chat = (message("user", ASIDE), message("assistant", REPLY), message("user", TOLD))
        text = self.text(chat, prompt=False)
        first, second = (
            self._encode(text[: text.index(said)].rstrip())[0] for said in (ASIDE, TOLD)
        )
        common = _common(first[::-1], second[::-1])
        return first[len(first) - common :]

    def _shows(self, *chat: Message) -> bool:
        """True where the template takes the chat and leaves none of it out, in order."""
        try:
            text = self.text(chat)
        except ModelError:
            return False
        places = [text.find(m["content"]) for m in chat]
        return min(places) >= 0 and places == sorted(places)

    def _find_bounds(self, system: str) -> _Bounds | None:
        """Character range of the prompt, and all text to the system message's end."""
        prompt, asked = message("system", system), message("user", ASIDE)
        marked = self.text(self.fold((message("system", MARK), asked)))
        text = self.text(self.fold((prompt, asked)))
        start = marked.find(MARK)
        tail = marked[start + len(MARK) :]
        end = len(text) - len(tail)
        if start < 0 or text[:start] != marked[:start] or not text.endswith(tail):
            return None
        if text[start:end].strip() != system.strip():
            return None
        # Blanks around the prompt (a template that does not trim) are content as well.
        return _Bounds(start, end, text[: self._message_end(prompt, text, end)])

    def _message_end(self, prompt: Message, text: str, end: int) -> int:
        """Where the rendered system message ends in `text`; `end` is where its content does."""
        asked = message("user", ASIDE)
        if self.folds_system:
            return text.index(ASIDE, end)
        try:
            alone = self.text((prompt,), prompt=False)
        except Exception:
            # Templates index into the messages they expect; what they raise then is theirs.
            alone = ""
        if text.startswith(alone) and len(alone) >= end:
            return len(alone)
        return len(text) - _common(text[end:][::-1], self.text((asked,))[::-1])

    def _encode(self, text: str, places: bool = False) -> tuple[tuple[int, ...], list[Span] | None]:
        """Token ids, and their character ranges where asked for and known."""
        places = places and self.tokenizer.is_fast
        out = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=places)
        return tuple(out["input_ids"]), out["offset_mapping"] if places else None

    def _tokens(
        self, text: str, ids: tuple[int, ...], offsets: list[Span] | None, start: int, end: int
    ) -> Span:
        """Range of the tokens that overlap characters [start, end)."""
        if offsets is not None:
            first = next((i for i, (_, b) in enumerate(offsets) if b > start), len(ids))
            last = next((i for i, (a, _) in enumerate(offsets) if a >= end), len(ids))
            return first, max(first, last)
        return self._boundary(text[:start], ids, False), self._boundary(text[:end], ids, True)

    def _boundary(self, head: str, ids: tuple[int, ...], over: bool) -> int:
        """Tokens of `ids` that encode `head` (`over`: counting one that reaches beyond it)."""
        alone = self._encode(head)[0]
        n = _common(alone, ids)
        return n + 1 if over and n < len(alone) else n


def _common(a: Sequence[object], b: Sequence[object]) -> int:
    """Length of the longest common prefix."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


class _Bounds(NamedTuple):
    start: int
    end: int
    head: str
