"""The controls of a comparison as figures name them: a number, a family, and who stands out.

Twenty-five curves cannot all be read. Three kinds are: `none`, the recommended control,
and the best of each family by late stability; the rest stay in the background, findable
by their numbers, which are the table's.

This module knows rows and names. It draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.report.words import between, ends, known, number, signed, signed_span

FAMILIES = {
    "none": "no control",
    "window": "window: the last N messages",
    "reminder": "reminder: the prompt said again",
    "guidance": "guidance: against the chat without persona",
    "split-softmax": "split-softmax: share to the power k",
    "boost": "boost: share’s odds times M",
    "spotlight": "spotlight: share raised to τ",
    "anchor": "anchor: the persona just before the turn",
    "joined": "two controls joined",
    "other": "other",
}


@dataclass(frozen=True)
class Contender:
    """One row of the comparison.

    `leads` says that none of its family has a higher late score; `of` how many conversations
    there are, where it may be scored on some only.
    """

    number: int
    name: str
    family: str
    row: Mapping[str, Any]
    recommended: bool
    leads: bool
    of: int = 0

    @property
    def plain(self) -> bool:
        """Whether this is `none`."""
        return self.number == 1

    @property
    def named(self) -> bool:
        """Whether curves carry its name."""
        return self.plain or self.recommended or self.leads

    @property
    def kind(self) -> str:
        """CSS classes: its family and its part."""
        part = "best" if self.recommended else "plain" if self.plain else ""
        part = part or ("fore" if self.leads else "thin")
        return f"f-{self.family} {part}"

    def value(self, field: str) -> float | None:
        """A number of its row, None where it is missing."""
        return known(self.row.get(field))

    def span(self, field: str) -> tuple[float, float] | None:
        """An interval of its row."""
        return ends(self.row.get(field))

    @property
    def terms(self) -> str:
        """What sets its row apart from none's: conversations not scored, no system prompt."""
        n, said = int(self.row.get("n") or 0), []
        if n < self.of:
            said.append(f"scored on {n} of {self.of}: it was trained on no other persona")
        if self.row.get("system_prompt") == "dropped":
            said.append("no system prompt")
        return "; ".join(said)

    def note(self) -> str:
        """What the pointer shows: every number of the row in five lines."""
        row, lines = self.row, [f"{self.number} {self.name}"]
        for name, field, band in (
            ("stability", "stability", "interval"),
            ("late", "late_stability", "late_interval"),
            ("capability", "capability", "capability_interval"),
        ):
            if self.value(field) is not None:
                lines.append(f"{name} {number(row[field])} ({between(row.get(band))})")
        if not self.plain and self.value("late_delta") is not None:
            there = signed_span(row.get("late_delta_interval"))
            lines.append(f"late against none {signed(row['late_delta'])} ({there})")
        if (tokens := self.value("tokens_per_reply")) is not None:
            lines.append(f"{tokens:,.0f} tokens a reply")
        return "\n".join(lines)


def family(text: str) -> str:
    """The family of a control, from its text alone."""
    parts = text.split("+")
    head = parts[0].partition("@")[0].partition(":")[0].strip()
    if len(parts) > 1:
        return "joined"
    return head if head in FAMILIES else "other"


def contenders(
    summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] | None = None
) -> list[Contender]:
    """The rows in their order, numbered from 1; by default those of the longest length."""
    found = list(summary["rows"])
    best: dict[str, tuple[float, str]] = {}
    for row in found:
        mine = (known(row["late_stability"]) or 0.0, str(row["control"]))
        of = family(row["control"])
        if of not in best or mine[0] > best[of][0]:
            best[of] = mine
    return [
        Contender(
            place,
            str(row["control"]),
            family(row["control"]),
            row,
            row["control"] == summary["recommended"],
            best.get(family(row["control"]), (0.0, ""))[1] == row["control"],
            summary["conversations"] if "prism:" in str(row["control"]) else 0,
        )
        for place, row in enumerate(found if rows is None else rows, 1)
    ]


def rival(found: Sequence[Contender]) -> Contender | None:
    """Whom to set beside none: the recommended, or where that is none the best of the others."""
    others = [c for c in found if not c.plain]
    chosen = next((c for c in others if c.recommended), None)
    return chosen or max(others, key=lambda c: c.value("late_stability") or 0.0, default=None)


def short(name: str, most: int = 30) -> str:
    """The name, cut where it would not fit a drawing."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def late_rounds(length: int) -> str:
    """The last quarter of rounds 1…R in words: "rounds 7 and 8"."""
    first = length - -(-length // 4) + 1
    if first == length:
        return f"round {length}"
    return f"rounds {first} {'and' if first + 1 == length else 'to'} {length}"
