"""What a run still lacks, asked in batches whose borders do not depend on where it was stopped.

In bfloat16 the last bits of a logit depend on the rows that are computed beside it, and so may a
reply. So the borders are those of all that the run asks, not of what is left of it, and a batch
that a kill tore is asked of a local model again whole:

    batches      a b c d | e f g h | i j
    recorded     a b c d   e f
    asked                  e f g h   i j

An API, whose replies are each their own, is asked g and h alone.

This module knows keys and records, not what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import attrgetter
from typing import TypeVar

from holdfast.core.backend import Backend
from holdfast.core.progress import Progress
from holdfast.core.run import RecordFile

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")


def in_batches(items: Mapping[K, T], rows: int) -> list[dict[K, T]]:
    """The items in order, `rows` at a time."""
    pairs = list(items.items())
    return [dict(pairs[start : start + rows]) for start in range(0, len(pairs), rows)]


def ask_missing(
    batches: Iterable[Mapping[K, T]],
    file: RecordFile[R],
    model: Backend | None,
    ask: Callable[[dict[K, T]], Iterable[R]],
    *,
    key_of: Callable[[R], object] = attrgetter("key"),
    progress: Progress | None = None,
    replies_of: Callable[[T], int] = lambda item: 1,
) -> None:
    """Ask what the file lacks of each batch, and append the records as they come.

    Args:
        batches: all that the run asks, by the keys of the records.
        file: the records so far.
        model: who is asked; None where nobody is, and a batch need not be whole.
        ask: asks some items of a batch and gives their records.
        key_of: the key of a record.
        progress: shows the items.
        replies_of: replies that an item takes.
    """
    progress = progress or Progress(enabled=False)
    recorded_keys = {key_of(record) for record in file.rows}
    for batch in batches:
        missing = {key: item for key, item in batch.items() if key not in recorded_keys}
        if missing and len(missing) < len(batch) and model is not None and model.local:
            file.keep([record for record in file.rows if key_of(record) not in batch])
            missing = dict(batch)
        progress.resume(len(batch) - len(missing))
        if missing:
            if model is not None:
                model.forget()
            file.append(ask(missing))
            progress.advance(len(missing), sum(map(replies_of, missing.values())))
