"""Every format's log, written by hand, reads as the same two conversations; the rest is named."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.core.extras import install
from holdfast.evals.conversation.recorded import History, read_history
from holdfast.evals.drift import drift
from holdfast.evals.logs import inspect_log, lines
from holdfast.evals.logs.formats import NAMES
from holdfast.evals.watch.watch import watch
from holdfast.persona.suite import Persona
from holdfast.report.drift.page import render

FIXTURES = Path(__file__).parent / "fixtures"
PROMPT = "You are Ada, a librarian in Porto. Always answer in capital letters."
SHOUT = Persona("shout", "pattern", PROMPT, ("Tea?",), {"name": "case", "to": "upper"})
LONG = ("When do you open?", "AT NINE EVERY DAY.", "And on Sundays?", "we are closed then.")
SHORT = ("Do you have Pessoa?", "SECOND FLOOR, LEFT SHELF.")
# The file, its format, and what is named of the line that does not fit.
LOGS = [
    ("openai.jsonl", "openai", "line 3: a chat needs"),
    ("stored.jsonl", "openai", "line 4: a completion without its messages"),
    ("sharegpt.json", "sharegpt", "item 3: a message has a role"),
    ("langfuse.jsonl", "langfuse", "line 4: its input is neither"),
    ("langfuse.csv", "langfuse", "line 5: its input is neither"),
    ("promptfoo.json", "promptfoo", "item 4: its provider gave no output (429"),
    ("anthropic.jsonl", "anthropic", "line 3: it has no reply"),
    ("messages.csv", "csv", "line 10: a message has a role"),
    ("exchanges.csv", "csv", "line 5: a chat needs"),
    ("inspect.json", "inspect", "sample 3, epoch 1: a chat needs"),
    ("holdfast.jsonl", "holdfast", "line 4: a line of the server without texts"),
]
by_format = pytest.mark.parametrize(("name", "format", "bad"), LOGS)
PAGE = (Path(__file__).parents[3] / "docs/reference/logs.md").read_text(encoding="utf-8")
# The heading of an example on the page, its language and its text.
EXAMPLES = [
    (section.partition("\n")[0], *example)
    for section in PAGE.split("\n## ")[1:]
    for example in re.findall(r"```(json|csv)\n(.*?)```", section, re.DOTALL)
]


def read(name: str, **more: Any) -> History:
    if name.startswith("inspect"):
        pytest.importorskip("inspect_ai")
    return read_history(FIXTURES / name, [SHOUT], **more)


def scripts(history: History) -> set[tuple[str, ...]]:
    return {one.script for one in history.conversations if one.script}


@by_format
def test_a_log_of_each_format_is_recognised_and_read(name: str, format: str, bad: str) -> None:
    history = read(name)
    assert history.reading.format == format
    assert len(history.conversations) == 2
    assert scripts(history) == {LONG, SHORT}


@by_format
def test_a_line_that_does_not_fit_is_named_and_counted(name: str, format: str, bad: str) -> None:
    reading = read(name).reading
    assert reading.unfit == 1
    (line,) = reading.unfit_lines
    assert f"{FIXTURES / name}, {bad}" in f"{line.line}: {line.why}"


@by_format
def test_a_formats_own_name_reads_it_too(name: str, format: str, bad: str) -> None:
    assert scripts(read(name, format=format)) == {LONG, SHORT}


@by_format
def test_system_prompts_in_a_log_become_its_personas(name: str, format: str, bad: str) -> None:
    if format == "holdfast":
        pytest.skip("a server's own lines have no system prompt")
    history = read(name, own_prompts=True)
    assert history.reading.prompts == 1
    (persona,) = history.personas
    assert persona.prompt == PROMPT and "case" in json.dumps(persona.judge)
    assert history.reading.unjudged and "Porto" in " ".join(history.reading.unjudged)
    result = drift(None, history=FIXTURES / name)
    assert result.summary.curves.stability == [None, 1.0, 0.0]


@by_format
def test_watch_reads_every_format(name: str, format: str, bad: str) -> None:
    if format == "inspect":
        pytest.importorskip("inspect_ai")
    result = watch(FIXTURES / name, SHOUT)
    assert result.summary.reading and result.summary.reading.format == format
    replies = [one for one in result.replies if one.reply is not None]
    assert sorted((one.round, one.score) for one in replies) == [(1, 1.0), (1, 1.0), (2, 0.0)]
    assert len({one.conversation for one in replies}) == 2


@pytest.mark.parametrize(("format", "language", "text"), EXAMPLES)
def test_every_example_of_the_page_is_read_as_what_it_is_an_example_of(
    format: str, language: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / f"log.{'csv' if language == 'csv' else 'jsonl'}"
    path.write_text(text, encoding="utf-8")
    reading = read_history(path, [SHOUT]).reading
    assert (reading.format, reading.unfit) == (format, 0)


def test_a_chat_of_sillytavern_is_one_conversation() -> None:
    history = read("sillytavern.jsonl")
    assert history.reading.format == "sillytavern"
    assert scripts(history) == {LONG}
    (line,) = history.reading.unfit_lines
    assert line.line.endswith("line 7") and "mes" in line.why


def test_generations_of_a_trace_are_one_conversation_and_spans_are_passed_over() -> None:
    history = read("langfuse-trace.json")
    assert scripts(history) == {LONG} and history.reading.unfit == 0


def test_an_eval_file_of_inspect_is_read(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    log = json.loads((FIXTURES / "inspect.json").read_text(encoding="utf-8"))
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as file:
        samples = log.pop("samples")
        file.writestr("header.json", json.dumps(log))
        for sample in samples:
            file.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    assert scripts(read_history(path, [SHOUT])) == {LONG, SHORT}


def test_a_log_of_inspect_names_its_extra_where_inspect_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inspect_log, "find_spec", lambda name: None)
    with pytest.raises(HoldfastError, match=re.escape(install("inspect"))):
        read_history(FIXTURES / "inspect.json", [SHOUT])


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(HoldfastError, match="use holdfast, sharegpt"):
        read("openai.jsonl", format="parquet")


@pytest.mark.parametrize("format", [name for name in NAMES if name not in ("inspect", "csv")])
def test_a_format_that_is_asked_for_and_does_not_fit_ends_in_one_sentence(format: str) -> None:
    with pytest.raises(HoldfastError, match=r"holds no chats: .*line [12]"):
        read("exchanges.csv", format=format)


def test_the_page_says_what_did_not_fit_and_what_is_not_judged() -> None:
    result = drift(None, history=FIXTURES / "openai.jsonl")
    page = render(result.summary, result.conversations)
    assert "was read as openai; 1 line does not fit" in page
    assert "line 3: a chat needs" in page and "drafted from 1 system prompt" in page


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "holds no chats"),
    "spaces": (b" \n\n ", "holds no chats"),
    "broken JSON": (b'{"messages": [', "line 1: not JSON"),
    "wrong types": (b'{"messages": {"role": 1}}', "messages is a list"),
    "a number": (b'{"messages": 5}', "messages is a list"),
    "text in a list": (b'{"messages": ["hello"]}', "a message has a role"),
    "a wrong content": (b'{"messages": [{"role": "user", "content": 5}]}', "a text as content"),
    "conversations": (b'{"conversations": "none"}', "messages is a list"),
    "choices": (b'{"choices": [], "messages": [{"role": "user", "content": "x"}]}', "no reply"),
    "numbers in a list": (b"[1, 2]", "a line is an object"),
    "a deep list": (b"[" * 100_000, "line 1: not JSON"),
    "a huge number": (b'{"messages": ' + b"9" * 10_000 + b"}", "line 1: not JSON"),
    "no columns": (b"name,age\nAda,36\n", "columns named role and content"),
    "prose": (b"Dear all,\nhello.\n", "columns named role and content"),
    "a quote without an end": (b'role,content\nuser,"hi\n', "no CSV"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a binary file"),
    "a zip": (b"PK\x03\x04 and nothing", "no log that Inspect can read|pip install"),
    "gzip": (b"\x1f\x8b\x08\x00rest", "compressed: unpack it"),
    "UTF-16": ("role,content\n".encode("utf-16"), "UTF-16: save it as UTF-8"),
    "Latin-1": (b'{"messages": "\xe9"}', "not UTF-8"),
    "a Latin-1 table": (b"role,content\nuser,caf\xe9\n", "not UTF-8"),
    "null": (b"null", "holds no chats|a line is an object"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_ends_in_one_sentence(what: str, tmp_path: Path) -> None:
    content, why = HOSTILE[what]
    path = tmp_path / "log"
    path.write_bytes(content)
    for read_it in (lambda: read_history(path, [SHOUT]), lambda: watch(path, SHOUT)):
        with pytest.raises(HoldfastError, match=why) as refusal:
            read_it()
        assert "log" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_line_that_is_too_long_is_named_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    good = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "B"}]}'
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join((good, good.replace("a", "a" * 5000), good)), encoding="utf-8")
    history = read_history(path, [SHOUT])
    assert len(history.conversations) == 2
    assert "line 2" in history.reading.unfit_lines[0].line
    for alone in ("x" * 5000, good.replace("a", "a" * 5000)):
        path.write_text(alone, encoding="utf-8")
        with pytest.raises(HoldfastError, match=r"columns|no more than"):
            read_history(path, [SHOUT])


def test_a_mark_before_the_text_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    text = (FIXTURES / "openai.jsonl").read_text(encoding="utf-8").replace("\n", "\r\n")
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    history = read_history(path, [SHOUT])
    assert scripts(history) == {LONG, SHORT} and history.reading.unfit == 1


def test_a_log_without_system_prompts_asks_for_a_persona() -> None:
    for read_it in (
        lambda: drift(None, history=FIXTURES / "sillytavern.jsonl"),
        lambda: watch(FIXTURES / "sillytavern.jsonl"),
    ):
        with pytest.raises(HoldfastError, match="no system prompts: name its persona"):
            read_it()


def test_prompts_that_differ_have_judges_that_differ(tmp_path: Path) -> None:
    chat = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "QUIET"}
    prompts = ("Always answer in capital letters.", "Always answer in lower case.", "Hello.")
    records = [{"messages": [{"role": "system", "content": text}, *chat]} for text in prompts]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    result = watch(path)
    assert [one.score for one in result.replies] == [1.0, 0.0]
    assert len({one.persona for one in result.replies}) == 2
    reading = result.summary.reading
    assert reading and reading.prompts == 3 and reading.unfit == 1
    assert "nothing in its system prompt" in reading.unfit_lines[0].why
    assert drift(None, history=path).summary.curves.stability == [None, 0.5]


def test_a_log_whose_format_is_named_without_a_history_is_refused() -> None:
    with pytest.raises(HoldfastError, match="`format` is that of a `history`"):
        drift(None, format="openai")
