"""Persona files: what loads, and what is refused in one sentence."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from holdfast.core.errors import PersonaError
from holdfast.persona.every_reply import load_persona
from holdfast.persona.suite import (
    Persona,
    check_suite,
    load_suite,
    select,
    suite_names,
)

CAPTAIN = """
[[persona]]
id = "captain"
category = "pattern"
prompt = "Speak in capitals."
probes = ["Who are you?", "Where to?"]
judge = { name = "case", to = "upper" }
passes = ["AYE!"]
fails = ["Aye, I am the captain.", ""]
"""
PARROT = CAPTAIN.replace("captain", "parrot")


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_loads_into_frozen_personas(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, 'starters = ["Hi!"]\nfillers = ["Hm."]' + CAPTAIN))
    assert suite.name == "mine" and suite.starters == ("Hi!",) and suite.fillers == ("Hm.",)
    (captain,) = suite.personas
    assert captain == Persona(
        id="captain",
        category="pattern",
        prompt="Speak in capitals.",
        probes=("Who are you?", "Where to?"),
        judge={"name": "case", "to": "upper"},
        passes=("AYE!",),
        fails=("Aye, I am the captain.", ""),
    )
    assert hash(captain) == hash(captain)
    with pytest.raises(AttributeError):
        captain.id = "other"  # type: ignore[misc]


def test_examples_and_notes_are_optional(tmp_path: Path) -> None:
    text = CAPTAIN.split("passes")[0] + 'note = "loud"\nname = "Captain"\nlanguage = "en"\n'
    (captain,) = load_suite(write(tmp_path, text)).personas
    assert captain.passes == captain.fails == ()
    assert (captain.note, captain.name, captain.language, captain.source) == (
        "loud", "Captain", "en", None
    )  # fmt: skip


def test_a_folder_is_one_suite_in_order_of_file_name(tmp_path: Path) -> None:
    write(tmp_path, 'starters = ["Two"]' + PARROT, "b.toml")
    write(tmp_path, 'starters = ["One"]' + CAPTAIN, "a.toml")
    write(tmp_path, 'fillers = ["Hm."]', "c.toml")
    write(tmp_path, "not a suite", "readme.md")
    suite = load_suite(tmp_path)
    assert [persona.id for persona in suite.personas] == ["captain", "parrot"]
    assert suite.starters == ("One", "Two") and suite.fillers == ("Hm.",)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + CAPTAIN.encode())
    assert load_suite(str(path)).personas[0].id == "captain"


def without(field: str) -> str:
    return "\n".join(line for line in CAPTAIN.splitlines() if not line.startswith(field + " ="))


def having(field: str, value: str) -> str:
    return without(field) + f"\n{field} = {value}\n"


@pytest.mark.parametrize(
    ("text", "who", "says"),
    [
        (without("id"), "persona 1", "field “id” is missing"),
        (without("category"), "captain", "field “category” is missing"),
        (without("prompt"), "captain", "field “prompt” is missing"),
        (without("probes"), "captain", "field “probes” is missing"),
        (without("judge"), "captain", "field “judge” must be a table"),
        (having("id", '"Cap Tain"'), "Cap Tain", "field “id” must be lower-case words"),
        (having("id", "7"), "persona 1", "field “id” must be a string"),
        (having("category", '"My Own"'), "captain", "field “category” must be lower-case words"),
        (having("prompt", '" "'), "captain", "field “prompt” must be a string that is not empty"),
        (having("probes", '"Who?"'), "captain", "field “probes” must be a list"),
        (having("probes", "[]"), "captain", "field “probes” must be a list of at least one"),
        (having("probes", '["Who?", 3]'), "captain", "field “probes” must hold strings"),
        (having("probes", '[""]'), "captain", "field “probes” must hold strings"),
        (having("passes", '"AYE"'), "captain", "field “passes” must be a list"),
        (having("passes", "[]"), "captain", "field “passes” must be a list of at least one"),
        (having("fails", "[[]]"), "captain", "field “fails” must hold strings"),
        (having("judge", '"case"'), "captain", "field “judge” must be a table"),
        (having("judge", '{ name = "cases" }'), "captain", "field “judge” is wrong.*“case”"),
        (having("judge", '{ name = "case" }'), "captain", "field “judge” is wrong.*“to”"),
        (having("prompts", '"x"'), "captain", "field “prompts” is unknown: did you mean prompt?"),
        (having("colour", '"x"'), "captain", "field “colour” is unknown: use id"),
        (having("note", "3"), "captain", "field “note” must be a string"),
        (CAPTAIN + CAPTAIN, "captain", "field “id” is used twice"),
        ('starter = ["Hi"]' + CAPTAIN, "the suite", "field “starter” is unknown"),
        ('starters = "Hi"' + CAPTAIN, "the suite", "field “starters” must be a list"),
        ("persona = 3", "the suite", "field “persona” must be a list of tables"),
        ('[persona]\nid = "x"', "the suite", "field “persona” must be a list of tables"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_persona(
    tmp_path: Path, text: str, who: str, says: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PersonaError, match=says) as caught:
        load_suite(path)
    assert str(path) in str(caught.value) and who in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[[persona]\nid = 3", "is not TOML .*line 1"),
        (b'starters = ["caf\xe9"]', "is not UTF-8 .byte 16."),
        (b"a = " + b"[" * 5000, "is not TOML"),
        (b"", "no .* table found"),
        (b'starters = ["Hi"]', "no .* table found"),
    ],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(PersonaError, match=says) as caught:
        load_suite(path)
    assert str(path) in str(caught.value)


def test_ids_are_unique_over_the_files_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path, CAPTAIN, "a.toml")
    write(tmp_path, CAPTAIN, "b.toml")
    with pytest.raises(PersonaError, match=r"b\.toml: persona “captain”.*also in a\.toml"):
        load_suite(tmp_path)


def test_one_persona_of_a_suite_is_a_suite() -> None:
    alone, mini = load_suite("mini:upper-1"), load_suite("mini")
    assert [persona.id for persona in alone.personas] == ["upper-1"]
    assert (alone.name, alone.starters, alone.fillers) == (mini.name, mini.starters, mini.fillers)
    with pytest.raises(PersonaError, match="has no persona “uper-1”: did you mean upper-1"):
        load_suite("mini:uper-1")


@pytest.mark.parametrize("text", ["You sing", "You sing. " * 40, "You sing: a/b: " * 40])
def test_a_prompt_in_place_of_a_file_is_told_where_it_belongs(text: str) -> None:
    with pytest.raises(PersonaError, match=r"no file or folder You sing.*text goes to `prompt`"):
        load_persona(text)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PersonaError, match="there is no suite “nowhere”: give one of"):
        load_suite("nowhere")
    for path in ("nowhere.toml", "some/folder", "~nobody-here/x.toml"):
        with pytest.raises(PersonaError, match=f"there is no file or folder {path}: check"):
            load_suite(path)
    with pytest.raises(PersonaError, match=r"the folder holds no \.toml file"):
        load_suite(tmp_path)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(PersonaError, match="there are no personas in"):
        load_suite(tmp_path)


def test_a_rubric_loads_and_is_passed_over_by_the_check(tmp_path: Path) -> None:
    text = having("judge", '{ name = "rubric", criteria = "It is loud." }')
    suite = load_suite(write(tmp_path, text))
    assert suite.personas[0].needs_model
    assert check_suite(suite) == []


def test_a_check_names_the_example_and_its_score(tmp_path: Path) -> None:
    text = having("passes", '["AYE!", "aye"]').replace('["Aye, I am the captain.", ""]', '["NO"]')
    problems = check_suite(load_suite(write(tmp_path, text)))
    assert [(p.persona, p.example, p.expected, p.score) for p in problems] == [
        ("captain", "aye", "pass", 0.0),
        ("captain", "NO", "fail", 1.0),
    ]
    assert all(problem.why for problem in problems)


def test_personas_are_selected_in_the_order_asked_for(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, CAPTAIN + PARROT))
    assert [p.id for p in select(suite, ["parrot", "captain"])] == ["parrot", "captain"]
    with pytest.raises(PersonaError, match=r"no persona “capten”: did you mean captain\?"):
        select(suite, ["capten"])
    with pytest.raises(PersonaError, match=r"“zzz”: use captain, parrot\."):
        select(suite, ["zzz"])


def test_built_in_suites_are_found_by_name_before_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "core" in suite_names()
    (tmp_path / "core").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_suite("core").name == "core"
    with pytest.raises(PersonaError, match="holds no"):
        load_suite("./core")


def test_the_documentation_describes_every_field_and_its_example_checks(tmp_path: Path) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "guide" / "personas.md").read_text(
        encoding="utf-8"
    )
    rows = {line.split("`")[1] for line in docs.splitlines() if line.startswith("| `")}
    of_suites = {"starters", "fillers", "card", "every_reply"}
    assert rows == {field.name for field in fields(Persona)} | of_suites
    suite_categories = {persona.category for persona in load_suite("core").personas}
    assert all(f"`{category}`" in docs for category in suite_categories)
    suite = load_suite(write(tmp_path, docs.split("```toml\n")[1].split("```")[0]))
    assert check_suite(suite) == [] and len(suite.personas[0].fails) == 3


def test_a_nul_in_a_prompt_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nul.toml"
    path.write_text(
        '[[persona]]\nid = "a"\ncategory = "pattern"\nprompt = "\\u0000"\nprobes = ["Hi?"]\n'
        'judge = { name = "case", to = "upper" }\n',
        encoding="utf-8",
    )
    with pytest.raises(PersonaError, match="field “prompt” holds a NUL character"):
        load_suite(path)
