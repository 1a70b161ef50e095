"""Questionnaires: the benchmark's folder, and what a file may not say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.evals.fidelity import questionnaire
from holdfast.evals.fidelity.questionnaire import load, read_descriptions, settings, tasks

NAMES = ("Expected Action", "Toxicity", "Linguistic Habits", "Persona Consistency")
QUESTIONS = {n: [f"{n} {i}?" for i in range(3)] for n in (*NAMES, "Action Justification")}
BAKER, SAILOR = "A 40-year-old baker from Lyon, fond of chess", "A sailor"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (BAKER, SAILOR):
        (tmp_path / f"{name}.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    return tmp_path


def test_the_benchmarks_folder_is_read_with_its_personas_from_the_files_names(folder: Path) -> None:
    sheets = load(folder)
    assert [one.persona for one in sheets] == [BAKER, SAILOR]
    assert list(sheets[0].questions) == list(tasks())
    assert sheets[0].questions["Toxicity Control"] == tuple(QUESTIONS["Toxicity"])
    assert len(sheets[0].items) == 15


def test_questions_and_people_can_be_fewer(folder: Path) -> None:
    (one,) = load(folder, n=2, people=1)
    assert len(one.items) == 10
    assert load(folder / f"{SAILOR}.json")[0].persona == SAILOR


def test_every_task_has_an_anchor_for_each_grade() -> None:
    assert len(tasks()) == 5
    for task in tasks().values():
        assert len(set(task.scale)) == questionnaire.GRADES
        assert task.criteria
        assert task.questions
    assert len(set(settings())) >= 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is not JSON"),
        ("[]", "is an object"),
        ('{"Charm": ["?"]}', "no task 'Charm'"),
        ('{"Toxicity": []}', "list of questions"),
        ('{"Toxicity": [3]}', "list of questions"),
        ('{"Toxicity": "?"}', "list of questions"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "Somebody.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HoldfastError, match=message) as error:
        load(tmp_path)
    assert "Somebody.json" in str(error.value)


def test_a_place_without_questionnaires_is_said(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match=r"holds no \.json file"):
        load(tmp_path)
    with pytest.raises(HoldfastError, match="no questions in"):
        load(tmp_path / "nothing")


def test_descriptions_stand_one_on_a_line(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text(f"{BAKER}\n\n  {SAILOR} \n{BAKER}\n", encoding="utf-8")
    assert read_descriptions(path) == (BAKER, SAILOR)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="holds no persona"):
        read_descriptions(path)
    with pytest.raises(HoldfastError, match="no personas in"):
        read_descriptions(tmp_path / "nothing.txt")
