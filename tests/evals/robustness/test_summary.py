"""Where personas do nothing, hardly any of many is said to do something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from holdfast.core.stats import Array
from holdfast.evals.robustness.summary import _READ, Answers, _choose_half, _personas
from holdfast.evals.tasks.tasks import Task
from holdfast.results.robustness import PoolPersona

PEOPLE = tuple(PoolPersona(f"p-{i}", "helpful", "train", "You are.") for i in range(40))
ITEMS = 60


def read(right: Array) -> Answers:
    """Answers that are right as often as (1 + personas, items) says."""
    tasks = tuple(Task(f"t-{i}", "sums", (f"{i}?",)) for i in range(ITEMS))
    readings = dict.fromkeys(_READ, right[..., None])
    return Answers(PEOPLE, tasks, readings, 0, 0, (), tuple(range(ITEMS)))


def test_of_many_personas_without_an_effect_hardly_any_is_marked() -> None:
    rng, marked, outside = np.random.default_rng(0), 0, 0
    for _ in range(20):
        right = (rng.random((1 + len(PEOPLE), ITEMS)) < 0.6).astype(float)
        rows = list(_personas(read(right), right))
        marked += any(row.sign for row in rows)
        outside += any(low > 0 or high < 0 for row in rows for low, high in [row.delta_interval])
    assert marked <= 3 and outside >= 8


def test_a_persona_that_costs_much_is_marked_with_the_sign_of_its_difference() -> None:
    right = np.tile((np.arange(ITEMS) % 3 > 0).astype(float), (1 + len(PEOPLE), 1))
    right[1] = 0
    first, *others = _personas(read(right), right)
    assert first.sign == -1 and not any(one.sign for one in others)


def test_near_duplicates_of_two_categories_are_in_one_half_of_a_search() -> None:
    answers = read(np.ones((1 + len(PEOPLE), ITEMS)))
    tasks = tuple(replace(one, category=f"{i % 2}") for i, one in enumerate(answers.tasks))
    pairs = replace(answers, tasks=tasks, texts=tuple(i - i % 2 for i in range(ITEMS)))
    half = _choose_half(pairs, 0)
    assert half.sum() == ITEMS / 2 and (half[::2] == half[1::2]).all()
