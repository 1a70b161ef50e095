"""The page of an effect study: a heat map per model and place, and the pairs behind its cells.

A cell's shade says how large a difference is, its colour the sign, and a mark that it
is shown, corrected for many cells. The column that the headline is of says so. A cell leads
to the replies with and without the persona that differ most in score; all of them are in the
run's records.

This module knows the summary and the pairs. It knows no charts: the map is a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.report import html as shell
from holdfast.report.compare.sentences import headline
from holdfast.report.transcript import fold_text
from holdfast.report.words import finite, number, quantity, signed_number, signed_span
from holdfast.results.effect import EffectRow, EffectSummary, ReplyPair

Pairs = Mapping[str, Sequence[ReplyPair]]
_PLACES = {"system": "In the system prompt", "user": "Before the user’s first message"}
_SHADES = (0.02, 0.05, 0.1, 0.2)  # differences from which on a cell is a shade darker


def write_effect(summary: EffectSummary, pairs: Pairs, path: Path) -> None:
    """Write the page. Raises `RunError` where the file cannot be written."""
    shell.save(render(summary, pairs), path)


def render(summary: EffectSummary, pairs: Pairs) -> str:
    """The page as text."""
    maps = [
        _map(summary, model, place)
        for model in summary.models
        for place in dict.fromkeys(row.placement for row in summary.numbers.rows)
    ]
    finding, why = f"What a persona does to {quantity(len(summary.models), 'model')}", ""
    if len(summary.models) == 1:
        finding, why = headline(summary.numbers.advice[summary.models[0]])
    return shell.fill(
        "effect.html.j2",
        s=summary,
        headline=finding,
        why=why,
        maps=maps,
        groups=_groups(summary, pairs),
        matrix=_matrix(summary),
    )


def _map(summary: EffectSummary, model: str, place: str) -> dict[str, Any]:
    """A heat map: categories down, kinds of persona and their lengths across."""
    mine = [row for row in summary.numbers.rows if (row.model, row.placement) == (model, place)]
    overall = [
        row for row in summary.numbers.overall if (row.model, row.placement) == (model, place)
    ]
    columns = list(dict.fromkeys((row.persona, row.length) for row in mine))
    advised = {(row.persona, row.length) for row in mine if row.of_advice}
    kinds = dict.fromkeys(kind for kind, _ in columns)
    rows = []
    for category in [*dict.fromkeys(row.category for row in mine), "all"]:
        by_column = {
            (row.persona, row.length): row for row in (*mine, *overall) if row.category == category
        }
        first = next(iter(by_column.values()))
        cells = [_cell(by_column.get(column)) for column in columns]
        rows.append(
            {"category": category, "n": first.n, "base": number(first.base), "cells": cells}
        )
    return {
        "model": model,
        "place": _PLACES[place],
        "groups": [(kind, sum(column[0] == kind for column in columns)) for kind in kinds],
        "lengths": [(length, (kind, length) in advised) for kind, length in columns],
        "rows": rows,
    }


def _cell(row: EffectRow | None) -> dict[str, Any] | None:
    if row is None or row.delta is None or finite(row.delta) is None:
        return None
    shade = sum(abs(row.delta) >= least for least in _SHADES)
    return {
        "delta": signed_number(row.delta, row.interval),
        "interval": signed_span(row.interval),
        "n": row.n,
        "shade": f"{'up' if row.delta > 0 else 'down'}-{shade}" if shade else "level",
        "significant": row.sign != 0,
        "of_advice": row.of_advice,
        "key": row.cell if row.category != "all" else "",
    }


def _groups(summary: EffectSummary, pairs: Pairs) -> list[dict[str, Any]]:
    """The pairs behind every cell, by model and category."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in summary.numbers.rows:
        groups.setdefault((row.model, row.category), []).append(_pairs_of(row, pairs))
    several = len(summary.models) > 1
    return [
        {"model": model if several else "", "category": category, "cells": cells}
        for (model, category), cells in groups.items()
    ]


def _pairs_of(row: EffectRow, pairs: Pairs) -> dict[str, Any]:
    """The pairs behind a cell, texts in two parts."""
    place = "system prompt" if row.placement == "system" else "user message"
    return {
        "key": row.cell,
        "name": f"{row.persona}, {row.length}, {place}",
        "delta": signed_number(row.delta, row.interval),
        "interval": signed_span(row.interval),
        "n": row.n,
        "pairs": [
            {
                "expert": pair.expert,
                "turns": [fold_text(text) for text in pair.turns],
                "without": [fold_text(text) for text in pair.without],
                "with": [fold_text(text) for text in pair.with_persona],
                "scores": [number(score) for score in pair.scores],
            }
            for pair in pairs.get(row.cell, ())
        ],
    }


def _matrix(summary: EffectSummary) -> list[dict[str, Any]]:
    """Every persona by every category, for a run that recorded these."""
    matrices = []
    for model in summary.models:
        mine = [row for row in summary.numbers.matrix if row.model == model]
        categories = list(dict.fromkeys(row.category for row in mine))
        rows = []
        for expert in dict.fromkeys(row.expert for row in mine):
            by_category = {
                row.category: replace(row, category="all") for row in mine if row.expert == expert
            }
            cells = [_cell(by_category.get(category)) for category in categories]
            rows.append({"expert": expert, "cells": cells})
        if mine:
            matrices.append({"model": model, "categories": categories, "rows": rows})
    return matrices
