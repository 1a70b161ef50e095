"""The effect of personas on tasks, with models made of functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, rewrite_summary
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError, RunError
from holdfast.evals.effect.effect import Effect, effect, estimate_effect
from holdfast.evals.tasks.tasks import FORMS, Task
from holdfast.persona.experts import Expert
from holdfast.results.effect import EffectRow

CLERK = Expert("clerk", ("math",), "You count.", "You count with care.", "You always count well.")
POET = Expert("poet", ("lines",), "You rhyme.", "You rhyme a lot.", "You always rhyme so well.")
GUARD = Expert("safety", ("safety",), "You guard.", "You guard all.", "You guard all of the time.")
PEOPLE = (CLERK, POET, GUARD)


def answer(ask: Ask) -> Reply:
    """Right on sums where it counts, half of the time where nobody says a thing, never in rhyme."""
    text = " ".join(m["content"] for m in ask.chat)
    if "rhyme" in text:
        return Reply("roses")
    return Reply("4" if "count" in text or ask.seed % 2 else "5")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = [
        {"category": "math", "id": f"m{i}", "turns": [f"{i}: 2 + 2?"], "answers": ["4"]}
        for i in range(12)
    ]
    rows += [
        {"category": "lines", "id": f"l{i}", "turns": ["Hi", f"{i}?"], "judge": SAYS}
        for i in range(4)
    ]
    rows += [{"category": "lines", "id": "open", "turns": ["A line?"], "rubric": "Is it nice?"}]
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


SAYS = {"name": "contains", "text": "roses"}


def row(result: Effect, **fields: str) -> EffectRow:
    (one,) = [r for r in result.rows if all(getattr(r, k) == v for k, v in fields.items())]
    return one


def test_a_persona_that_helps_and_one_that_hurts_are_told_apart(tasks: Path) -> None:
    result = effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=4)
    helps = row(result, category="math", persona="matched", length="full", placement="system")
    hurts = row(result, category="math", persona="other", length="half", placement="user")
    assert helps.score == 1
    assert helps.sign == 1 and helps.interval[0] > 0
    assert helps.n == 12
    assert hurts.score == 0
    assert hurts.interval[1] < 0
    lines = row(result, category="lines", persona="matched", length="full", placement="system")
    assert lines.delta == 1
    assert "helps with math" in result.summary.numbers.advice["actor"]


def test_rows_have_every_kind_length_and_place(tasks: Path) -> None:
    result = effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=1)
    math = [(r.persona, r.length, r.placement) for r in result.rows]
    of_math = [m for m, r in zip(math, result.rows, strict=True) if r.category == "math"]
    assert len(of_math) == len(set(of_math)) == 3 * 3 * 2 + 2
    assert ("random", "full", "user") in of_math
    assert {r.category for r in result.summary.numbers.overall} == {"all"}


def test_all_arms_of_a_task_draw_from_one_seed_and_differ_in_the_persona_alone(
    tasks: Path,
) -> None:
    model = Actor(answer)
    effect(model, tasks=tasks, personas=PEOPLE, samples=2, tasks_per_category=1, lengths=["full"])
    asks = [ask for call in model.calls for ask in call if "2 + 2?" in str(ask.chat)]
    assert len({ask.seed for ask in asks}) == 2
    bare = [ask for ask in asks if [m["role"] for m in ask.chat] == ["user"]]
    assert {ask.chat[-1]["content"].splitlines()[-1] for ask in asks} == {
        bare[0].chat[0]["content"].splitlines()[-1]
    }


def test_where_the_answer_is_to_stand_is_said_as_in_robustness(tasks: Path) -> None:
    def last_lines(**settings: Any) -> set[str]:
        model = Actor(answer)
        effect(model, personas=PEOPLE, samples=1, tasks_per_category=1, **settings)
        return {ask.chat[-1]["content"].splitlines()[-1] for call in model.calls for ask in call}

    letter = "Answer with the letter alone."  # of multiple choice
    assert last_lines(tasks="exercises") == {FORMS["exercises"], letter}
    assert "Say it." in last_lines(tasks=tasks, form="Say it.")
    assert FORMS["exercises"] not in last_lines(tasks="exercises", form="")


def test_the_matrix_asks_everything_under_everyone(tasks: Path) -> None:
    result = effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=1, matrix=True)
    cells = {(r.expert, r.category): r.delta for r in result.summary.numbers.matrix}
    assert len(cells) == 6
    assert cells["poet", "lines"] == 1
    assert cells["poet", "math"] <= 0


def test_tasks_for_a_model_to_judge_need_one_that_is_not_measured(tasks: Path) -> None:
    result = effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=1)
    assert result.summary.left_out == ("open",)
    with pytest.raises(HoldfastError, match="cannot judge its own"):
        effect(Actor(answer), tasks=tasks, personas=PEOPLE, judge_model=Actor(answer))
    grader = Actor(lambda ask: Reply('{"reason": "so", "score": 5}'), name="grader")
    with_grader = effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=1, judge_model=grader)
    assert with_grader.summary.left_out == ()
    prompts = " ".join(m["content"] for call in grader.calls for ask in call for m in ask.chat)
    assert "Is it nice?" in prompts
    assert not any(p.full in prompts for p in PEOPLE)
    mute = Actor(lambda ask: Reply("no idea"), name="mute")
    with_mute = effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=1, judge_model=mute)
    assert with_mute.summary.numbers.judge_failures > 0
    assert "calls of the judge mute gave no score" in str(with_mute.summary.note)


def test_nothing_is_concluded_where_no_answer_could_be_had(tasks: Path) -> None:
    filtered = Actor(lambda ask: Reply("", "error", error="a content filter"))
    result = effect(filtered, tasks=tasks, personas=PEOPLE, samples=1)
    assert result.summary.numbers.advice["actor"].startswith("Nothing can be concluded: no task")


def test_a_plan_is_made_without_comparing_tasks_with_each_other(
    tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparisons: list[object] = []
    monkeypatch.setattr(Task, "__eq__", lambda one, other: bool(comparisons.append(one)))
    estimate_effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=1)
    assert comparisons == []


def test_several_models_have_rows_and_advice_of_their_own(tasks: Path) -> None:
    models = [Actor(answer), Actor(lambda ask: Reply("5"), name="other")]
    result = effect(models, tasks=tasks, personas=PEOPLE, samples=1)
    assert {r.model for r in result.rows} == {"actor", "other"}
    assert "Nothing can be concluded" in result.summary.numbers.advice["other"]


def test_a_run_goes_on_where_it_stopped_and_another_is_refused(tasks: Path, tmp_path: Path) -> None:
    whole = effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=2, out=tmp_path / "run")
    records = tmp_path / "run" / "records.jsonl"
    lines = records.read_text(encoding="utf-8").splitlines(keepends=True)
    records.write_text("".join(lines[:5]), encoding="utf-8")
    (tmp_path / "run" / "summary.json").unlink()
    again = effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=2, out=tmp_path / "run")
    assert again.rows == whole.rows
    rewrite_summary(tmp_path / "run", seconds=99.5)
    read = effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=2, out=tmp_path / "run")
    assert read.summary.seconds == 99.5
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The pairs behind every cell" in page
    with pytest.raises(RunError):
        effect(Actor(answer), tasks=tasks, personas=PEOPLE, samples=3, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lengths": ["long"]}, "no length 'long'"),
        ({"lengths": ["full", "half", "full"]}, "length full is named twice"),
        ({"placements": ["sky"]}, "no placement 'sky'"),
        ({"placements": []}, "at least one placement"),
        ({"samples": 0}, "at least 1 sample"),
        ({"personas": ()}, "at least 1 persona"),
        ({"personas": (*PEOPLE, PEOPLE[0])}, "two personas have the id"),
        ({"tasks_per_category": 0}, "at least 1 task"),
    ],
)
def test_what_cannot_be_asked_is_refused(tasks: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(HoldfastError, match=message):
        effect(Actor(answer), **{"tasks": tasks, "personas": PEOPLE, **wrong})


def test_a_reply_that_did_not_fit_has_no_score(tasks: Path) -> None:
    def full(ask: Ask) -> Reply:
        over = any("count" in m["content"] for m in ask.chat)
        return Reply("", "overflow") if over else Reply("5")

    result = effect(Actor(full), tasks=tasks, personas=PEOPLE, samples=1)
    cell = row(result, category="math", persona="matched", length="full", placement="system")
    assert (cell.delta, cell.n, cell.interval) == (None, 0, (None, None))
    numbers = result.summary.numbers
    assert 0 < numbers.failed < numbers.answers and result.summary.note == (
        f"{numbers.failed} of {numbers.answers} answers could not be had or did not fit the "
        "context: they count on neither side of a difference."
    )


def test_a_model_that_is_named_twice_is_refused(tasks: Path) -> None:
    with pytest.raises(HoldfastError, match="two models have the name actor: name each once"):
        effect([Actor(answer), Actor(answer)], tasks=tasks, personas=PEOPLE, samples=1)
