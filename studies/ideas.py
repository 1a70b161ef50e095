"""Where and when does `anchor+restore:1` do its work? Ideas on development conversations.

    python studies/ideas.py --plan studies/ideas.toml --model qwen-coder-05b --out DIR
    python studies/ideas.py --plan studies/ideas.toml --model qwen-coder-05b --out DIR --tables

The plan's controls are held as in `real_models.py`. Then the ideas: `anchor+restore:1` whose shares
change at some heads only, or only while a reply begins. Which heads, the records under none say:
those that give the persona most on the empty history, and those whose share falls most until the
last round. Each is a run of its own, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from interventions import head_shares, read_records
from real_models import command, run, set_up, write_rows
from real_plan import Plan
from real_tables import rows_file, tables
from torch import Tensor

from holdfast.control.share_functions import ShareFunction
from holdfast.control.steered_pass import SteeredPass
from holdfast.core.backend import Backend
from holdfast.core.control import parse
from holdfast.core.progress import Progress
from holdfast.core.stats import Array

CONTROL = "anchor+restore:1"
FIRST = 8
"""Tokens at the start of a reply, the template's opening of some three included."""
Where = Callable[[SteeredPass, int], Tensor]
"""Where shares change in a layer's pass: booleans that broadcast to (B, H, Lq)."""


@dataclass(frozen=True)
class Idea:
    """`CONTROL`, with its shares changed in some places only."""

    name: str
    where: Where


def main() -> None:
    """Run what is missing of one model, or print its tables."""
    command("Where does a control do its work?", run_all, all_tables)


def run_all(model: Backend, plan: Plan, folder: Path, progress: Progress) -> None:
    """Do the plan's controls, then the ideas."""
    personas = run(model, plan, folder, progress)
    for idea in ideas(folder, plan):
        if not (file := rows_file(folder, idea.name)).exists():
            with only(idea.where):
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
    yield Idea(f"{CONTROL} (heads that look most)", at_heads(looking))
    yield Idea(f"{CONTROL} (heads that fall most)", at_heads(falling))
    yield Idea(f"{CONTROL} (the other heads)", at_heads(~falling))
    yield Idea(f"{CONTROL} (first tokens)", at_first_tokens)


def most(values: Array) -> Tensor:
    """The third of the heads with the highest values, (L, H) of booleans."""
    return torch.from_numpy(values >= np.quantile(values, 2 / 3))


def at_heads(heads: Tensor) -> Where:
    """In these heads, (L, H)."""
    return lambda _, layer: heads[layer][None, :, None]


def at_first_tokens(passed: SteeredPass, layer: int) -> Tensor:
    """In the queries of the first tokens of each reply."""
    at = torch.arange(passed.column, passed.column + passed.queries)
    since = at - passed.steering.replies[..., None]  # (B, replies, Lq)
    return ((since >= 0) & (since < FIRST)).any(1)[:, None]


@contextmanager
def only(where: Where) -> Iterator[None]:
    """Within the block shares change in these places only."""
    own = SteeredPass.share

    def share(self: SteeredPass, layer: int) -> ShareFunction | None:
        whole = own(self, layer)
        if whole is None:
            return None
        return lambda pi, *rest: torch.where(where(self, layer), whole(pi, *rest), pi)

    SteeredPass.share = share  # type: ignore[method-assign]
    try:
        yield
    finally:
        SteeredPass.share = own  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
