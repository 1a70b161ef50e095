"""What `holdfast fidelity --calibrate` records and finds: how far judges agree with people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.records import inline_field, optional_field
from holdfast.results.interval import Interval


@dataclass(frozen=True)
class Label:
    """An answer that a person graded, and maybe a judge."""

    score: int
    """The person's grade."""
    judge_score: int | None = None
    """A judge's grade, where the file has one."""
    persona: str = ""
    """Description of the person that was played."""
    task: str = ""
    question: str = ""
    """What was asked."""
    answer: str = ""


@dataclass(frozen=True)
class CalibrationManifest:
    """What determines the verdicts."""

    command: str
    version: str
    """Version of Holdfast."""
    judges: tuple[Mapping[str, Any], ...]
    """The judge models as their backends describe them."""
    labels: tuple[Label, ...]
    """The labels in full."""
    calls: int
    """Calls of each judge for an answer."""


@dataclass(frozen=True)
class CalibrationVerdict:
    """A judge's grades of a labelled answer."""

    label: int
    """Index of the label."""
    judge: str
    """Name of the judge model."""
    grades: tuple[int | None, ...]
    """The grade of each call; None where a call gave none."""
    why: str
    """The judge's reason."""


@dataclass(frozen=True)
class Agreement:
    """How far a judge's grades agree with people's."""

    n: int
    """Answers that both graded."""
    graded: float
    """Their share of all labels."""
    agreement: float
    """Share of answers with the same grade."""
    agreement_interval: Interval
    """Its 95% interval over answers."""
    within_one: float
    """Share of answers whose grades are at most one apart."""
    within_one_interval: Interval
    """Its 95% interval over answers."""
    kappa: float | None
    """Cohen's kappa; None where chance alone would always agree."""
    kappa_interval: Interval
    """Its 95% interval over answers."""
    weighted_kappa: float | None
    """Kappa with squared distances."""
    weighted_kappa_interval: Interval
    """Its 95% interval over answers."""
    bias: float
    """How much higher than people the judge grades, on average."""
    bias_interval: Interval
    """Its 95% interval over answers."""
    confusion: tuple[tuple[int, ...], ...]
    """Answers by grade: the person's down, the judge's across."""
    by_task: Mapping[str, TaskAgreement]
    """The same numbers in each task."""
    interval_note: str | None = optional_field()
    """Why kappa has no interval, where it has none."""


@dataclass(frozen=True)
class TaskAgreement:
    """How far a judge agrees with people in one task."""

    n: int
    """Answers that both graded."""
    agreement: float
    """Share of answers with the same grade."""
    within_one: float
    """Share of answers whose grades are at most one apart."""
    kappa: float | None
    """Cohen's kappa."""
    weighted_kappa: float | None
    """Kappa with squared distances."""
    bias: float
    """How much higher than people the judge grades, on average."""


@dataclass(frozen=True, kw_only=True)
class JudgeAgreement:
    """The agreement of one judge."""

    judge: str
    """Name of the judge, or "judge_score" for the column of the file."""
    agreement: Agreement = inline_field()
    """How far it agrees with people."""
    failures: int
    """Calls that gave no grade."""


@dataclass(frozen=True)
class CalibrationSummary:
    """What `holdfast fidelity --calibrate FILE --json` prints."""

    labels: int
    """Answers that people graded."""
    judges: tuple[JudgeAgreement, ...]
