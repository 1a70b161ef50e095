"""What a log was read as, and which of its lines do not fit."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.records import optional_field


@dataclass(frozen=True)
class BadLine:
    """A line of a log that does not fit."""

    line: str
    """The file and the line."""
    why: str
    """What is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class LogReading:
    """What a log was read as."""

    file: str
    format: str
    """Its format; several with commas between, the commonest first."""
    unfit: int
    """Lines that do not fit."""
    unfit_lines: tuple[BadLine, ...]
    """The first of them."""
    id_columns: tuple[str, ...] | None = optional_field()
    """Columns of a table without a conversation's that look like one, and are not read."""
    prompts: int | None = optional_field()
    """Distinct system prompts that became its personas, where no persona was given."""
    judged: tuple[str, ...] | None = optional_field()
    """What replies are judged by: the prompts' words for what every reply has to keep."""
    unjudged: tuple[str, ...] | None = optional_field()
    """What those prompts ask for and no judge looks at."""
