"""What `hold` looks for in a batch, and what it knows of the batch so far.

Rows of token ids grow pass by pass. What is found in them depends on their ids alone, so
a prompt that comes in chunks has its persona and turns where the whole has them. A turn
whose opening comes token by token, as a model writes, begins to count with its last one.

This module knows token ids. How a persona is recognised is `places`' matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from holdfast.core.errors import ControlError
from holdfast.models.local.persona_span import (
    ExactPersona,
    Find,
    Ids,
    Place,
    any_system_message,
    exact_persona,
    occurrences,
)
from holdfast.models.local.template import Span, Template

T = TypeVar("T")


@dataclass
class Rows:
    """What is known of one batch, column by column: ids, personas and turns.

    `find` and `turn_ids` look for what is not given in columns (`places`, `turns`).
    """

    places: list[Place | None]
    turns: list[list[int]]
    find: Find | None = None
    turn_ids: Ids = ()
    ids: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = [[] for _ in self.places]

    def needs(self, column: int) -> bool:
        """Whether anything may be found in ids from a column on."""
        open_ = (place is None or place.message[1] > column for place in self.places)
        return bool(self.turn_ids) or (self.find is not None and any(open_))

    def take(self, ids: Sequence[Sequence[int]], column: int) -> bool:
        """Read the ids of a pass that begins in `column`; True where what is known changed.

        Columns from there on are read anew: a cache may have been cropped.
        """
        before = (self.places.copy(), self.turns.copy())
        for i, (row, new) in enumerate(zip(self.ids, ids, strict=True)):
            known = min(len(row), column)
            row[column:] = new
            place = self.places[i]
            if self.find is not None and (place is None or place.message[1] > known):
                self.places[i] = self.find(row)
            if self.turn_ids:
                self.turns[i] = self._turns(i, known, column if len(new) > 1 else 0)
        return before != (self.places, self.turns)

    def _turns(self, i: int, known: int, column: int) -> list[int]:
        """Turns of row i, of which `known` columns were read before; new ones from `column` on."""
        since = max(0, known - len(self.turn_ids) + 1)
        found = occurrences(self.turn_ids, self.ids[i], since=since)
        if any(turn < column and turn not in self.turns[i] for turn in found):
            raise ControlError(
                "the opening of a user turn is cut in two by the border of a chunk: leave"
                " prefill_chunk_size out, or give `turns` as columns."
            )
        return [turn for turn in self.turns[i] if turn < since] + found

    def repeat(self, times: int) -> None:
        """Follow a cache whose rows were repeated, each `times` in a row."""
        self.places = [place for place in self.places for _ in range(times)]
        self.turns = [turns for turns in self.turns for _ in range(times)]
        self.ids = [[*ids] for ids in self.ids for _ in range(times)]


@dataclass(frozen=True)
class Sought:
    """What to look for in batches, or where it is: per row, in columns."""

    find: Find | None
    turn_ids: Ids
    places: tuple[Place | None, ...] | None
    turns: tuple[tuple[int, ...], ...] | None

    def rows(self, count: int) -> Rows:
        """A batch of so many rows of which nothing is read yet."""
        places = _repeated("span", self.places or (None,), count)
        turns = [[*row] for row in _repeated("turns", self.turns or ((),), count)]
        return Rows(places, turns, self.find, self.turn_ids)


def sought(
    span: str | Sequence[int] | Sequence[Span | None] | None,
    turns: Sequence[int] | Sequence[Sequence[int]] | None,
    tokenizer: Callable[[], PreTrainedTokenizerBase],
    moves: bool,
) -> Sought:
    """What `hold` is asked to look for; turns only where a control moves the persona by them."""
    find: Find | None = None
    places: tuple[Place | None, ...] | None = None
    if span is None:
        find = any_system_message(_with_template(tokenizer, "span"))
    elif isinstance(span, str):
        find = exact_persona(span, tokenizer())
    elif (ids := _ids(span)) is not None:
        find = ExactPersona((ids,))
    else:
        places = tuple(None if row is None else _place(row) for row in _rows("span", span))
    turn_ids: Ids = ()
    columns: tuple[tuple[int, ...], ...] | None = None
    if moves and turns is None:
        turn_ids = Template(_with_template(tokenizer, "turns")).turn_ids
        if not turn_ids:
            raise ControlError(
                "the chat template does not show where a user turn begins: give `turns`."
            )
    elif moves and turns is not None:
        turn_ids = _ids(turns) or ()
        columns = None if turn_ids else tuple(tuple(row) for row in _rows("turns", turns))
    return Sought(find, turn_ids, places, columns)


def _ids(given: Any) -> Ids | None:
    """What is given, where it is token ids: whole numbers and not columns of rows."""
    numbers = [*(given.tolist() if isinstance(given, Tensor) else given)]
    return tuple(numbers) if numbers and all(isinstance(n, int) for n in numbers) else None


def _rows(name: str, given: Sequence[Any]) -> list[Any]:
    rows = [*given]
    if not rows or any(isinstance(row, int | str) for row in rows):
        raise ControlError(f"`{name}` needs token ids, or columns for each row.")
    return rows


def _place(columns: Sequence[int]) -> Place:
    first, end = columns
    if not 0 <= first < end:
        raise ControlError(
            f"`span` has {first}-{end}: columns run from the first to past the last."
        )
    return Place((first, end), (first, end))


def _repeated(name: str, given: tuple[T, ...], count: int) -> list[T]:
    """One for each row: several sequences of one prompt stand next to each other."""
    times, rest = divmod(count, len(given))
    if rest or not times:
        raise ControlError(f"`{name}` is for {len(given)} rows, and a pass has {count}.")
    return [one for one in given for _ in range(times)]


def _with_template(
    tokenizer: Callable[[], PreTrainedTokenizerBase], missing: str
) -> PreTrainedTokenizerBase:
    found = tokenizer()
    if not found.chat_template:
        raise ControlError(f"the tokenizer has no chat template to tell `{missing}` by: give it.")
    return found


def check_positions(given: dict[str, Any], column: int, queries: int, moves: bool) -> None:
    """Refuse rows of several texts, and for anchor gaps between columns that positions skip."""
    positions, mask = given.get("position_ids"), given.get("attention_mask")
    if positions is None:
        return
    real = torch.ones_like(positions, dtype=torch.bool)
    if isinstance(mask, Tensor) and mask.dim() == 2:
        seen = mask[:, column : column + queries].bool()
        positions, real = torch.broadcast_tensors(positions, seen)
    elif mask is not None:
        # A mask made for the kernel already: what stands still at a row's start is padding.
        steps = positions.diff(dim=-1) == 1
        ones = torch.ones_like(steps[..., :1])
        real = torch.cat((steps, ones), -1).flip(-1).cumprod(-1).flip(-1).bool()
        real |= positions != positions[..., :1]
    rank = real.cumsum(-1)
    uneven = _varies(positions - rank, real)
    if uneven and positions.dim() < 3:  # with a third dimension pictures have positions too
        raise ControlError(
            "rows hold several texts (their positions start anew): turn packing off, one text a"
            " row."
        )
    columns = torch.arange(queries, device=rank.device)
    if moves and (uneven or _varies(columns - rank, real)):
        raise ControlError(
            "anchor needs rows of text without gaps: pad on the left or on the right only, and"
            " leave pictures out."
        )


def _varies(values: Tensor, real: Tensor) -> bool:
    """Whether values differ within a row, where they are real."""
    big = torch.iinfo(values.dtype).max
    low = values.masked_fill(~real, big).amin(-1)
    high = values.masked_fill(~real, -big).amax(-1)
    return bool((high > low).any())
