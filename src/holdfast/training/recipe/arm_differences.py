"""Differences between the arms of a recipe, with intervals that cross seeds, personas and items.

Accuracy is D[s, p, i], whether one arm is right less whether the other is, with seed s under the
held-out persona p on item i; fidelity is D[s, p]; PRISM's score is D[s, i], over the items that the
evaluations of all seeds have. Seeds pair trainings over the same tasks in the same order. The
untrained model has none and is paired with every seed.

This module knows answers and scores. It knows no trainings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from holdfast.core.stats import Array, CrossedMean
from holdfast.evals.robustness.summary import Answers
from holdfast.results.training.recipe import ArmDifference, ArmRow

PersonaGroups = Mapping[str, Sequence[str]]
"""Ids of personas by the name of their group."""
_ALL = "accuracy"


@dataclass(frozen=True)
class ArmMeasurement:
    """What one model of an arm did."""

    row: ArmRow
    """Its numbers."""
    trained: bool = True
    """False for the model that all arms begin with."""
    answers: Answers | None = None
    """What it answered under every persona."""
    reading: str = "lenient"
    """How answers are read."""
    fidelity: Mapping[str, float] = field(default_factory=dict)
    """How well it stays in character, by persona."""
    categories: Mapping[str, str] = field(default_factory=dict)
    """The categories of these personas, where they are compared apart."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """The score of each task of an evaluation of PRISM, by its id."""

    def right(self, personas: Sequence[str], items: Sequence[str]) -> Array:
        """What is right under some personas: (personas, items)."""
        assert self.answers is not None
        row = {one.id: i for i, one in enumerate(self.answers.personas, 1)}
        column = {task.id: i for i, task in enumerate(self.answers.tasks)}
        rows, columns = [row[one] for one in personas], [column[one] for one in items]
        return self.answers.shares[self.reading][np.ix_(rows, columns)]


def group_means(answers: Answers, reading: str, groups: PersonaGroups) -> dict[str, float | None]:
    """The mean accuracy under the personas of each group."""
    each = answers.shares[reading][1:].mean(axis=1)
    accuracy = dict(zip([one.id for one in answers.personas], each, strict=True))
    return {
        f"mean, {name}": float(np.mean([accuracy[one] for one in ids]))
        for name, ids in groups.items()
    }


def differences_of(
    measurements: Sequence[ArmMeasurement], pairs: Sequence[tuple[str, str]], groups: PersonaGroups
) -> Iterator[ArmDifference]:
    """The differences of pairs of arms that have been measured.

    Args:
        measurements: the models of all arms and seeds so far.
        pairs: arms, the first less the second; by default each less the first arm.
        groups: personas whose accuracy is compared apart.
    """
    arms = list(dict.fromkeys(one.row.arm for one in measurements))
    for arm, against in pairs or [(arm, arms[0]) for arm in arms[1:]]:
        sides = _pair_models(
            *([m for m in measurements if m.row.arm == name] for name in (arm, against))
        )
        for of, axes, values in _values(sides, groups):
            result, sizes = CrossedMean.of(values), dict(zip(axes, values.shape, strict=True))
            yield ArmDifference(
                arm=arm,
                against=against,
                of=of,
                mean=result.mean,
                interval=result.interval,
                p=result.p,
                seeds=sizes["seeds"],
                personas=sizes.get("personas"),
                items=sizes.get("items"),
            )


def _pair_models(
    one: Sequence[ArmMeasurement], other: Sequence[ArmMeasurement]
) -> list[tuple[ArmMeasurement, ArmMeasurement]]:
    """Models of the same seed; the untrained one belongs to every seed."""
    return [(a, b) for a in one for b in other
            if a.row.seed == b.row.seed or not (a.trained and b.trained)]  # fmt: skip


def _values(
    sides: Sequence[tuple[ArmMeasurement, ArmMeasurement]], groups: PersonaGroups
) -> Iterator[tuple[str, tuple[str, ...], Array]]:
    """What is compared, the names of the array's axes, and the differences."""
    models = [model for pair in sides for model in pair]
    answers = [model.answers for model in models if model.answers is not None]
    if answers and len(answers) == len(models):
        everybody = _common([[one.id for one in some.personas] for some in answers])
        items = _common([[task.id for task in some.tasks] for some in answers])
        for name, ids in {
            _ALL: everybody,
            **{f"{_ALL}, {n}": g for n, g in groups.items()},
        }.items():
            values = [a.right(ids, items) - b.right(ids, items) for a, b in sides]
            yield name, ("seeds", "personas", "items"), np.array(values)
    personas = _common([list(model.fidelity) for model in models])
    if personas:
        of = models[0].categories
        parts = {name: [p for p in personas if of.get(p) == name] for name in of.values()}
        for name, some in {"fidelity": personas, **parts}.items():
            label = name if some is personas else f"fidelity, {name}"
            means = [[a.fidelity[p] - b.fidelity[p] for p in some] for a, b in sides]
            yield label, ("seeds", "personas"), np.array(means)
    tasks = _common([list(model.scores) for model in models])
    if tasks:
        scores = [[a.scores[task] - b.scores[task] for task in tasks] for a, b in sides]
        yield "overall", ("seeds", "items"), np.array(scores)


def _common(lists: Sequence[Sequence[str]]) -> list[str]:
    """What all lists have, in the order of the first."""
    in_all = set.intersection(*map(set, lists)) if lists else set[str]()
    return [one for one in lists[0] if one in in_all] if lists else []
