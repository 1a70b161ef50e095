"""No judge hangs: hostile texts of 40 kB, and hostile patterns, take seconds at most."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.judge.specs import SPECS

from holdfast import judge
from holdfast.core.errors import JudgeError, PersonaError
from holdfast.persona.suite import check_suite, load_suite

SIZE = 40_000
PIECES = (
    "A B C D ", ". ", "...", "a", "A", "1 ", "9", "- ", "\n", "\n\n", " ", "\t", "*", "_", "`",
    "```a\n", "``` \n", "# ", "> ", "(", "[", "{", '"', "'", ",", ", ", "and ", "or ", "if you ",
    "I'd pick tea ", "tea, ", "tea or coffee, ", "not tea ", "Dr. ", "a. ", "1) ", "I can't ",
    "forty-", "two hundred and ", "-", "–", "1,000", "1/2 ", "é", "🦉", "中", "no, ", "is ",
    "As an AI ", "I am not ", "the the ", "tea is ", "\\", "&", "| a |\n", "x: y\n", "ahoy; ",
)  # fmt: skip


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_judge_takes_seconds_at_most_over_hostile_texts(spec: dict[str, object]) -> None:
    scorer = judge.build(spec)
    for piece in PIECES[len(str(spec)) % 2 :: 2]:
        text = (piece * (SIZE // len(piece) + 1))[:SIZE]
        start = time.process_time()
        value, _ = scorer(text)
        assert 0.0 <= value <= 1.0
        assert time.process_time() - start < 3.0, piece


def test_a_reply_that_states_a_fact_again_and_again_is_judged_at_once() -> None:
    locker = {"is": ["83"], "about": ["locker"]}
    gardener = {"is": ["Adam"], "about": ["gardener"]}
    scorer = judge.build({"name": "facts", "facts": [locker, gardener]})
    start = time.process_time()
    assert scorer("Adam. 83 locker. " * (2 * SIZE // 17)).value == 1.0
    assert time.process_time() - start < 3.0


def test_an_endless_sentence_of_no_has_its_sentiment_at_once() -> None:
    scorer = judge.build({"name": "sentiment", "to": "negative"})
    start = time.process_time()
    scorer("no no, " * 2000)
    assert time.process_time() - start < 3.0


@pytest.mark.parametrize("pattern", [r"(\w+\s*)+$", r"(a|aa)+$", r"(a|a)*$", r"(.*a)+b"])
def test_a_hostile_pattern_costs_a_second_and_a_sentence(pattern: str) -> None:
    scorer = judge.build({"name": "regex", "pattern": pattern})
    start = time.process_time()
    try:
        scorer("a" * 5000 + " word" * 5000 + "!")
    except JudgeError as error:
        assert "did not finish within 1 second" in str(error)
    assert time.process_time() - start < 10.0


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": r"(a|aa)+$"},
        {"patternProperties": {r"(a|aa)+$": {"type": "string"}}},
        {"patternProperties": {r"(a|aa)+$": True}, "additionalProperties": False},
        {"propertyNames": {"pattern": r"(a|aa)+$"}},
    ],
    ids=str,
)
def test_a_hostile_pattern_in_a_schema_costs_a_second_and_a_sentence(
    schema: dict[str, object],
) -> None:
    scorer = judge.build({"name": "json_schema", "schema": schema})
    hostile = "a" * 5000 + "!"
    start = time.process_time()
    for reply in (f'"{hostile}"', f'{{"{hostile}": 1}}'):
        try:
            scorer(reply)
        except JudgeError as error:
            assert "did not finish within 1 second" in str(error)
    assert time.process_time() - start < 10.0


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"x(?:\w*)*", r"([a-z]+){2,}", r"(.*)*\d"])
def test_a_repeated_repetition_is_an_error(pattern: str) -> None:
    with pytest.raises(JudgeError, match="repeats a repetition and may never finish"):
        judge.build({"name": "regex", "pattern": pattern})
    for sound in (r"(?:\s+\w+)*", r"\(a+\)+", r"(a)+", r"(?:a+b)+"):
        judge.build({"name": "regex", "pattern": sound})


@pytest.mark.parametrize("pattern", [r"(a{1000}){1000}", r"a{99999999}", r"((a{99}){99}){99}"])
def test_a_pattern_that_unrolls_without_end_is_an_error(pattern: str) -> None:
    start = time.process_time()
    with pytest.raises(JudgeError, match="counts in braces"):
        judge.build({"name": "regex", "pattern": pattern})
    assert time.process_time() - start < 3.0


def test_checking_a_persona_with_a_hostile_pattern_ends_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "hostile.toml"
    path.write_text(
        "[[persona]]\nid = 'evil'\ncategory = 'pattern'\nprompt = 'p'\nprobes = ['q']\n"
        "judge = { name = 'regex', pattern = '(a|aa)+$' }\n"
        f"passes = ['{'a' * 3000}!', '{'a' * 3000}?']\n"
    )
    start = time.process_time()
    with pytest.raises(PersonaError) as error:
        check_suite(load_suite(path))
    assert str(error.value).startswith(f"{path}: persona “evil”: field “judge”: the pattern")
    assert "did not finish" in str(error.value)
    assert time.process_time() - start < 10.0


def test_a_repeated_repetition_in_a_persona_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "hostile.toml"
    path.write_text(
        "[[persona]]\nid = 'evil'\ncategory = 'pattern'\nprompt = 'p'\nprobes = ['q']\n"
        "judge = { name = 'regex', pattern = '(a+)+$' }\n"
        f"passes = ['{'a' * 40}b']\n"
    )
    with pytest.raises(PersonaError, match=r"field “judge” is wrong: .*“pattern”.*\(a\+\)\+"):
        load_suite(path)


DEFINITIONS = {
    f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}, {"$ref": f"#/$defs/a{n + 1}"}]}
    for n in range(30)
}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (
            {"patternProperties": {"(a|aa)+$": True}, "unevaluatedProperties": False},
            "“unevaluatedProperties” beside “patternProperties”",
        ),
        ({"$ref": "#/$defs/a0", "$defs": {**DEFINITIONS, "a30": {}}}, "more than 10000 parts"),
    ],
)
def test_a_schema_that_could_run_without_end_is_an_error(
    schema: dict[str, object], problem: str
) -> None:
    with pytest.raises(JudgeError, match=problem):
        judge.build({"name": "json_schema", "schema": schema})


def test_a_schema_may_name_itself() -> None:
    tree = {"type": "object", "properties": {"child": {"$ref": "#"}}, "required": ["name"]}
    scorer = judge.build({"name": "json_schema", "schema": tree})
    assert scorer('{"name": "a", "child": {"name": "b"}}').value == 1.0
    assert scorer('{"name": "a", "child": {}}').value == 0.0
