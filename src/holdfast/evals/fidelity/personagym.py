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
from dataclasses import dataclass
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
from holdfast.evals.fidelity import score as personascore
from holdfast.evals.fidelity.questionnaire import GRADES, Questionnaire
from holdfast.evals.fidelity.score import Graded
from holdfast.judge.rubric import Item, Rubric

PROMPT = (  # the paper's, as its appendix and its code have it
    "Adopt the identity of {persona}. Answer the questions while staying in strict accordance with "
    "the nature of this identity."
)
GENERATE = "generate"
_FAILED = {"overflow", "error"}
Key = tuple[str, str, int, int]  # persona, task, question, sample: an answer


@dataclass(frozen=True)
class Protocol:
    """How the gym is run.

    `personas` names a file of descriptions where questions are generated, `author` the model that
    writes them and the example answers (the first judge, where there is none); `n` bounds the
    questions of a task and `people` the persons; `calls` are a judge's for each answer, taking
    turns between the orders of `rubric`.
    """

    personas: str | Path | None = None
    author: Backend | None = None
    examples: bool = True
    n: int | None = None
    people: int | None = None
    calls: int = 2
    prompt: str = PROMPT

    def __post_init__(self) -> None:
        if "{persona}" not in self.prompt:
            raise HoldfastError("the prompt has no {persona}, where the description is to stand.")
        for number, what in (
            (self.calls, "call of a judge"),
            (1 if self.n is None else self.n, "question of each task"),
        ):
            if number < 1:
                raise HoldfastError(f"at least 1 {what} is needed, not {number}.")


def measured(
    model: Backend,
    questions: str | Path | Sequence[Questionnaire],
    judges: Sequence[Backend],
    described: Mapping[str, Any],
    sampling: Sampling,
    out: Path | str | None,
    shown: Progress,
    **protocol: Any,
) -> tuple[Run, Record]:
    """The run and what its summary says. `protocol` are the fields of `Protocol`."""
    p = Protocol(**protocol)
    if not judges:
        raise HoldfastError("answers to a questionnaire are graded by a model: add --judge-model.")
    writes = p.author or judges[0]
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
        sheets = questionnaire.load(questions, n=p.n, people=p.people, seed=seed)
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
            "n": p.n,
            "calls": p.calls,
            "prompt": p.prompt,
        },
    )
    failed = 0
    if people:
        sheets, failed = author.questionnaires(run, writes, people, p.n or 10, seed)
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
    return run, {**_summed(run, sheets, judges, seed), "question_failures": failed}


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


def _graded(run: Run, judge: Backend, sheets: Sequence[Questionnaire], p: Protocol) -> None:
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


def _summed(
    run: Run, sheets: Sequence[Questionnaire], judges: Sequence[Backend], seed: int
) -> Record:
    """PersonaScore, by task and by judge, and everything that failed."""
    names = [judge.name for judge in judges]
    asked = {(s.persona, task, i): q for s in sheets for task, i, q in s.items}
    given: dict[str, dict[str, Record]] = {}
    for verdict in run.verdicts:
        given.setdefault(str(verdict["answer"]), {})[verdict["judge"]] = verdict
    records = [record for record in run.records if record["step"] == "answer"]
    graded: dict[str, list[Graded]] = {name: [] for name in ("", *names)}
    parsed: list[Graded] = []
    worst: dict[str, Record] = {}
    for record in records:
        held = given.get(str(list(_key(record))), {})
        # Where the model gave no reply there is nothing to grade: the lowest score.
        scores = {name: held[name]["score"] if name in held else 1.0 for name in names}
        score = sum(scores.values()) / len(scores)
        for name, value in {"": score, **scores}.items():
            graded[name].append(Graded(record["persona"], record["task"], value))
        if held and all(None not in held[name]["grades"] for name in names):
            parsed.append(Graded(record["persona"], record["task"], score))
        if record["persona"] not in worst or score < worst[record["persona"]]["score"]:
            worst[record["persona"]] = {
                "task": record["task"],
                "question": asked[record["persona"], record["task"], record["question"]],
                "text": record["text"],
                "score": round(score, 4),
                "why": "; ".join(f"{name}: {held[name]['why']}" for name in held),
                "prompt": record["persona"],
            }
    whole = personascore.summed(graded[""], seed)
    calls = [grade for verdict in run.verdicts for grade in verdict["grades"]]
    return {
        **whole,
        "scale": [1, GRADES],
        "by_judge": {
            name: {
                k: v
                for k, v in personascore.summed(graded[name], seed).items()
                if k in ("score", "interval", "by_task")
            }
            for name in names
        },
        "parse_failures": sum(grade is None for grade in calls),
        "judge_calls": len(calls),
        # The same without answers for which a call gave no grade: what the failures cost.
        "score_parsed": personascore.summed(parsed, seed)["score"] if parsed else None,
        "answers_parsed": len(parsed),
        "example_failures": sum(
            r["step"] == "examples" and r["written"] is None for r in run.records
        ),
        "failed_replies": sum(record["stop"] in _FAILED for record in records),
        "empty_replies": sum(not r["text"].strip() and r["stop"] not in _FAILED for r in records),
        "protocol": "questionnaire",
        "rows": [{**row, "answer": worst[row["persona"]]} for row in whole["rows"]],
    }
