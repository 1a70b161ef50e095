"""From the records of `robustness` to its numbers: verdicts, matrices, and what they say.

Verdicts are made here, so that a changed verifier needs no new replies. An item with a reply
that could not be had (an error, a chat that overflows the context) under anybody is left out
for everybody, and counted: the personas are compared on the same items or not at all. A reply
that is empty, or cut at the token limit, is judged as it stands.

This module knows records, tasks and personas. It knows no models; the equations are in `lottery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.core.errors import HoldfastError
from holdfast.core.intervals import Sample
from holdfast.core.records import Record
from holdfast.core.seeds import seed_of
from holdfast.core.stats import Array, numbers
from holdfast.evals.robustness import persona_lottery as lottery
from holdfast.evals.robustness.halves import Estimate
from holdfast.evals.robustness.persona_lottery import EXTREMES, NAMES, Lottery
from holdfast.evals.tasks import verifier
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.tasks import Task
from holdfast.persona import pool
from holdfast.persona.pool import Member

NO_INTERVAL = (
    "worst, best, ratio and std are extremes of noisy accuracies and biased, so they have no "
    "interval: see halves and spread."
)
SHOWN = 6  # items that the page has for the worst persona
_READ = ("strict", "lenient", "found_strict", "found_lenient")


@dataclass(frozen=True)
class Answers:
    """Verdicts by reading, each (1 + personas, items): the first row is without a persona.

    `cut` counts replies that the token limit ended, `errors` answers at which a verifier failed;
    `missing` are the items left out.
    """

    people: tuple[Member, ...]
    tasks: tuple[Task, ...]
    read: Mapping[str, Array]
    cut: int
    errors: int
    missing: tuple[str, ...]

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        tasks: Sequence[Task],
        people: Sequence[Member],
        kinds: Mapping[str, str],
        math: MathCheck,
    ) -> Answers:
        """The verdicts of records, by the verifier that each task has in `kinds`."""
        samples = 1 + max(r["sample"] for r in records)
        shape = (1 + len(people), len(tasks), samples)
        read = {name: np.full(shape, np.nan) for name in _READ}
        row = {"": 0, **{one.id: i for i, one in enumerate(people, 1)}}
        column = {task.id: i for i, task in enumerate(tasks)}
        cut = errors = 0
        for record in records:
            item = column[record["task"]]
            task = tasks[item]
            for arm in record["arms"]:
                cut += "length" in arm["stops"]
                if {"overflow", "error"} & set(arm["stops"]):
                    continue
                verdict = verifier.verify(task, kinds[task.id], arm["replies"], math)
                errors += verdict.error
                for name in _READ:
                    at = row[arm.get("expert", "")], item, record["sample"]
                    read[name][at] = getattr(verdict, name)
        whole = np.asarray(~np.isnan(read["lenient"]).any(axis=(0, 2)))
        if whole.sum() < 2:
            raise HoldfastError(
                f"only {whole.sum()} of {len(tasks)} items were answered under every persona: see "
                "the stops in records.jsonl, then run again with another --out."
            )
        return cls(
            tuple(people),
            tuple(task for task, there in zip(tasks, whole, strict=True) if there),
            {name: values[:, whole].mean(axis=2) for name, values in read.items()},
            cut,
            errors,
            tuple(task.id for task, there in zip(tasks, whole, strict=True) if not there),
        )


def _place(value: float) -> float:
    """A number to the four places that a summary has."""
    return round(float(value), 4)


def summed(found: Answers, reading: str, pss: str, search: bool, seed: int) -> Record:
    """Everything that the summary says of the answers."""
    right = found.read[reading]
    drawn = Lottery(right[1:])
    values, estimates = drawn.values(), drawn.estimates(seed)
    best_of = [round(value, 4) for value in lottery.expected_best(drawn.accuracies)]
    summary: Record = {
        "personas": len(found.people),
        "items": len(found.tasks),
        **{name: _place(values[name]) for name in NAMES},
        "pss": _place(estimates[pss].value),
        "pss_name": pss,
        "pss_version": lottery.PSS_VERSION,
        "lottery": best_of,
        "intervals": {
            name: None if name in EXTREMES else numbers(estimates[name].interval) for name in NAMES
        }
        | {"pss": numbers(estimates[pss].interval)},
        "interval_note": NO_INTERVAL,
        "extraction_failures": {
            one.id: _place(1 - found.read["found_strict"][i].mean())
            for i, one in enumerate(found.people, 1)
        },
        "reading": reading,
        **_beside(drawn, estimates, seed),
        "strict": _plain(found.read["strict"][1:], pss, seed),
        "none": {**_row(found, 0, right), "id": "none"},
        "rows": [
            {**pool.described([one])[0], **_row(found, i, right)}
            for i, one in enumerate(found.people, 1)
        ],
        "kinds": list(_kinds(found, right)),
        "categories": list(_categories(found, right)),
        "missing": list(found.missing),
        "cut": found.cut,
        "verifier_errors": found.errors,
    }
    # One rounding for the mean and the curve's first value, which are the same number.
    summary["mean"], summary["best"] = best_of[0], best_of[-1]
    if search:
        summary["search"] = _search(found, right, seed)
    return summary


def _beside(drawn: Lottery, estimates: Mapping[str, Estimate], seed: int) -> Record:
    """What stands beside the extremes: shuffled labels, and estimates without bias."""
    null, values = drawn.permuted(seed=seed), drawn.values()
    as_wide = null["std"] >= values["std"] - 1e-12
    return {
        "permuted": {
            name: {
                "value": _place(null[name].mean()),
                "interval": numbers(np.percentile(null[name], [2.5, 97.5])),
            }
            for name in EXTREMES
        },
        # The chance that shuffled labels spread at least as far: is there an effect at all?
        "p_value": _place((1 + as_wide.sum()) / (1 + len(as_wide))),
        "halves": {name: _told(estimates[name]) for name in ("worst", "best", "ratio")},
        "spread": {"std": _told(estimates["std"])},
    }


def _told(estimate: Estimate) -> Record:
    return {"value": _place(estimate.value), "interval": numbers(estimate.interval)}


def _plain(matrix: Array, pss: str, seed: int) -> Record:
    drawn = Lottery(matrix)
    values, estimate = drawn.values(), drawn.estimates(seed)[pss]
    return {name: _place(values[name]) for name in NAMES} | {"pss": _place(estimate.value)}


def _row(found: Answers, row: int, right: Array) -> Record:
    """A persona's accuracy, what it costs against none, and how its answers were read."""
    sample = Sample(right.shape[1])
    told: Record = {
        "accuracy": _place(right[row].mean()),
        "interval": numbers(sample.score_interval(right[row])),
        "delta": _place((right[row] - right[0]).mean()),
        "delta_interval": numbers(sample.difference_interval(right[row], right[0])),
        "strict": _place(found.read["strict"][row].mean()),
        "lenient": _place(found.read["lenient"][row].mean()),
        "strict_failures": _place(1 - found.read["found_strict"][row].mean()),
        "lenient_failures": _place(1 - found.read["found_lenient"][row].mean()),
    }
    return told | {"by_category": {c: _place(right[row, of].mean()) for c, of in _places(found)}}


def _places(found: Answers) -> list[tuple[str, Any]]:
    names = np.array([task.category for task in found.tasks])
    return [(str(c), names == c) for c in dict.fromkeys(names)]


def _kinds(found: Answers, right: Array) -> list[Record]:
    """Mean accuracy under the personas of each kind, and its difference from none."""
    sample, rows = Sample(right.shape[1]), []
    for kind in pool.KINDS:
        mine = [i for i, one in enumerate(found.people, 1) if one.kind == kind]
        if mine:
            mean = right[mine].mean(axis=0)
            rows.append(
                {
                    "kind": kind,
                    "personas": len(mine),
                    "mean": _place(mean.mean()),
                    "interval": numbers(sample.score_interval(mean)),
                    "delta": _place((mean - right[0]).mean()),
                    "delta_interval": numbers(sample.difference_interval(mean, right[0])),
                }
            )
    return rows


def _categories(found: Answers, right: Array) -> list[Record]:
    rows = []
    for category, of in _places(found):
        accuracies = right[1:, of].mean(axis=1)
        rows.append(
            {
                "category": category,
                "items": int(of.sum()),
                "none": _place(right[0, of].mean()),
                "mean": _place(accuracies.mean()),
                "worst": _place(accuracies.min()),
                "best": _place(accuracies.max()),
                "all_correct": _place((right[1:, of] >= 1).all(axis=0).mean()),
            }
        )
    return rows


def _search(found: Answers, right: Array, seed: int) -> Record:
    """The best persona on half of the items of each category, scored on the others."""
    development = np.zeros(len(found.tasks), bool)
    for _, of in _places(found):
        held = sorted(np.flatnonzero(of), key=lambda i: seed_of("search", seed, found.tasks[i].id))
        development[held[: len(held) // 2]] = True
    if not development.any():
        raise HoldfastError(
            "--search needs a category with at least 2 items: raise --tasks-per-category."
        )
    pick = lottery.search(right[1:], development)
    others = right[:, ~development]
    sample = Sample(others.shape[1])
    chosen = others[1 + pick.persona]
    return {
        "persona": found.people[pick.persona].id,
        "development_items": int(development.sum()),
        "items": int((~development).sum()),
        "asked": int(development.sum()) * len(found.people),
        "development": _place(pick.development),
        "accuracy": _place(pick.others),
        "interval": numbers(sample.score_interval(chosen)),
        "none": _place(others[0].mean()),
        "mean": _place(others[1:].mean()),
        "gain": _place((chosen - others[0]).mean()),
        "gain_interval": numbers(sample.difference_interval(chosen, others[0])),
        "oracle": _place(pick.oracle),
        "curve": [round(value, 4) for value in lottery.search_curve(right[1:], seed=seed)],
    }


def lost(found: Answers, records: Sequence[Record], reading: str) -> list[Record]:
    """Items that are right without a persona and wrong under the worst one, up to `SHOWN`."""
    right = found.read[reading]
    worst = 1 + int(right[1:].mean(axis=1).argmin())
    who = found.people[worst - 1].id
    column = {task.id: i for i, task in enumerate(found.tasks)}
    shown: dict[str, Record] = {}
    for record in records:
        item = column.get(record["task"])
        if item is None or right[worst, item] >= right[0, item] or record["task"] in shown:
            continue
        replies = {arm.get("expert", ""): arm["replies"] for arm in record["arms"]}
        task = found.tasks[item]
        shown[task.id] = {
            "task": task.id,
            "category": task.category,
            "turns": list(task.turns),
            "gold": list(verifier.golds(task)),
            "persona": who,
            "without": replies[""],
            "with": replies[who],
        }
    return list(shown.values())[:SHOWN]
