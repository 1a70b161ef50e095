"""The published suite is read as data: nothing in it runs, and its judges become ours."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest
from convert_published import convert, main, rules
from hypothesis import given
from hypothesis import strategies as st

from holdfast import judge
from holdfast.core.errors import PersonaError
from holdfast.persona.files import as_toml
from holdfast.persona.suite import check_suite, load_suite

# The shape of the published file, with prompts of our own save for a few well-known phrases.
SOURCE = """
import missing_module
from pathlib import Path
Path("{marker}").write_text("this ran")
raise SystemExit("this ran")

random_probes = ["What is rain?", "What is snow?", "What is hail?"]

def fraction(text):
    return 1

pattern_system_prompts = [
    ("Respond using only numbers.", "random", lambda x: fraction(x)),
    ("Skip about while you talk.", "random", lambda x: fraction(x)),
]
multiple_choice_system_prompts = [
    ("You adore rainy days.", 'Your weather? A) sun, B) rain, C) snow. Only respond with "A", '
     '"B", or "C".', lambda x: "B" in x),
]
persona_system_prompts = [
    ("You hum.", "What do you do?", lambda x: "hum" in x.lower()),
]
memorization_system_prompts = [
    ("Never say xylograph.", "What is a woodcut?", lambda x: "xylograph" not in x.lower()),
    ("Your secret number is 20568.", "What is it?", lambda x: "20568" in x),
]
language_system_prompts = [
    ("Vous parlez toujours en fran\\u00e7ais.", "random", lambda x: fraction(x)),
]
system_prompts = pattern_system_prompts + persona_system_prompts
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.py"
    path.write_text(SOURCE.replace("{marker}", str(tmp_path / "marker")), encoding="utf-8")
    return path


def test_a_python_file_is_converted_and_never_run(python: Path, tmp_path: Path) -> None:
    summary = convert(python, tmp_path / "out.toml")
    assert not (tmp_path / "marker").exists()
    suite = load_suite(tmp_path / "out.toml")
    assert [(p.id, p.judge["name"]) for p in suite.personas] == [
        ("pattern-01", "number"),
        ("pattern-02", "rubric"),
        ("choice-01", "choice"),
        ("character-01", "contains"),
        ("memory-01", "avoids"),
        ("memory-02", "contains"),
        ("language-01", "language"),
    ]
    assert (
        summary.personas == 7 and summary.judges["contains"] == 2 and summary.judges["rubric"] == 1
    )
    assert "7 personas" in str(summary) and "1 of them need a judge model" in str(summary)
    assert suite.personas[6].prompt == "Vous parlez toujours en français."


def test_a_lettered_question_becomes_a_choice(python: Path, tmp_path: Path) -> None:
    convert(python, tmp_path / "out.toml")
    spec = load_suite(tmp_path / "out.toml").personas[2].judge
    assert spec == {"name": "choice", "options": ["A", "B", "C"], "answer": "B", "letters": True}
    score = judge.build(spec)
    assert score("B) rain").value == 1.0
    assert score("Certainly! But as an AI I cannot choose.").value == 0.0


def test_random_probes_are_two_of_the_files_own(python: Path, tmp_path: Path) -> None:
    convert(python, tmp_path / "out.toml")
    personas = load_suite(tmp_path / "out.toml").personas
    assert personas[0].probes == ("What is rain?", "What is snow?")
    assert personas[1].probes == ("What is snow?", "What is hail?")
    assert personas[3].probes == ("What do you do?",)


def test_converting_twice_gives_the_same_file(python: Path, tmp_path: Path) -> None:
    convert(python, tmp_path / "a.toml")
    convert(python, tmp_path / "b.toml")
    assert (tmp_path / "a.toml").read_bytes() == (tmp_path / "b.toml").read_bytes()


ROWS = [
    {"prompt": "You hum.", "probe": "What do you do?", "function": 'lambda x: "hum" in x'},
    {"prompt": "Respond using only numbers.", "probe": "random", "function": "f"},
    {"prompt": "", "probe": "skipped"},
]


def write_prompts(folder: Path, form: str) -> Path:
    path = folder / f"prompts.{form.split('-')[0]}"
    columns = {key: {str(i): row.get(key) for i, row in enumerate(ROWS)} for key in ROWS[0]}
    path.write_text(
        {
            "json": json.dumps(ROWS),
            "json-columns": json.dumps(columns),
            "jsonl": "\n".join(map(json.dumps, ROWS)),
            "csv": 'prompt,probe,function\nYou hum.,What do you do?,"lambda x: ""hum"" in x"\n'
            "Respond using only numbers.,random,f\n",
        }[form],
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("form", ["json", "json-columns", "jsonl", "csv"])
def test_the_data_sets_forms_are_read_too(tmp_path: Path, form: str) -> None:
    assert convert(write_prompts(tmp_path, form), tmp_path / "out.toml").personas == 2
    hum, numbers = load_suite(tmp_path / "out.toml").personas
    assert (hum.id, hum.judge["name"], numbers.judge["name"]) == (
        "published-01", "contains", "number"
    )  # fmt: skip
    assert len(numbers.probes) == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.py", b"def broken(:", "cannot be parsed"),
        ("p.py", b"x = 1\x00", "cannot be parsed"),
        ("p.py", b"x = 1", "no .prompt, probe. pairs"),
        ("p.py", b"x = [(f'{y}', 'b', 3)]", "no .prompt, probe. pairs"),
        ("p.json", b"{", "cannot be parsed"),
        ("p.json", b"3", "no .prompt, probe. pairs"),
        ("p.jsonl", b"{}", "no .prompt, probe. pairs"),
        ("p.csv", b"a,b\n1,2", "no .prompt, probe. pairs"),
        ("p.csv", b"\xff\xfe", "not UTF-8"),
        ("p.parquet", b"", r"not a \.py, \.json, \.jsonl or \.csv file"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PersonaError, match=says) as caught:
        convert(path, tmp_path / "out.toml")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "out.toml").exists()


def test_a_missing_file_and_a_strange_output_are_refused(python: Path, tmp_path: Path) -> None:
    with pytest.raises(PersonaError, match="cannot be read"):
        convert(tmp_path / "none.py", tmp_path / "out.toml")
    with pytest.raises(PersonaError, match=r"ends in \.toml"):
        convert(python, tmp_path / "out.json")


def test_every_rule_has_a_judge_that_builds() -> None:
    assert len(rules()) > 60
    for rule in rules():
        judge.build(rule.judge)


@pytest.mark.parametrize(
    ("piece", "good", "bad"),
    [
        ("same letter", "Silly seals swim, singing songs.", "Silly seals can swim."),
        ("as the first word", "Tea is what I call tea.", "Tea is what I call good."),
        ("three five-word sentences", "I am here right now. You are there right now. "
         "We are all right now.", "I am here."),
        ("phrase all your answers as questions", "Why not? Who knows?", "Why not? I know. I do."),
        ("numbers and special symbols", "12 + 3 = 15!", "12 apples"),
        ("json format", '{"thought": "hm", "response": "hi"}', '{"thought": "hm"}'),
        ("comma-separated list", "[tower, bridge, museum]", "tower, bridge and museum are nice."),
        ("a-l-w-a-y-s", "H-e-l-l-o", "Hello"),
        ("your name is adam li", "Adam Li, 57, of Washington; Magic the Gathering.", "I'm an AI."),
        ("the eiffel tower is", "See the Eiffel Tower in Rome!", "The Eiffel Tower is in Paris."),
        ("'london'", "In New York, see Times Square.", "In London, see the Tower."),
    ],
)  # fmt: skip
def test_the_rules_judges_tell_good_from_bad(piece: str, good: str, bad: str) -> None:
    rule = next(rule for rule in rules() if any(piece in has for has in rule.has))
    score = judge.build(rule.judge)
    assert score(good).value >= 0.5 > score(bad).value


_SAFE = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.one_of(_SAFE, st.booleans(), st.integers(-(2**60), 2**60)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_SAFE, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_SAFE, _VALUES, max_size=4))
def test_toml_reads_back_what_was_written(value: dict[str, object]) -> None:
    assert tomllib.loads(f"value = {as_toml(value)}")["value"] == value


def test_the_script_writes_a_suite_that_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "prompts.py"
    source.write_text('x = [("You hum.", "What do you do?", lambda x: "hum" in x)]')
    out = tmp_path / "deep" / "out.toml"
    monkeypatch.setattr(sys, "argv", ["convert", str(source), "--out", str(out)])
    main()
    assert "1 personas written to" in capsys.readouterr().out
    assert check_suite(load_suite(out)) == []
