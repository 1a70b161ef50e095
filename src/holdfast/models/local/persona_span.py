"""Where a persona is in a row of token ids.

There are two ways to find it: by its own ids (given, or made from its text by the chat
template), or as whatever lies between the ids that open a system message and the ids that close
it. The first match in a row counts. Rows grow pass by pass, and a prompt that comes in chunks
has its persona at the same columns as the whole.

A tokenizer may join blanks around a persona to its tokens; other blanks are not part of it.
This module knows token ids and templates. It knows no models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from holdfast.core.chat import message
from holdfast.core.errors import ControlError
from holdfast.models.local.template import ASIDE, MARK, Span, Template

Ids = tuple[int, ...]

_SAMPLES = ("You are Ann, a baker from Rome.", "Answer in French.\nNever say no!", "Say (a) or (b)")


class PersonaSpan(NamedTuple):
    """Columns [start, end) of the persona's own tokens, and of the message around them."""

    content: Span
    message: Span


Find = Callable[[list[int]], PersonaSpan | None]


@dataclass(frozen=True)
class ExactPersona:
    """Finds a persona by its ids, in one of several spellings."""

    contents: tuple[Ids, ...]
    """The spellings."""
    head: Ids = ()
    """What the persona's message has before it."""
    tail: Ids = ()
    """What closes the message."""
    after_tail: Ids = ()
    """Blanks after the message that belong to it."""

    def __call__(self, row: list[int]) -> PersonaSpan | None:
        """Return the persona's first place in a row."""
        places = [
            (start, start + len(ids))
            for ids in self.contents
            for start in find_occurrences(ids, row, 1)
        ]
        if not places:
            return None
        # If several spellings begin in the first column, the longest is the persona.
        a, b = min(places, key=lambda place: (place[0], -place[1]))
        first = a - len(self.head)
        if first < 0 or not _is_at(self.head, row, first):
            first = a
        end = _skip(self.tail, row, b)
        if end > b or not self.tail:
            end = _skip(self.after_tail, row, end)
        return PersonaSpan((a, b), (first, end))


@dataclass(frozen=True)
class AnySystemMessage:
    """Finds whatever a system message contains, by the ids that open and close the message."""

    head: Ids
    """What opens the message."""
    after_head: Ids
    """Blanks after `head`, which some personas join to their own tokens."""
    before_tail: Ids
    """Blanks before `tail`, likewise."""
    tail: Ids
    """What closes the message."""
    after_tail: Ids
    """Blanks after the message that belong to it."""

    def __call__(self, row: list[int]) -> PersonaSpan | None:
        """Return the first system message in a row (None if it is empty or not there)."""
        start = next(iter(find_occurrences(self.head, row, 1)), None)
        if start is None:
            return None
        a = _skip(self.after_head, row, start + len(self.head))
        close = next(iter(find_occurrences(self.tail, row, 1, a)), None)
        if close is None:
            return None
        b = close - len(self.before_tail)
        if b < a or not _is_at(self.before_tail, row, b):
            b = close
        end = _skip(self.after_tail, row, close + len(self.tail))
        return PersonaSpan((a, b), (start, end)) if a < b else None


def exact_persona(text: str, tokenizer: PreTrainedTokenizerBase) -> ExactPersona:
    """Find a persona by its text: as the template renders it, or as plain text."""
    plain: Ids = tuple(tokenizer(text.strip(), add_special_tokens=False)["input_ids"])
    system_message = _render(text, Template(tokenizer)) if tokenizer.chat_template else None
    if system_message is None:
        return ExactPersona((plain,))
    (a, b), ids = system_message.content, system_message.ids
    last = max(b, len(ids) - _count_blanks(ids[::-1], tokenizer))
    return ExactPersona((ids[a:b], plain), ids[:a], ids[b:last], ids[last:])


def any_system_message(tokenizer: PreTrainedTokenizerBase) -> AnySystemMessage:
    """Find any system message of a tokenizer's chat template.

    Raises `ControlError` where the message's borders cannot be told by ids.
    """
    template = Template(tokenizer)
    finder = _find_borders(template)
    samples = [_render(text, template) for text in _SAMPLES]
    if finder is not None and all(
        sample is not None and finder([*sample.ids]) == (sample.content, (0, len(sample.ids)))
        for sample in samples
    ):
        return finder
    raise ControlError(
        "the chat template does not bound a system message by tokens of its own: give `span`,"
        " the persona's text or its token ids."
    )


def _find_borders(template: Template) -> AnySystemMessage | None:
    system_message, tokenizer = _render(MARK, template), template.tokenizer
    if system_message is None:
        return None
    (a, b), ids = system_message.content, system_message.ids
    head, tail = ids[:a], ids[b:]
    inner = len(head) - _count_blanks(head[::-1], tokenizer)
    first = _count_blanks(tail, tokenizer)
    last = max(first, len(tail) - _count_blanks(tail[::-1], tokenizer))
    if not inner or first == last:
        return None
    return AnySystemMessage(head[:inner], head[inner:], tail[:first], tail[first:last], tail[last:])


class _SystemMessage(NamedTuple):
    """A system message as rendered before a user's, without a chat's BOS, and its content."""

    ids: Ids
    content: Span


def _render(text: str, template: Template) -> _SystemMessage | None:
    chat = template.render((message("system", text), message("user", ASIDE)))
    if not chat.content or not chat.template:
        return None
    first = max(template.leading_bos(chat.ids), chat.template[0])
    a, b = chat.content
    return _SystemMessage(chat.ids[first : chat.template[1]], (a - first, b - first))


def _count_blanks(ids: Ids, tokenizer: PreTrainedTokenizerBase) -> int:
    """Count the ids at the start that are nothing but blanks."""
    solid = (i for i, token in enumerate(ids) if str(tokenizer.decode([token])).strip())
    return next(solid, len(ids))


def find_occurrences(
    part: Ids, row: list[int], most: int | None = None, since: int = 0
) -> list[int]:
    """Return the columns from `since` on where `part` begins in a row, at most `most` of them."""
    columns: list[int] = []
    last = len(row) - len(part) + 1
    while part and since < last and (most is None or len(columns) < most):
        try:
            since = row.index(part[0], since, last)
        except ValueError:
            break
        if _is_at(part, row, since):
            columns.append(since)
        since += 1
    return columns


def _is_at(part: Ids, row: list[int], at: int) -> bool:
    return tuple(row[at : at + len(part)]) == part


def _skip(part: Ids, row: list[int], at: int) -> int:
    """Return the column after `part` if it is at `at`, else `at`.

    If the row ends inside `part`, assume that the next chunk completes it.
    """
    return at + len(part) if _is_at(part[: max(0, len(row) - at)], row, at) else at
