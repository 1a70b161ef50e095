"""Does attention to the persona cause what the judge sees? Interventions on a real model.

    python studies/real_models.py --model smollm2 --out DIR      # first: makes what is replayed
    python studies/interventions.py --model smollm2 --out DIR
    python studies/interventions.py --model smollm2 --out DIR --tables   # of what has finished

The conversations that `real_models.py` held under none are replayed word for word, so that every
arm meets the same history, and only the answers to probes and to recall questions are new. An arm
multiplies the odds π / (1 - π) of the persona's share of attention: every head's by one number
(a dose), or each head's by a number of its own that brings its mean share at round 0 to that of
round 4 (`take`) or back (`give`), in all layers or in a third of them. Arms are runs of their own
in DIR/MODEL/interventions, so that the same command goes on where it was stopped.

What is asked, and which measures are primary, is in docs/studies/interventions.md, written before
the first run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edge import in_place_of_shares
from real_models import command, set_up, write_rows
from real_plan import Plan
from real_tables import difference, holm, in_table, p_value, sample_of, three, with_interval
from torch import Tensor

from holdfast.control.share_functions import Boost
from holdfast.core.backend import Backend
from holdfast.core.control import parse
from holdfast.core.errors import HoldfastError
from holdfast.core.intervals import Sample
from holdfast.core.progress import Progress
from holdfast.core.stats import Array, mean
from holdfast.evals.conversation.controlled import ControlledSetup

LATE = 4  # the round whose share is taken to round 0, and given that of round 0
DOSES = (1.0, 0.25, 4.0, 0.5, 2.0, 0.125, 8.0)
PARTS = ("early", "middle", "late")
PRIMARY = {"take-all": 0, "give-all": LATE}
"""The arms of the primary measures, and the round of each."""
SMALLEST = 1e-4  # share; records have five places


@dataclass(frozen=True)
class Arm:
    """One intervention."""

    name: str
    odds: Tensor
    """What each head's odds are multiplied by, (L, H)."""
    rounds: int
    """How many rounds are replayed; probes are asked at each."""

    def share(self, pi: Tensor, layer: int) -> Tensor:
        """The share (B, H, Lq) that takes the place of π in a layer."""
        return Boost(self.odds[layer].to(pi)[None, :, None])(pi)


def main() -> None:
    """Run what is missing of one model, or print its tables."""
    command("Does attention to the persona cause the score?", run, tables)


def run(model: Backend, plan: Plan, folder: Path, progress: Progress) -> None:
    """Do the arms of a model that are missing."""
    records = read_records(folder)
    screening = json.loads((folder / "personas.json").read_text(encoding="utf-8"))
    personas = {suite: of["personas"] for suite, of in screening.items()}
    scripts = turns_of(records)
    for arm in arms(head_shares(records, 0), head_shares(records, LATE)):
        file = folder / "interventions" / f"{arm.name}.json"
        if not file.exists():
            with in_place_of_shares(arm.share) as text:
                part = replace(plan, rounds=arm.rounds)
                setup, questions = set_up(model, part, personas, parse(text), measure=True)
                write_rows(file, replay(setup, scripts, arm.rounds), questions, progress)


def replay(
    setup: ControlledSetup, scripts: dict[int, tuple[str, ...]], rounds: int
) -> ControlledSetup:
    """The same conversations on the turns that were recorded under none."""
    conversations = [
        replace(c, script=scripts[c.id][: 2 * rounds]) for c in setup.plan.conversations
    ]
    return replace(setup, plan=replace(setup.plan, conversations=conversations))


def arms(first: Array, late: Array) -> Iterator[Arm]:
    """All arms, those of the primary measures first.

    Args:
        first: mean share of each head at round 0, (L, H).
        late: the same after round 4.
    """
    layers, heads = first.shape
    ratio = torch.tensor(odds(late) / odds(first), dtype=torch.float32)
    yield Arm("take-all", ratio, 1)
    yield Arm("give-all", 1 / ratio, LATE)
    for dose in DOSES:
        yield Arm(f"dose-{dose:g}", torch.full((layers, heads), dose), LATE)
    third = torch.arange(layers)[:, None] * 3 // layers
    for i, part in enumerate(PARTS):
        part_ratio = torch.where(third == i, ratio, torch.ones_like(ratio))
        yield Arm(f"take-{part}", part_ratio, 1)
        yield Arm(f"give-{part}", 1 / part_ratio, LATE)


def odds(share: Array) -> Array:
    """π / (1 - π), away from its ends."""
    inside = np.clip(share, SMALLEST, 1 - SMALLEST)
    return inside / (1 - inside)


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of the conversations under none."""
    file = folder / "none" / "records.jsonl"
    if not (folder / "none.json").exists():
        raise HoldfastError(f"{file} is not there or not whole: run real_models.py first.")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def turns_of(records: Sequence[dict[str, Any]]) -> dict[int, tuple[str, ...]]:
    """The turns of each conversation, the user's first."""
    turns: dict[int, list[str]] = {}
    for record in sorted(records, key=lambda one: (one["conversation"], one["round"])):
        if record.get("user"):
            of = turns.setdefault(record["conversation"], [])
            of += [record["user"]["text"], record["agent"]["text"]]
    return {conversation: tuple(of) for conversation, of in turns.items()}


def head_shares(records: Sequence[dict[str, Any]], r: int) -> Array:
    """Mean prompt share of each head in the probe answers of a round, (L, H)."""
    shares = [
        answer["share"]["heads"]
        for record in records
        if record["round"] == r
        for answer in record["answers"]
        if answer.get("share")
    ]
    return np.mean(np.array(shares), axis=0)


def found_arms(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of a model's finished arms, by name."""
    names = [arm.name for arm in arms(np.full((3, 1), 0.5), np.full((3, 1), 0.5))]
    files = {name: folder / "interventions" / f"{name}.json" for name in names}
    return {
        name: json.loads(file.read_text(encoding="utf-8"))["rows"]
        for name, file in files.items()
        if file.exists()
    }


def tables(folder: Path, plan: Plan) -> str:
    """What the finished arms say beside the dose of 1, in Markdown."""
    by_arm = found_arms(folder)
    if "dose-1" not in by_arm:
        return "The dose of 1 has not finished."
    base = by_arm["dose-1"]
    sample = sample_of(base)
    lines = [_line(name, rows, base, sample) for name, rows in sorted(by_arm.items(), key=_order)]
    parts = [f"{len(base)} conversations.", in_table(lines)]
    if PRIMARY.keys() <= by_arm.keys():
        parts.append(_primary(by_arm, base, sample))
    return "\n\n".join(parts)


def _primary(
    by_arm: dict[str, list[dict[str, Any]]], base: list[dict[str, Any]], sample: Sample
) -> str:
    """The two tests that were written down first."""
    pairs = {a: (at(by_arm[a], "scores", r), at(base, "scores", r)) for a, r in PRIMARY.items()}
    p = holm({arm: float(sample.difference_p(*both)) for arm, both in pairs.items()}, len(pairs))
    tests = [
        f"`{arm}` at round {PRIMARY[arm]}: {difference(sample, *both)} (p: {p_value(p[arm])})"
        for arm, both in pairs.items()
    ]
    return f"The primary measures, Holm over the two: {'; '.join(tests)}."


def _order(item: tuple[str, Any]) -> tuple[bool, float, str]:
    kind, _, rest = item[0].partition("-")
    place = float(rest) if kind == "dose" else ("all", *PARTS).index(rest)
    return kind != "dose", place, kind


def _line(
    name: str, rows: list[dict[str, Any]], base: list[dict[str, Any]], sample: Sample
) -> dict[str, str]:
    """Share, score and their difference from the dose of 1, at round 0 and at round 4."""
    line = {"arm": f"`{name}`"}
    for r in (0, LATE):
        own, plain = at(rows, "scores", r), at(base, "scores", r)
        there = not np.isnan(own).all()
        line[f"share, round {r}"] = three(mean(at(rows, "share", r))) if there else ""
        line[f"score, round {r}"] = (
            with_interval(mean(own), sample.score_interval(own)) if there else ""
        )
        differs = there and rows is not base
        line[f"less dose 1, round {r}"] = difference(sample, own, plain) if differs else ""
    if late := not np.isnan(at(rows, "scores", LATE)).all():
        own, plain = recall(rows), recall(base)
    line["recall"] = with_interval(mean(own), sample.score_interval(own)) if late else ""
    line["less dose 1"] = difference(sample, own, plain) if late and rows is not base else ""
    return line


def recall(rows: Sequence[dict[str, Any]]) -> Array:
    """Share of each conversation's recall questions that are answered right."""
    return np.array([np.mean(row["recall"]) for row in rows])


def at(rows: Sequence[dict[str, Any]], key: str, r: int) -> Array:
    """A round's values, NaN where a conversation or an arm has none."""
    values = [row[key][r] if r < len(row[key]) else None for row in rows]
    return np.array([np.nan if value is None else value for value in values], float)


if __name__ == "__main__":
    main()
