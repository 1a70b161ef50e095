"""Chats to token ids through a tokenizer's own chat template, and where the persona is in them.

Small chats are rendered to find out what a template allows: whether it has a system role, and
whether a chat must open with a user message (Llama 2 and Gemma insist). If it has no system role,
the prompt is folded into the first user message (prompt, blank line, message). If it writes a
system message of its own into a chat without one, an empty one replaces it, where that is taken.

The persona's span comes from rendering too. The prompt is replaced by a marker, and the text
before and after the marker bounds the prompt. The system message as a whole ends where a
rendering of it alone ends, or else where renderings with and without it begin to agree.

This module knows text and token ids. It knows no models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from holdfast.core.chat import Chat, Message, message, without_surrogates
from holdfast.core.errors import ModelError
from holdfast.models.local.prompt_cache import PromptCache
from holdfast.models.local.special_tokens import SpecialTokens, measure_longest_token
from holdfast.models.template_date import with_date

Span = tuple[int, int]

# Text that no template and no user writes; letters only, so that no template trims or splits it.
MARK, ASIDE, REPLY = "qzxmarkerxzq", "qzxasidexzq", "qzxreplyxzq"
AGAIN, LAST = "qzxagainxzq", "qzxtoldxzq"
_USER, _ASSISTANT = message("user", ASIDE), message("assistant", REPLY)
_SYSTEM, _LATER = message("system", MARK), message("user", LAST)

_TOKEN = 40  # bytes of a token id in a tuple, about


class RenderedChat(NamedTuple):
    """A chat as token ids, with the token ranges of the system prompt (None without one).

    `content` is the prompt's own tokens, `template` the whole message with its header and BOS.
    """

    ids: tuple[int, ...]
    content: Span | None = None
    template: Span | None = None


class Template:
    """A tokenizer's chat template, and what it allows.

    Attributes:
        folds_system: the template has no system role, so the prompt joins the first user message.
        user_first: a chat must open with a user message, after the system prompt.
        system_anywhere: a system message may come in mid-chat, before a user message.
        default_system: the system prompt that the template itself writes into a chat without
            one and that an empty system message does not switch off; None for most.
        moves_system: the system prompt goes into the last user message (Mistral v0.3's does).
        turn_ids: the token ids that open a user message (none if the template shows no such).
        today: the date, "2026-11-28", for a template that writes one; None for others. It stays
            what it was when the template was made.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        name: str = "the model",
        options: Mapping[str, Any] | None = None,
        *,
        today: str | None = None,
    ) -> None:
        """Find out what a tokenizer's template allows.

        Args:
            tokenizer: the tokenizer, with a chat template.
            name: the model's name, for errors.
            options: what the template is given besides the chat (`enable_thinking`, for instance);
                `split_special_tokens=False` reads special tokens in messages as such.
            today: the date, "2026-11-28", for a template that writes one; by default the
                environment's HOLDFAST_TODAY, or today.

        Raises:
            ModelError: the tokenizer has no template, or its template renders no plain chat.
        """
        self.tokenizer, self._name = tokenizer, name
        self.options = dict(options or {})
        if not tokenizer.chat_template:
            raise ModelError(
                f"{name} has no chat template: choose a chat (instruct) model, or put a"
                " chat_template.jinja into its folder."
            )
        source = self._choose(tokenizer.chat_template)
        source_with_date, self.today = with_date(source, today)
        self._source = source_with_date or source
        self._special = SpecialTokens(tokenizer, self.options.get("split_special_tokens", True))
        if fault := self._find_fault():
            raise ModelError(f"{name}'s chat template {fault}: choose a chat model, or mend it.")
        self.folds_system = not self._shows(_SYSTEM, _USER)
        self.user_first = self.folds_system or not (
            self._shows(_ASSISTANT, _USER) and self._shows(_SYSTEM, _ASSISTANT, _USER)
        )
        self.system_anywhere = not self.folds_system and self._shows(
            _SYSTEM, _USER, _ASSISTANT, message("system", AGAIN), _LATER
        )
        self.default_system, self._empty_system = self._find_default()
        text = "" if self.folds_system else self.text((_SYSTEM, _USER, _ASSISTANT, _LATER))
        self.moves_system = text.find(MARK) > text.find(REPLY)
        self.turn_ids = self._find_turn_ids()
        self._bos_opens_messages = self._find_bos_role()
        self._bounds = PromptCache[_Bounds]()
        self._heads = PromptCache[RenderedChat]()

    def with_options(self, options: Mapping[str, Any]) -> Template:
        """Return this template with further options and the same date."""
        return Template(self.tokenizer, self._name, {**self.options, **options}, today=self.today)

    def _choose(self, source: str | dict[str, str]) -> str:
        """Return the one of a model's chat templates that its chats are rendered by."""
        if isinstance(source, str):
            return source
        if self.options.get("tools") and "tool_use" in source:
            return source["tool_use"]
        if "default" not in source:
            raise ModelError(
                f"{self._name} has several chat templates ({', '.join(source)}) and none is the"
                " default: put the one for plain chats into chat_template.jinja."
            )
        return source["default"]

    def text(self, chat: Sequence[Message], *, prompt: bool = True) -> str:
        """Render a chat as text, with the header of the next reply unless `prompt` is False."""
        messages: list[Any] = [dict(m) for m in chat]
        try:
            text = self.tokenizer.apply_chat_template(
                messages,
                chat_template=self._source,
                tokenize=False,
                add_generation_prompt=prompt,
                **self.options,
            )
        except Exception as error:  # a template is a program of the model's: it may raise anything
            raise ModelError(f"the chat template refuses this chat: {error}") from error
        assert isinstance(text, str)
        return text

    def render(self, chat: Chat) -> RenderedChat:
        """Render a chat as token ids, the next reply's header included, and find its prompt.

        Special tokens that a message mentions are encoded as plain text, and half a surrogate pair,
        which no tokenizer takes, is U+FFFD.
        """
        chat = tuple(map(without_surrogates, chat))
        system = chat[0]["content"] if chat and chat[0]["role"] == "system" else ""
        messages = self.fold(chat)
        text = self.text(messages)
        literal = self._special.encode(messages, text, self.text)
        if not system.strip():
            return RenderedChat(self._encode(text)[0] if literal is None else literal[0])
        head = self._heads.get(system)
        if head is not None:
            # The same prompt is rendered in every round: its tokens are where they were.
            ids = self._encode(text)[0] if literal is None else literal[0]
            if ids[: len(head.ids)] == head.ids:
                return head._replace(ids=ids)
        ids, offsets = self._encode(text, offsets=True) if literal is None else literal
        if self.moves_system:
            before, _, after = self.text((_SYSTEM, *chat[1:])).partition(MARK)
            if _cut_out(before, text, after) != system.strip():
                return RenderedChat(ids)
            span = self._find_tokens(text, ids, offsets, len(before), len(text) - len(after))
            return RenderedChat(ids, span, span)
        bounds = self._bounds.get(system) or self._find_bounds(system)
        # Before an empty message of the user's a template may trim the blanks at the head's end.
        heads = (bounds.head, bounds.head.rstrip()) if bounds else ()
        opening = next(filter(text.startswith, heads), None)
        if bounds is None or opening is None:
            return RenderedChat(ids)
        self._bounds.put(system, bounds, 4 * len(bounds.head))
        content = self._find_tokens(text, ids, offsets, bounds.start, min(bounds.end, len(opening)))
        whole = (0, self._find_tokens(text, ids, offsets, 0, len(opening))[1])
        # One token more than the message, so that a token grown across its end is noticed.
        head = RenderedChat(ids[: whole[1] + 1], content, whole)
        self._heads.put(system, head, _TOKEN * len(head.ids))
        return head._replace(ids=ids)

    def least_tokens(self, chat: Chat) -> int:
        """Count the tokens that a chat has at least, without rendering it; 0 if that is unknown.

        No token stands for more characters than the longest of the vocabulary, or for four times
        as many where the tokenizer joins characters (é) first.
        """
        characters = sum(len(m["content"].strip()) for m in chat)
        return characters // (4 * self._longest_token) if self._longest_token else 0

    @cached_property
    def _longest_token(self) -> int:
        return measure_longest_token(self.tokenizer)

    def fold(self, chat: Chat) -> Chat:
        """Return the chat as this template takes it: the system prompt folded where it must be."""
        has_system = bool(chat) and chat[0]["role"] == "system"
        if not has_system or not chat[0]["content"].strip():
            return (*self._empty_system, *chat[has_system:])
        if not self.folds_system:
            return chat
        rest = list(chat[1:])
        for i, m in enumerate(rest):
            if m["role"] == "user":
                rest[i] = message("user", f"{chat[0]['content']}\n\n{m['content']}")
                return tuple(rest)
        return (message("user", chat[0]["content"]), *rest)

    def leading_bos(self, ids: Sequence[int]) -> int:
        """Count the tokens (0 or 1) before the first message: a BOS that opens no message.

        ChatML models may have `<|im_start|>` for BOS. It opens every message and belongs to it.
        """
        starts = bool(ids) and ids[0] == self.tokenizer.bos_token_id
        return int(starts and not self._bos_opens_messages)

    def describe(self) -> dict[str, str]:
        """Name what the template adds to chats by itself, for the manifest."""
        own = {"default_system": self.default_system, "today": self.today}
        return {name: text for name, text in own.items() if text is not None}

    def _find_bos_role(self) -> bool:
        """True if BOS opens every message. (Llama 2 has it before users' messages only.)"""
        ids = self._encode(self.text((_USER, _ASSISTANT, _LATER), prompt=False))[0]
        return ids.count(self.tokenizer.bos_token_id) > 2

    def _find_default(self) -> tuple[str | None, Chat]:
        """Find the template's own system prompt, and the empty message that switches it off."""
        if self.folds_system:
            return None, ()
        head, tail = self.text((_SYSTEM, _USER)).split(MARK, 1)
        own = _cut_out(head, self.text((_USER,)), tail)
        if not own:
            return None, ()
        empty = message("system", "")
        try:
            default = _cut_out(head, self.text((empty, _USER)), tail)
        except ModelError:
            return own, ()
        return (None, (empty,)) if default == "" else (own, ())

    def _find_turn_ids(self) -> tuple[int, ...]:
        """Find the ids that precede the first user message and a later one alike.

        The later one's begin where the reply before it is closed. Blanks at the end are left
        out, since a tokenizer may join them to the message.
        """
        chat = (_USER, _ASSISTANT, _LATER)
        text = self.text(chat, prompt=False)
        closing = self.text(chat[:2], prompt=False).rpartition(REPLY)[2]
        reply = text.index(REPLY) + len(REPLY)
        start = reply + len(closing) if text.startswith(closing, reply) else 0
        end = len(text[: text.index(LAST)].rstrip())
        ids, offsets = self._encode(text, offsets=True)
        first = self._encode(text[: text.index(ASIDE)].rstrip())[0]
        second = ids[slice(*self._find_tokens(text, ids, offsets, start, end))]
        common = _count_common(first[::-1], second[::-1])
        return first[len(first) - common :]

    def _find_fault(self) -> str:
        """What keeps plain chats from being rendered whole; empty if nothing does."""
        try:
            if ASIDE not in self.text((_USER,)):
                return "does not render a plain user message"
        except ModelError as error:
            return f"cannot render a plain user message ({error.__cause__})"
        whole = self._shows(_USER, _ASSISTANT, _LATER)
        return "" if whole else "leaves out earlier messages, which the model would not see"

    def _shows(self, *chat: Message) -> bool:
        """True if the template takes the chat and leaves none of it out, in order."""
        try:
            text = self.text(chat)
        except ModelError:
            return False
        places = [text.find(m["content"]) for m in chat]
        return min(places) >= 0 and places == sorted(places)

    def _find_bounds(self, system: str) -> _Bounds | None:
        """Find the prompt's characters, and all text up to the system message's end."""
        prompt = message("system", system)
        with_mark = self.text(self.fold((_SYSTEM, _USER)))
        text = self.text(self.fold((prompt, _USER)))
        before, mark, tail = with_mark.partition(MARK)
        if not mark or _cut_out(before, text, tail) != system.strip():
            return None
        end = len(text) - len(tail)
        # Blanks around the prompt (a template that does not trim) are content as well.
        return _Bounds(len(before), end, text[: self._find_message_end(prompt, text, end)])

    def _find_message_end(self, prompt: Message, text: str, end: int) -> int:
        """Find where the rendered system message ends in `text`; its content ends at `end`."""
        if self.folds_system:
            return text.index(ASIDE, end)
        try:
            alone = self.text((prompt,), prompt=False)
        except ModelError:  # it expects a user's message
            alone = ""
        if text.startswith(alone) and len(alone) >= end:
            return len(alone)
        return len(text) - _count_common(text[end:][::-1], self.text((_USER,))[::-1])

    def _encode(
        self, text: str, *, offsets: bool = False
    ) -> tuple[tuple[int, ...], list[Span] | None]:
        """Encode text, on request with each token's characters (None if the tokenizer is slow)."""
        offsets = offsets and self.tokenizer.is_fast
        out = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=offsets)
        return tuple(out["input_ids"]), out["offset_mapping"] if offsets else None

    def _find_tokens(
        self, text: str, ids: tuple[int, ...], offsets: list[Span] | None, start: int, end: int
    ) -> Span:
        """Range of the tokens that overlap characters [start, end)."""
        if offsets is not None:
            first = next((i for i, (_, b) in enumerate(offsets) if b > start), len(ids))
            last = next((i for i, (a, _) in enumerate(offsets) if a >= end), len(ids))
            return first, max(first, last)
        first = self._count_tokens(text[:start], ids, False)
        return first, self._count_tokens(text[:end], ids, True)

    def _count_tokens(self, head: str, ids: tuple[int, ...], over: bool) -> int:
        """Count the tokens of `ids` that encode `head`; `over` counts one that crosses its end."""
        alone = self._encode(head)[0]
        n = _count_common(alone, ids)
        return n + 1 if over and n < len(alone) else n


def _cut_out(head: str, text: str, tail: str) -> str | None:
    """What a text has between a head and a tail, without blanks; None if it has not both."""
    whole = len(text) >= len(head) + len(tail) and text.startswith(head) and text.endswith(tail)
    return text[len(head) : len(text) - len(tail)].strip() if whole else None


def _count_common(a: Sequence[object], b: Sequence[object]) -> int:
    """Length of the longest common prefix."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


class _Bounds(NamedTuple):
    start: int
    end: int
    head: str
