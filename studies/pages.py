"""Tables for docs/studies/controls.md: rows of the studies as Markdown, put between marks.

    <!-- table NAME --> … <!-- end NAME -->

This module knows rows and Markdown, not where the numbers come from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError

Row = Mapping[str, Any]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def number(value: float | None, signed: bool = False) -> str:
    """Two places, without the leading zero."""
    if value is None:
        return "–"
    text = f"{abs(value):.2f}".removeprefix("0")
    if text == ".00":
        return text
    return ("−" if value < 0 else "+" if signed else "") + text


def with_band(row: Row, value: str, band: str, signed: bool = False) -> str:
    """A number and its interval."""
    if row[value] is None:
        return "–"
    low, high = (number(end, signed) for end in row[band])
    return f"{number(row[value], signed)} [{low}, {high}]"


def code(text: str) -> str:
    return f"`{text}`"


def best(cells: Sequence[float | None]) -> list[str]:
    """Numbers of one column, the highest in bold where they are not all alike."""
    values = {round(c, 2) for c in cells if c is not None}
    top = max(values) if len(values) > 1 else None
    return [
        f"**{number(c)}**" if c is not None and round(c, 2) == top else number(c) for c in cells
    ]


def main_table(rows: Sequence[Row], by_seed: Mapping[str, Mapping[str, Row]]) -> str:
    """Stability, late stability and capability with intervals, and what they cost."""
    lines = [
        [
            code(r["control"]),
            with_band(r, "stability", "interval"),
            with_band(r, "late_stability", "late_interval"),
            with_band(r, "late_delta", "late_delta_interval", signed=True),
            ", ".join(number(of[r["control"]]["late_stability"]) for of in by_seed.values()),
            with_band(r, "capability", "capability_interval"),
            with_band(r, "capability_delta", "capability_delta_interval", signed=True),
            f"{r['tokens_per_reply']:.0f}",
            number(r["relative_ms_per_token"]),
            "yes" if r["pareto"] else "",
        ]
        for r in rows
    ]
    head = ["control", "stability", "late", "late − none's", "late by seed", "capability"]
    head += ["capability − none's", "tokens a reply", "time a token ÷ none's", "Pareto"]
    return table(head, lines)


def columns(rows: Sequence[Row], of: str) -> str:
    """A table of one of the rows' tables (by category, by kind), the best of a column in bold."""
    names = list(rows[0][of])
    cells = [best([r[of][name] for r in rows]) for name in names]
    lines = [[code(r["control"]), *(c[i] for c in cells)] for i, r in enumerate(rows)]
    return table(["control", *names], lines)


def lengths(by_rounds: Mapping[str, Sequence[Row]], value: str) -> str:
    """One number by length of the conversation, the best of a column in bold."""
    cells = [best([_value(r, value) for r in rows]) for rows in by_rounds.values()]
    controls = [r["control"] for r in next(iter(by_rounds.values()))]
    lines = [[code(control), *(c[i] for c in cells)] for i, control in enumerate(controls)]
    return table(["control", *(f"{n} rounds" for n in by_rounds)], lines)


def _value(row: Row, name: str) -> float | None:
    value: float | None = row["capability_by_kind"].get(name) if name not in row else row[name]
    return value


def development(rows: Sequence[Row], settings: Mapping[str, str]) -> str:
    """The rows that settings were chosen on."""
    lines = [
        [
            code(r["control"]),
            number(r["stability"]),
            number(r["late_stability"]),
            number(r["capability"]),
            "chosen" if r["control"] in settings.values() else "",
        ]
        for r in rows
    ]
    return table(["control", "stability", "late", "capability", ""], lines)


def prompts(by_prompt: Mapping[str, Sequence[Row]], controls: Sequence[str]) -> str:
    """Some controls by the length of the agent's prompt."""
    lines = []
    for name, rows in by_prompt.items():
        for r in (r for r in rows if r["control"] in controls):
            late = with_band(r, "late_stability", "late_interval")
            delta = with_band(r, "late_delta", "late_delta_interval", signed=True)
            cells = [name, str(r["n"]), code(r["control"]), number(r["stability"]), late, delta]
            lines.append(cells)
    return table(["prompt", "n", "control", "stability", "late", "late − none's"], lines)


def tables(whole: Row) -> dict[str, str]:
    """Every table that the summary of `controls.py report` fills, by name."""
    last = whole["by_rounds"][str(whole["lengths"][-1])]
    return {
        "development": development(whole["development"], whole["chosen"]),
        "main": main_table(last, whole["by_seed"]),
        "category": columns(last, "by_category"),
        "kind": columns(last, "capability_by_kind"),
        "late-by-length": lengths(whole["by_rounds"], "late_stability"),
        "capability-by-length": lengths(whole["by_rounds"], "capability"),
        "recall-by-length": lengths(whole["by_rounds"], "recall"),
        "prompt": prompts(whole["by_prompt"], ("none", "anchor", "reminder:1")),
    }


def rivals(folder: Path) -> dict[str, str]:
    """Tables of the other studies' JSON lines in a folder, of those that are there."""
    by_name = {}
    for path in sorted(folder.glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        parts: dict[str, list[Row]] = {}
        for line in lines:
            parts.setdefault(line["part"], []).append(line)
        for part, of in parts.items():
            by_name[path.stem if part in ("rows", "reported") else f"{path.stem}-{part}"] = _rows(
                of
            )
    return by_name


def _rows(rows: Sequence[Row]) -> str:
    """Rows as the studies print them: of arms, of gains, or of training."""
    first = rows[0]
    if "divergence" in first:
        lines = [
            [
                code(r["persona"]),
                str(r["replies"]),
                *(f"{d:.4f}" for d in r["divergence"].values()),
                f"{r['seconds']:.0f}",
            ]
            for r in rows
        ]
        return table(["persona", "replies", "KL, first step", "KL, last steps", "seconds"], lines)
    names = ["variant"] if "variant" in first else []
    if "control" not in first:
        lines = [
            [
                code(r["variant"]),
                with_band(r, "late", "late_interval", signed=True),
                with_band(r, "late_beyond_control", "late_beyond_control_interval", signed=True),
            ]
            for r in rows
        ]
        return table(["variant", "anchor's late gain", "beyond control's"], lines)
    lines = [
        [
            *(code(r[name]) for name in names),
            code(r["control"]),
            str(r["n"]),
            with_band(r, "stability", "interval"),
            with_band(r, "late_stability", "late_interval"),
            with_band(r, "late_delta", "late_delta_interval", signed=True),
            with_band(r, "capability", "capability_interval"),
        ]
        for r in rows
    ]
    head = [*names, "control", "n", "stability", "late", "late − none's", "capability"]
    return table(head, lines)


def fill(page: Path, by_name: Mapping[str, str]) -> None:
    """Put every table between its marks; marks without a table keep what they hold."""
    text = page.read_text(encoding="utf-8")
    marks = set(re.findall(r"<!-- table (\S+) -->", text))
    if not marks:
        raise HoldfastError(f"{page} has no marks to put tables between; see studies/pages.py")
    for name in sorted(marks & by_name.keys()):
        head, opening, rest = text.partition(f"<!-- table {name} -->\n")
        _, closing, tail = rest.partition(f"<!-- end {name} -->")
        if not closing:
            raise HoldfastError(f"{page} opens the table {name} and does not end it")
        text = f"{head}{opening}\n{by_name[name]}\n\n{closing}{tail}"
    page.write_text(text, encoding="utf-8")
