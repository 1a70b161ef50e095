"""Where `hold`'s personas and turns are in a batch whose rows grow pass by pass.

What is found in a row depends on its ids alone. So a prompt that comes in chunks has its persona
and its turns at the same columns as the whole. If the opening of a turn comes token by token, as
a model writes it, the turn counts from the opening's last token on.

This module knows token ids. `persona_span` knows how a persona is recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.core.errors import ControlError
from holdfast.models.local.persona_span import Find, Ids, PersonaSpan, find_occurrences


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
