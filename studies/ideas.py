"""Where and when does `anchor+restore:1` do its work, and can it do more? Ideas in development.

    python studies/ideas.py --plan studies/ideas.toml --model qwen-coder-05b --out DIR
    python studies/ideas.py --plan studies/ideas.toml --model qwen-coder-05b --out DIR --tables

The plan's controls are held as in `real_models.py`. Then the ideas: `anchor+restore:1` whose shares
become those of split-softmax where these are higher, still taken from own replies alone; or change
at some heads only, or only while a reply begins. Which heads, the records under none say: those
that give the persona most on the empty history, and those whose share falls most until the last
round. Each is a run of its own, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from edge import with_share
from interventions import head_shares, read_records
from real_models import command, run, set_up, write_rows
from real_plan import Plan
from real_tables import rows_file, tables
from torch import Tensor

from holdfast.control.share_functions import ShareFunction, SplitSoftmax, TurnFunction
from holdfast.control.steered_pass import SteeredPass
from holdfast.core.backend import Backend
from holdfast.core.control import parse
from holdfast.core.progress import Progress
from holdfast.core.stats import Array

CONTROL = "anchor+restore:1"
FIRST = 8
"""Tokens at the start of a reply, the template's opening of some three included."""
Change = Callable[[SteeredPass, int, Tensor, Tensor, Tensor], Tensor]
"""What becomes of π in a layer's pass, given restore's w and c, all (B, H, Lq) (`Restore`)."""


@dataclass(frozen=True)
class Idea:
    """`CONTROL` with another share."""

    name: str
    change: Change


def main() -> None:
    """Run what is missing of one model, or print its tables."""
    command("Where does a control do its work?", run_all, all_tables)


def run_all(model: Backend, plan: Plan, folder: Path, progress: Progress) -> None:
    """Do the plan's controls, then the ideas."""
    personas = run(model, plan, folder, progress)
    for idea in ideas(folder, plan):
        if not (file := rows_file(folder, idea.name)).exists():
            with change_shares(idea.change):
                setup, questions = set_up(model, plan, personas, parse(CONTROL), measure=False)
                write_rows(file, setup, questions, progress)


def all_tables(folder: Path, plan: Plan) -> str:
    """The tables of what has finished, ideas among the controls."""
    names = [idea.name for idea in ideas(folder, plan)]
    return tables(folder, replace(plan, later=[*plan.later, *names]))


def ideas(folder: Path, plan: Plan) -> Iterator[Idea]:
    """All ideas; which heads are which is read from the run under none."""
    records = read_records(folder)
    first, last = head_shares(records, 0), head_shares(records, plan.rounds)
    looking, falling = most(first), most(first - last)
    yield Idea(f"{CONTROL} (or the power .7)", at_least_power(0.7))
    yield Idea(f"{CONTROL} (or the power .5)", at_least_power(0.5))
    yield Idea(f"{CONTROL} (first tokens)", at_first_tokens)
    yield Idea(f"{CONTROL} (heads that fall most)", at_heads(falling))
    yield Idea(f"{CONTROL} (the other heads)", at_heads(~falling))
    yield Idea(f"{CONTROL} (heads that look most)", at_heads(looking))


def most(values: Array) -> Tensor:
    """The third of the heads with the highest values, (L, H) of booleans."""
    return torch.from_numpy(values >= np.quantile(values, 2 / 3))


def at_least_power(k: float) -> Change:
    """The share of split-softmax where it is higher, in turns that have own replies before them."""

    def change(_: SteeredPass, layer: int, pi: Tensor, w: Tensor, c: Tensor) -> Tensor:
        return torch.where(c < 1, torch.maximum(w, SplitSoftmax(k)(pi)), pi)

    return change


def at_heads(heads: Tensor) -> Change:
    """In these heads alone, (L, H)."""

    def change(_: SteeredPass, layer: int, pi: Tensor, w: Tensor, c: Tensor) -> Tensor:
        return torch.where(heads[layer][None, :, None], w, pi)

    return change


def at_first_tokens(steered: SteeredPass, _: int, pi: Tensor, w: Tensor, c: Tensor) -> Tensor:
    """In the queries of the first tokens of each reply alone."""
    at = torch.arange(steered.column, steered.column + steered.queries)
    since = at - steered.steering.replies[..., None]  # (B, replies, Lq)
    return torch.where(((since >= 0) & (since < FIRST)).any(1)[:, None], w, pi)


def change_shares(change: Change) -> AbstractContextManager[None]:
    """A block in which the shares of `restore` are what `change` makes of them."""
    own = SteeredPass.share

    def share(self: SteeredPass, layer: int) -> ShareFunction | TurnFunction | None:
        if not self.restoring(layer):
            return own(self, layer)  # the engine's own trial of its attention, for one
        target = cast(TurnFunction, own(self, layer))
        return lambda pi, c: change(self, layer, pi, target(pi, c), c)

    return with_share(share)


if __name__ == "__main__":
    main()
