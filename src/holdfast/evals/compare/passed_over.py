"""Why a recommendation passes over a control that the table of a comparison has higher.

The table is over all conversations and the choice is made on half of them, so a reader finds
higher controls there. This module knows rows and names; `recommendation` makes the choice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from holdfast.report.compare.sentences import times_of_none
from holdfast.results.compare import ControlRow

LOSS = 0.02
"""Loss of capability; a control that clearly loses more is left out."""


@dataclass(frozen=True)
class ControlChoice:
    """The able control to use, and those that it was chosen of, by their names."""

    control: str
    best: str | None
    """The best able control other than `none`."""
    as_good: Collection[str] = ()
    """Those as good as the best."""
    cheap: Collection[str] = ()
    """Of these, those that no cost tells from the cheapest."""


def passed_over(
    choice: ControlChoice, rows: Sequence[ControlRow], able: Collection[str], choosing: int
) -> str:
    """Why not the control that a reader finds higher in the table, and that loses no capability.

    Args:
        choice: the control that is recommended, and of which.
        rows: those over all conversations, which the table has.
        able: the controls that could be chosen.
        choosing: conversations to choose on.
    """
    of = {row.control: row for row in rows}
    chosen = of.pop(choice.control)
    rivals = [row for row in of.values() if row.n >= rows[0].n and not _clearly_falls(row)]
    top = max(rivals, key=late)
    if round(late(top), 2) <= round(late(chosen), 2):
        return ""
    if top.control not in able:
        why = f"on some of them it clearly loses more than {LOSS:.2f} of capability"
    elif top.control not in choice.as_good:
        why = f"the {choosing} to choose on show it below the best"
    elif top.control not in choice.cheap:
        why = (
            f"of controls that the {choosing} to choose on do not tell from the best, compare "
            "takes the cheapest"
        )
    else:
        why = (
            f"on the {choosing} to choose on both are as good as the best and cost alike, and "
            f"{chosen.control} is at least as high"
        )
    figures = [f"{late(top):.2f} against {late(chosen):.2f}", *costs(top)]
    return f" Over all conversations {top.control} ends higher, {', '.join(figures)}: {why}."


def _clearly_falls(row: ControlRow) -> bool:
    """Whether the interval of its change in capability lies below 0."""
    interval = row.capability_delta_interval
    return interval is not None and interval[1] < 0


def late(row: ControlRow) -> float:
    """Late stability; 0 where it was not measured."""
    return row.late_stability or 0.0


def costs(row: ControlRow) -> list[str]:
    """What it costs; nothing where that was not measured."""
    times = times_of_none(row)
    return [f"at {times}"] if times else []
