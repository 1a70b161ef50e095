"""What a judge model said of a reply, for the commands that have one judge by a rubric."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JudgeVerdict:
    """A judge model's score of one answer."""

    answer: tuple[int | str, ...]
    """What identifies the answer among the records of its run."""
    value: float
    """The score, from 0 to 1."""
    why: str
    """The judge's reason."""
    failures: int
    """Calls of the judge that could not be read as a score."""
    judge: str
    """Name of the judge model."""


@dataclass(frozen=True)
class VerdictCount:
    """How much of a run a judge model scored."""

    judge: str
    """Name of the judge model."""
    n: int
    """Answers that it scored."""
    failures: int
    """Calls that could not be read as a score."""
