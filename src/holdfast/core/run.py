"""A run is a folder: what determines it, what happened, what it means.

    manifest.json   everything that determines the result; written first
    records.jsonl   one line per finished unit, appended and flushed; no times in it
    verdicts.jsonl  what a judge model said of them, where one was asked
    timing.jsonl    how long that took, where it was measured
    summary.json    the numbers, computed from the records
    report.html     the page
    shard-1-of-8/   the part of it that one of several processes did (`cluster`)

To resume is to open the folder again with the same manifest: a torn last line is
dropped, a manifest that differs is refused with the difference. This module knows
lines and files, not what they record.
"""

from __future__ import annotations

import contextlib
import errno
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import RunError

Record = dict[str, Any]


def dumps(value: object) -> str:
    """JSON on one line, keys as given, no NaN (they become null), lone surrogates escaped."""
    return (
        json.dumps(_clean(value), ensure_ascii=False, allow_nan=False)
        .encode("utf-8", "backslashreplace")
        .decode()
    )


def _clean(value: object) -> object:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the file system's refusals into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise RunError(
                f"the disk is full: {path} could not be written; free some space and run the "
                "same command again, which goes on from the last finished unit"
            ) from error
        raise RunError(
            f"{path} could not be written ({error.strerror}); choose another --out"
        ) from error


class Run:
    """An open run: its records so far, and a place for more (in memory where `folder` is None)."""

    def __init__(self, folder: Path | str | None, manifest: Mapping[str, Any]) -> None:
        folder = Path(folder) if folder is not None else None
        self.folder = folder
        self.manifest: Record = json.loads(dumps(manifest))
        self.records: list[Record] = []
        self.verdicts: list[Record] = []
        self.times: list[Record] = []
        if folder is None:
            return
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / "manifest.json"
        if path.exists():
            _same(_read_manifest(path), self.manifest, folder)
            self.records = self._read("records.jsonl")
            self.verdicts = self._read("verdicts.jsonl")
            self.times = self._read("timing.jsonl")
        elif any(not path.name.startswith("shard-") for path in folder.iterdir()):
            raise RunError(f"{folder} is not empty and holds no run; choose an empty or new folder")
        else:
            self._write(
                "manifest.json", json.dumps(self.manifest, indent=1, ensure_ascii=False) + "\n"
            )

    def _write(self, name: str, text: str) -> Path:
        assert self.folder is not None
        path = self.folder / name
        with _writing(path):
            aside = path.with_name(name + ".part")
            aside.write_text(text, encoding="utf-8")
            aside.replace(path)
        return path

    def _read(self, name: str) -> list[Record]:
        assert self.folder is not None
        path = self.folder / name
        if not path.exists():
            return []
        whole, _, torn = path.read_bytes().rpartition(b"\n")
        if torn:
            print(f"{path}: dropped a torn last line ({len(torn)} bytes)", file=sys.stderr)
            with _writing(path), path.open("r+b") as file:
                file.truncate(len(whole) + 1 if whole else 0)
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise RunError(
                f"{path} holds a line that is not JSON ({error}); choose another --out"
            ) from error

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Add finished units, flushed to the file before this returns."""
        self.records += self._append("records.jsonl", records)

    def add_verdicts(self, verdicts: Iterable[Mapping[str, Any]]) -> None:
        """Add what a judge model said, flushed likewise."""
        self.verdicts += self._append("verdicts.jsonl", verdicts)

    def add_times(self, times: Iterable[Mapping[str, Any]]) -> None:
        """Add how long something took, which is no part of the records."""
        self.times += self._append("timing.jsonl", times)

    def _append(self, name: str, records: Iterable[Mapping[str, Any]]) -> list[Record]:
        lines = [dumps(record) for record in records]
        if self.folder is not None and lines:
            path = self.folder / name
            with _writing(path), path.open("ab") as file:
                file.write("".join(line + "\n" for line in lines).encode())
                file.flush()
        return [json.loads(line) for line in lines]

    def keep(self, records: Sequence[Record]) -> None:
        """Forget all but `records`: what an unfinished batch left behind."""
        self.records = list(records)
        if self.folder is not None:
            self._write("records.jsonl", "".join(dumps(record) + "\n" for record in records))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary."""
        if self.folder is not None:
            text = json.dumps(_clean(summary), indent=1, ensure_ascii=False) + "\n"
            self._write("summary.json", text)


def _read_manifest(path: Path) -> Record:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise RunError(
            f"{path} is not a manifest of a run ({error}); choose another --out"
        ) from error


def _same(old: Record, new: Record, folder: Path) -> None:
    """Refuse a folder of another run, naming what differs."""
    was, now = dict(_leaves(old)), dict(_leaves(new))
    differ = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    if differ:
        first = differ[0]
        shown = f"{first} was {_short(was.get(first))}, is {_short(now.get(first))}"
        others = f", and {', '.join(differ[1:4])} differ too" if differ[1:] else ""
        raise RunError(f"{folder} holds another run: {shown}{others}; choose another --out")


def _short(value: object) -> str:
    text = dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, value
