"""PersonaScore: the published scores from the published task means, and intervals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.evals.fidelity.questionnaire import tasks
from holdfast.evals.fidelity.score import Graded, persona_scores, table
from holdfast.results.fidelity import PersonaFidelity

GRADES = (1, 5)
"""The scale of a questionnaire's grades."""

# PersonaGym v3 (arXiv:2407.18416), table 1: action justification, expected action, linguistic
# habits, persona consistency, toxicity control, PersonaScore.
PAPER_SCORES = {
    "LLaMA-2-13b": (3.96, 3.87, 3.77, 4.12, 4.18, 3.98),
    "GPT-3.5": (4.31, 4.28, 3.63, 4.70, 4.96, 4.38),
    "LLaMA-2-70b": (4.44, 4.32, 3.85, 4.67, 4.68, 4.39),
    "LLaMA-3-8b": (4.55, 4.43, 3.97, 4.77, 4.74, 4.49),
    "Claude 3 Haiku": (2.47, 4.28, 3.04, 3.47, 4.94, 3.64),
    "Claude 3.5 Sonnet": (4.52, 4.37, 3.98, 4.81, 4.88, 4.51),
}


@pytest.mark.parametrize("model", PAPER_SCORES)
def test_published_task_means_give_the_published_score(model: str) -> None:
    """Three personas around each published mean; five tasks, ten questions, two judges' mean."""
    *means, score = PAPER_SCORES[model]
    grades = [
        Graded(persona, task, mean + apart + (0.25 if question % 2 else -0.25))
        for task, mean in zip(tasks(), means, strict=True)
        for persona, apart in (("one", 0.05), ("other", -0.05), ("third", 0.0))
        for question in range(10)
    ]
    scores = persona_scores(grades, GRADES)
    assert scores.score == pytest.approx(score, abs=0.00501)
    assert list(scores.by_task.values()) == pytest.approx(means)
    low, high = scores.interval
    assert low < scores.score < high


def test_two_personas_are_too_few_for_an_interval() -> None:
    grades = [Graded("one", "a", 4), Graded("other", "a", 2)]
    assert persona_scores(grades, GRADES).interval == (None, None)


def test_a_task_with_more_questions_weighs_no_more() -> None:
    grades = [Graded("p", "a", 5), *(Graded("p", "b", 1) for _ in range(9))]
    assert persona_scores(grades, GRADES).score == 3


def test_a_persona_without_a_task_leaves_a_gap() -> None:
    grades = [Graded("p", "a", 5), Graded("p", "b", 1), Graded("q", "a", 3)]
    people, names, means = table(grades)
    assert (people, names) == (["p", "q"], ["a", "b"])
    assert means[1, 1] != means[1, 1]
    scores = persona_scores(grades, GRADES)
    assert (scores.score, scores.by_task) == (3, {"a": 4, "b": 1})
    assert scores.by_task_personas == {"a": 2, "b": 1}
    assert scores.rows[1] == PersonaFidelity("q", 3, {"a": 3})


def test_intervals_are_over_personas_and_zeros_and_ones_have_wilsons() -> None:
    same = [Graded(f"p{i}", "a", 1) for i in range(10) for _ in range(50)]
    low, high = persona_scores(same, (0, 1)).interval
    assert (low < 0.8, high) == (True, 1)  # ten personas, not five hundred answers
    apart = [Graded(f"p{i}", "a", 1 + 4 * (i % 2)) for i in range(10)]
    low, high = persona_scores(apart, GRADES).interval
    assert low < 3 < high
    assert high - low > 1


def test_an_interval_lies_on_its_scale_where_every_grade_is_the_lowest() -> None:
    grades = [Graded(f"p{i}", "a", 1) for i in range(10)]
    scores = persona_scores(grades, GRADES)
    assert scores.interval[0] == scores.by_task_interval["a"][0] == 1
    assert 1 < scores.interval[1] == scores.by_task_interval["a"][1] < 3
    assert persona_scores(grades, (0, 1)).interval[1] == 1


def test_one_persona_has_no_interval() -> None:
    grades = [Graded("p", "a", 5), Graded("p", "b", 1)]
    assert persona_scores(grades, GRADES).interval == (None, None)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("ab"), st.floats(1, 5)), min_size=1)
)
def test_a_score_lies_between_the_lowest_and_the_highest_grade(
    rows: list[tuple[str, str, float]],
) -> None:
    scores = persona_scores([Graded(*one) for one in rows], GRADES)
    grades = [grade for _, _, grade in rows]
    assert min(grades) - 1e-4 <= scores.score <= max(grades) + 1e-4
    assert scores.answers == len(rows)
