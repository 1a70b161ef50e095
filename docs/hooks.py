"""Puts the help of every command and the fields of settings into the pages of the reference, so
that they cannot go stale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pkgutil import resolve_name
from typing import Any

import typer

from holdfast.cli import app
from holdfast.core.settings import Option

HELP = re.compile(r"^<!-- help of `holdfast(?P<words>[^`]*)` -->$", re.MULTILINE)
FIELDS = re.compile(r"^<!-- fields of `(?P<settings>[^`]+)` -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with each marker replaced by the help or the fields that it names."""
    page = HELP.sub(lambda match: _help(match["words"].split()), markdown)
    return FIELDS.sub(lambda match: "\n".join(_field_table(match["settings"])), page)


def _help(words: list[str]) -> str:
    """A command's help, as it prints it, in a block of code."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("holdfast", [], resilient_parsing=True)
    for word in words:
        command = command.commands[word]
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    context.terminal_width = context.max_content_width = 76
    return f"```text\n{command.get_help(context)}\n```"


def _field_table(settings: str) -> Iterator[str]:
    """A table of the fields that are options of the command line, those within a field too."""
    yield "| field | default | option of the command line | |"
    yield "| --- | --- | --- | --- |"
    yield from _field_rows(resolve_name(settings), "")


def _field_rows(settings: Any, before: str) -> Iterator[str]:
    for one in fields(settings):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        option: Option | None = one.metadata.get("option")
        if option:
            usual = f"--{'no-' if default is True else ''}{one.name.replace('_', '-')}"
            name = option.flags[0].split("/")[-1] if option.flags else usual
            value = "" if default in (None, ()) else f"`{default!r}`"
            yield f"| `{before}{one.name}` | {value} | `{name}` | {option.help} |"
        elif is_dataclass(default):
            yield from _field_rows(default, f"{one.name}.")
