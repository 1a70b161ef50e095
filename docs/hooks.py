"""Puts the help of every command into the page of commands, so that it cannot go stale."""

from __future__ import annotations

import re
from typing import Any

import typer

from holdfast.cli import app

PLACE = re.compile(r"^<!-- help of `holdfast(?P<words>[^`]*)` -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with each marker followed by the help that it names."""
    return PLACE.sub(lambda match: _help(match["words"].split()), markdown)


def _help(words: list[str]) -> str:
    """A command's help, as it prints it, in a block of code."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("holdfast", [], resilient_parsing=True)
    for word in words:
        command = command.commands[word]
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    context.terminal_width = context.max_content_width = 76
    return f"```text\n{command.get_help(context)}\n```"
