"""Where `hold`'s personas and turns are in a batch whose rows grow pass by pass.

What is found in a row depends on its ids alone. So a prompt that comes in chunks has its persona
and its turns at the same columns as the whole. If the opening of a turn comes token by token, as
a model writes it, the turn counts from the opening's last token on.

This module knows token ids. `persona_span` knows how a persona is recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.errors import ControlError
from holdfast.models.local.persona_span import (
    ExactPersona,
    Find,
    Ids,
    PersonaSpan,
    any_system_message,
    exact_persona,
    find_occurrences,
    find_reply_opening,
)
from holdfast.models.local.template import Span, Template

T = TypeVar("T")


@dataclass
class BatchRows:
    """The rows of one batch as far as they have been read."""

    places: list[PersonaSpan | None]
    """Each row's persona; None for a row without."""
    turns: list[list[int]]
    """Columns where each row's user turns begin."""
    find: Find | None = None
    """Finds a persona in a row; None where the caller named columns."""
    turn_ids: Ids = ()
    """The ids that open a user turn; none where the caller named columns."""
    reply_ids: Ids = ()
    """The ids that open a reply; none where nothing depends on them."""
    ids: list[list[int]] = field(init=False)
    """Each row's token ids."""
    replies: list[list[int]] = field(init=False)
    """Columns where each row's replies begin."""

    def __post_init__(self) -> None:
        self.ids = [[] for _ in self.places]
        self.replies = [[] for _ in self.places]

    def needs(self, column: int) -> bool:
        """Say whether ids from a column on can still change personas or turns."""
        unfinished = (place is None or place.message[1] > column for place in self.places)
        return bool(self.turn_ids or self.reply_ids) or (self.find is not None and any(unfinished))

    def read(self, ids: Sequence[Sequence[int]], column: int) -> bool:
        """Read the ids of a pass that begins in `column`; True if a persona or a turn changed.

        Columns from there on are replaced, since a cache may have been cropped.
        """
        before = (self.places.copy(), self.turns.copy(), self.replies.copy())
        for i, (row, new) in enumerate(zip(self.ids, ids, strict=True)):
            old = min(len(row), column)
            row[column:] = new
            place = self.places[i]
            if self.find is not None and (place is None or place.message[1] > old):
                self.places[i] = self.find(row)
            if self.turn_ids:
                self.turns[i] = self._find_turns(i, old, column if len(new) > 1 else 0)
            if self.reply_ids:
                self.replies[i] = self._find_replies(i, old)
        return before != (self.places, self.turns, self.replies)

    def _find_turns(self, i: int, old: int, column: int) -> list[int]:
        """Find the turns of row i; `old` columns were read before, new turns begin at `column`."""
        since = max(0, old - len(self.turn_ids) + 1)
        latest = find_occurrences(self.turn_ids, self.ids[i], since=since)
        if any(turn < column and turn not in self.turns[i] for turn in latest):
            raise ControlError(
                "the opening of a user turn is cut in two by the border of a chunk: leave"
                " prefill_chunk_size out, or give `turns` as columns."
            )
        return [turn for turn in self.turns[i] if turn < since] + latest

    def _find_replies(self, i: int, old: int) -> list[int]:
        """Find where the replies of row i begin; `old` columns were read before."""
        length = len(self.reply_ids)
        since = max(0, old - length + 1)
        before = [at for at in self.replies[i] if at - length < since]
        latest = find_occurrences(self.reply_ids, self.ids[i], since=since)
        return before + [at + length for at in latest]

    def repeat(self, times: int) -> None:
        """Follow a cache whose rows were repeated, each `times` in a row."""
        self.places = [place for place in self.places for _ in range(times)]
        self.turns = [turns for turns in self.turns for _ in range(times)]
        self.replies = [replies for replies in self.replies for _ in range(times)]
        self.ids = [[*ids] for ids in self.ids for _ in range(times)]


@dataclass(frozen=True)
class HoldTargets:
    """How to find personas and turns in batches, or the columns that the caller named."""

    find: Find | None
    """Finds a persona; None with `places`."""
    turn_ids: Ids
    """The ids that open a user turn; none with `turns`."""
    places: tuple[PersonaSpan | None, ...] | None
    """Personas as the caller named them, row by row."""
    turns: tuple[tuple[int, ...], ...] | None
    """Turns as the caller named them, row by row."""
    reply_ids: Ids = ()
    """The ids that open a reply; none where nothing depends on them."""

    def rows(self, count: int) -> BatchRows:
        """Begin a batch of `count` rows."""
        places = _repeat("span", self.places or (None,), count)
        turns = [[*row] for row in _repeat("turns", self.turns or ((),), count)]
        return BatchRows(places, turns, self.find, self.turn_ids, self.reply_ids)


def find_targets(
    span: str | Sequence[int] | Sequence[Span | None] | None,
    turns: Sequence[int] | Sequence[Sequence[int]] | None,
    tokenizer: Callable[[], PreTrainedTokenizerBase],
    *,
    needs_turns: bool,
    needs_replies: bool = False,
) -> HoldTargets:
    """Read `hold`'s arguments `span` and `turns`; turns only where `needs_turns`.

    Where replies begin (`needs_replies`), the chat template says.

    `tokenizer` is called only if there is something that the arguments do not say.
    """
    find: Find | None = None
    places: tuple[PersonaSpan | None, ...] | None = None
    if span is None:
        find = any_system_message(_require_template(tokenizer, "span"))
    elif isinstance(span, str):
        find = exact_persona(span, tokenizer())
    elif (ids := _read_ids(span)) is not None:
        find = ExactPersona((ids,))
    else:
        places = tuple(
            None if row is None else _read_place(row) for row in _read_rows("span", span)
        )
    turn_ids: Ids = ()
    columns: tuple[tuple[int, ...], ...] | None = None
    if needs_turns and turns is None:
        template = Template(_require_template(tokenizer, "turns"))
        if template.moves_system:
            raise ControlError(
                "the chat template moves the persona into the last user message, where anchor and"
                " restore do nothing: use split-softmax, boost or spotlight."
            )
        turn_ids = template.turn_ids
        if not turn_ids:
            raise ControlError(
                "the chat template does not show where a user turn begins: give `turns`."
            )
    elif needs_turns and turns is not None:
        turn_ids = _read_ids(turns) or ()
        columns = None if turn_ids else tuple(tuple(row) for row in _read_rows("turns", turns))
    reply_ids: Ids = ()
    if needs_replies:
        reply_ids = find_reply_opening(Template(_require_template(tokenizer, "from=all")))
        if not reply_ids:
            raise ControlError(
                "the chat template does not show where a reply begins: use restore:1@from=all."
            )
    return HoldTargets(find, turn_ids, places, columns, reply_ids)


class LazyTokenizer:
    """Returns the tokenizer; loads it by the model's name at the first call, if there is none."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> None:
        self.model, self.tokenizer = model, tokenizer

    def __call__(self) -> PreTrainedTokenizerBase:
        if self.tokenizer is None:
            name = self.model.config._name_or_path
            try:
                tokenizer: Any = AutoTokenizer.from_pretrained(name)
            except (OSError, ValueError) as error:
                raise ControlError(
                    f"there is no tokenizer under the model's name (`{name}`): give `tokenizer`."
                ) from error
            self.tokenizer = tokenizer
        return self.tokenizer


def _read_ids(argument: Any) -> Ids | None:
    """Return the argument as token ids; None if it is columns of rows."""
    numbers = _as_list(argument)
    return tuple(numbers) if numbers and all(isinstance(n, int) for n in numbers) else None


def _as_list(argument: Any) -> list[Any]:
    """Return a sequence, a tensor or an array as a list of Python's own numbers or of rows."""
    values = argument.tolist() if hasattr(argument, "tolist") else argument
    if not isinstance(values, Iterable):
        return [values, None]  # neither ids nor rows
    return [
        value.item() if hasattr(value, "item") and value.ndim == 0 else value for value in values
    ]


def _read_rows(name: str, argument: Sequence[Any]) -> list[Any]:
    rows = _as_list(argument)
    if not rows or any(isinstance(row, int | float | str) for row in rows):
        raise ControlError(f"`{name}` needs token ids, or columns for each row.")
    return rows


def _read_place(columns: Sequence[int]) -> PersonaSpan:
    first, end = columns if len(columns) == 2 else (0, 0)
    if not 0 <= first < end:
        columns_text = "-".join(map(str, columns))
        raise ControlError(
            f"`span` has {columns_text}: columns run from the first to past the last."
        )
    return PersonaSpan((first, end), (first, end))


def _repeat(name: str, values: tuple[T, ...], count: int) -> list[T]:
    """Return one value for each row; several sequences of one prompt are next to each other."""
    times, rest = divmod(count, len(values))
    if rest or not times:
        raise ControlError(f"`{name}` is for {len(values)} rows, and a pass has {count}.")
    return [one for one in values for _ in range(times)]


def _require_template(
    tokenizer: Callable[[], PreTrainedTokenizerBase], missing: str
) -> PreTrainedTokenizerBase:
    own_tokenizer = tokenizer()
    if not own_tokenizer.chat_template:
        raise ControlError(f"the tokenizer has no chat template to tell `{missing}` by: give it.")
    return own_tokenizer


def check_positions(
    arguments: dict[str, Any], column: int, queries: int, *, anchored: bool
) -> None:
    """Refuse rows with several texts, and under anchor rows with gaps.

    Args:
        arguments: the forward pass's arguments by name.
        column: the pass's first column.
        queries: how many columns it has.
        anchored: whether the control is anchor.
    """
    positions, mask = arguments.get("position_ids"), arguments.get("attention_mask")
    if positions is None:
        return
    real = torch.ones_like(positions, dtype=torch.bool)
    if isinstance(mask, Tensor) and mask.dim() == 2:
        is_real = mask[:, column : column + queries].bool()
        positions, real = torch.broadcast_tensors(positions, is_real)
    elif mask is not None:
        # The mask is the kernel's already: positions that repeat at a row's start are padding.
        steps = positions.diff(dim=-1) == 1
        ones = torch.ones_like(steps[..., :1])
        real = torch.cat((steps, ones), -1).flip(-1).cumprod(-1).flip(-1).bool()
        real |= positions != positions[..., :1]
    rank = real.cumsum(-1)
    uneven = _varies(positions - rank, real)
    if uneven and positions.dim() < 3:  # a third dimension holds positions of pictures
        raise ControlError(
            "rows hold several texts (their positions start anew): turn packing off, one text a"
            " row."
        )
    columns = torch.arange(queries, device=rank.device)
    if anchored and (uneven or _varies(columns - rank, real)):
        raise ControlError(
            "anchor needs rows of text without gaps: pad on the left or on the right only, and"
            " leave pictures out."
        )


def _varies(values: Tensor, real: Tensor) -> bool:
    """Whether the real values of some row differ."""
    big = torch.iinfo(values.dtype).max
    low = values.masked_fill(~real, big).amin(-1)
    high = values.masked_fill(~real, -big).amax(-1)
    return bool((high > low).any())
