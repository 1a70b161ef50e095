"""A block that says where nobody entered it: `hold` without `with` would do nothing, silently.

This module knows context managers. It knows no models.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ContextDecorator, contextmanager
from functools import partial, wraps
from types import TracebackType
from typing import ParamSpec

P = ParamSpec("P")


class HoldBlock(ContextDecorator, AbstractContextManager[None]):
    """What begins on entry, anew each time; one that is dropped before its first entry warns."""

    _warn = staticmethod(warnings.warn)  # where Python ends, modules may be gone by then

    def __init__(self, begin: Callable[[], AbstractContextManager[None]]) -> None:
        self._begin, self._entered = begin, False

    def __enter__(self) -> None:
        self._entered = True
        self._inner = self._begin()
        self._inner.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._inner.__exit__(kind, error, traceback)

    def __del__(self) -> None:
        if not self._entered:
            self._warn(
                "`hold` did nothing: a model is held in a block alone, so write `with"
                " holdfast.hold(…):` and generate inside.",
                stacklevel=2,
            )


def as_block(generator: Callable[P, Iterator[None]]) -> Callable[P, HoldBlock]:
    """Make a generator with one `yield` a `HoldBlock`, as `contextlib.contextmanager` does."""
    begin = contextmanager(generator)

    @wraps(generator)
    def make(*args: P.args, **kwargs: P.kwargs) -> HoldBlock:
        return HoldBlock(partial(begin, *args, **kwargs))

    return make
