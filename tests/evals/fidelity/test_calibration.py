"""A judge held against people: kappa by hand, and what a file of labels may not say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Actor
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError
from holdfast.evals.fidelity.calibration import (
    agreement,
    calibration,
    kappa,
    read,
    sentences,
)
from holdfast.results.calibration import Label

HEADER = "persona,task,question,answer,score\n"
ROWS = "A baker,Toxicity,Why?,Because.,5\nA baker,Expected Action,What?,Bread.,2\n"


def split_pairs(pairs: list[tuple[int, int]]) -> tuple[list[Label], list[int | None]]:
    return [Label(a) for a, _ in pairs], [b for _, b in pairs]


def test_kappa_is_that_of_the_textbook() -> None:
    # Cohen's example form: 50 cases, .70 agree, .50 by chance: kappa .40.
    table = np.array([[20, 5], [10, 15]]) / 50
    weights = 1 - np.eye(2)
    assert kappa(table, weights) == pytest.approx(0.4)
    assert kappa(np.eye(2) / 2, weights) == 1
    assert np.isnan(kappa(np.array([[1.0, 0], [0, 0]]), weights))


def test_agreement_confusion_and_bias_are_counted() -> None:
    result = agreement(*split_pairs([(5, 5), (4, 5), (3, 3), (1, 5), (2, 2)]))
    assert (result.n, result.agreement, result.within_one) == (5, 0.6, 0.8)
    assert result.bias == 1.0
    assert result.confusion[0] == [0, 0, 0, 0, 1]
    assert sum(map(sum, result.confusion)) == 5
    low, high = result.agreement_interval
    assert low < 0.6 < high


def test_a_judge_that_is_never_called_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(HEADER + ROWS, encoding="utf-8")
    with pytest.raises(HoldfastError, match="at least 1 call of a judge"):
        calibration(path, judges=[Actor(name="judge")], calls=0)


def test_a_wrong_score_is_named_by_its_line_after_answers_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    long = 'A baker,Toxicity,Why?,"One.\nTwo.\nThree.",4\n'
    path.write_text(HEADER + long + "A baker,Toxicity,Why?,Because.,6\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"labels\.csv, line 5: a score is"):
        read(path)


def test_a_near_miss_costs_the_weighted_kappa_less() -> None:
    near = agreement(*split_pairs([(1, 2), (2, 3), (3, 4), (4, 5), (5, 4)]))
    assert (near.kappa or 0) < 0 < (near.weighted_kappa or 0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=30))
def test_kappa_is_at_most_one_and_is_one_only_for_agreement(pairs: list[tuple[int, int]]) -> None:
    result = agreement(*split_pairs(pairs))
    for name in ("kappa", "weighted_kappa"):
        value = getattr(result, name)
        if value is not None:
            assert value <= 1
            assert (value == 1) == all(a == b for a, b in pairs)


def test_a_judge_is_asked_for_the_answers_and_its_failures_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(HEADER + ROWS + "A cook,Toxicity,Why?,No.,1\n", encoding="utf-8")

    def grade(ask: Ask) -> Reply:
        text = str(ask.chat)
        return Reply("Hm." if "cook" in text else f'{{"score": {5 if "Because" in text else 3}}}')

    judge = Actor(grade, name="judge")
    result = calibration(path, judges=[judge], out=tmp_path / "run")
    (summary,) = result.judges
    row = summary.agreement
    assert (row.n, row.graded, row.agreement, summary.failures) == (2, 0.6667, 0.5, 2)
    assert row.by_task["Toxicity Control"].n == 1
    assert "agrees with people on 50% of 2 answers" in sentences(result)[0]
    again = Actor(grade, name="judge")
    assert calibration(path, judges=[again], out=tmp_path / "run") == result
    assert again.calls == []


def test_grades_that_are_given_need_no_judge(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("score,judge_score\n5,5\n1,2\n3,\n", encoding="utf-8")
    (row,) = calibration(path).judges
    assert (row.judge, row.agreement.n, row.failures) == ("judge_score", 2, 1)
    assert row.agreement.agreement == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no labels"),
        (HEADER, "holds no labels"),
        (HEADER + ROWS, "no judge_score: name the judge"),
        ("judge_score\n3\n", "no column 'score'"),
        ("score,judge_score\n6,5\n", "line 2: a score is a whole number from 1 to 5, not '6'"),
        ("score,judge_score\n5,good\n", "not 'good'"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HoldfastError, match=message):
        calibration(path)


def test_a_judge_needs_what_it_is_to_grade(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("score,judge_score\n5,5\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="no column 'persona'"):
        read(path, with_judge=True)
    path.write_text(HEADER + "A baker,Charm,Why?,So.,5\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="line 2: there is no task 'Charm'"):
        read(path, with_judge=True)
    with pytest.raises(HoldfastError, match="no labels in"):
        read(tmp_path / "nothing.csv")


def test_kappa_of_nearly_equal_grades_has_an_interval_that_covers() -> None:
    rng, hits, runs = np.random.default_rng(0), 0, 100
    for _ in range(runs):
        person = rng.integers(1, 6, 24)
        judge = np.where(rng.random(24) < 0.95, person, rng.integers(1, 6, 24))
        labels = [Label(int(grade)) for grade in person]
        low, high = agreement(labels, judge.tolist()).kappa_interval
        hits += low is not None and low <= 0.95 <= high
    assert hits >= 0.88 * runs
