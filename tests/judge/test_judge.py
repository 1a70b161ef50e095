"""What all judges have in common: building, bounds, combinations, documentation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import judge
from holdfast.core.errors import JudgeError

from .specs import AI, PLAIN, REFUSAL, SPECS

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "judges.md"
JUDGES = [(spec, judge.build(spec)) for spec in SPECS]

# Letters of many scripts, marks that judges look for, and code points that break things.
_ANY = st.text(st.characters())
_TOKENS = (
    "the a I B) tea. coffee! 1. - * ** ``` { } [ ] , : ; ? ... … \n \n\n \t 7 -3 1/0 ½ ٣ ² é ß "
    "İ ı ſ 中文 。 日本語 \ud800 \udfff \x00 \ufeff \u200b \u2028 \x85 “ ” ’ — 🙂 👩‍👩‍👧 As-an-AI "
    'Dr. U.S. 1e999 99999999999999999999 "a":1 null NaN not never nothing or and my favourite is'
)
_PIECES = st.sampled_from(_TOKENS.split(" "))
_WOVEN = st.lists(_PIECES, max_size=40).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.one_of(_ANY, _WOVEN))
def test_every_judge_scores_any_text_between_0_and_1(text: str) -> None:
    for spec, one in JUDGES:
        value, why = one(text)
        assert isinstance(value, float) and math.isfinite(value), spec
        assert 0.0 <= value <= 1.0, spec
        assert isinstance(why, str) and why, spec
        why.encode("utf-8")


@settings(max_examples=30, deadline=None)
@given(_WOVEN)
def test_a_judge_built_twice_agrees_with_itself(text: str) -> None:
    for spec, one in JUDGES:
        assert judge.build(spec)(text) == one(text) == one(text)


@pytest.mark.parametrize("text", ["", " ", "\n\t\r\n", "\u00a0\u2003"])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_an_empty_reply_scores_zero(spec: dict[str, object], text: str) -> None:
    assert judge.build(spec)(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    ["a " * 20_000, "I " * 5_000, "n't " * 5_000, "-" * 20_000, "1," * 10_000, "{" * 20_000,
     "s-s'" * 2_000, "I would " * 3_000, "my least favourite " * 1_500, "[" * 50_000],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_a_long_monotonous_reply_is_judged_in_seconds(text: str) -> None:
    from time import process_time

    start = process_time()
    for _, one in JUDGES:
        one(text)
    assert process_time() - start < 20


def test_the_specs_of_these_tests_name_every_judge() -> None:
    assert {spec["name"] for spec in SPECS} | {"rubric"} == set(judge.NAMES)


def test_the_documentation_has_a_section_for_every_judge() -> None:
    headings = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line[:3] == "###"]
    names = {name for name in judge.NAMES if any(f"`{name}`" in line for line in headings)}
    assert names == set(judge.NAMES)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "case", "to": "upper"},
        {"name": "case", "to": "lower"},
        {"name": "starts_with", "text": "Ahoy"},
        {"name": "contains", "text": "lamp"},
        {"name": "language", "to": "fr"},
        {"name": "number", "check": "digits_only"},
        {"name": "json_schema", "schema": {"type": "object"}},
        {"name": "length", "unit": "words", "max": 5},
        {"name": "syllables", "pattern": [5, 7, 5]},
        {"name": "list_format", "style": "bullets"},
        {"name": "choice", "options": ["A", "B", "C"], "answer": "A", "letters": True},
        {"name": "choice", "options": ["A", "B", "C"], "answer": "C", "letters": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("text", [PLAIN, AI, REFUSAL])
def test_drifted_text_does_not_pass(spec: dict[str, object], text: str) -> None:
    assert judge.build(spec)(text).value < 0.2


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "must have a “name”"),
        ({"name": "cases"}, "did you mean “case”"),
        ({"name": 3}, "there is no judge “3”"),
        ({"name": "case"}, "“to” is missing.*“upper”, “lower”, “title”"),
        ({"name": "case", "to": "UPPER"}, "“to” must be one of"),
        ({"name": "case", "to": "upper", "too": 1}, "unknown parameter “too”.*did you mean “to”"),
        ({"name": "length", "unit": "words"}, "give at least one of"),
        ({"name": "length", "unit": "words", "min": 5, "max": 2}, "“min” .5. must not exceed"),
        ({"name": "length", "unit": "words", "exactly": 0}, "“exactly” must be a whole number"),
        ({"name": "length", "unit": "words", "exactly": 5, "max": 9}, "not both"),
        ({"name": "length", "unit": "words", "min": True}, "“min” must be a whole number"),
        ({"name": "contains"}, "exactly one of the parameters “text” or “any” or “all”"),
        ({"name": "contains", "text": "a", "any": ["b"]}, "exactly one"),
        ({"name": "contains", "any": "tea"}, "“any” must be a list of strings"),
        ({"name": "contains", "any": []}, "at least 1"),
        ({"name": "contains", "any": ["a", "a"]}, "none of them twice"),
        ({"name": "contains", "text": " "}, "“text” must be a string that is not empty"),
        (
            {"name": "avoids", "any": ["x"], "whole_word": "no"},
            "“whole_word” must be true or false",
        ),
        ({"name": "keywords", "any": ["x"], "share": 2}, "“share” must be a number from"),
        ({"name": "regex", "pattern": "("}, "not a regular expression"),
        ({"name": "choice", "options": ["**", "tea"], "answer": "tea"}, "is markup alone"),
        ({"name": "regex", "pattern": "a", "mode": "match"}, "“mode” must be one of"),
        ({"name": "regex", "pattern": "a", "flags": "z"}, "“flags” must be letters out of"),
        ({"name": "json_schema", "schema": "object"}, "“schema” must be a table"),
        ({"name": "json_schema", "schema": {"type": "objekt"}}, "not a JSON schema"),
        ({"name": "json_schema", "schema": {"$ref": "#/nowhere"}}, "not in it"),
        ({"name": "json_schema", "schema": {"$ref": "https://example.com/a"}}, "not in it"),
        ({"name": "json_schema", "schema": {"$ref": "#"}}, "refers to itself without end"),
        ({"name": "json_schema", "schema": {"pattern": "("}}, "not a JSON schema"),
        ({"name": "list_format", "style": "dashes"}, "“style” must be one of"),
        ({"name": "list_format", "style": "comma", "min_items": 5, "max_items": 3}, "not be below"),
        ({"name": "language", "to": "xx"}, "“to” must be one of"),
        ({"name": "sentiment", "to": "happy"}, "“to” must be one of"),
        ({"name": "syllables", "pattern": [5, 0]}, "“pattern” must be a list of whole numbers"),
        ({"name": "syllables", "per": "line"}, "at least one of"),
        ({"name": "readability"}, "exactly one of"),
        ({"name": "number", "check": "prime"}, "“check” must be one of"),
        ({"name": "number", "check": "equals"}, "“value” is missing"),
        ({"name": "number", "check": "multiple_of"}, "“n” is missing"),
        ({"name": "number", "check": "between", "low": 5, "high": 1}, "“low” and “high”"),
        ({"name": "number", "check": "between", "low": 5}, "“low” and “high”"),
        ({"name": "number", "check": "count"}, "“n”, or “low” and “high”"),
        ({"name": "number", "check": "count", "low": 3, "high": 1}, "“low” .3. must not exceed"),
        ({"name": "number", "check": "even", "value": 2}, "unknown parameter “value”"),
        ({"name": "arithmetic"}, "“answer” is missing"),
        ({"name": "arithmetic", "answer": math.inf}, "“answer” must be a number"),
        (
            {"name": "arithmetic", "answer": 1, "tolerance": -1},
            "“tolerance” must be a number of at",
        ),
        ({"name": "refusal"}, "“expect” is missing"),
        ({"name": "regex", "patern": "a"}, "did you mean “pattern”"),
        ({"name": "contains", "txt": "a"}, "did you mean “text”"),
        ({"name": "length", "unit": "words", "max": 10**10}, "at most 1000000000"),
        ({"name": "all", "of": []}, "“of” must be a list of at least one judge"),
        ({"name": "all", "of": ["case"]}, "a judge must be a table"),
        ({"name": "any", "of": [{"name": "case"}]}, "judge “case”: parameter “to” is missing"),
        ({"name": "not", "of": [{"name": "case", "to": "upper"}]}, "“of” must be one judge"),
        ({"name": "rubric"}, "“criteria” is missing"),
        ({"name": "rubric", "criteria": "kind", "scale": 11}, "“scale” must be"),
    ],
    ids=str,
)
def test_a_wrong_spec_is_an_error_that_names_it(spec: dict[str, object], says: str) -> None:
    with pytest.raises(JudgeError, match=says) as caught:
        judge.build(spec)
    assert "\n" not in str(caught.value)
    if isinstance(spec.get("name"), str) and "there is no" not in says and "of" not in spec:
        assert f"“{spec['name']}”" in str(caught.value) or "did you mean" in says


def test_an_error_of_parameters_says_which_judge() -> None:
    for spec in SPECS:
        with pytest.raises(JudgeError, match=f"judge “{spec['name']}”.*unknown parameter “zzz”"):
            judge.build({**spec, "zzz": 1})


UP, AHOY = {"name": "case", "to": "upper"}, {"name": "contains", "text": "ahoy"}


def test_all_is_the_least_any_the_greatest_and_mean_the_average() -> None:
    text = "ahoy there"
    assert judge.build({"name": "all", "of": [UP, AHOY]})(text).value == 0.0
    assert judge.build({"name": "any", "of": [UP, AHOY]})(text).value == 1.0
    assert judge.build({"name": "mean", "of": [UP, AHOY]})(text).value == 0.5


def test_the_reason_of_a_combination_gives_each_part() -> None:
    why = judge.build({"name": "mean", "of": [UP, AHOY]})("ahoy there").why
    assert "capitals" in why and "found “ahoy”" in why


def test_not_turns_a_score_round_but_leaves_silence_at_zero() -> None:
    silent = judge.build({"name": "not", "of": AHOY})
    assert silent("hello").value == 1.0
    assert silent("ahoy").value == 0.0
    assert silent("").value == 0.0


def test_combinations_nest_but_not_without_end() -> None:
    spec: dict[str, object] = dict(AHOY)
    for _ in range(10):
        spec = {"name": "not", "of": spec}
    assert judge.build(spec)("ahoy").value == 1.0
    for _ in range(1000):
        spec = {"name": "all", "of": [spec]}
    with pytest.raises(JudgeError, match="nested"):
        judge.build(spec)


def test_a_rubric_anywhere_needs_a_model() -> None:
    rubric = {"name": "rubric", "criteria": "It is kind."}
    within = {"name": "all", "of": [UP, {"name": "not", "of": rubric}]}
    assert judge.needs_model(rubric) and judge.needs_model(within)
    assert not judge.needs_model({"name": "all", "of": [UP, AHOY]})
    judge.check(within)
    assert judge.rubrics(within) == [("It is kind.", 5)]
    with pytest.raises(JudgeError, match=r"judge “rubric”.*`judge_model`"):
        judge.build(within)


def test_judges_import_no_model_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, holdfast.judge, holdfast.persona;"
        "print([m for m in ('torch', 'transformers', 'py3langid', 'vaderSentiment', 'syllapy')"
        " if m in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"
