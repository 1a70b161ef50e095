"""A log as a file: which format it has, and its chats one by one.

Each record is read by the first format that claims it, or by the one that is asked for. What does
not fit is named, with its line, and counted; a log of which nothing fits is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import require_name
from holdfast.evals.logs.chat import RecordedChat, ServerLine, Unfit
from holdfast.evals.logs.formats import FORMATS, NAMES, NEWEST_FIRST
from holdfast.evals.logs.inspect_log import read_inspect
from holdfast.evals.logs.lines import LogRow, first_character, json_rows, table_rows
from holdfast.evals.logs.tables import IdColumns, columns_of, read_role_play_log, read_table
from holdfast.results.recorded.log import BadLine, LogReading

MOST_LINES = 20
"""Bad lines that a result names; the others are counted."""
LogEntry = RecordedChat | ServerLine
"""What a log has: chats, and the lines of our server's own."""


class LogFile:
    """A log, read once from beginning to end.

    Args:
        path: the file.
        format: one of `formats.NAMES`; by default each record's is recognised.

    Raises:
        HoldfastError: there is no such format.
    """

    def __init__(self, path: Path, format: str | None = None) -> None:
        if format is not None:
            require_name("format", format, NAMES)
        self.path, self._format = path, format
        self._formats: Counter[str] = Counter()
        self._bad: list[BadLine] = []
        self._bad_count = 0
        self._id_columns: tuple[str, ...] = ()

    def refuse(self, bad: BadLine) -> None:
        """Count a line that does not fit."""
        self._bad_count += 1
        if len(self._bad) < MOST_LINES:
            self._bad.append(bad)

    def nothing(self) -> HoldfastError:
        """The error of a log of which nothing fits."""
        why = f": {self._bad[0].line}: {self._bad[0].why}" if self._bad else ""
        return HoldfastError(f"{self.path} holds no chats{why or '; see docs/reference/logs.md'}")

    @property
    def reading(self) -> LogReading:
        """What was read so far."""
        return LogReading(
            file=str(self.path),
            format=", ".join(name for name, _ in self._formats.most_common()),
            unfit=self._bad_count,
            unfit_lines=tuple(self._bad),
            id_columns=self._id_columns or None,
        )

    def entries(self) -> Iterator[LogEntry]:
        """The chats of the log, and the lines of our server's own.

        Raises:
            HoldfastError: the file cannot be read, or nothing in it fits.
        """
        fits = 0
        try:
            for entry in self._entries():
                if isinstance(entry, BadLine):
                    self.refuse(entry)
                else:
                    fits += 1
                    yield entry
        except OSError as error:
            raise HoldfastError(f"{self.path} could not be read ({error.strerror})") from error
        if not fits:
            raise self.nothing()

    def chats(self) -> Iterator[RecordedChat]:
        """The chats of the log, those of our server's lines among them; raises as `entries`."""
        for entry in self.entries():
            try:
                yield entry if isinstance(entry, RecordedChat) else entry.chat
            except Unfit as why:
                self.refuse(BadLine(entry.where, str(why)))

    def _entries(self) -> Iterator[LogEntry | BadLine]:
        start = first_character(self.path)
        format_name = self._format
        named_json = self.path.suffix.lower() in (".json", ".jsonl", ".ndjson")
        if format_name == "inspect" or start == "PK":
            yield from self._whole("inspect", read_inspect(self.path))
        elif format_name == "csv" or (
            format_name in (None, "langfuse") and start not in ("", "{", "[") and not named_json
        ):
            yield from self._table()
        else:
            yield from self._records(json_rows(self.path))

    def _table(self) -> Iterator[LogEntry | BadLine]:
        names, rows = table_rows(self.path)
        langfuse = FORMATS["langfuse"].claims(dict.fromkeys(names))
        if self._format == "langfuse" or (langfuse and self._format is None):
            yield from self._records(rows)
            return
        try:
            columns = columns_of(names)
            ids = IdColumns(names, columns)
            yield from self._whole("csv", read_table(ids.look_at(rows), columns))
            self._id_columns = ids.names
        except Unfit as why:
            yield BadLine(f"{self.path}, line 1", str(why))

    def _whole(
        self, name: str, entries: Iterable[RecordedChat | BadLine]
    ) -> Iterator[RecordedChat | BadLine]:
        for entry in entries:
            self._formats[name] += not isinstance(entry, BadLine)
            yield entry

    def _records(self, rows: Iterator[LogRow | BadLine]) -> Iterator[LogEntry | BadLine]:
        """The entries of JSON records; those in no order of time come last, put in order."""
        late: list[RecordedChat] = []
        for row in rows:
            if isinstance(row, BadLine):
                yield row
                continue
            new = not self._formats and self._format is None
            if self._format == "sillytavern" or (new and "character_name" in row.record):
                yield from self._whole("sillytavern", read_role_play_log(chain([row], rows)))
                return
            if new and {"eval", "samples"} <= row.record.keys():
                yield from self._whole("inspect", read_inspect(self.path))
                return
            name, entry = self._entry(row)
            if isinstance(entry, RecordedChat) and name in NEWEST_FIRST:
                late.append(entry)
            elif entry is not None:
                yield entry
        yield from sorted(late, key=lambda chat: chat.time or 0.0)

    def _entry(self, row: LogRow) -> tuple[str, LogEntry | BadLine | None]:
        name = self._format or next(
            (name for name, one in FORMATS.items() if one.claims(row.record)), ""
        )
        if not name:
            keys = ", ".join(map(str, list(row.record)[:6])) or "nothing"
            return name, BadLine(row.where, f"no format has an object with {keys}")
        try:
            entry = FORMATS[name].read(row.record)
        except Unfit as why:
            return name, BadLine(row.where, str(why))
        except RecursionError:
            return name, BadLine(row.where, "it is nested too deep")
        self._formats[name] += entry is not None
        return name, None if entry is None else replace(entry, where=row.where)
