"""PersonaGym's protocol (arXiv:2407.18416), from questions to grades.

For each person: questions in five tasks, from files or written by a model; the model's answers,
under the paper's prompt; an example answer for every grade, written for the very question; and
every judge's grade of each answer, 1 to 5, one answer and one rubric to a call.

    answer's score = mean over judges of the mean over calls of the grade

A call without a grade counts as the lowest one and is counted. Rubrics are our own and the judges
are whoever is named, so that scores do not compare with the published table.

This module asks and records. What a score is made of, `personascore` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.chat import message
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.evals.fidelity import author, questionnaire
from holdfast.evals.fidelity.questionnaire import GRADES, Questionnaire
from holdfast.evals.fidelity.score import Graded, persona_scores
from holdfast.evals.fidelity.settings import QuestionnaireSettings
from holdfast.judge.rubric import Item, Rubric
from holdfast.results.fidelity import (
    JudgeScores,
    PersonaScores,
    QuestionnaireDetails,
    WeakestAnswer,
)

GENERATE = "generate"
_FAILED = {"overflow", "error"}
Key = tuple[str, str, int, int]  # persona, task, question, sample: an answer


def measure(
    model: Backend,
    questions: str | Path | Sequence[Questionnaire],
    judges: Sequence[Backend],
    described: Mapping[str, Any],
    sampling: Sampling,
    out: Path | str | None,
    shown: Progress,
    p: QuestionnaireSettings,
    author_model: Backend | None,
) -> tuple[Run, PersonaScores, QuestionnaireDetails]:
    """The run, its scores, and what failed."""
    p.check()
    if not judges:
        raise HoldfastError("answers to a questionnaire are graded by a model: add --judge-model.")
    writes = author_model or judges[0]
    seed, samples = described["seed"], described["samples"]
    people: Sequence[str] = ()
    if str(questions) == GENERATE:
        if p.personas is None:
            raise HoldfastError(
                "questions are generated for persons: name a text file with one description on "
                "each line with --personas."
            )
        people = questionnaire.descriptions(p.personas)[: p.people]
        sheets: tuple[Questionnaire, ...] = ()
    elif isinstance(questions, str | Path):
        sheets = questionnaire.load(questions, n=p.questions_per_task, people=p.people, seed=seed)
    else:
        sheets = tuple(questions)
    run = Run(
        out,
        {
            **described,
            "personas": list(people),
            "questions": questionnaire.described(sheets),
            "author": writes.describe() if p.examples or people else None,
            "examples": p.examples,
            "n": p.questions_per_task,
            "calls": p.calls,
            "prompt": p.prompt,
        },
    )
    failed = 0
    if people:
        sheets, failed = author.questionnaires(
            run, writes, people, p.questions_per_task or 10, seed
        )
    if not any(sheet.items for sheet in sheets):
        raise HoldfastError(
            f"{writes.name} wrote no questions in the form that it was asked for: name another "
            "--author-model, or a folder with --questions."
        )
    answers = sum(len(sheet.items) for sheet in sheets) * samples
    with shown.of(answers):
        _answered(run, model, sheets, p.prompt, samples, seed, sampling, shown)
        if p.examples:
            author.examples(run, writes, sheets, seed)
        for judge in judges:
            _graded(run, judge, sheets, p)
    return run, *_summarise(run, sheets, judges, seed, failed)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + author.ROWS] for start in range(0, len(items), author.ROWS))


# --- answers, examples, grades ----------------------------------------------------


def _answered(
    run: Run,
    model: Backend,
    sheets: Sequence[Questionnaire],
    prompt: str,
    samples: int,
    seed: int,
    sampling: Sampling,
    shown: Progress,
) -> None:
    done = {_key(record) for record in run.records if record["step"] == "answer"}
    keys = [
        ((sheet.persona, task, i, sample), question)
        for sheet in sheets
        for task, i, question in sheet.items
        for sample in range(samples)
    ]
    shown.advance(len(done), 0)
    for batch in _batches([one for one in keys if one[0] not in done]):
        model.forget()
        asks = [_ask(prompt, key, question, seed) for key, question in batch]
        replies = model.reply(asks, sampling)
        run.append(
            {"step": "answer", **_named(key), "text": reply.text, "stop": reply.stop}
            for (key, _), reply in zip(batch, replies, strict=True)
        )
        shown.advance(len(batch), len(batch))


def _ask(prompt: str, key: Key, question: str, seed: int) -> Ask:
    system = message("system", prompt.replace("{persona}", key[0]))
    return Ask((system, message("user", question)), seed_of("gym", seed, *key), keep=False)


def _named(key: Key) -> Record:
    return dict(zip(("persona", "task", "question", "sample"), key, strict=True))


def _key(record: Record) -> Key:
    return record["persona"], record["task"], record["question"], record["sample"]


def _graded(
    run: Run, judge: Backend, sheets: Sequence[Questionnaire], p: QuestionnaireSettings
) -> None:
    """Every answer's grades by a judge, a task at a time, recorded as they come."""
    asked = {(s.persona, task, i): q for s in sheets for task, i, q in s.items}
    examples = {
        (r["persona"], r["place"]): tuple(r["written"] or ())
        for r in run.records
        if r["step"] == "examples"
    }
    known = {(*verdict["answer"], verdict["judge"]) for verdict in run.verdicts}
    for name, task in questionnaire.tasks().items():
        rubric = Rubric(judge, task.criteria, GRADES, calls=p.calls, anchors=task.scale)
        waiting = [
            record
            for record in run.records
            if record["step"] == "answer"
            and record["task"] == name
            and record["stop"] not in _FAILED
            and (*_key(record), judge.name) not in known
        ]
        for batch in _batches(waiting):
            items = [
                Item(
                    p.prompt.replace("{persona}", r["persona"]),
                    asked[r["persona"], name, r["question"]],
                    r["text"],
                    examples.get((r["persona"], f"{name} {r['question']}"), ()),
                )
                for r in batch
            ]
            run.add_verdicts(
                {
                    "answer": list(_key(record)),
                    "judge": judge.name,
                    "grades": list(verdict.grades),
                    "score": round(1 + (GRADES - 1) * verdict.value, 4),
                    "why": verdict.why,
                }
                for record, verdict in zip(batch, rubric.judge_all(items), strict=True)
            )


# --- numbers ----------------------------------------------------------------------


def _summarise(
    run: Run,
    sheets: Sequence[Questionnaire],
    judges: Sequence[Backend],
    seed: int,
    question_failures: int,
) -> tuple[PersonaScores, QuestionnaireDetails]:
    """PersonaScore, by task and by judge, and everything that failed."""
    names = [judge.name for judge in judges]
    asked = {(s.persona, task, i): q for s in sheets for task, i, q in s.items}
    given: dict[str, dict[str, Record]] = {}
    for verdict in run.verdicts:
        given.setdefault(str(verdict["answer"]), {})[verdict["judge"]] = verdict
    records = [record for record in run.records if record["step"] == "answer"]
    graded: dict[str, list[Graded]] = {name: [] for name in ("", *names)}
    parsed: list[Graded] = []
    weakest: dict[str, WeakestAnswer] = {}
    for record in records:
        held = given.get(str(list(_key(record))), {})
        # Where the model gave no reply there is nothing to grade: the lowest score.
        scores = {name: held[name]["score"] if name in held else 1.0 for name in names}
        score = sum(scores.values()) / len(scores)
        for name, value in {"": score, **scores}.items():
            graded[name].append(Graded(record["persona"], record["task"], value))
        if held and all(None not in held[name]["grades"] for name in names):
            parsed.append(Graded(record["persona"], record["task"], score))
        persona = record["persona"]
        if persona not in weakest or score < weakest[persona].score:
            weakest[persona] = WeakestAnswer(
                task=record["task"],
                question=asked[persona, record["task"], record["question"]],
                text=record["text"],
                score=round(score, 4),
                why="; ".join(f"{name}: {held[name]['why']}" for name in held),
                prompt=persona,
            )
    whole = persona_scores(graded[""])
    calls = [grade for verdict in run.verdicts for grade in verdict["grades"]]
    rows = tuple(replace(row, answer=weakest[row.persona]) for row in whole.rows)
    return replace(whole, rows=rows), QuestionnaireDetails(
        scale=(1, GRADES),
        by_judge={name: _of_judge(graded[name], seed) for name in names},
        parse_failures=sum(grade is None for grade in calls),
        judge_calls=len(calls),
        score_parsed=persona_scores(parsed).score if parsed else None,
        answers_parsed=len(parsed),
        example_failures=sum(r["step"] == "examples" and r["written"] is None for r in run.records),
        failed_replies=sum(record["stop"] in _FAILED for record in records),
        empty_replies=sum(not r["text"].strip() and r["stop"] not in _FAILED for r in records),
        question_failures=question_failures,
    )


def _of_judge(graded: Sequence[Graded], seed: int) -> JudgeScores:
    scores = persona_scores(graded)
    return JudgeScores(scores.score, scores.interval, scores.by_task)
