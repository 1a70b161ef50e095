"""The authors' files become personas; what cannot be one is counted, what is wrong is named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import judge
from holdfast.core.errors import PersonaError
from holdfast.persona.published.instructions import STANDING
from holdfast.persona.suite import Suite, load_suite

Write = Callable[[str, Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, rows: Any) -> Path:
        path = tmp_path / name
        lines = rows if name.endswith(".json") else [json.dumps(row) for row in rows]
        text = json.dumps(lines) if name.endswith(".json") else "\n".join(lines) + "\n"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def of(name: str, path: Path) -> Suite:
    return load_suite(f"{name}:{path}")


IFEVAL = [
    {
        "key": 7,
        "prompt": "Write about soup without commas, in at least 10 words.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{}, {"relation": "at least", "num_words": 10, "num_bullets": None}],
    },
    {
        "key": 8,
        "prompt": "Repeat this first: soup",
        "instruction_id_list": ["combination:repeat_prompt"],
        "kwargs": [{"prompt_to_repeat": "soup"}],
    },
]


def test_a_line_of_ifeval_is_a_standing_order(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("if_verifiable")
    (persona,) = of("ifeval", write("ifeval.jsonl", IFEVAL)).personas
    assert persona.id == "line-7"
    assert "refrain from the use of any commas. Answer with at least 10 words." in persona.prompt
    score = judge.build(persona.judge)
    assert score("soup and bread").value == 0.5
    assert score("soup is what people like to eat on cold and rainy days").value == 1.0
    assert "left out 1 (belongs to its request: combination:repeat" in capsys.readouterr().err


MULTI_IF = {
    "key": "1:2:en",
    "language": "English",
    "turn_1_prompt": '{"role": "user", "content": "Write in capitals."}',
    "turn_1_instruction_id_list": '["change_case:english_capital"]',
    "turn_1_kwargs": '["{}"]',
    "turn_2_prompt": '{"role": "user", "content": "And without commas."}',
    "turn_2_instruction_id_list": '["change_case:english_capital", "punctuation:no_comma"]',
    "turn_2_kwargs": '["{}", "{}"]',
    "turn_3_prompt": "",
    "turn_3_instruction_id_list": "",
    "turn_3_kwargs": "",
}
NO_KWARGS = {name: value for name, value in MULTI_IF.items() if name != "turn_2_kwargs"}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_the_last_turn_of_multi_if_holds_all_orders(
    tmp_path: Path, write: Write, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("if_verifiable")
    rows = [MULTI_IF, MULTI_IF | {"key": "3:fr", "language": "French"}]
    path = write("multi.jsonl", rows)
    if ending == "csv":
        path = tmp_path / "multi.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, MULTI_IF)
            table.writeheader()
            table.writerows(rows)
    (persona,) = of("multi-if", path).personas
    assert persona.id == "dialogue-1-2-en"
    assert "capital letters" in persona.prompt and "commas" in persona.prompt
    assert judge.build(persona.judge)("I AM HERE, AND SO ARE YOU.").value == 0.5
    assert "1 (not English)" in capsys.readouterr().err


def test_a_turn_of_sysbench_is_a_persona_with_its_checklist(write: Write) -> None:
    criteria = {
        "1": {"criteria_content": "Answers in one sentence."},
        "2": {"criteria_content": "Polite."},
    }
    info = {"alignment": "aligned", "criteria": criteria}
    row = {
        "system_id": 12,
        "system_prompt": "You answer in one polite sentence.",
        "messages": [],
        "prompt_infos": {"What is tea?": info, "And coffee?": info},
    }
    first, second = of("sysbench", write("sysbench.json", [row])).personas
    assert (first.id, first.probes) == ("system-12-turn-1", ("What is tea?",))
    assert second.probes == ("And coffee?",) and second.category == "aligned"
    assert first.needs_model
    assert "- Answers in one sentence.\n- Polite." in str(first.judge["criteria"])


def test_multichallenge_gives_its_conversations_on_retention(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [
        {"role": "user", "content": "End every reply with a question."},
        {"role": "assistant", "content": "Shall we begin?"},
        {"role": "user", "content": "What is tea?"},
    ]
    row = {
        "QUESTION_ID": "67a",
        "AXIS": "INSTRUCTION_RETENTION",
        "CONVERSATION": messages,
        "TARGET_QUESTION": "Does the reply end with a question?",
        "PASS_CRITERIA": "YES",
    }
    rows = [row, row | {"QUESTION_ID": "67b", "AXIS": "SELF_COHERENCE"}]
    (persona,) = of("multichallenge", write("questions.jsonl", rows)).personas
    assert persona.prompt == "End every reply with a question."
    assert persona.probes == ("What is tea?",)
    assert "the answer to this is yes: Does the reply" in str(persona.judge["criteria"])
    assert "1 (on the axis SELF_COHERENCE)" in capsys.readouterr().err


def test_a_file_of_personagym_is_a_person_with_its_tasks(tmp_path: Path) -> None:
    folder = tmp_path / "benchmark-v1"
    folder.mkdir()
    tasks = {"Expected Action": ["You see a wave. What do you do?"], "Toxicity": ["Who is bad?"]}
    (folder / "A surfer from Peru.json").write_text(json.dumps(tasks), encoding="utf-8")
    action, toxicity = of("personagym", folder).personas
    assert "A surfer from Peru" in action.prompt
    assert (action.category, toxicity.category) == ("expected-action", "toxicity")
    assert action.needs_model


def test_the_second_turn_of_mt_bench_probes_the_first(write: Write) -> None:
    row = {
        "question_id": 81,
        "category": "writing",
        "turns": ["Write a post about Hawaii.", "Rewrite it with every sentence starting with A."],
        "reference": ["one", "Aloha."],
    }
    (persona,) = of("mt-bench", write("question.jsonl", [row])).personas
    assert persona.prompt.endswith("Write a post about Hawaii.")
    assert persona.probes == ("Rewrite it with every sentence starting with A.",)
    assert "A right answer: Aloha." in str(persona.judge["criteria"])


@pytest.mark.parametrize("name", sorted(STANDING))
def test_every_kind_of_instruction_is_a_persona_or_named(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("if_verifiable")
    suite = load_suite(name)
    message = capsys.readouterr().err
    assert len(suite.personas) + message.count("needs data of NLTK") == len(STANDING[name])
    assert len(suite.personas) > 0.8 * len(STANDING[name])
    assert len({one.prompt for one in suite.personas}) == len(suite.personas)
    one = suite.personas[-1]
    assert load_suite(f"{name}:{one.id}").personas == (one,)


@pytest.mark.parametrize(
    ("name", "file", "rows", "sentence"),
    [
        ("sysbench", "x.json", [{"system_id": 1}], "row 1 lacks system_prompt, prompt_infos"),
        ("sysbench", "x.json", [1], "row 1 is no object"),
        ("mt-bench", "x.jsonl", [{"question_id": 1, "category": "a", "turns": ["one"]}], "nothing"),
        ("ifeval", "x.jsonl", [IFEVAL[0] | {"kwargs": []}], "not lists of one length"),
        ("ifeval", "x.jsonl", [IFEVAL[0] | {"instruction_id_list": ["a:b", "c:d"]}], "no “a:b”"),
        ("multi-if", "x.jsonl", [MULTI_IF | {"turn_2_kwargs": "["}], "a column is not JSON"),
        ("multi-if", "x.jsonl", [NO_KWARGS], "are not lists of one length"),
        ("mt-bench", "x.jsonl", [], "nothing of mt-bench"),
    ],
)
def test_a_file_of_something_else_is_one_sentence(
    write: Write, name: str, file: str, rows: Any, sentence: str
) -> None:
    if name in ("ifeval", "multi-if"):
        pytest.importorskip("if_verifiable")
    with pytest.raises(PersonaError, match=sentence):
        of(name, write(file, rows))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sysbench", "give `suite` sysbench:FILE"),
        ("sysbench:none.json", "there are no SysBench in none.json"),
        ("ifeval:nothing", "has no persona “nothing”"),
    ],
)
def test_what_is_not_there_is_named(text: str, sentence: str) -> None:
    if text.startswith("ifeval"):
        pytest.importorskip("if_verifiable")
    with pytest.raises(PersonaError, match=sentence):
        load_suite(text)


def test_a_row_that_occurs_twice_is_refused(write: Write) -> None:
    row = {"question_id": 81, "category": "writing", "turns": ["One.", "Two."]}
    with pytest.raises(PersonaError, match="question-81"):
        of("mt-bench", write("question.jsonl", [row, row]))


_LINE = {"key": 1, "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
_DIALOGUE = {"QUESTION_ID": 1, "AXIS": "INSTRUCTION_RETENTION", "CONVERSATION": None,
             "TARGET_QUESTION": "?", "PASS_CRITERIA": "YES"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "row", "sentence"),
    [
        ("ifeval", {**_LINE, "kwargs": None}, "not lists of one length"),
        ("ifeval", {**_LINE, "kwargs": [None]}, "kwargs of objects"),
        ("ifeval", {**_LINE, "instruction_id_list": [1]}, "is of texts"),
        ("ifeval", {**_LINE, "kwargs": "[" * 30_000}, "a column is not JSON"),
        (
            "multi-if",
            {"key": 1, "language": "English", "turn_1_instruction_id_list": "", "turn_1_kwargs": 1},
            "a column is not JSON",
        ),
        ("multichallenge", _DIALOGUE, "fewer than two messages"),
        ("sysbench", {"system_id": 1, "system_prompt": "x", "prompt_infos": None}, "prompt_infos"),
        (
            "sysbench",
            {"system_id": 1, "system_prompt": "x", "prompt_infos": {"Hi": {"criteria": 5}}},
            "holds nothing of sysbench",
        ),
    ],
)
def test_a_row_of_other_types_is_one_sentence(
    name: str, row: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(PersonaError, match=sentence):
        of(name, path)
