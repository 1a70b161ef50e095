"""A judge held against people: agreement, confusion and kappa on answers that both graded.

A CSV file has a row for each answer, with the columns

    score                      what a person gave it, a whole number from 1 to 5
    persona, question, answer  what was graded, and `task`, one of PersonaGym's
    judge_score                optional: a judge's grade; with it nothing is asked

With p_ij the share of answers that the person graded i and the judge j, and their marginals,

    agreement = Σ p_ii      kappa = 1 - Σ w_ij p_ij / Σ w_ij p_i. p_.j

with w = [i ≠ j] for Cohen's kappa, and (i - j)² for the weighted one, which forgives a near miss
(Cohen 1960, 1968). Kappa is None where chance alone would agree always. A call without a grade is
counted and left out of the table, and so the share of answers graded stands beside the rest.

This module knows a file and a judge. It knows no run of `fidelity`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError
from holdfast.core.intervals import Sample
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.core.stats import Array, numbers
from holdfast.core.version import __version__
from holdfast.evals.fidelity import author, questionnaire
from holdfast.evals.fidelity.questionnaire import GRADES
from holdfast.evals.fidelity.settings import PROMPT
from holdfast.judge.rubric import Item, Rubric

_NEEDED = ("persona", "task", "question", "answer", "score")


@dataclass(frozen=True)
class Label:
    """An answer that a person graded, and maybe a judge."""

    score: int
    judge_score: int | None = None
    persona: str = ""
    task: str = ""
    question: str = ""
    answer: str = ""


def read(path: Path, *, asks: bool = True) -> tuple[Label, ...]:
    """The labels of a CSV file; where nobody `asks` a judge, score and judge_score are enough.

    Raises HoldfastError, which names file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise HoldfastError(
            f"there are no labels in {path} ({error.strerror}): name a CSV file."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise HoldfastError(f"{path} is not CSV in UTF-8 ({error}).") from error
    if not rows:
        raise HoldfastError(f"{path} holds no labels: write a header and a row for each answer.")
    if not asks and "judge_score" not in rows[0]:
        raise HoldfastError(
            f"{path} has no judge_score: name the judge with --judge-model, or add that column."
        )
    for name in _NEEDED if asks else ("score",):
        if name not in rows[0]:
            raise HoldfastError(f"{path} has no column {name!r}: write {', '.join(_NEEDED)}.")
    return tuple(_label(row, f"{path}, line {i}", asks) for i, row in enumerate(rows, 2))


def _label(row: Mapping[str, str | None], where: str, asks: bool) -> Label:
    given = row.get("judge_score")
    task = questionnaire.known(row.get("task") or "")
    if asks and task not in questionnaire.tasks():
        raise HoldfastError(
            f"{where}: there is no task {task!r}: use {', '.join(questionnaire.tasks())}."
        )
    return Label(
        _grade(row.get("score"), where),
        _grade(given, where) if (given or "").strip() else None,
        row.get("persona") or "",
        task,
        row.get("question") or "",
        row.get("answer") or "",
    )


def _grade(text: str | None, where: str) -> int:
    if (text or "").strip() in map(str, range(1, GRADES + 1)):
        return int(text or 0)
    raise HoldfastError(f"{where}: a score is a whole number from 1 to {GRADES}, not {text!r}.")


def calibration(
    path: Path | str,
    *,
    judges: Sequence[Backend] = (),
    calls: int = 2,
    seed: int = 0,
    out: Path | str | None = None,
) -> Record:
    """Agreement of every judge with people; what `holdfast fidelity --calibrate FILE` does.

    A judge's grade is the mean of its calls, rounded half down. Raises HoldfastError for a file
    that is wrong, or one without grades where no judge is named.
    """
    labels = read(Path(path), asks=bool(judges))
    run = Run(
        out,
        {
            "command": "calibration",
            "version": __version__,
            "judges": [judge.describe() for judge in judges],
            "labels": [vars(label) for label in labels],
            "calls": calls,
        },
    )
    rows: list[Record] = []
    for judge in judges:
        verdicts = _asked(run, judge, labels, calls)
        grades = [_middle(verdict["grades"]) for verdict in verdicts]
        failures = sum(grade is None for v in verdicts for grade in v["grades"])
        rows.append({"judge": judge.name, **agreement(labels, grades), "failures": failures})
    if not judges:
        grades = [label.judge_score for label in labels]
        missing = sum(grade is None for grade in grades)
        rows.append({"judge": "judge_score", **agreement(labels, grades), "failures": missing})
    summary: Record = {"labels": len(labels), "judges": rows}
    run.finish(summary)
    return summary


def _asked(run: Run, judge: Backend, labels: Sequence[Label], calls: int) -> list[Record]:
    """The judge's verdicts, in order of the labels; those that are recorded are not asked."""
    known = {v["label"]: v for v in run.verdicts if v["judge"] == judge.name}
    for name, task in questionnaire.tasks().items():
        rubric = Rubric(judge, task.criteria, GRADES, calls=calls, anchors=task.scale)
        mine = [i for i, one in enumerate(labels) if one.task == name and i not in known]
        for start in range(0, len(mine), author.ROWS):
            batch = mine[start : start + author.ROWS]
            items = [
                Item(PROMPT.format(persona=one.persona), one.question, one.answer)
                for one in (labels[i] for i in batch)
            ]
            run.add_verdicts(
                {"label": i, "judge": judge.name, "grades": list(v.grades), "why": v.why}
                for i, v in zip(batch, rubric.judge_all(items), strict=True)
            )
    found = {v["label"]: v for v in run.verdicts if v["judge"] == judge.name}
    return [found[i] for i in range(len(labels))]


def _middle(grades: Sequence[int | None]) -> int | None:
    """One grade of several calls; None where any gave none. An empty answer was not asked: 1."""
    if any(grade is None for grade in grades):
        return None
    kept = [grade for grade in grades if grade is not None]
    return int(np.ceil(sum(kept) / len(kept) - 0.5)) if kept else 1


# --- equations ------------------------------------------------------------------


def agreement(labels: Sequence[Label], grades: Sequence[int | None]) -> Record:
    """What a judge's grades have to do with those of people; intervals are over answers."""
    pairs = [(a.score, b) for a, b in zip(labels, grades, strict=True) if b is not None]
    if not pairs:
        raise HoldfastError("the judge gave no grade at all: see verdicts.jsonl for what it said.")
    ones = np.zeros((len(pairs), GRADES, GRADES))
    for row, (person, judge) in enumerate(pairs):
        ones[row, person - 1, judge - 1] = 1
    shares = ones.mean(axis=0)
    intervals = _intervals(ones)
    told: Record = {"n": len(pairs), "graded": round(len(pairs) / len(labels), 4)}
    for name, of in STATISTICS.items():
        told[name] = numbers(of(shares))
        told[f"{name}_interval"] = numbers(intervals[name])
    told["confusion"] = ones.sum(axis=0).astype(int).tolist()
    told["by_task"] = {
        task: {"n": len(mine), **{name: numbers(of(ones[mine].mean(axis=0))) for name, of in
               STATISTICS.items()}}
        for task in questionnaire.tasks()
        if (mine := _of_task(labels, grades, task))
    }  # fmt: skip
    return told


def _intervals(ones: Array) -> dict[str, Array]:
    """Intervals of `STATISTICS`, from one table with a single 1 for each answer.

    That of kappa is MOVER's for the disagreement over that by chance. By chance an answer adds
    the person's grade against the judge's marginals and the reverse, less the mean of both.
    """
    sample, shares = Sample(len(ones)), ones.mean(axis=0)

    def each(weights: Array) -> Array:
        return np.asarray((ones * weights).sum(axis=(1, 2)))

    def kappa_interval(weights: Array) -> Array:
        weights = weights / weights.max()
        rows, columns = ones.sum(axis=2), ones.sum(axis=1)
        by_person = rows @ weights @ shares.sum(axis=0)
        chance = by_person + columns @ weights.T @ shares.sum(axis=1)
        return 1 - sample.quotient_interval(each(weights), chance - by_person.mean())[::-1]

    return {
        "agreement": sample.score_interval(each((_GAP == 0).astype(float))),
        "within_one": sample.score_interval(each((abs(_GAP) <= 1).astype(float))),
        "kappa": kappa_interval((_GAP != 0).astype(float)),
        "weighted_kappa": kappa_interval(_GAP.astype(float) ** 2),
        "bias": sample.mean_interval(each(-_GAP.astype(float))),
    }


def _of_task(labels: Sequence[Label], grades: Sequence[int | None], task: str) -> list[int]:
    kept = [label for label, grade in zip(labels, grades, strict=True) if grade is not None]
    return [i for i, label in enumerate(kept) if label.task == task]


_GAP = np.subtract.outer(np.arange(GRADES), np.arange(GRADES))  # the person's less the judge's


def kappa(shares: Array, weights: Array) -> Array:
    """1 less the disagreement over that by chance, for tables (..., person, judge)."""
    chance = shares.sum(axis=-1)[..., :, None] * shares.sum(axis=-2)[..., None, :]
    there, by_chance = ((weights * one).sum(axis=(-2, -1)) for one in (shares, chance))
    gap = np.divide(there, by_chance, out=np.full(np.shape(there), np.nan), where=by_chance > 0)
    return np.asarray(1 - gap)


STATISTICS: Mapping[str, Callable[[Array], Array]] = {
    "agreement": lambda p: np.asarray(np.trace(p, axis1=-2, axis2=-1)),
    "within_one": lambda p: np.asarray((p * (abs(_GAP) <= 1)).sum(axis=(-2, -1))),
    "kappa": lambda p: kappa(p, (_GAP != 0).astype(float)),
    "weighted_kappa": lambda p: kappa(p, _GAP.astype(float) ** 2),
    # How much higher than people the judge grades, on average.
    "bias": lambda p: np.asarray((p * -_GAP).sum(axis=(-2, -1))),
}


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The result in words, with the confusion as a table."""
    said = []
    for row in found["judges"]:
        low, high = row["kappa_interval"]
        told = "undefined" if row["kappa"] is None else f"{row['kappa']:.2f}"
        told += f" [{low:.2f}, {high:.2f}]" if low is not None and row["kappa"] is not None else ""
        weighted = row["weighted_kappa"]
        near = "undefined" if weighted is None else f"{weighted:.2f}"
        said.append(
            f"{row['judge']}: agrees with people on {row['agreement']:.0%} of {row['n']} answers "
            f"({row['within_one']:.0%} within one grade); kappa {told}, weighted {near}; it grades "
            f"{row['bias']:+.2f} on average; {row['failures']} calls gave no grade."
        )
        said.append("people \\ judge  " + "".join(f"{g:>6}" for g in range(1, GRADES + 1)))
        said += [
            f"{g:>14}  " + "".join(f"{n:>6}" for n in counts)
            for g, counts in enumerate(row["confusion"], 1)
        ]
    return said
