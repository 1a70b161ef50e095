"""Where a persona is in a row of token ids.

It is looked for as it was written (its ids, or those that a chat template makes
of its text), or as whatever stands between the ids that open a system message and those
that close it. The first one in a row counts. Rows grow pass by pass, and a prompt that
comes in chunks has its persona where the whole has it.

A tokenizer may join blanks at the borders of a persona to it; where it does not, they are
left out. This module knows token ids and templates. It knows no models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from holdfast.core.chat import message
from holdfast.core.errors import ControlError
from holdfast.models.local.template import Span, Template

Ids = tuple[int, ...]

# Letters only, so that no tokenizer joins the template's blanks to them.
_MARK, _ASKED = "qzxmarkerxzq", "qzxaskedxzq"
_TRIED = ("You are Ann, a baker from Rome.", "Answer in French.\nNever say no!", "Say (a) or (b)")


class Place(NamedTuple):
    """Columns [start, end) of the persona's own tokens, and of the message around them."""

    content: Span
    message: Span


Find = Callable[[list[int]], Place | None]


@dataclass(frozen=True)
class Written:
    """A persona by its ids, in one of several spellings, and what its message has around it."""

    contents: tuple[Ids, ...]
    head: Ids = ()
    tail: Ids = ()
    after_tail: Ids = ()

    def __call__(self, row: list[int]) -> Place | None:
        """The persona's first place in a row."""
        places = [
            (start, start + len(ids)) for ids in self.contents for start in occurrences(ids, row, 1)
        ]
        if not places:
            return None
        # Of spellings that begin in the same column the longest is meant.
        a, b = min(places, key=lambda place: (place[0], -place[1]))
        first = a - len(self.head)
        if first < 0 or not _stands(self.head, row, first):
            first = a
        end = _over(self.tail, row, b)
        if end > b or not self.tail:
            end = _over(self.after_tail, row, end)
        return Place((a, b), (first, end))


@dataclass(frozen=True)
class Between:
    """A persona by what opens and closes its message, with the blanks that may stand between."""

    head: Ids
    after_head: Ids
    before_tail: Ids
    tail: Ids
    after_tail: Ids

    def __call__(self, row: list[int]) -> Place | None:
        """The first system message in a row (None where there is nothing in it)."""
        start = next(iter(occurrences(self.head, row, 1)), None)
        if start is None:
            return None
        a = _over(self.after_head, row, start + len(self.head))
        close = next(iter(occurrences(self.tail, row, 1, a)), None)
        if close is None:
            return None
        b = close - len(self.before_tail)
        if b < a or not _stands(self.before_tail, row, b):
            b = close
        end = _over(self.after_tail, row, close + len(self.tail))
        return Place((a, b), (start, end)) if a < b else None


def written(text: str, tokenizer: PreTrainedTokenizerBase) -> Written:
    """A persona by its text: as a template renders it, or as plain text."""
    plain: Ids = tuple(tokenizer(text.strip(), add_special_tokens=False)["input_ids"])
    shown = _shown(text, tokenizer) if tokenizer.chat_template else None
    if shown is None:
        return Written((plain,))
    (a, b), ids = shown.content, shown.ids
    last = max(b, len(ids) - _blanks(ids[::-1], tokenizer))
    return Written((ids[a:b], plain), ids[:a], ids[b:last], ids[last:])


def system_messages(tokenizer: PreTrainedTokenizerBase) -> Between:
    """Any system message of a template. Raises `ControlError` where its ids do not bound one."""
    found = _between(tokenizer)
    if found is not None:
        for text in _TRIED:
            shown = _shown(text, tokenizer)
            if shown is None or found([*shown.ids]) != (shown.content, (0, len(shown.ids))):
                break
        else:
            return found
    raise ControlError(
        "the chat template does not bound a system message by tokens of its own: give `span`,"
        " the persona's text or its token ids."
    )


def _between(tokenizer: PreTrainedTokenizerBase) -> Between | None:
    shown = _shown(_MARK, tokenizer)
    if shown is None:
        return None
    head, tail = shown.ids[: shown.content[0]], shown.ids[shown.content[1] :]
    inner = len(head) - _blanks(head[::-1], tokenizer)
    first = _blanks(tail, tokenizer)
    last = max(first, len(tail) - _blanks(tail[::-1], tokenizer))
    if not inner or first == last:
        return None
    return Between(head[:inner], head[inner:], tail[:first], tail[first:last], tail[last:])


class _Shown(NamedTuple):
    """A system message as rendered before a user's, without BOS, and its content in it."""

    ids: Ids
    content: Span


def _shown(text: str, tokenizer: PreTrainedTokenizerBase) -> _Shown | None:
    rendered = Template(tokenizer).render((message("system", text), message("user", _ASKED)))
    if not rendered.content or not rendered.template:
        return None
    first = int(rendered.ids[0] == tokenizer.bos_token_id)
    a, b = rendered.content
    return _Shown(rendered.ids[first : rendered.template[1]], (a - first, b - first))


def _blanks(ids: Ids, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many of the first ids are nothing but blanks."""
    solid = (i for i, token in enumerate(ids) if str(tokenizer.decode([token])).strip())
    return next(solid, len(ids))


def occurrences(part: Ids, row: list[int], most: int | None = None, since: int = 0) -> list[int]:
    """Where `part` begins in a row, from `since` on; `most` so many times."""
    found: list[int] = []
    last = len(row) - len(part) + 1
    while part and since < last and (most is None or len(found) < most):
        try:
            since = row.index(part[0], since, last)
        except ValueError:
            break
        if _stands(part, row, since):
            found.append(since)
        since += 1
    return found


def _stands(part: Ids, row: list[int], at: int) -> bool:
    return tuple(row[at : at + len(part)]) == part


def _over(part: Ids, row: list[int], at: int) -> int:
    """The column after `part` where it stands at `at`, else `at`.

    A row that ends within it is taken to go on with it: more comes with the next chunk.
    """
    return at + len(part) if _stands(part[: max(0, len(row) - at)], row, at) else at
