"""Code in the documentation is in fences, holdfast has the options of its commands, and the
reference lists them."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from holdfast.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "studies").glob("*.md")]
)
FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.DOTALL | re.MULTILINE)
LIST_ITEM = re.compile(r"([-*+]|\d+\.) ")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def find_indented_code(text: str) -> list[str]:
    """Lines of a page that are code by four spaces alone, outside of lists and fences."""
    lines, in_list = [], False
    for line in FENCE.sub("", text).splitlines():
        if line and not line.startswith(" "):
            in_list = bool(LIST_ITEM.match(line))
        if line.startswith("    ") and not in_list:
            lines.append(line)
    return lines


def find_commands(text: str) -> Iterator[list[str]]:
    """The words after `holdfast` of each command in a page's fences for the shell."""
    for fence in FENCE.finditer(text):
        if fence["language"] in ("sh", "bash"):
            for line in fence["code"].replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if "holdfast" in words:
                    yield words[words.index("holdfast") + 1 :]


def find_unknown_options(words: list[str]) -> list[str]:
    """What of a command's words holdfast does not know: an option, or a command's own name."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return words[:1]
        command, words = command.commands[words[0]], words[1:]
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    return sorted(given - options - {"--help"})


@every_page
def test_code_is_in_fences(page: Path) -> None:
    assert find_indented_code(page.read_text(encoding="utf-8")) == []


def test_code_that_only_four_spaces_mark_is_seen_and_lists_are_not() -> None:
    page = "Run:\n\n    holdfast drift\n\n- an item\n\n    - of two\n      lines\n"
    page += "\n```sh\n    x\n```\n"
    assert find_indented_code(page) == ["    holdfast drift"]


@every_page
def test_commands_have_the_options_that_the_page_gives_them(page: Path) -> None:
    commands = find_commands(page.read_text(encoding="utf-8"))
    assert [(*words, *bad) for words in commands if (bad := find_unknown_options(words))] == []


def test_an_option_that_a_command_lacks_is_seen() -> None:
    (words,) = find_commands("```sh\nX=1 holdfast personas check a.toml \\\n  --colour red\n```\n")
    assert find_unknown_options(words) == ["--colour"]


def test_the_reference_names_the_option_of_every_field_of_settings() -> None:
    fill = runpy.run_path(str(ROOT / "docs" / "hooks.py"))["on_page_markdown"]
    table = fill("<!-- fields of `holdfast.DriftSettings` -->")
    assert "| `agents` |  | `--agent` | Only agents with this persona id (repeat). |" in table
    assert "| `measure` | `True` | `--no-share` |" in table
    assert "| `filler` | `True` | `--no-filler` |" in table
    assert "| `sampling.max_new_tokens` | `200` | `--max-new-tokens` |" in table


def test_python_users_find_every_setting_of_a_measurement() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    fill = runpy.run_path(str(ROOT / "docs" / "hooks.py"))["on_page_markdown"]
    assert "<!-- fields of" in page and "<!-- fields of" not in fill(page)
