"""The pool of personas: what ships, and what a file may not say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.core.errors import PersonaError
from holdfast.models.mini.world import world
from holdfast.persona import pool
from holdfast.results.robustness import PoolPersona

GOOD = '[[persona]]\nid = "a"\nkind = "harmful"\ntext = "You guess."\n'


@pytest.mark.parametrize(("name", "least"), [("core", 60), ("mini", 24)])
def test_a_built_in_pool_has_every_kind_in_both_splits(name: str, least: int) -> None:
    members = pool.load(name)
    assert len(members) >= least
    for kind in pool.KINDS:
        for split in pool.SPLITS:
            assert sum((one.kind, one.split) == (kind, split) for one in members) >= 2
    halves = [pool.load(name, split=split) for split in pool.SPLITS]
    assert sum(map(len, halves)) == len(members)
    assert pool.overlap(*halves) == ()


def test_every_persona_of_mini_is_one_of_its_worlds_phrases() -> None:
    phrases = [text for texts in world()["phrases"].values() for text in texts]
    patterns = [re.sub(r"\\\{\w+\\\}", ".+", re.escape(text)) for text in phrases]
    for one in pool.load("mini"):
        assert any(re.fullmatch(pattern, one.text) for pattern in patterns), one.text


def test_a_persona_without_a_split_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_text(GOOD, encoding="utf-8")
    (one,) = pool.load(path)
    assert (one.id, one.kind, one.split, one.text) == ("a", "harmful", "held-out", "You guess.")
    with pytest.raises(PersonaError, match="'train': give some split = \"train\", or name another"):
        pool.load(path, split="train")
    path.write_text(GOOD + '\nsplit = "train"', encoding="utf-8")
    with pytest.raises(PersonaError, match=r"or name another pool \(permix: `held_out`\)"):
        pool.load(path, split="held-out")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is an empty pool"),
        ("persona = 3", "is an empty pool"),
        ("persona = [3]", "a persona is a table"),
        ("[[persona", "is not TOML"),
        ("[[expert]]\nid = 'a'", "expert is unknown"),
        (GOOD.replace("harmful", "evil"), "no kind 'evil'"),
        (GOOD.replace("kind", "sort"), "no field 'sort'"),
        (
            GOOD + 'category = "x"',
            r"id, kind \(helpful, irrelevant, harmful\), text and",
        ),
        (GOOD.replace('id = "a"\n', ""), "there is no id"),
        (GOOD.replace('"You guess."', "3"), "text is a text"),
        (GOOD + 'split = "test"', "no split 'test'"),
        (GOOD + GOOD, "two personas have the id 'a'"),
        (GOOD + GOOD.replace('"a"', '"b"'), "two personas have the text 'you guess.'"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(
    text: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "pool.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError, match=sentence) as error:
        pool.load(path)
    assert str(path) in str(error.value)


def test_a_file_that_there_is_not_and_a_split_that_there_is_not_are_said() -> None:
    with pytest.raises(PersonaError, match="no personas in nothing"):
        pool.load("nothing.toml")
    with pytest.raises(PersonaError, match="no split 'half'"):
        pool.load("core", split="half")


def test_overlap_is_by_id_or_by_text() -> None:
    one = PoolPersona("a", "helpful", "train", "You  count.")
    same_id = PoolPersona("a", "helpful", "held-out", "Other.")
    same_text = PoolPersona("b", "helpful", "held-out", "you count.")
    assert pool.overlap([one], [same_id]) == pool.overlap([one], [same_text]) == ("a",)
    assert pool.overlap([one], [PoolPersona("c", "helpful", "train", "Else.")]) == ()
