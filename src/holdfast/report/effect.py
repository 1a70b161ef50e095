"""The page of an effect study: a heat map per model and place, and the pairs behind its cells.

A cell's shade says how large a difference is, its colour the sign, and a mark that the
interval leaves out 0. A cell leads to the replies with and without the persona that
differ most in score; all of them are in the run's records.

This module knows the summary and the pairs. It knows no charts: the map is a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.report import html as shell
from holdfast.report.transcript import said
from holdfast.report.words import known, number, quantity, signed, signed_span

Summary = Mapping[str, Any]
Pairs = Mapping[str, Sequence[Mapping[str, Any]]]
_PLACES = {"system": "In the system prompt", "user": "Before the user’s first message"}
_SHADES = (0.02, 0.05, 0.1, 0.2)  # differences from which on a cell is a shade darker


def write_effect(summary: Summary, pairs: Pairs, path: Path) -> None:
    """Write the page. Raises `RunError` where the file cannot be written."""
    shell.save(render(summary, pairs), path)


def render(summary: Summary, pairs: Pairs) -> str:
    """The page as text."""
    maps = [
        _map(summary, model, place)
        for model in summary["models"]
        for place in dict.fromkeys(row["placement"] for row in summary["rows"])
    ]
    return shell.fill(
        "effect.html.j2",
        s=summary,
        headline=_headline(summary),
        maps=maps,
        cells=list(_cells(summary, pairs)),
        matrix=_matrix(summary),
    )


def _headline(summary: Summary) -> str:
    models = summary["models"]
    told = [f"{summary['advice'][model]}".rstrip(".") for model in models]
    return (
        told[0] if len(models) == 1 else f"What a persona does to {quantity(len(models), 'model')}"
    )


def _columns(rows: Sequence[Summary]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["persona"], row["length"]) for row in rows))


def _map(summary: Summary, model: str, place: str) -> dict[str, Any]:
    """A heat map: categories down, kinds of persona and their lengths across."""
    mine = [r for r in summary["rows"] if (r["model"], r["placement"]) == (model, place)]
    whole = [r for r in summary["overall"] if (r["model"], r["placement"]) == (model, place)]
    columns = _columns(mine)
    groups = [
        (kind, sum(c[0] == kind for c in columns)) for kind in dict.fromkeys(c[0] for c in columns)
    ]
    rows = []
    for category in [*dict.fromkeys(r["category"] for r in mine), "all"]:
        held = {
            (r["persona"], r["length"]): r for r in (*mine, *whole) if r["category"] == category
        }
        base = next(iter(held.values()))["base"]
        cells = [_cell(held.get(column)) for column in columns]
        rows.append({"category": category, "base": number(base), "cells": cells})
    return {
        "model": model,
        "place": _PLACES[place],
        "groups": groups,
        "lengths": [length for _, length in columns],
        "rows": rows,
    }


def _cell(row: Summary | None) -> dict[str, Any] | None:
    if row is None or known(row["delta"]) is None:
        return None
    low, high = row["interval"]
    shade = sum(abs(row["delta"]) >= least for least in _SHADES)
    return {
        "delta": signed(row["delta"]),
        "interval": signed_span(row["interval"]),
        "n": row["n"],
        "shade": f"{'up' if row['delta'] > 0 else 'down'}-{shade}" if shade else "level",
        "told": low > 0 or high < 0,
        "key": _key(row) if row["category"] != "all" else "",
    }


def _key(row: Summary) -> str:
    return "/".join(
        (row["model"], row["category"], row["persona"], row["length"], row["placement"])
    )


def _cells(summary: Summary, pairs: Pairs) -> Iterator[dict[str, Any]]:
    """The pairs behind every cell, texts in two parts."""
    for row in summary["rows"]:
        held = pairs.get(_key(row), ())
        place = "system prompt" if row["placement"] == "system" else "user message"
        yield {
            "key": _key(row),
            "name": f"{row['category']}, {row['persona']}, {row['length']}, {place}",
            "model": row["model"] if len(summary["models"]) > 1 else "",
            "delta": signed(row["delta"]),
            "interval": signed_span(row["interval"]),
            "pairs": [
                {
                    "expert": pair["expert"],
                    "turns": [said(text) for text in pair["turns"]],
                    "without": [said(text) for text in pair["without"]],
                    "with": [said(text) for text in pair["with"]],
                    "scores": [number(score) for score in pair["scores"]],
                }
                for pair in held
            ],
        }


def _matrix(summary: Summary) -> list[dict[str, Any]]:
    """Every persona by every category, where that was asked for."""
    found = []
    for model in summary["models"]:
        mine = [row for row in summary["matrix"] if row["model"] == model]
        categories = list(dict.fromkeys(row["category"] for row in mine))
        rows = []
        for who in dict.fromkeys(row["expert"] for row in mine):
            held = {
                row["category"]: {**row, "category": "all"} for row in mine if row["expert"] == who
            }
            cells = [_cell(held.get(category)) for category in categories]
            rows.append({"expert": who, "cells": cells})
        if mine:
            found.append({"model": model, "categories": categories, "rows": rows})
    return found
