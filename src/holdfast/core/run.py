"""A run is a folder: what determines it, what happened, what it means.

    manifest.json   everything that determines the result; written first
    records.jsonl   one line per finished unit, appended and flushed; no times in it
    verdicts.jsonl  the judge model's verdicts on them, where there is one
    timing.jsonl    how long replies took, where that was measured
    summary.json    the numbers, computed from the records
    report.html     the page
    shard-1-of-8/   the part of it that one of several processes did (`core.shards`)
    screened.json   the personas that a model holds, where they were screened, and screen-1/,
                    screen-2/ what they answered

Records and verdicts are dataclasses of a command's own (`results`): a run is opened with their
types and gives them back typed. To resume is to open the folder again with the same manifest: a
torn last line is dropped, and a manifest that differs is refused with the difference.

This module knows lines and files, not what they record.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from typing_extensions import TypeVar

from holdfast.core.errors import RunError
from holdfast.core.folder import FolderLock, lock, write_whole, writing
from holdfast.core.records import NUMBER, Record, differences, dumps, read_record

T = TypeVar("T")
R = TypeVar("R", default=Record)
"""Type of a run's records."""
V = TypeVar("V", default=Record)
"""Type of its judge model's verdicts."""
PAGE = "report.html"
_SIZED_BY_OTHERS = ("protocol.batch",)
"""Settings that change with others, and are named after them."""
_ADDRESS = ".base_url"
_MOVED = (
    ", or, if the same model answers at both addresses, write the new one into its manifest.json"
)
BEGINNINGS = ("shard-", "screen")
"""How names begin that a run's folder may hold before its manifest, beside the unfinished files of
a killed process."""


@dataclass(frozen=True)
class TurnTime:
    """How long the agents of a batch took for their turns of one round."""

    batch: int
    """Position of the batch in the run."""
    round: int
    """The round, from 1."""
    control: str | None
    """The control that the agents were under."""
    seconds: float
    """Seconds of processor time or of wall clock (`backend.clock_of`)."""
    tokens: int
    """Completion tokens of the turns."""


class RecordFile(Generic[T]):
    """The rows of one of a run's files, which are in memory too; there alone without a folder."""

    def __init__(self, folder: Path | None, name: str, kind: type[T]) -> None:
        """Begin without rows.

        Args:
            folder: where the file is.
            name: the file's name.
            kind: the dataclass of a row; `dict` for JSON objects.
        """
        self.path = folder / name if folder else None
        self.kind = kind
        self.rows: list[T] = []
        self.has_grown = False
        """Whether rows were added since it was opened."""

    def read(self, mend: bool) -> None:
        """Take over the rows of the file; a torn last line is cut off with `mend`."""
        if self.path is not None:
            self.rows = _read_lines(self.path, self.kind, mend)

    def append(self, rows: Iterable[T]) -> None:
        """Add rows, as a later process would read them; they are in the file when this returns."""
        lines = [dumps(row) for row in rows]
        self.has_grown |= bool(lines)
        if self.path is not None and lines:
            with writing(self.path), self.path.open("ab") as file:
                file.write("".join(line + "\n" for line in lines).encode())
                file.flush()
        where = f"a line of {self.path.name if self.path else 'the run'}"
        self.rows += [read_record(self.kind, json.loads(line), where) for line in lines]

    def keep(self, rows: Iterable[T]) -> None:
        """Drop all other rows: those of an unfinished batch."""
        self.rows = list(rows)
        if self.path is not None:
            with writing(self.path):
                write_whole(self.path, "".join(dumps(row) + "\n" for row in self.rows))


class Run(Generic[R, V]):
    """An open run: its records of type R and verdicts of type V so far, and a place for more."""

    def __init__(
        self,
        folder: Path | str | None,
        manifest: object,
        record_type: type[R] = dict,  # type: ignore[assignment]
        verdict_type: type[V] = dict,  # type: ignore[assignment]
        *,
        read_only: bool = False,
    ) -> None:
        """Open a run, or begin one.

        Args:
            folder: where its files are; None keeps everything in memory.
            manifest: what determines the records, as a dataclass or a JSON object.
            record_type: the dataclass of a record; JSON objects by default.
            verdict_type: the dataclass of a judge model's verdict; JSON objects by default.
            read_only: leave the folder to the process that may be writing to it.

        Raises:
            RunError: the folder holds another run or other files, cannot be written, or another
                process writes to it.
        """
        self.folder = Path(folder) if folder is not None else None
        self.manifest: Record = json.loads(dumps(manifest))
        self.record_type, self.verdict_type = record_type, verdict_type
        self.record_file = RecordFile(self.folder, "records.jsonl", record_type)
        self.verdict_file = RecordFile(self.folder, "verdicts.jsonl", verdict_type)
        self.time_file = RecordFile(self.folder, "timing.jsonl", TurnTime)
        self._lock: FolderLock | None = None
        if self.folder is not None:
            self._open(self.folder, read_only)

    @property
    def page(self) -> str | None:
        """Path of its page; None where the run has no folder."""
        return str(self.folder / PAGE) if self.folder else None

    def _open(self, folder: Path, read_only: bool) -> None:
        if not read_only:
            self._lock = lock(folder)
        path = folder / "manifest.json"
        old = _read_manifest(path) if path.exists() else None
        if old is not None and (read_only or not self._may_replace(old, folder)):
            refuse_another_run(old, self.manifest, folder)
            for file in (self.record_file, self.verdict_file, self.time_file):
                file.read(mend=not read_only)
        elif not read_only:
            if old is None:
                refuse_other_files(folder)
            self._write("manifest.json", dumps(self.manifest, indent=1) + "\n")

    def _may_replace(self, old: Record, folder: Path) -> bool:
        """Whether the folder has the manifest of such a run and nothing else.

        The first request of that run failed, on a misspelt name for instance.
        """
        files = (one.name for one in folder.iterdir())
        alone = all(name.startswith(("manifest.json", "screen")) for name in files)
        return alone and "command" in old and old["command"] == self.manifest.get("command")

    def _write(self, name: str, text: str) -> None:
        if self.folder is None:
            return
        path = self.folder / name
        with writing(path):
            write_whole(path, text)

    @property
    def records(self) -> list[R]:
        """Its records so far."""
        return self.record_file.rows

    @property
    def verdicts(self) -> list[V]:
        """Verdicts of judge models so far."""
        return self.verdict_file.rows

    @property
    def times(self) -> list[TurnTime]:
        """How long turns took, which is no part of the records."""
        return self.time_file.rows

    def append(self, records: Iterable[R]) -> None:
        """Add finished units; they are in the file when this returns."""
        self.record_file.append(records)

    def add_times(self, times: Iterable[TurnTime]) -> None:
        """Add how long turns took."""
        self.time_file.append(times)

    def keep(self, records: Iterable[R]) -> None:
        """Drop all other records: those of an unfinished batch."""
        self.record_file.keep(records)

    def of_work(self, **values: object) -> dict[str, Any]:
        """What a process measured of its own work, for the summary: the seconds, for instance.

        Where this process added nothing to a finished run, the values are those of the earlier
        summary, which the process that did the work wrote.
        """
        earlier = {} if self._has_grown else self._read_summary()
        return {name: earlier.get(name, value) for name, value in values.items()}

    @property
    def _has_grown(self) -> bool:
        """Whether this process added anything to the run."""
        files = (self.record_file, self.verdict_file, self.time_file)
        return any(file.has_grown for file in files)

    def _read_summary(self) -> Record:
        """The summary that an earlier process wrote; empty where there is none that can be read."""
        if self.folder is None:
            return {}
        try:
            return dict(json.loads((self.folder / "summary.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def finish(self, summary: object, write_page: Callable[[Path], None] | None = None) -> None:
        """Write the summary and, where the run has a folder, the page.

        A run to which this process added nothing needs neither: where they cannot be written, as
        on a read-only disk, standard error says so.

        Args:
            summary: the numbers, as a dataclass or a JSON object.
            write_page: writes the page to a path; by default there is none.
        """
        try:
            self._write("summary.json", dumps(summary, indent=1) + "\n")
            if write_page and self.page:
                write_page(Path(self.page))
        except RunError as error:
            if self._has_grown:
                raise
            why = getattr(error.__cause__, "strerror", None) or error
            print(
                f"{self.folder}: the run is whole, but its page and summary could not be written "
                f"there ({why})",
                file=sys.stderr,
            )


def _read_lines(path: Path, kind: type[T], mend: bool) -> list[T]:
    """The lines of a file; a last line without an end is left out, and cut off with `mend`.

    A killed process tore it off, or another process is still writing it.
    """
    if not path.exists():
        return []
    whole, _, fragment = path.read_bytes().rpartition(b"\n")
    if fragment and mend:
        print(f"{path}: dropped a torn last line ({len(fragment)} bytes)", file=sys.stderr)
        with writing(path), path.open("r+b") as file:
            file.truncate(len(whole) + 1 if whole else 0)
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise RunError(
            f"{path} holds a line that is not JSON ({error}); choose another `out`"
        ) from error
    return [read_record(kind, row, f"{path}, line {n}") for n, row in enumerate(rows, 1)]


def _read_manifest(path: Path) -> Record:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{path} is not a manifest of a run ({error}); choose another `out`"
        ) from error


def refuse_other_files(folder: Path) -> None:
    """Raise `RunError` where a folder that is to begin a run holds more than its beginnings."""
    names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    if not all(name.startswith(BEGINNINGS) or name.endswith(".part") for name in names):
        what = "holds another run" if (folder / "manifest.json").exists() else "holds no run"
        raise RunError(f"{folder} is not empty and {what}; choose an empty or new folder")


def refuse_another_run(old: Record, new: Record, folder: Path) -> None:
    """Raise `RunError`, which names what differs, where a folder has another manifest.

    Settings are named before what is drawn by them, and of a run whose settings differ alone; of
    another command's run the command alone, whose settings are others.
    """
    every = list(differences(old, new))
    settings = sorted(filter(_is_setting, every), key=lambda one: one[0] in _SIZED_BY_OTHERS)
    settings = [one for one in settings if one[0] == "command"] or settings
    if every:
        (place, old_value, new_value), *rest = settings or every
        names = ", ".join(_label(name) for name, _, _ in rest[:3])
        verb = "differs" if len(rest) == 1 else "differ"
        others = f", and {names} {verb} too" if names else ""
        moved = all(name.endswith(_ADDRESS) for name, _, _ in every)
        was, now = _value(old, place, old_value), _value(new, place, new_value)
        raise RunError(
            f"{folder} holds another run: {_label(place)} was {was}, is {now}{others}; "
            f"choose another `out`{_MOVED if moved else ''}"
        )


def _value(manifest: Record, place: str, text: str) -> str:
    """A model by its name, and another value by its text."""
    value = manifest.get(place)
    if isinstance(value, dict) and "name" in value:
        return str(value["name"])
    return "none" if text == "null" else text


def _is_setting(difference: tuple[str, str, str]) -> bool:
    """Whether values differ outside of lists and of what a run has by id."""
    place, *values = difference
    keys = place.split(".")
    return not any(key.isdigit() for key in keys) and (
        len(keys) == 1 or not any(value.startswith("{") for value in values)
    )


def _label(place: str) -> str:
    """What a user calls a place in a manifest."""
    if place == f"{NUMBER}conversations":
        return f"{place} (`pairs` or `history`)"
    return place.removeprefix("protocol.").removeprefix("sampling.")
