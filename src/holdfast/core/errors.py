"""What can go wrong on the user's side of the line.

Every error here carries one sentence that says what happened and what to do.
The command line prints that sentence, without a traceback, and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_NAMES = 20
"""Names that a sentence lists at most: a suite has hundreds."""


class HoldfastError(Exception):
    """Something the user can mend; the message is one sentence that says how."""


class PersonaError(HoldfastError):
    """A persona file that does not follow the schema (names file, persona and field)."""


class JudgeError(HoldfastError):
    """A judge that cannot be built from its parameters."""


class ControlError(HoldfastError):
    """A control that is unknown, or that this backend cannot apply."""


class ShapeError(HoldfastError, ValueError):
    """Tensors whose shapes or dtypes do not belong together (names them)."""


class ModelError(HoldfastError):
    """A model that cannot be found, loaded, or trusted (no chat template, NaN logits)."""


class ServiceError(HoldfastError):
    """An API that refuses or goes away (authentication, quota, connection)."""


class ContextError(HoldfastError):
    """A conversation that would not fit the model's context."""


class RunError(HoldfastError):
    """A run folder that cannot be written, or that belongs to another run."""


def first_line(error: BaseException, most: int | None = None) -> str:
    """What somebody else's error says, as part of a sentence: its first line, or else its kind.

    Args:
        error: the error.
        most: characters at most; None for all.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:most].rstrip(".")


def shorten(text: str, most: int) -> str:
    """A text on one line of at most `most` characters; a longer one ends in an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def suggestion(name: object, names: Iterable[str]) -> str:
    """What to write in place of an unknown name, as the end of a sentence.

    "did you mean anchor?" where a name is close to it, else "use none, anchor, window."

    Args:
        name: what was written.
        names: the known names; the first are listed where there are very many.
    """
    choices = list(names)
    if close := difflib.get_close_matches(str(name), choices, n=1):
        return f"did you mean {close[0]}?"
    more = ", …" if len(choices) > _MOST_NAMES else ""
    return f"use {', '.join(choices[:_MOST_NAMES])}{more}."
