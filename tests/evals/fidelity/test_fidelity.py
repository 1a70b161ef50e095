"""Fidelity by a suite's own judges and by PersonaGym's protocol, with models made of functions."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, obey, rewrite_summary
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError, RunError, ServiceError
from holdfast.core.progress import Progress
from holdfast.core.records import as_record
from holdfast.evals.fidelity import author, questionnaire
from holdfast.evals.fidelity.answers import Measurement
from holdfast.evals.fidelity.fidelity import estimate_fidelity, fidelity
from holdfast.evals.fidelity.personagym import questionnaire_asks
from holdfast.evals.fidelity.questionnaire import Questionnaire
from holdfast.evals.fidelity.settings import PROMPT, FidelitySettings, QuestionnaireSettings
from holdfast.report.fidelity import headline, remarks, render

SUITE = """
[[persona]]
id = "amber"
category = "memory"
prompt = "The word is amber"
probes = ["Which word?", "Which one?"]
judge = { name = "contains", text = "amber" }

[[persona]]
id = "loud"
category = "pattern"
prompt = "Write in capitals"
probes = ["Well?"]
judge = { name = "regex", pattern = "[^a-z]*", mode = "full", case = true }
"""
RUBRIC_SUITE = (
    '[[persona]]\nid = "kind"\ncategory = "character"\nprompt = "You are kind"\nprobes = ["Hm?"]\n'
)
RUBRIC_SUITE += 'judge = { name = "rubric", criteria = "The answer is kind." }\n'


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suite.toml"
    path.write_text(SUITE, encoding="utf-8")
    return path


# --- suites -------------------------------------------------------------------


def test_a_suites_own_judges_score_its_probes_beside_a_floor(suite: Path) -> None:
    s = fidelity(Actor(obey), suite=suite).summary
    assert {"score", "by_task", "interval", "parse_failures"} <= as_record(s).keys()
    assert (s.scores.score, s.scores.by_task) == (0.5, {"memory": 1, "pattern": 0})
    assert (s.details.floor, s.details.parse_failures, s.details.scale) == (0, 0, (0, 1))
    assert (s.scores.personas, s.scores.answers) == (2, 3)


def test_the_headline_has_the_interval_of_the_score_and_of_the_floor(suite: Path) -> None:
    s = fidelity(Actor(obey), suite=suite).summary
    finding = "Fidelity is 0.50 on a scale from 0 to 1, and 0.00 without the personas’ prompts"
    assert headline(s) == f"{finding} (2 personas, without an interval)"
    scores = replace(s.scores, interval=(0.2, 0.8))
    known = replace(s, scores=scores, details=replace(s.details, floor_interval=(0.0, 0.3)))
    detail = "(95% intervals 0.20 to 0.80 and 0.00 to 0.30; 2 personas)"
    assert headline(known) == f"{finding} {detail}"
    page = render(known)
    assert f"<h1>{finding} <span>{detail}</span></h1>" in page
    assert "By category" in page and "Mean over the persona’s answers." in page


def test_some_categories_of_a_suite_are_asked_alone(suite: Path) -> None:
    s = fidelity(Actor(obey), suite=suite, category=("memory",)).summary
    assert (s.scores.by_task, s.scores.answers) == ({"memory": 1}, 2)
    with pytest.raises(HoldfastError, match="no category 'style': use memory, pattern"):
        fidelity(Actor(obey), suite=suite, category=("style",))


def test_a_reply_that_could_not_be_had_counts_as_the_lowest_and_is_counted(suite: Path) -> None:
    def fail(ask: Ask) -> Reply:
        return Reply("", "error") if "Which one?" in str(ask.chat) else obey(ask)

    s = fidelity(Actor(fail), suite=suite).summary
    assert s.scores.by_task["memory"] == 0.5
    assert s.details.failed_replies == 2  # with the prompt and without
    assert "2 of 6 replies could not be had and count as the lowest score." in remarks(s)


def test_cut_replies_are_judged_as_they_stand_and_said(suite: Path) -> None:
    def cut(ask: Ask) -> Reply:
        return Reply(obey(ask).text, "length")

    s = fidelity(Actor(cut), suite=suite).summary
    assert (s.scores.score, s.details.cut_replies, s.details.replies) == (0.5, 6, 6)
    assert remarks(s)[-1] == (
        "6 of 6 replies were cut at the token limit and are judged as they stand."
    )


def test_the_lowest_category_is_called_so_by_chance_where_intervals_overlap(suite: Path) -> None:
    s = fidelity(Actor(obey), suite=suite).summary
    assert remarks(s) == [
        "The lowest score is that of pattern, 0.00 (–), and the highest that of memory, 1.00 (–); "
        "personas are too few to say whether the order is chance."
    ]
    for high, end in (
        (0.5, "."),
        (0.6, "; their intervals overlap, so that the order may be chance."),
    ):
        spans = {"memory": (0.6, 1.0), "pattern": (0.0, high)}
        known = replace(s, scores=replace(s.scores, by_task_interval=spans))
        assert remarks(known)[0].endswith(f"memory, 1.00 (0.60 to 1.00){end}")


def test_a_persona_that_a_model_judges_needs_one_and_every_judge_counts(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(RUBRIC_SUITE, encoding="utf-8")
    with pytest.raises(HoldfastError, match="“kind” is judged by a model: name one"):
        fidelity(Actor(obey), suite=path)
    strict, mild, mute = (
        Actor(lambda ask, text=text: Reply(text), name=name)  # type: ignore[misc]
        for name, text in (("strict", '{"score": 1}'), ("mild", '{"score": 5}'), ("mute", "Hm."))
    )
    assert fidelity(Actor(obey), suite=path, judges=[strict, mild]).score == 0.5
    s = fidelity(Actor(obey), suite=path, judges=[mild, mute]).summary
    assert (s.scores.score, s.details.parse_failures, s.details.judge_calls) == (0.5, 4, 8)
    with pytest.raises(HoldfastError, match="cannot judge its own"):
        fidelity(Actor(obey, name="mild"), suite=path, judges=[mild])
    with pytest.raises(HoldfastError, match="each judge is named once"):
        fidelity(Actor(obey), suite=path, judges=[mild, mild])


def test_no_judge_model_sees_a_reply_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(RUBRIC_SUITE, encoding="utf-8")
    model = Actor(lambda ask: Reply("I would be so", stop="error"))  # type: ignore[misc]
    judge = Actor(lambda ask: Reply('{"score": 5}'), name="mild")  # type: ignore[misc]
    s = fidelity(model, suite=path, judges=[judge]).summary
    assert (s.scores.score, s.details.judge_calls, s.details.failed_replies) == (0.0, 0, 2)


def test_a_suites_run_goes_on_where_it_stopped(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    whole = fidelity(Actor(obey), suite=suite, samples=2, out=out)
    records = out / "records.jsonl"
    before = records.read_bytes()
    records.write_bytes(b"".join(before.splitlines(keepends=True)[:5]))
    model = Actor(obey, local=False)
    again = fidelity(model, suite=suite, samples=2, out=out)
    assert again.rows == whole.rows
    assert records.read_bytes() == before
    assert sum(map(len, model.calls)) == 12 - 5
    rewrite_summary(out, seconds=99.5)
    assert fidelity(Actor(obey), suite=suite, samples=2, out=out).summary.seconds == 99.5
    assert "weakest answer" in (out / "report.html").read_text(encoding="utf-8")
    with pytest.raises(RunError):
        fidelity(Actor(obey), suite=suite, samples=3, out=out)


# --- questionnaires -----------------------------------------------------------

QUESTIONS = {task: (f"{task}: what now?", f"{task}: and then?") for task in questionnaire.tasks()}
ONCE = QuestionnaireSettings(calls=1)
PLAIN = QuestionnaireSettings(examples=False)
SHEETS = [Questionnaire(who, QUESTIONS) for who in ("A baker", "A sailor")]
GRADES = dict(zip(QUESTIONS, (5, 4, 3, 4, 5), strict=True))


def player(ask: Ask) -> Reply:
    return Reply(f"As {ask.chat[0]['content'].split('of ')[1].split('.')[0]} I would.")


def grader(ask: Ask) -> Reply:
    """Writes examples where it is asked for them, and grades a task as `GRADES` says."""
    prompt = ask.chat[1]["content"]
    if "Are you ready?" in prompt:
        return Reply("Yes.")
    if "one that earns each grade" in prompt:
        return Reply(json.dumps({str(g): f"An answer worth {g}." for g in range(1, 6)}))
    task = next(name for name, one in questionnaire.tasks().items() if one.criteria in prompt)
    return Reply(f'{{"reason": "so", "score": {GRADES[task]}}}')


def test_five_tasks_are_graded_and_averaged() -> None:
    s = fidelity(Actor(player), questions=SHEETS, judges=[Actor(grader, name="judge")]).summary
    assert s.scores.by_task == GRADES
    assert (s.scores.score, s.details.scale, s.details.parse_failures) == (4.2, (1, 5), 0)
    assert (s.scores.personas, s.scores.answers, s.details.judge_calls) == (2, 20, 40)
    assert {"score", "by_task", "interval", "parse_failures"} <= as_record(s).keys()


def test_a_call_has_one_answer_its_rubric_and_an_example_for_each_grade() -> None:
    judge = Actor(grader, name="judge")
    fidelity(
        Actor(player),
        questions=SHEETS[:1],
        judges=[judge],
        questionnaire=QuestionnaireSettings(calls=1),
    )
    asks = [a.chat[1]["content"] for call in judge.calls for a in call if "Scale:" in str(a.chat)]
    assert len(asks) == 10
    for prompt in asks:
        assert prompt.count("what now?") + prompt.count("and then?") == 1
        assert sum(task.criteria in prompt for task in questionnaire.tasks().values()) == 1
        examples = json.loads(re.findall(r"earn:\n(\[.*?\])\n", prompt)[0])
        assert examples == [{"score": g, "answer": f"An answer worth {g}."} for g in range(1, 6)]


def test_the_agent_is_asked_under_the_papers_prompt() -> None:
    model = Actor(player)
    fidelity(model, questions=SHEETS, judges=[Actor(grader, name="judge")])
    (system, user) = model.calls[0][0].chat
    assert system["content"] == PROMPT.format(persona="A baker")
    assert user["content"] == "Expected Action: what now?"


def test_the_score_is_the_mean_of_all_judges_and_each_has_its_own() -> None:
    harsh = Actor(lambda ask: Reply('{"score": 1}'), name="harsh")
    mild = Actor(lambda ask: Reply('{"score": 5}'), name="mild")
    s = fidelity(Actor(player), questions=SHEETS, judges=[harsh, mild], questionnaire=PLAIN).summary
    assert s.scores.score == 3
    assert {name: one.score for name, one in s.details.by_judge.items()} == {"harsh": 1, "mild": 5}


def test_calls_without_a_grade_are_counted_and_never_dropped() -> None:
    def fickle(ask: Ask) -> Reply:
        return Reply(
            "Therefore, the final score is 5" if "baker" in str(ask.chat) else '{"score": 5}'
        )

    judge = Actor(fickle, name="fickle")
    s = fidelity(Actor(player), questions=SHEETS, judges=[judge], questionnaire=PLAIN).summary
    assert (s.details.parse_failures, s.details.judge_calls) == (20, 40)
    assert (s.scores.score, s.details.score_parsed, s.details.answers_parsed) == (3, 5, 10)


def test_example_answers_that_cannot_be_had_are_counted_and_gone_without() -> None:
    def silent(ask: Ask) -> Reply:
        return Reply("No.") if "each grade" in str(ask.chat) else Reply('{"score": 4}')

    s = fidelity(Actor(player), questions=SHEETS, judges=[Actor(silent, name="j")]).summary
    assert (s.details.example_failures, s.scores.score) == (20, 4)


@pytest.mark.parametrize("author", [False, True])
def test_a_model_that_grades_or_writes_is_reached_before_answers_are_asked_for(
    author: bool,
) -> None:
    def refuse(ask: Ask) -> Reply:
        raise ServiceError("there is no such model")

    model, lost = Actor(player), Actor(refuse, name="lost")
    judges, author_model = ([Actor(grader, name="judge")], lost) if author else ([lost], None)
    with pytest.raises(ServiceError, match="no such model"):
        fidelity(model, questions=SHEETS, judges=judges, author_model=author_model)
    assert not model.calls


def test_a_failed_reply_has_the_lowest_grade_and_no_judge_is_asked() -> None:
    def fail(ask: Ask) -> Reply:
        return Reply("", "error") if "sailor" in str(ask.chat) else player(ask)

    s = fidelity(Actor(fail), questions=SHEETS, judges=[Actor(grader, name="judge")]).summary
    assert (s.details.failed_replies, s.details.judge_calls) == (10, 20)
    assert {row.persona: row.score for row in s.scores.rows} == {"A baker": 4.2, "A sailor": 1}


def test_a_run_goes_on_where_it_stopped_at_every_step(tmp_path: Path) -> None:
    def run(out: Path) -> tuple[dict[str, Any], int]:
        model, judge = Actor(player), Actor(grader, name="judge")
        result = fidelity(model, questions=SHEETS, judges=[judge], out=out)
        asks = sum(map(len, [*model.calls, *judge.calls]))
        return {
            k: v for k, v in as_record(result.summary).items() if k not in ("seconds", "report")
        }, asks

    whole, asks = run(tmp_path / "whole")
    assert asks == 1 + 20 + 20 + 40
    out = tmp_path / "cut"
    run(out)
    for name, count in (("verdicts.jsonl", 7), ("records.jsonl", 33), ("records.jsonl", 4)):
        lines = (out / name).read_bytes().splitlines(keepends=True)
        (out / name).write_bytes(b"".join(lines[:count]))
        again, rest = run(out)
        assert again == whole
        assert rest < asks


def test_questions_are_written_for_persons_and_recorded(tmp_path: Path) -> None:
    people = tmp_path / "people.txt"
    people.write_text("A baker\nA sailor\n", encoding="utf-8")

    def writer(ask: Ask) -> Reply:
        prompt = ask.chat[1]["content"]
        if "Of these settings" in prompt:
            return Reply(json.dumps({"settings": [*questionnaire.settings()[3:5], "the moon"]}))
        if "Toxicity Control" in prompt and "sailor" in prompt:
            return Reply('{"questions": ["Only one?"]}')
        assert "a wedding" not in prompt or "job" not in prompt
        return Reply(json.dumps({"questions": [f"What now, {i}?" for i in range(3)]}))

    out = tmp_path / "run"
    measure = partial(
        fidelity,
        questions="generate",
        author_model=Actor(writer, name="writer"),
        judges=[Actor(grader, name="judge")],
        questionnaire=QuestionnaireSettings(personas=people, examples=False, questions_per_task=3),
        out=out,
    )
    summary = measure(Actor(player)).summary
    # One task of the sailor failed twice: it is counted, and the sailor has four tasks.
    assert (summary.details.question_failures, summary.scores.answers) == (1, 27)
    assert summary.scores.by_task_personas["Toxicity Control"] == 1
    steps = [json.loads(x)["step"] for x in (out / "records.jsonl").read_text("utf-8").splitlines()]
    assert [steps.count(s) for s in ("settings", "questions", "answer")] == [2, 10, 27]
    model = Actor(player)
    measure(model)
    assert model.calls == []


def test_the_persons_that_questions_are_written_for_are_drawn(tmp_path: Path) -> None:
    file = tmp_path / "people.txt"
    file.write_text("".join(f"Person {i}\n" for i in range(50)), encoding="utf-8")

    def draw(seed: int) -> tuple[int, ...]:
        options = QuestionnaireSettings(personas=file, people=3)
        settings = FidelitySettings(questions="generate", questionnaire=options, seed=seed)
        measurement = Measurement(Actor(player), [], settings, None, Progress(enabled=False))
        asks, _ = questionnaire_asks(measurement)
        return tuple(int(re.findall(r"Person (\d+)", one.chat[0]["content"])[0]) for one in asks)

    samples = [draw(seed) for seed in range(3)]
    assert len(set(samples)) == 3 and draw(0) == samples[0]
    assert all(list(one) == sorted(one) and len(one) == 3 for one in samples)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"judges": []}, "graded by a model: add `judge_model`"),
        ({"questions": "generate"}, "one description on each line with `personas`"),
        ({"questions": "nothing"}, "no questions in"),
        ({"questionnaire": QuestionnaireSettings(calls=0)}, "at least 1 call"),
        ({"questionnaire": QuestionnaireSettings(questions_per_task=0)}, "at least 1 question"),
        ({"questionnaire": QuestionnaireSettings(people=0)}, "at least 1 person is needed, not 0"),
        ({"questionnaire": QuestionnaireSettings(people=-1)}, "at least 1 person is needed"),
        ({"questionnaire": QuestionnaireSettings(calls=0), "questions": None}, "at least 1 call"),
        ({"samples": 0}, "at least 1 sample"),
        ({"questionnaire": QuestionnaireSettings(prompt="Be kind.")}, "no {persona}"),
    ],
)
def test_what_cannot_be_asked_is_refused(wrong: dict[str, Any], message: str) -> None:
    options = {"questions": SHEETS, "judges": [Actor(grader, name="judge")], **wrong}
    with pytest.raises(HoldfastError, match=message):
        fidelity(Actor(player), **options)


def test_a_plan_for_nobody_is_refused() -> None:
    options = {"questions": SHEETS, "judges": [Actor(grader, name="judge")]}
    with pytest.raises(HoldfastError, match="at least 1 person"):
        estimate_fidelity(Actor(player), **options, questionnaire=QuestionnaireSettings(people=0))


def test_an_author_that_writes_nothing_usable_ends_the_run(tmp_path: Path) -> None:
    people = tmp_path / "people.txt"
    people.write_text("A baker\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="mute wrote no questions"):
        fidelity(
            Actor(player),
            questions="generate",
            questionnaire=QuestionnaireSettings(personas=people),
            judges=[Actor(lambda ask: Reply("Hm."), name="mute")],
        )


def test_a_request_is_made_once_more_and_then_has_failed() -> None:
    replies = iter(["Sure!", '{"questions": ["A?", "B?"]}', "Hm.", "Hm."])
    model = Actor(lambda ask: Reply(next(replies)))
    task = questionnaire.tasks()["Expected Action"]
    request = author.request_questions("A baker", task, ["a wedding"], 2)
    texts = author.write(model, [request], author.VARIED_SAMPLING, 0)
    assert texts == [("A?", "B?")]
    assert len(model.calls[1][0].chat) == 4  # what it said, and that this was not it
    assert author.write(model, [request], author.VARIED_SAMPLING, 0) == [None]
