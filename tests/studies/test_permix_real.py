"""The study of PerMix on a real model: its splits are apart, and its command runs when tiny."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import permix_real as study
import pytest

import tiny_models
from holdfast.persona import pool
from holdfast.training.recipe.reading import read_recipe

SPLITS = ("train", "evaluation")


def family(name: str) -> str:
    return name.rpartition("-")[0]


@pytest.mark.parametrize("recipe", study.RECIPES)
def test_no_question_of_the_evaluation_is_in_training(recipe: str) -> None:
    training, evaluation = ({one.text for one in study.RECIPES[recipe](s)} for s in SPLITS)
    assert (len(training), len(evaluation)) == (152, 40) and not training & evaluation


def test_no_name_word_or_country_of_the_evaluation_is_in_training() -> None:
    words = {
        split: {
            word
            for one in study.extraction_and_capitals(split)
            for text in (one.answer, *one.also, *one.alternatives, *one.subjects)
            for word in [text.split()[-1]]  # a place without its colour, which are too few to split
            if not (text.isdigit() or text.endswith("day"))
        }
        for split in ("train", "evaluation")
    }
    assert len(words["train"]) > 60 and not words["train"] & words["evaluation"]
    assert {len(one.alternatives) for one in study.extraction_and_capitals("train")} == {0, 2, 3}


def test_eight_families_are_trained_with_and_eight_are_new(tmp_path: Path) -> None:
    training, held_out = (pool.load(study.PERSONAS, split=s) for s in ("train", "held-out"))
    families = {family(one.id) for one in training}
    assert (len(training), len(families), len(held_out)) == (24, 8, 16)
    groups = read_recipe(study.prepare(tmp_path)).groups
    assert {one.id for one in held_out} == {*groups["family seen"], *groups["family new"]}
    assert {family(one) for one in groups["family seen"]} == families
    assert not {family(one) for one in groups["family new"]} & families
    assert len(groups["family new"]) == 8


def test_the_command_trains_measures_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, recipe = tmp_path / "model", tmp_path / "permix_real.toml"
    tiny_models.model().save_pretrained(model)
    tiny_models.tokenizer().save_pretrained(model)
    text = study.FOLDER.joinpath("permix_real.toml").read_text()
    text = re.sub(r"\[arms\.rlvr\].*(?=\[robustness\])", "", text, flags=re.S)
    text = re.sub(r"compare = \[.*?\n\]", 'compare = [["permix", "base"]]', text, flags=re.S)
    text = re.sub(r"\[fidelity\].*", "", text, flags=re.S).replace("[0, 1, 2, 3, 4]", "[0]")
    text = text.replace("steps = 24", "steps = 1\nprompts = 1\nrollouts = 2\ntrial = false")
    recipe.write_text(text.replace("max_new_tokens = 32", "max_new_tokens = 2"), encoding="utf-8")
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    monkeypatch.setattr(study, "EACH", {"train": 2, "evaluation": 1})
    arguments = ["permix_real.py", "--out", str(tmp_path / "out"), "--model", str(model)]
    monkeypatch.setattr(sys, "argv", arguments)
    study.main()
    table = capsys.readouterr().out
    assert "mean, family new" in table and "| permix − base | accuracy, family seen |" in table
    assert (tmp_path / "out" / "permix-0" / "train" / "summary.json").exists()
