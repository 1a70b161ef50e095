"""From the records of `robustness` to its numbers: verdicts, matrices, and what they say.

Verdicts are made here, so that a changed verifier needs no new replies. An item with a reply
that could not be had (an error, a chat that overflows the context) under anybody is left out
for everybody, and counted: the personas are compared on the same items or not at all. A reply
that is empty, or cut at the token limit, is judged as it stands, but by the final reading.

This module knows records, tasks and personas. It knows no models; the equations are in
`persona_lottery`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from holdfast.core.errors import HoldfastError
from holdfast.core.intervals import FEWEST, Sample
from holdfast.core.seeds import seed_of
from holdfast.core.stats import Array, false_discovery, numbers
from holdfast.evals.robustness import persona_lottery as lottery
from holdfast.evals.robustness.halves import IntervalEstimate
from holdfast.evals.robustness.persona_lottery import EXTREMES, NAMES, Lottery
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.near_duplicates import task_groups
from holdfast.evals.tasks.tasks import Task
from holdfast.evals.tasks.verifier import golds, verify
from holdfast.persona import pool
from holdfast.results.robustness import (
    Accuracy,
    CategoryAccuracy,
    KindAccuracy,
    LostItem,
    NoPersona,
    PersonaAccuracy,
    PoolPersona,
    RobustnessNumbers,
    SearchResult,
    StrictValues,
    ValueWithInterval,
)
from holdfast.results.tasks import TaskRecord

NO_INTERVAL = (
    "No interval for worst, best, their ratio and the standard deviation: extremes of noisy "
    "accuracies are biased; halves and spread are estimates without that bias, with intervals."
)
TOO_FEW = f"No interval: fewer than {FEWEST} different items."
ALL = "all"
"""The kind of all personas together."""
MOST_ITEMS = 6  # items that the page has for the worst persona
_READ = ("strict", "lenient", "final", "found_strict", "found_lenient")


@dataclass(frozen=True)
class Answers:
    """How the answers of a run were read."""

    personas: tuple[PoolPersona, ...]
    tasks: tuple[Task, ...]
    """The items, without those that are missing."""
    right: Mapping[str, Array]
    """1 or 0 by reading (`_READ`), each (1 + personas, items, samples); row 0 has no persona."""
    cut: int
    """Replies that the token limit ended."""
    errors: int
    """Answers at which a verifier failed."""
    missing: tuple[str, ...]
    """Ids of items left out."""
    texts: tuple[int, ...]
    """For each item its group of near-duplicates, whose answers are not independent."""

    @classmethod
    def of(
        cls,
        records: Sequence[TaskRecord],
        tasks: Sequence[Task],
        personas: Sequence[PoolPersona],
        verifiers: Mapping[str, str],
        math: MathCheck,
    ) -> Answers:
        """The answers of records, by the verifier that each task has."""
        samples = 1 + max(record.sample for record in records)
        shape = (1 + len(personas), len(tasks), samples)
        readings = {name: np.full(shape, np.nan) for name in _READ}
        row: dict[str | None, int] = {None: 0, **{one.id: i for i, one in enumerate(personas, 1)}}
        column = {task.id: i for i, task in enumerate(tasks)}
        cut = errors = 0
        for record in records:
            item = column[record.task]
            task = tasks[item]
            for arm in record.arms:
                is_cut = "length" in arm.stops
                cut += is_cut
                if arm.failed:
                    continue
                reading = verify(task, verifiers[task.id], arm.replies, math)
                errors += reading.error
                for name in _READ:
                    at = row[arm.expert], item, record.sample
                    # As in a reward: a reply that the limit cut has committed itself to nothing.
                    value = getattr(reading, name) and not (is_cut and name == "final")
                    readings[name][at] = value
        whole = np.asarray(~np.isnan(readings["lenient"]).any(axis=(0, 2)))
        if whole.sum() < 2:
            raise HoldfastError(
                f"only {whole.sum()} of {len(tasks)} items were answered under every persona: see "
                "the stops in records.jsonl, then run again with another `out`."
            )
        rest = tuple(task for task, there in zip(tasks, whole, strict=True) if there)
        return cls(
            tuple(personas),
            rest,
            {name: values[:, whole] for name, values in readings.items()},
            cut,
            errors,
            tuple(task.id for task, there in zip(tasks, whole, strict=True) if not there),
            tuple(task_groups(rest)),
        )

    @cached_property
    def shares(self) -> dict[str, Array]:
        """Share of samples that are right by reading, each (1 + personas, items)."""
        return {name: values.mean(axis=2) for name, values in self.right.items()}

    @cached_property
    def sample(self) -> Sample:
        """The items as a sample, one for all: what it works out of near-duplicates is costly."""
        return Sample(len(self.tasks), clusters=self.texts)


def summarise(
    answers: Answers, reading: str, pss: str, search: bool, seed: int
) -> RobustnessNumbers:
    """Everything that the summary says of the answers.

    Args:
        answers: how they were read.
        reading: the reading that the numbers take.
        pss: the one number (`settings.PSS`).
        search: whether to choose the best persona on half of the items.
        seed: of the draws.
    """
    right = answers.shares[reading]
    draw, texts = Lottery(right[1:], answers.texts), len(set(answers.texts))
    values, estimates = draw.values(), draw.estimates(seed)
    curve = tuple(numbers(lottery.expected_best(draw.accuracies)))
    intervals = {
        name: None if name in EXTREMES else numbers(estimates[name].interval) for name in NAMES
    }
    failures = 1 - answers.shares["found_strict"].mean(axis=1)
    null_extremes, p_value = _permutation_test(draw, seed)
    return RobustnessNumbers(
        personas=len(answers.personas),
        items=len(answers.tasks),
        texts=texts,
        # One rounding for the mean and the curve's first value, which are the same number.
        mean=curve[0],
        worst=numbers(values["worst"]),
        best=curve[-1],
        ratio=numbers(values["ratio"]),
        std=numbers(values["std"]),
        all_correct=numbers(values["all_correct"]),
        pss=numbers(estimates[pss].value),
        pss_name=pss,
        pss_version=lottery.PSS_VERSION,
        lottery=curve,
        intervals=intervals | {"pss": numbers(estimates[pss].interval)},
        interval_note=NO_INTERVAL if texts >= FEWEST else TOO_FEW,
        extraction_failures={
            persona.id: numbers(failures[i]) for i, persona in enumerate(answers.personas, 1)
        },
        reading=reading,
        permuted=null_extremes,
        p_value=p_value,
        halves={name: _estimate(estimates[name]) for name in ("worst", "best", "ratio")},
        spread={"std": _estimate(estimates["std"])},
        strict=_strict(answers, pss, seed),
        none=NoPersona(**vars(_accuracy(answers, 0, right))),
        rows=tuple(_personas(answers, right)),
        kinds=tuple(_kinds(answers, right)),
        categories=tuple(_categories(answers, right)),
        missing=answers.missing,
        cut=answers.cut,
        verifier_errors=answers.errors,
        search=_search(answers, right, seed) if search else None,
    )


def _permutation_test(draw: Lottery, seed: int) -> tuple[dict[str, ValueWithInterval], float]:
    """The extremes under shuffled labels, and the chance that these spread at least as far."""
    null, values = draw.null_distribution(seed=seed), draw.values()
    spread = null["std"] >= values["std"] - 1e-12
    extremes = {
        name: ValueWithInterval(
            numbers(null[name].mean()), numbers(np.percentile(null[name], [2.5, 97.5]))
        )
        for name in EXTREMES
    }
    return extremes, numbers((1 + spread.sum()) / (1 + len(spread)))


def _estimate(estimate: IntervalEstimate) -> ValueWithInterval:
    return ValueWithInterval(numbers(estimate.value), numbers(estimate.interval))


def _strict(answers: Answers, pss: str, seed: int) -> StrictValues:
    draw = Lottery(answers.shares["strict"][1:], answers.texts)
    return StrictValues(*map(numbers, (*draw.values().values(), draw.estimates(seed)[pss].value)))


def _personas(answers: Answers, right: Array) -> Iterator[PersonaAccuracy]:
    """Every persona's accuracy; of many personas without an effect some seem to have one."""
    without = np.broadcast_to(right[0][:, None], right[1:].T.shape)
    p_values = false_discovery(numbers(answers.sample.difference_p(right[1:].T, without)))
    for i, (persona, p) in enumerate(zip(answers.personas, p_values, strict=True), 1):
        adjusted = None if p is None else numbers(p)
        accuracy = vars(_accuracy(answers, i, right))
        yield PersonaAccuracy(**vars(persona), **accuracy, adjusted_p=adjusted)


def _accuracy(answers: Answers, row: int, right: Array) -> Accuracy:
    """A persona's accuracy, what it costs against none, and how its answers were read."""
    sample = answers.sample
    shares = {name: values[row].mean() for name, values in answers.shares.items()}
    return Accuracy(
        accuracy=numbers(right[row].mean()),
        interval=numbers(sample.score_interval(right[row])),
        delta=numbers((right[row] - right[0]).mean()),
        delta_interval=numbers(sample.difference_interval(right[row], right[0])),
        strict=numbers(shares["strict"]),
        lenient=numbers(shares["lenient"]),
        strict_failures=numbers(1 - shares["found_strict"]),
        lenient_failures=numbers(1 - shares["found_lenient"]),
        by_category={c: numbers(right[row, mask].mean()) for c, mask in _masks(answers)},
    )


def _masks(answers: Answers) -> list[tuple[str, NDArray[np.bool_]]]:
    """The items of each category."""
    names = np.array([task.category for task in answers.tasks])
    return [(str(category), names == category) for category in dict.fromkeys(names)]


def _kinds(answers: Answers, right: Array) -> Iterator[KindAccuracy]:
    """Mean accuracy under the personas of each kind and of all, and its difference from none."""
    for kind in (*pool.KINDS, ALL):
        rows = [i for i, one in enumerate(answers.personas, 1) if kind in (ALL, one.kind)]
        if rows:
            mean = right[rows].mean(axis=0)
            yield KindAccuracy(
                kind=kind,
                personas=len(rows),
                mean=numbers(mean.mean()),
                interval=numbers(answers.sample.score_interval(mean)),
                delta=numbers((mean - right[0]).mean()),
                delta_interval=numbers(answers.sample.difference_interval(mean, right[0])),
            )


def _categories(answers: Answers, right: Array) -> Iterator[CategoryAccuracy]:
    for category, mask in _masks(answers):
        accuracies = right[1:, mask].mean(axis=1)
        yield CategoryAccuracy(
            category=category,
            items=int(mask.sum()),
            none=numbers(right[0, mask].mean()),
            mean=numbers(accuracies.mean()),
            worst=numbers(accuracies.min()),
            best=numbers(accuracies.max()),
            all_correct=numbers((right[1:, mask] >= 1).all(axis=0).mean()),
        )


def _choose_half(answers: Answers, seed: int) -> NDArray[np.bool_]:
    """Which items the best persona is chosen on: about half of each category."""
    development, groups = np.zeros(len(answers.tasks), bool), answers.texts
    # Near-duplicates go to the same half, each by the first of its group.
    firsts = [answers.tasks[group] for group in groups]
    for category in dict.fromkeys(first.category for first in firsts):
        those = [i for i, first in enumerate(firsts) if first.category == category]
        order = sorted(those, key=lambda i: seed_of("search", seed, firsts[i].id))
        cuts = [k for k in range(len(order)) if k == 0 or groups[order[k]] != groups[order[k - 1]]]
        cut = min(cuts, key=lambda k: (abs(k - len(order) // 2), k))
        development[order[:cut]] = True
    if not development.any():
        raise HoldfastError(
            "`search` needs a category with at least 2 different items: raise `tasks_per_category`."
        )
    return development


def _search(answers: Answers, right: Array, seed: int) -> SearchResult:
    """The best persona on half of the items of each category, scored on the others."""
    development = _choose_half(answers, seed)
    pick = lottery.search(right[1:], development)
    others = right[:, ~development]
    texts = [answers.texts[i] for i in np.flatnonzero(~development)]
    sample = Sample(len(texts), clusters=texts)
    option = others[1 + pick.persona]
    return SearchResult(
        persona=answers.personas[pick.persona].id,
        development_items=int(development.sum()),
        items=int((~development).sum()),
        asked=int(development.sum()) * len(answers.personas),
        development=numbers(pick.development),
        accuracy=numbers(pick.others),
        interval=numbers(sample.score_interval(option)),
        none=numbers(others[0].mean()),
        mean=numbers(others[1:].mean()),
        gain=numbers((option - others[0]).mean()),
        gain_interval=numbers(sample.difference_interval(option, others[0])),
        oracle=numbers(pick.oracle),
        curve=tuple(numbers(lottery.search_curve(right[1:], seed=seed, texts=answers.texts))),
    )


def lost_items(
    answers: Answers, records: Sequence[TaskRecord], reading: str
) -> tuple[LostItem, ...]:
    """Items that are right without a persona and wrong under the worst one, up to `MOST_ITEMS`."""
    shares, right = answers.shares[reading], answers.right[reading]
    worst = 1 + int(shares[1:].mean(axis=1).argmin())
    persona = answers.personas[worst - 1].id
    column = {task.id: i for i, task in enumerate(answers.tasks)}
    items: dict[str, LostItem] = {}
    for record in records:
        item = column.get(record.task)
        if item is None or shares[worst, item] >= shares[0, item] or record.task in items:
            continue
        if right[worst, item, record.sample] >= right[0, item, record.sample]:
            continue  # another sample shows it
        replies = {arm.expert: arm.replies for arm in record.arms}
        task = answers.tasks[item]
        items[task.id] = LostItem(
            task=task.id,
            category=task.category,
            turns=task.turns,
            gold=golds(task),
            persona=persona,
            without=replies[None],
            with_persona=replies[persona],
        )
    return tuple(items.values())[:MOST_ITEMS]
