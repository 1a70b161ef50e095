"""Formats of whole files: a CSV of messages or of exchanges, and a chat of SillyTavern.

A CSV has a row for each message (a role and a text) or for each exchange (a prompt and a reply),
and perhaps columns for the conversation, the system prompt, the persona and the model. Rows of one
conversation are in the order in which they were said. `COLUMNS` has the names of columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from holdfast.evals.logs.chat import Record, RecordedChat, RoleAndText, Unfit, read_messages
from holdfast.evals.logs.lines import LogRow
from holdfast.persona.cards.chat import read_line
from holdfast.persona.files import find_repeat
from holdfast.results.recorded.log import BadLine

COLUMNS = {
    "conversation": tuple(
        f"{noun}{end}"
        for end in ("_id", "", "_number")
        for noun in ("conversation", "session", "chat", "thread", "dialogue", "dialog", "ticket",
                     "case")
    ),
    "role": ("role", "speaker", "sender", "author"),
    "text": ("content", "text", "message", "utterance"),
    "user": ("user", "prompt", "input", "question", "user_message"),
    "reply": ("reply", "assistant", "response", "output", "answer", "completion"),
    "system": ("system", "system_prompt"),
    "persona": ("persona", "persona_id"),
    "model": ("model",),
}  # fmt: skip
"""What a column may be called, by what it holds; only letters and digits count, in any case."""
_LIKE_AN_ID = re.compile(r"(?:^|[\W_])(?:id|uuid|number|no|nr|ref|key)$|(?-i:[a-z]I[dD]$)", re.I)
_MOST_NAMES, _LONGEST_NAME = 8, 30  # of the columns that an error shows


def columns_of(header: Sequence[str]) -> Mapping[str, str]:
    """The columns of a table by what they hold.

    Raises:
        Unfit: there are neither a role and a text nor a prompt and a reply, or one column twice.
    """
    by_name = {_bare(name): name for name in header if name}
    if repeat := find_repeat(filter(None, map(_bare, header))):
        twice = by_name[repeat].strip()[:_LONGEST_NAME]
        raise Unfit(f"two columns are named {twice}: rename or remove one")
    matches = {
        what: by_name[name]
        for what, names in COLUMNS.items()
        if (name := next((one for one in map(_bare, names) if one in by_name), None))
    }
    if {"role", "text"} <= matches.keys() or {"user", "reply"} <= matches.keys():
        return matches
    first_names = [name.strip()[:_LONGEST_NAME] for name in list(by_name.values())[:_MOST_NAMES]]
    raise Unfit(
        "a table has columns named role and content, or prompt and reply; this one has "
        f"{', '.join(first_names) or 'none'}"
    )


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


class IdColumns:
    """Columns of a table that look like a conversation's id: so named, with values that repeat.

    Args:
        header: the names of all columns.
        columns: the columns that are read (`columns_of`).
    """

    def __init__(self, header: Sequence[str], columns: Mapping[str, str]) -> None:
        self._rows = 0
        read = set(header if "conversation" in columns else columns.values())
        names = (name for name in header if name not in read and _LIKE_AN_ID.search(name.strip()))
        self._values: dict[str, set[str]] = {name: set() for name in names}

    def look_at(self, rows: Iterable[LogRow | BadLine]) -> Iterator[LogRow | BadLine]:
        """The rows as they are."""
        for row in rows:
            if isinstance(row, LogRow):
                self._rows += 1
                for name, values in self._values.items():
                    values.add(str(row.record.get(name)))
            yield row

    @property
    def names(self) -> tuple[str, ...]:
        """The columns whose values repeat in the rows so far, and are not all the same."""
        return tuple(n for n, values in self._values.items() if 1 < len(values) < self._rows)


def read_table(
    rows: Iterable[LogRow | BadLine], columns: Mapping[str, str]
) -> Iterator[RecordedChat | BadLine]:
    """The chats of a table; a conversation's rows need not stand together.

    Args:
        rows: the rows, each a mapping by the names of the header.
        columns: the names by what they hold (`columns_of`).
    """
    by_message = {"role", "text"} <= columns.keys()
    groups: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for one in rows:
        if isinstance(one, BadLine):
            yield one
            continue
        where, row = one
        cells = {what: row.get(name) or "" for what, name in columns.items()}
        # Without a column for it every exchange is a conversation, and all messages are one.
        alone = "" if by_message else where
        groups.setdefault(cells.get("conversation") or alone, []).append((where, cells))
    for name, own in groups.items():
        turns: list[RoleAndText] = []
        prompts: list[str] = []
        for where, cells in own:
            try:
                prompt, more = read_messages(_messages(cells, by_message))
            except Unfit as why:
                yield BadLine(where, str(why))
                continue
            prompts += [prompt] if prompt and not turns else []
            turns += more
        yield from _chat(own, "\n\n".join(dict.fromkeys(prompts)), turns, name)


def _messages(cells: Mapping[str, str], by_message: bool) -> list[Record]:
    system = [{"role": "system", "content": text}] if (text := cells.get("system")) else []
    if by_message:
        return [*system, {"role": cells["role"].strip(), "content": cells["text"]}]
    pair = [("user", cells["user"]), ("assistant", cells["reply"])]
    return [*system, *({"role": role, "content": text} for role, text in pair)]


def _chat(
    own: Sequence[tuple[str, Mapping[str, str]]],
    system: str,
    turns: Sequence[RoleAndText],
    name: str,
) -> Iterator[RecordedChat | BadLine]:
    where, first = own[0]
    about: dict[str, Any] = {key: first.get(key) or None for key in ("persona", "model")}
    try:
        yield RecordedChat(
            tuple(turns), where, system=system or None, id=name or None, complete=True, **about
        )
    except Unfit as why:
        yield BadLine(where, str(why))


def read_role_play_log(rows: Iterable[LogRow | BadLine]) -> Iterator[RecordedChat | BadLine]:
    """The chat in the lines of a file of SillyTavern, whose first line is its head."""
    turns: list[RoleAndText] = []
    first = ""
    for row in rows:
        if isinstance(row, BadLine):
            yield row
            continue
        where, record = row
        first = first or where
        if "character_name" in record and "mes" not in record:
            continue
        try:
            message = read_line(record)
        except ValueError as why:
            yield BadLine(where, str(why))
            continue
        if message is not None:
            turns.append((message["role"], message["content"]))
    try:
        yield RecordedChat(tuple(turns), first)
    except Unfit as why:
        yield BadLine(first, str(why))
