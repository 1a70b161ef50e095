"""Readers meet anything: a record becomes a chat, or a reason why not."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.evals.logs.chat import RecordedChat, ServerLine, Unfit
from holdfast.evals.logs.formats import FORMATS
from holdfast.evals.logs.joining import join_chats
from holdfast.evals.logs.lines import json_rows, unfold
from holdfast.evals.logs.read import LogFile

FIXTURES = Path(__file__).parent / "fixtures"
ODD: list[Any] = [
    10**400,
    None,
    True,
    0,
    -1.5,
    "",
    "x",
    "[",
    '{"role": 1}',
    [],
    [[]],
    {},
    {"role": []},
    [None],
]


def records() -> list[Any]:
    """Every JSON record of the fixtures."""
    rows = [row for path in sorted(FIXTURES.glob("*.json*")) for row in json_rows(path)]
    return [row.record for row in rows if hasattr(row, "record")]


def mutate(value: Any, rng: random.Random) -> Any:
    """The value with something odd somewhere in it."""
    if rng.random() < 0.15:
        return rng.choice(ODD)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        copy = {**value, key: mutate(value[key], rng)}
        if rng.random() < 0.2:
            del copy[key]
        return copy
    if isinstance(value, list) and value:
        i = rng.randrange(len(value))
        return [*value[:i], mutate(value[i], rng), *value[i + 1 :]]
    return rng.choice(ODD)


def test_a_mutated_record_is_a_chat_or_has_a_reason_in_every_format() -> None:
    rng, samples = random.Random(0), records()
    outcomes = {"chat": 0, "reason": 0}
    for _ in range(3000):
        for one in unfold(mutate(rng.choice(samples), rng)):
            if not isinstance(one, dict):
                continue
            for format in FORMATS.values():
                format.claims(one)
                try:
                    entry = format.read(one)
                except Unfit as why:
                    assert str(why)
                    outcomes["reason"] += 1
                else:
                    assert entry is None or isinstance(entry, RecordedChat | ServerLine)
                    outcomes["chat"] += entry is not None
    assert min(outcomes.values()) > 500


def test_a_mutated_file_is_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    rng, path = random.Random(1), tmp_path / "log"
    for _ in range(150):
        data = bytearray(rng.choice(sorted(FIXTURES.glob("*.*"))).read_bytes()[:3000])
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        log = LogFile(path)
        try:
            join_chats([one for one in log.entries() if isinstance(one, RecordedChat)])
        except HoldfastError as error:
            assert "log" in str(error)


@pytest.mark.parametrize("deep", ["messages", "kwargs", "args", "message", "content"])
def test_a_record_that_is_too_deep_is_named(tmp_path: Path, deep: str) -> None:
    value: Any = "hello"
    for _ in range(900):
        value = {deep: value}
    path = tmp_path / "log.jsonl"
    record = {"input": value, "output": value, "sessionId": "s"}
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(HoldfastError, match="holds no chats"):
        list(LogFile(path).entries())


def read_line(tmp_path: Path, record: Any) -> RecordedChat:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    (entry,) = LogFile(path).entries()
    assert isinstance(entry, RecordedChat)
    return entry


def test_the_dialogue_of_promptfoos_simulated_user_is_read_turn_by_turn(tmp_path: Path) -> None:
    texts = ["I want my money back.", "WHY?", "The lamp is broken.", "I SEE."]
    roles = ["user", "assistant"] * 2
    messages = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)]
    record = {
        "prompt": {"raw": "Always answer in capital letters.", "label": "x"},
        "vars": {"instructions": "You are Rita, an angry customer."},
        "provider": {"id": "openai:chat:mini"},
        "response": {
            "output": "\n---\n".join(f"{r}: {t}" for r, t in zip(roles, texts, strict=True)),
            "metadata": {"messages": messages},
        },
    }
    entry = read_line(tmp_path, record)
    assert [text for _, text in entry.turns] == texts
    assert entry.system == "Always answer in capital letters."
    assert entry.user_prompt == "You are Rita, an angry customer."


@pytest.mark.parametrize(
    "arguments",
    [
        {"args": ["Hello there", []], "kwargs": {}},
        {"args": [], "kwargs": {"model": "gpt", "question": "Hello there"}},
        {"args": [], "kwargs": {"q": "Hello there"}},
        {"args": [{"n": 1}, [{"role": "user", "content": "Hello there"}]], "kwargs": {}},
        {"q": "Hello there"},
    ],
)
def test_a_traced_functions_arguments_are_a_request(tmp_path: Path, arguments: Any) -> None:
    entry = read_line(tmp_path, {"input": arguments, "output": "Hi!", "sessionId": "s"})
    assert entry.turns == (("user", "Hello there"), ("assistant", "Hi!"))


def test_yaml_and_foreign_tables_are_refused_in_a_short_sentence(tmp_path: Path) -> None:
    path = tmp_path / "results.yaml"
    path.write_text("evalId: x\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="is YAML: have it written as JSON"):
        list(LogFile(path).entries())
    path = tmp_path / "results.csv"
    path.write_text(
        "q," + ",".join(f"[echo] {n} " + "long " * 40 for n in range(30)), encoding="utf-8"
    )
    with pytest.raises(HoldfastError, match="columns named role and content") as error:
        list(LogFile(path).entries())
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("ending", [".json", ".JSONL", ".ndjson"])
def test_a_file_named_as_json_is_read_as_json_whatever_it_holds(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"log{ending}"
    path.write_text("not json\n", encoding="utf-8")
    for format in (None, "langfuse"):
        with pytest.raises(HoldfastError, match=r"line 1: not JSON") as error:
            list(LogFile(path, format).entries())
        assert "column named" not in str(error.value) and "table" not in str(error.value)
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    path.write_text(f"not json\n{json.dumps({'messages': messages})}\n", encoding="utf-8")
    log = LogFile(path)
    assert len(list(log.entries())) == log.reading.unfit == 1
    path.write_text("role,content\nuser,a\nassistant,b\n", encoding="utf-8")
    assert len(list(LogFile(path, "csv").entries())) == 1


def chat(*texts: str, id: str | None = None, time: float | None = None) -> RecordedChat:
    turns = tuple((("user", "assistant")[i % 2], text) for i, text in enumerate(texts))
    return RecordedChat(turns, f"line {texts}", id=id, time=time, complete=False)


def test_requests_that_grow_are_kept_once_and_branches_apart() -> None:
    conversations = join_chats(
        [chat("a", "b"), chat("x", "y"), chat("a", "b", "c", "d"), chat("a", "b", "e", "f")]
    )
    assert [tuple(text for _, text in one.turns) for one in conversations] == [
        ("x", "y"),
        ("a", "b", "c", "d"),
        ("a", "b", "e", "f"),
    ]


def test_messages_of_one_session_are_put_in_the_order_of_their_times() -> None:
    parts = [chat("c", "d", id="s", time=2.0), chat("a", "b", id="s", time=1.0)]
    (one,) = join_chats(parts)
    assert [text for _, text in one.turns] == ["a", "b", "c", "d"]
    (other,) = join_chats([chat("c", "d", id="s"), chat("e", "f", id="s")])
    assert [text for _, text in other.turns] == ["c", "d", "e", "f"]


def test_a_whole_chat_that_its_id_has_again_grown_counts_once() -> None:
    grown = [chat(*"abcdef"[:n], id="s") for n in (2, 4, 6)]
    other = chat("x", "y", id="s")
    conversations = join_chats([replace(one, complete=True) for one in (*grown, other)])
    assert [len(one.turns) for one in conversations] == [6, 2]


def test_complete_chats_that_are_alike_all_count() -> None:
    one = RecordedChat((("user", "a"), ("assistant", "b")), "line 1")
    assert len(join_chats([one, one, one])) == 3
