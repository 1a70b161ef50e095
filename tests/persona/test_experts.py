"""Personas in three lengths: read, cast for a task, and matched by random text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import PersonaError
from holdfast.persona.experts import (
    LENGTHS,
    Expert,
    load_experts,
    random_text,
    roles,
    without_persona,
)

WORDS = ("tea", "in", "the", "morning")


def words_of(text: str) -> int:
    return len(text.split())


def expert(id_: str, *matches: str) -> Expert:
    return Expert(id_, matches, "short", "somewhat longer", "the longest of all texts")


@pytest.mark.parametrize("source", ["core", "mini"])
def test_what_is_built_in_grows_with_its_length_and_has_a_safety_monitor(source: str) -> None:
    experts = load_experts(source)
    for one in experts:
        counts = [words_of(one.prompt(length)) for length in LENGTHS]
        assert counts == sorted(set(counts))
    assert "safety" in {one.id for one in experts}
    assert len(experts) >= 10


def test_a_task_has_a_matched_another_and_the_safety_persona() -> None:
    people = [expert("ann", "math"), expert("bob", "writing"), expert("safety", "safety")]
    cast = roles(people, "math", seed=5)
    assert {kind: one.id for kind, one in cast.items()} == {
        "matched": "ann",
        "other": "bob",
        "safety": "safety",
    }
    assert "matched" not in roles(people, "cooking", seed=5)


def test_tasks_without_a_matched_or_another_persona_are_counted_by_category() -> None:
    people = [expert("ann", "math"), expert("bob", "math", "writing"), expert("safety", "safety")]
    categories = ["math", "cooking", "writing", "cooking", "extraction-2"]
    lacking = {"matched": {"cooking": 2, "extraction-2": 1}, "other": {"math": 1}}
    assert without_persona(categories, people) == lacking
    assert without_persona(["math"], people[:1]) == {"other": {"math": 1}}


def test_a_persona_alone_is_matched_to_everything() -> None:
    assert list(roles([expert("ann")], "anything", 0)) == ["matched"]


@given(st.integers(1, 60), st.integers(0, 1000))
def test_random_text_is_as_long_as_asked_for_and_the_same_again(tokens: int, seed: int) -> None:
    text = random_text(WORDS, tokens, words_of, seed)
    assert words_of(text) == tokens
    assert text == random_text(WORDS, tokens, words_of, seed)


def test_one_text_stands_for_all_lengths(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[expert]]\nid = "ann"\nfull = "You are Ann."\n', encoding="utf-8")
    (ann,) = load_experts(path)
    assert [ann.prompt(length) for length in LENGTHS] == ["You are Ann."] * 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"no \[\[expert\]\] table"),
        ("[[expert", "not TOML"),
        ('[[expert]]\nid = "a"\n', "full is a text"),
        ('[[expert]]\nid = "a"\nfull = "x"\nfor = "math"\n', "for is a list"),
        ('[[expert]]\nid = "a"\nfull = "x"\nname = "y"\n', "no field 'name'"),
        ('[[expert]]\nid = "a"\nfull = "x"\n[[expert]]\nid = "a"\nfull = "y"\n', "two experts"),
        ('[[expert]]\nid = "a"\nfull = "x"\nhalf = 3\n', "are texts"),
    ],
)
def test_a_wrong_file_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError, match=sentence):
        load_experts(path)
    with pytest.raises(PersonaError, match="no personas in"):
        load_experts(tmp_path / "nothing.toml")
