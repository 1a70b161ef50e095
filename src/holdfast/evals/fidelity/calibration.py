"""How far a judge agrees with people: agreement, confusion and kappa on answers both graded.

A CSV file has a row for each answer, with the columns

    score                      what a person gave it, a whole number from 1 to 5
    persona, question, answer  what was graded, and `task`, one of PersonaGym's
    judge_score                optional: a judge's grade; with it no judge is asked

With p_ij the share of answers that the person graded i and the judge j, and their marginals,

    agreement = Σ p_ii      kappa = 1 - Σ w_ij p_ij / Σ w_ij p_i. p_.j

with w = [i ≠ j] for Cohen's kappa, and (i - j)² for the weighted one, which forgives a near miss
(Cohen 1960, 1968). Kappa is None where chance alone would always agree. An answer for which a call
gave no grade is left out of the table; `graded` is the share of answers that are in it.

This module knows a file and a judge. It knows no run of `fidelity`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError, suggestion
from holdfast.core.intervals import Sample
from holdfast.core.run import Run
from holdfast.core.stats import Array, numbers
from holdfast.core.version import __version__
from holdfast.evals.fidelity import questionnaire
from holdfast.evals.fidelity.answers import grade
from holdfast.evals.fidelity.questionnaire import GRADES
from holdfast.evals.fidelity.settings import CALL, PROMPT, check_count
from holdfast.judge.rubric import Item, Verdict
from holdfast.persona.files import read_text
from holdfast.results.calibration import (
    Agreement,
    CalibrationManifest,
    CalibrationSummary,
    CalibrationVerdict,
    JudgeAgreement,
    Label,
    TaskAgreement,
)

_COLUMNS = ("persona", "task", "question", "answer", "score")
_GAP = np.subtract.outer(np.arange(float(GRADES)), np.arange(GRADES))
"""The person's grade less the judge's, (person, judge)."""
_SHARES = {"agreement": (_GAP == 0).astype(float), "within_one": (abs(_GAP) <= 1).astype(float)}
_KAPPAS = {"kappa": (_GAP != 0).astype(float), "weighted_kappa": _GAP**2}
FEWEST_BY_CHANCE = 12
"""Answers that chance would grade differently; from fewer, kappa's interval does not cover."""
KAPPA_NOTE = (
    "No interval of kappa: nearly all grades are alike, and by chance fewer than "
    f"{FEWEST_BY_CHANCE} answers would be graded differently."
)


def read(path: Path, *, with_judge: bool = True) -> tuple[Label, ...]:
    """Read the labels of a CSV file.

    Args:
        path: the file.
        with_judge: whether a judge grades the answers; without one, the columns score and
            judge_score are enough.

    Raises:
        HoldfastError: names the file and the line.
    """
    text = read_text(path, "labels", "name a CSV file")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        rows = [(row, reader.line_num) for row in reader]  # the line that the row ends on
    except csv.Error as error:
        raise HoldfastError(f"{path} is not CSV ({error}).") from error
    if not rows:
        raise HoldfastError(f"{path} holds no labels: write a header and a row for each answer.")
    if not with_judge and "judge_score" not in rows[0][0]:
        raise HoldfastError(
            f"{path} has no judge_score: name the judge with `judge_model`, or add that column."
        )
    for name in _COLUMNS if with_judge else ("score",):
        if name not in rows[0][0]:
            raise HoldfastError(f"{path} has no column {name!r}: write {', '.join(_COLUMNS)}.")
    return tuple(_label(row, f"{path}, line {line}", with_judge) for row, line in rows)


def _label(row: Mapping[str, str | None], where: str, with_judge: bool) -> Label:
    task, judge_score = questionnaire.task_name(row.get("task") or ""), row.get("judge_score")
    if with_judge and task not in questionnaire.tasks():
        hint = suggestion(task, questionnaire.tasks())
        raise HoldfastError(f"{where}: there is no task {task!r}: {hint}")
    return Label(
        _grade(row.get("score"), where),
        _grade(judge_score, where) if (judge_score or "").strip() else None,
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
    out: Path | str | None = None,
) -> CalibrationSummary:
    """Compare judges with people, as `holdfast fidelity --calibrate FILE` does.

    Args:
        path: the CSV file of labels.
        judges: models that grade the answers, each by the mean of its calls, a half rounded down;
            without any, the file's column judge_score is compared.
        calls: calls of each judge for an answer.
        out: folder of the run, which the same call resumes.

    Raises:
        HoldfastError: the file is wrong, it has no grades and no judge is named, or judges are to
            be called less than once.
    """
    check_count(calls, CALL)
    labels = read(Path(path), with_judge=bool(judges))
    judge_cards = tuple(judge.describe() for judge in judges)
    manifest = CalibrationManifest("calibration", __version__, judge_cards, labels, calls)
    run: Run[dict[str, object], CalibrationVerdict] = Run(out, manifest, dict, CalibrationVerdict)
    rows: list[JudgeAgreement] = []
    for judge in judges:
        verdicts = _verdicts(run, judge, labels, calls)
        grades = [_mean_grade(verdict.grades) for verdict in verdicts]
        failures = sum(call is None for verdict in verdicts for call in verdict.grades)
        rows.append(_row(judge.name, labels, grades, failures))
    if not judges:
        grades = [label.judge_score for label in labels]
        rows.append(_row("judge_score", labels, grades, grades.count(None)))
    summary = CalibrationSummary(len(labels), tuple(rows))
    run.finish(summary)
    return summary


def _row(
    name: str, labels: Sequence[Label], grades: Sequence[int | None], failures: int
) -> JudgeAgreement:
    return JudgeAgreement(judge=name, agreement=agreement(labels, grades), failures=failures)


def _verdicts(
    run: Run[dict[str, object], CalibrationVerdict],
    judge: Backend,
    labels: Sequence[Label],
    calls: int,
) -> list[CalibrationVerdict]:
    """The judge's verdicts, in order of the labels; those on record are not asked for again."""
    items = [
        (i, one.task, Item(PROMPT.format(persona=one.persona), one.question, one.answer))
        for i, one in enumerate(labels)
    ]

    def record(label: int, verdict: Verdict) -> CalibrationVerdict:
        return CalibrationVerdict(label, judge.name, verdict.grades, verdict.why)

    grade(judge, calls, items, run.verdict_file, record, attrgetter("label"))
    by_label = {one.label: one for one in run.verdicts if one.judge == judge.name}
    return [by_label[i] for i in range(len(labels))]


def _mean_grade(grades: Sequence[int | None]) -> int | None:
    """One grade of several calls; None where any gave none. An empty answer was not asked: 1."""
    if None in grades:
        return None
    there = [one for one in grades if one is not None]
    return int(np.ceil(sum(there) / len(there) - 0.5)) if there else 1


# --- equations ------------------------------------------------------------------


def agreement(labels: Sequence[Label], grades: Sequence[int | None]) -> Agreement:
    """How far a judge's grades agree with those of people; intervals are over answers.

    Args:
        labels: what people graded.
        grades: the judge's grades; None where it gave none.

    Raises:
        HoldfastError: the judge gave no grade at all.
    """
    pairs = [(one, judge) for one, judge in zip(labels, grades, strict=True) if judge is not None]
    if not pairs:
        raise HoldfastError("the judge gave no grade at all: see verdicts.jsonl for what it said.")
    ones = np.zeros((len(pairs), GRADES, GRADES))
    for row, (label, judge) in enumerate(pairs):
        ones[row, label.score - 1, judge - 1] = 1
    intervals = {f"{name}_interval": numbers(one) for name, one in _intervals(ones).items()}
    by_task = {
        task: TaskAgreement(n=len(rows), **statistics(ones[rows].mean(axis=0)))
        for task in questionnaire.tasks()
        if (rows := [i for i, (label, _) in enumerate(pairs) if label.task == task])
    }
    return Agreement(
        n=len(pairs),
        graded=round(len(pairs) / len(labels), 4),
        **statistics(ones.mean(axis=0)),
        **intervals,
        confusion=ones.sum(axis=0).astype(int).tolist(),
        by_task=by_task,
        interval_note=KAPPA_NOTE if few_by_chance(ones.mean(axis=0), len(pairs)) else None,
    )


def _intervals(ones: Array) -> dict[str, Array]:
    """Intervals of `statistics`, from one table with a single 1 for each answer.

    That of kappa is MOVER's for the disagreement over that by chance. By chance an answer adds
    the person's grade against the judge's marginals and the reverse, less the mean of both.
    """
    sample, shares = Sample(len(ones)), ones.mean(axis=0)

    def each(weights: Array) -> Array:
        return np.asarray((ones * weights).sum(axis=(1, 2)))

    def kappa_interval(weights: Array) -> Array:
        if few_by_chance(shares, len(ones)):
            return np.full(2, np.nan)
        weights = weights / weights.max()
        rows, columns = ones.sum(axis=2), ones.sum(axis=1)
        by_person = rows @ weights @ shares.sum(axis=0)
        chance = by_person + columns @ weights.T @ shares.sum(axis=1)
        return 1 - sample.quotient_interval(each(weights), chance - by_person.mean())[::-1]

    return {
        **{name: sample.score_interval(each(weights)) for name, weights in _SHARES.items()},
        **{name: kappa_interval(weights) for name, weights in _KAPPAS.items()},
        "bias": sample.mean_interval(each(-_GAP)),
    }


def statistics(shares: Array) -> dict[str, Any]:
    """Agreement, kappa and bias of a table; None where it does not determine one.

    Args:
        shares: shares of answers, (person's grade, judge's grade).
    """
    values = {
        **{name: (shares * weights).sum() for name, weights in _SHARES.items()},
        **{name: kappa(shares, weights) for name, weights in _KAPPAS.items()},
        "bias": (shares * -_GAP).sum(),
    }
    return {name: numbers(np.asarray(value)) for name, value in values.items()}


def few_by_chance(shares: Array, n: int) -> bool:
    """Whether too few of n answers would be graded differently by chance for an interval."""
    alike = float(shares.sum(axis=0) @ shares.sum(axis=1))
    return n * (1 - alike) < FEWEST_BY_CHANCE


def kappa(shares: Array, weights: Array) -> float:
    """1 less the disagreement over that by chance; NaN where chance never disagrees.

    Args:
        shares: shares of answers, (person's grade, judge's grade).
        weights: how much two grades disagree, in the same shape.
    """
    by_chance = float((weights * np.outer(shares.sum(axis=1), shares.sum(axis=0))).sum())
    return 1 - float((weights * shares).sum()) / by_chance if by_chance > 0 else float("nan")


def sentences(summary: CalibrationSummary) -> list[str]:
    """The result in words, with the confusion as a table."""
    lines = []
    for judge in summary.judges:
        row = judge.agreement
        low, high = row.kappa_interval
        kappa = "undefined" if row.kappa is None else f"{row.kappa:.2f}"
        kappa += f" [{low:.2f}, {high:.2f}]" if low is not None and row.kappa is not None else ""
        weighted_kappa = "undefined" if row.weighted_kappa is None else f"{row.weighted_kappa:.2f}"
        lines.append(
            f"{judge.judge}: agrees with people on {row.agreement:.0%} of {row.n} answers "
            f"({row.within_one:.0%} within one grade); kappa {kappa}, weighted {weighted_kappa}; "
            f"it grades {row.bias:+z.2f} on average; {judge.failures} calls gave no grade."
        )
        lines += [row.interval_note] if row.interval_note else []
        lines.append("people \\ judge  " + "".join(f"{g:>6}" for g in range(1, GRADES + 1)))
        lines += [
            f"{g:>14}  " + "".join(f"{n:>6}" for n in counts)
            for g, counts in enumerate(row.confusion, 1)
        ]
    return lines
