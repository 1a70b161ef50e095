"""The table that a recipe leaves: its arms, their differences, and the published figures.

This module knows summaries. It knows no trainings and no models.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from holdfast.results.training.recipe import ArmDifference, ArmRow, RecipeSummary

WIDE = 16
"""Numbers of an arm that fit beside each other in a table."""


def table_of(summary: RecipeSummary) -> str:
    """The summary as Markdown: means over seeds with their least and most, and so on."""
    names = list(dict.fromkeys(name for row in summary.rows for name in row.numbers))
    arms = list(dict.fromkeys(row.arm for row in summary.rows))
    lines = [f"# {summary.title}", "", f"Model {summary.model}, seeds {list(summary.seeds)}.", ""]
    lines += list(_numbers(summary.rows, arms, names))
    lines += list(_differences(summary.differences))
    if summary.published:
        lines += ["", "Published, on other models and settings:", ""]
        lines += [_line(["what", "published", "source"]), _line(["---"] * 3)]
        lines += [_line([one.what, one.value, one.source]) for one in summary.published]
    for title, text in (("Known", summary.known), ("Not known", summary.unknown)):
        lines += ["", f"{title} of the original: {text.strip()}"] if text else []
    return "\n".join(lines) + "\n"


def _numbers(rows: Sequence[ArmRow], arms: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """A row for each arm; where they have many numbers, as of categories, one for each number."""
    cells = {(arm, name): _cell(rows, arm, name) for arm in arms for name in names}
    if len(names) <= WIDE:
        yield from (_line(["arm", *names]), _line(["---"] * (len(names) + 1)))
        yield from (_line([arm, *(cells[arm, name] for name in names)]) for arm in arms)
    else:
        yield from (_line(["", *arms]), _line(["---"] * (len(arms) + 1)))
        yield from (_line([name, *(cells[arm, name] for arm in arms)]) for name in names)


def _cell(rows: Sequence[ArmRow], arm: str, name: str) -> str:
    values = [v for row in rows if row.arm == arm if (v := row.numbers.get(name)) is not None]
    if not values:
        return ""
    cells = [f"{v:,.0f}" if name in ("steps", "tokens") else f"{v:.3f}" for v in
             (statistics.fmean(values), min(values), max(values))]  # fmt: skip
    return f"{cells[0]} ({cells[1]} to {cells[2]})" if len(values) > 1 else cells[0]


def _differences(differences: Sequence[ArmDifference]) -> Iterator[str]:
    if not differences:
        return
    yield from (
        "",
        "Differences with 95% intervals that cross seeds, personas and items. With one seed an "
        "interval holds for these trainings alone; where nothing varies there is none.",
        "",
    )
    head = ["difference", "of", "mean", "p", "seeds", "personas", "items"]
    yield from (_line(head), _line(["---"] * len(head)))
    for one in differences:
        low, high = one.interval
        # Where nothing varies a few cases do not show that nothing would.
        interval = "no interval" if one.p is None else f"[{low:+z.3f}, {high:+z.3f}]"
        yield _line(
            [
                f"{one.arm} − {one.against}",
                one.of,
                f"{one.mean:+z.3f} {interval}",
                "" if one.p is None else f"{one.p:.3f}" if one.p >= 0.0005 else "<0.001",
                *("" if n is None else str(n) for n in (one.seeds, one.personas, one.items)),
            ]
        )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
