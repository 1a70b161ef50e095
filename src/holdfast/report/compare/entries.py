"""The controls of a comparison as the page names them: a number, a family, and who stands out.

A reader cannot follow twenty-five curves. Figures name three kinds: `none`, the recommended
control, and the best of each family by late stability. The others stay in the background; a
reader finds them by their numbers, which are those of the table.

This module knows rows and names. It draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.report.words import between, number, signed_number, signed_span
from holdfast.results.compare import CompareSummary, ControlRow, Interval

FAMILIES = {
    "none": "no control",
    "window": "window: the last N messages",
    "reminder": "reminder: the prompt said again",
    "note": "note: the prompt d messages before the end",
    "auto": "auto: a control only while the persona slips",
    "guidance": "guidance: against the chat without persona",
    "split-softmax": "split-softmax: share to the power k",
    "boost": "boost: share’s odds times M",
    "spotlight": "spotlight: share raised to τ",
    "restore": "restore: the share of the empty history",
    "anchor": "anchor: the persona just before the turn",
    "joined": "two controls joined",
    "other": "other",
}


@dataclass(frozen=True)
class Measure:
    """One of a row's measures: where its value, its difference from none and intervals are."""

    name: str
    value: Callable[[ControlRow], float | None]
    interval: Callable[[ControlRow], Interval | None]
    delta: Callable[[ControlRow], float | None] = lambda _: None
    delta_interval: Callable[[ControlRow], Interval | None] = lambda _: None


STABILITY = Measure(
    "stability",
    lambda row: row.stability,
    lambda row: row.interval,
    lambda row: row.delta,
    lambda row: row.delta_interval,
)
LATE = Measure(
    "late stability",
    lambda row: row.late_stability,
    lambda row: row.late_interval,
    lambda row: row.late_delta,
    lambda row: row.late_delta_interval,
)
CAPABILITY = Measure(
    "capability",
    lambda row: row.capability,
    lambda row: row.capability_interval,
    lambda row: row.capability_delta,
    lambda row: row.capability_delta_interval,
)
TOKENS = Measure("tokens a reply", lambda row: row.tokens_per_reply, lambda _: None)


@dataclass(frozen=True)
class ControlEntry:
    """One row of the comparison with what the page adds to it."""

    number: int
    """Its place in the table, from 1."""
    family: str
    row: ControlRow
    recommended: bool
    leads: bool
    """Whether none of its family has a higher late score."""
    of: int = 0
    """How many conversations there are."""

    @property
    def name(self) -> str:
        """The control as it was written."""
        return self.row.control

    @property
    def plain(self) -> bool:
        """Whether this is `none`."""
        return self.number == 1

    @property
    def has_label(self) -> bool:
        """Whether curves carry its name."""
        return self.stands_out or self.leads

    @property
    def stands_out(self) -> bool:
        """Whether curves draw it with its intervals."""
        return self.plain or self.recommended

    @property
    def css(self) -> str:
        """CSS classes: its family and its part."""
        part = "best" if self.recommended else "plain" if self.plain else ""
        part = part or ("fore" if self.leads else "thin")
        return f"f-{self.family} {part}"

    @property
    def remark(self) -> str:
        """What sets its row apart from none's: conversations not scored, no system prompt."""
        remarks = [some] if (some := scored_on(self.row, self.of)) else []
        if self.row.system_prompt == "dropped":
            remarks.append("no system prompt")
        return "; ".join(remarks)

    def tooltip(self) -> str:
        """Every number of the row in a few lines."""
        row, lines = self.row, [f"{self.number} {self.name}"]
        for name, measure in (("stability", STABILITY), ("late", LATE), ("capability", CAPABILITY)):
            if measure.value(row) is not None:
                lines.append(
                    f"{name} {number(measure.value(row))} ({between(measure.interval(row))})"
                )
        if not self.plain and row.late_delta is not None:
            change = signed_number(row.late_delta, row.late_delta_interval)
            lines.append(f"late against none {change} ({signed_span(row.late_delta_interval)})")
        if row.tokens_per_reply is not None:
            lines.append(f"{row.tokens_per_reply:,.0f} tokens a reply")
        return "\n".join(lines)


def scored_on(row: ControlRow, of: int) -> str | None:
    """Of how many conversations its numbers are; None where they are of all.

    Args:
        row: the control's row.
        of: conversations of the run.
    """
    if row.n < of and "prism:" in row.control:
        return f"scored on {row.n} of {of}: it was trained on no other persona"
    late = row.n if row.late_n is None else row.late_n
    if late < of:
        return f"scored on {row.n} of {of}, late on {late}: the others did not fit the context"
    return None


def family(control: str) -> str:
    """The family of a control, from its text alone."""
    parts = control.split("+")
    name = parts[0].partition("@")[0].partition(":")[0].strip()
    if len(parts) > 1:
        return "joined"
    return name if name in FAMILIES else "other"


def control_entries(summary: CompareSummary) -> list[ControlEntry]:
    """The rows of the longest length in their order, numbered from 1."""
    by_late = sorted(summary.rows, key=lambda row: (row.late_stability or 0.0, row.control))
    leaders = {family(row.control): row for row in by_late}  # the last of a family is the best
    return [
        ControlEntry(
            place,
            family(row.control),
            row,
            place > 1 and row.control == summary.recommended,  # none is no advice against controls
            leaders[family(row.control)].control == row.control,
            summary.setting.conversations,
        )
        for place, row in enumerate(summary.rows, 1)
    ]


def counterpart(entries: Sequence[ControlEntry]) -> ControlEntry | None:
    """The control shown beside none: the recommended, or where that is none the best other."""
    others = [entry for entry in entries if not entry.plain]
    choice = next((entry for entry in others if entry.recommended), None)
    return choice or max(others, key=lambda e: e.row.late_stability or 0.0, default=None)


def short(name: str, most: int = 30) -> str:
    """The name, cut where it would not fit a drawing."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def late_rounds(length: int) -> str:
    """The last quarter of rounds 1…R in words: "rounds 7 and 8"."""
    first = length - -(-length // 4) + 1
    if first == length:
        return f"round {length}"
    return f"rounds {first} {'and' if first + 1 == length else 'to'} {length}"
