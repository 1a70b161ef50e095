"""From the records of `effect` to rows: what each persona does to each category of tasks.

Every figure is a difference paired by task: its score under a persona less its score
without, each a mean over the samples that both have. Intervals are 95%, over tasks
(`core.intervals`), of which near-duplicates are drawn together.
The sentence takes one length and one place, fixed beforehand, since the best of many
looks better than it is. So its cells are corrected for their own number, that of the
categories, and the others of the table for theirs.

This module knows records and tasks. It knows no models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.core.run import Run
from holdfast.core.stats import Array, false_discovery, mean, numbers
from holdfast.evals.tasks.near_duplicates import task_groups
from holdfast.evals.tasks.tasks import Task
from holdfast.persona.experts import LENGTHS
from holdfast.report.words import finite, inconclusive, signed_end, signed_number
from holdfast.results.effect import EffectNumbers, EffectRow, ReplyPair
from holdfast.results.tasks import ArmReplies, TaskArm, TaskRecord
from holdfast.results.verdict import JudgeVerdict

EffectRun = Run[TaskRecord, JudgeVerdict]

Scores = dict[tuple[int, str], dict[str, Array]]  # by model and category: (tasks, samples) of arms
MOST_PAIRS = 3
"""Pairs of replies that the page has for a cell."""
MOST_IN_HEADLINE = 4
"""Categories with an effect that the headline names; more are counted."""
MOST_NAMES = 8
"""Categories without an effect that the advice names; more are counted."""


def arm_name(arm: TaskArm) -> str:
    """An arm's name among those of a task."""
    return "/".join(filter(None, (arm.kind, arm.length, arm.place, arm.expert)))


def verdict_key(record: TaskRecord, arm: TaskArm) -> tuple[int | str, ...]:
    """What identifies a judge model's verdict of the replies under an arm."""
    return (*record.key, arm_name(arm))


def summarise(run: EffectRun, tasks: Sequence[Task], models: Sequence[str]) -> EffectNumbers:
    """The rows of the records, and the sentence for each model."""
    scores = _scores(run, tasks, len(models))
    categories = list(dict.fromkeys(task.category for task in tasks))
    texts: dict[str, list[int]] = {category: [] for category in categories}
    for task, group in zip(tasks, task_groups(tasks), strict=True):
        texts[task.category].append(group)
    everywhere = [group for category in categories for group in texts[category]]
    every = [
        row
        for m, model in enumerate(models)
        for category in categories
        for row in _rows(scores[m, category], model, category, texts[category])
    ]
    rows = tuple(
        row
        for model in models
        for row in adjust_table([r for r in every if r.model == model and r.persona != "each"])
    )
    overall = (
        row
        for m, model in enumerate(models)
        for row in _rows(_join([scores[m, c] for c in categories]), model, "all", everywhere)
    )
    return EffectNumbers(
        rows=rows,
        matrix=_by_model([row for row in every if row.persona == "each"], models),
        overall=_by_model([row for row in overall if row.persona != "each"], models),
        advice={
            model: _why_nothing(run, m, rows, model)
            or advice([row for row in rows if row.model == model])
            for m, model in enumerate(models)
        },
        judge_failures=sum(verdict.failures for verdict in run.verdicts),
        answers=sum(len(record.arms) for record in run.records),
        failed=sum(arm.failed for record in run.records for arm in record.arms),
        texts=len(set(everywhere)),
    )


def _why_nothing(run: EffectRun, m: int, rows: Sequence[EffectRow], model: str) -> str | None:
    """Why the records of a model say nothing, if they do."""
    arms = [arm for record in run.records if record.model == m for arm in record.arms]
    cut = sum("length" in arm.stops for arm in arms) / max(1, len(arms))
    mine = [row for row in rows if row.model == model]
    if all(finite(row.delta) is None for row in mine):
        return "Nothing can be concluded: no task was answered both with a persona and without."
    return inconclusive([score for row in mine for score in (row.score, row.base)], cut)


def _scores(run: EffectRun, tasks: Sequence[Task], models: int) -> Scores:
    """Scores of every arm; the expert is no part of an arm's name but in the matrix."""
    task_of, verdicts = {task.id: task for task in tasks}, _verdicts(run)
    samples = 1 + max((record.sample for record in run.records), default=0)
    positions: dict[str, dict[str, int]] = {}  # by category, a task's row
    for task in tasks:
        rows = positions.setdefault(task.category, {})
        rows[task.id] = len(rows)
    scores: Scores = {(m, c): {} for m in range(models) for c in positions}
    for record in run.records:
        task = task_of[record.task]
        rows = positions[task.category]
        arms = scores[record.model, task.category]
        for arm in record.arms:
            name = arm_name(arm if arm.kind == "each" else replace(arm, expert=None))
            of_arm = arms.setdefault(name, np.full((len(rows), samples), np.nan))
            of_arm[rows[task.id], record.sample] = _score(record, arm, task, verdicts)
    return scores


def _verdicts(run: EffectRun) -> dict[tuple[int | str, ...], float]:
    """The judge model's scores by their keys."""
    return {verdict.answer: verdict.value for verdict in run.verdicts}


def _score(
    record: TaskRecord,
    arm: ArmReplies,
    task: Task,
    verdicts: Mapping[tuple[int | str, ...], float],
) -> float:
    """The score of the replies; NaN where one failed or did not fit the context."""
    if arm.failed:
        return float("nan")
    score = task.score(arm.replies)
    return verdicts.get(verdict_key(record, arm), float("nan")) if score is None else score


def _join(categories: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The arms of several categories as one; an arm that a category lacks is NaN there."""
    names = dict.fromkeys(name for arms in categories for name in arms)
    empty = [np.full_like(arms["none"], np.nan) for arms in categories]
    return {
        name: np.concatenate(
            [arms.get(name, gap) for arms, gap in zip(categories, empty, strict=True)]
        )
        for name in names
    }


def _rows(
    arms: Mapping[str, Array], model: str, category: str, texts: Sequence[int]
) -> Iterator[EffectRow]:
    """One row per arm but `none`'s; `texts` has the group of near-duplicates of each task."""
    sample = Sample(len(texts), clusters=texts)
    for name in (name for name in arms if name != "none"):
        kind, length, place, *expert = name.split("/", 3)
        # Over the samples that both sides have: they have the same seeds.
        gap = np.isnan(arms[name]) | np.isnan(arms["none"])
        score, base = (mean(np.where(gap, np.nan, arms[one]), axis=1) for one in (name, "none"))
        delta = score - base
        both = ~np.isnan(delta)
        yield EffectRow(
            model=model,
            category=category,
            length=length,
            persona=kind,
            placement=place,
            expert=expert[0] if expert else None,
            score=numbers(mean(score[both])),
            base=numbers(mean(base[both])),
            delta=numbers(mean(delta)),
            interval=tuple(numbers(sample.difference_interval(score, base))),
            n=int(both.sum()),
            p_value=numbers(sample.difference_p(score, base)),
        )


def _by_model(rows: Sequence[EffectRow], models: Sequence[str]) -> tuple[EffectRow, ...]:
    """A table with p-values corrected for the cells of each model."""
    return tuple(
        row for model in models for row in adjust([row for row in rows if row.model == model])
    )


def adjust(rows: Sequence[EffectRow]) -> tuple[EffectRow, ...]:
    """The rows with p-values corrected for the number of these rows."""
    values = false_discovery([row.p_value for row in rows])
    return tuple(
        replace(row, adjusted_p=None if p is None else round(p, 4))
        for row, p in zip(rows, values, strict=True)
    )


def adjust_table(rows: Sequence[EffectRow]) -> tuple[EffectRow, ...]:
    """A model's rows: the advice's corrected for their own number, and the others for theirs.

    The advice is of the matched personas at the longest length in the first place. That is
    fixed beforehand, so only its categories are corrected for.
    """
    matched = [row for row in rows if row.persona == "matched"]
    length = max((row.length for row in matched), key=LENGTHS.index, default=None)
    cells = {r.cell for r in matched if (r.length, r.placement) == (length, matched[0].placement)}
    own = iter(adjust([replace(row, of_advice=True) for row in rows if row.cell in cells]))
    others = iter(adjust([row for row in rows if row.cell not in cells]))
    return tuple(next(own if row.cell in cells else others) for row in rows)


def advice(rows: Sequence[EffectRow]) -> str:
    """What a persona helps with, from a model's adjusted rows.

    Up to its first ": " it is the page's headline.
    """
    cells = [row for row in rows if row.of_advice]
    if not cells:
        return "No persona is matched to any of the tasks."
    helped, hurt, unclear = ([row for row in cells if row.sign == sign] for sign in (1, -1, 0))
    finding = " and ".join(
        f"{verb} {_names(some) if len(some) <= MOST_IN_HEADLINE else f'{len(some)} categories'}"
        for verb, some in (("helps with", helped), ("hurts", hurt))
        if some
    )
    shown = [*helped, *hurt]
    parts = [f"it changes the score of {_list(map(_with_delta, shown))}"] if shown else []
    if unclear:
        many = f"{'the other' if shown else 'any of the'} {len(unclear)} categories"
        names = _names(unclear) if len(unclear) <= MOST_NAMES else many
        parts += [f"no effect is shown for {names}{_elsewhere(unclear, rows)}"]
    length, at_system = cells[0].length, cells[0].placement == "system"
    where = "in the system prompt" if at_system else "before the user’s message"
    return (
        f"The matched persona {finding or 'is not shown to change any score'}: {length} and "
        f"{where}, {'; '.join(parts)}."
    )


def _elsewhere(unclear: Sequence[EffectRow], rows: Sequence[EffectRow]) -> str:
    """Which of these categories other cells of the table show an effect for."""
    shown = {row.category for row in rows if row.sign and not row.of_advice}
    some = [row for row in unclear if row.category in shown]
    if not some:
        return ""
    names = _names(some) if len(some) <= MOST_NAMES else f"{len(some)} of them"
    return f", though under another persona, length or placement one is for {names}"


def _names(rows: Sequence[EffectRow]) -> str:
    # A no-break space: a colon in a category's name does not end the headline.
    return _list(row.category.replace(": ", ":\N{NO-BREAK SPACE}") for row in rows)


def _list(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _with_delta(row: EffectRow) -> str:
    low, high = map(signed_end, row.interval)
    return f"{row.category} by {signed_number(row.delta, row.interval)} [{low}, {high}]"


def reply_pairs(
    run: EffectRun, tasks: Sequence[Task], models: Sequence[str]
) -> dict[str, list[ReplyPair]]:
    """The replies behind every cell (`EffectRow.cell`), with and without the persona.

    `MOST_PAIRS` of each cell: those whose scores are furthest apart come first.
    """
    task_of, verdicts = {task.id: task for task in tasks}, _verdicts(run)
    cells: dict[str, list[ReplyPair]] = {}
    for record in run.records:
        task, none = task_of[record.task], record.arms[0]
        base = _score(record, none, task, verdicts)
        for arm in record.arms[1:]:
            if arm.kind == "each":
                continue
            cell = (models[record.model], task.category, arm.kind, arm.length, arm.place)
            pair = ReplyPair(
                task=task.id,
                turns=task.turns,
                expert=arm.expert or "",
                without=none.replies,
                with_persona=arm.replies,
                scores=(base, _score(record, arm, task, verdicts)),
            )
            cells.setdefault("/".join(map(str, cell)), []).append(pair)
    return {cell: _furthest(pairs) for cell, pairs in cells.items()}


def _furthest(pairs: Sequence[ReplyPair]) -> list[ReplyPair]:
    by_distance = sorted(pairs, key=lambda pair: pair.distance)
    furthest = {pair.task: pair for pair in by_distance}  # the furthest of each task
    return sorted(furthest.values(), key=lambda pair: pair.distance, reverse=True)[:MOST_PAIRS]
