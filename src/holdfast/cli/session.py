"""What a command does around its work: open models, share batches out, be interrupted, print."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from holdfast.core.errors import HoldfastError
from holdfast.core.records import dumps

if TYPE_CHECKING:
    from holdfast.cli.options import OutputOptions, SharingOptions
    from holdfast.core.backend import Backend
    from holdfast.core.shards import Where
    from holdfast.evals.conversation.settings import ConversationSettings
    from holdfast.evals.estimate import RunEstimate
    from holdfast.results.training.recipe import TrainingEstimate


_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]+@")


class Summary(Protocol):
    """The summary of a command that measures a model and writes a page."""

    @property
    def note(self) -> str | None:
        """What to know of the model."""

    @property
    def report(self) -> str | None:
        """The page, where one was written."""


@contextlib.contextmanager
def verify_replies(model: Backend, way: str | None) -> Iterator[Backend]:
    """Check the model's replies in the given way, if any, and print a summary at the end."""
    if way is None:
        yield model
        return
    from holdfast.models.fact_check import FactCheckedBackend

    backend = FactCheckedBackend(model, way)
    yield backend
    print(backend.summary, file=sys.stderr)


@contextlib.contextmanager
def open_models(
    sharing: SharingOptions,
    names: Sequence[str],
    open_model: Callable[[str], Backend],
    device: str,
    output: OutputOptions,
    *,
    alone: Sequence[str | None] = (),
) -> Iterator[tuple[Where, list[Backend]]]:
    """Open the models, here or on a cluster, and say who does the batches.

    Args:
        sharing: the cluster or the shard, where one is named.
        names: the models.
        open_model: opens one of them.
        device: where models run on a cluster's nodes.
        output: how a shard's end is printed.
        alone: options whose models a cluster's workers would not have.
    """
    from holdfast.core.cluster.ray_pool import RayPool
    from holdfast.core.shards import Shard, ShardDone
    from holdfast.models.load import SERVERS

    if sharing.ray and sharing.shard:
        raise HoldfastError("--ray and --shard are two ways to share a run out: give one of them.")
    if sharing.ray and any(alone):
        raise HoldfastError("--also and --verify work on one machine: leave --ray out, or them.")
    shard = Shard.parse(sharing.shard) if sharing.shard else None
    if sharing.ray:
        device = "cpu" if all(name.startswith(SERVERS) for name in names) else device
        with RayPool(sharing.ray, [partial(open_model, n) for n in names], device=device) as pool:
            yield pool, pool.models
        return
    try:
        yield shard, [open_model(name) for name in names]
    except ShardDone as shard_done:
        if output.as_json:
            print_json(shard_done.summary)
        else:
            print(shard_done)


def batch_hint(settings: ConversationSettings, models: Sequence[Backend]) -> str:
    """The hint for an interrupted run of conversations that begins its batch again."""
    if settings.resume == "round" or not models or not all(model.local for model in models):
        return ""
    return "\n(a batch under way begins again; with --resume round it goes on after its last round)"


@contextlib.contextmanager
def resumable(out: Path | None, *, quiet: bool = False, hint: str = "") -> Iterator[Path | None]:
    """The folder of a run, if there is one; an interrupt says how to go on, or why one cannot.

    With `quiet`, for work that has no run or page to lose, the end says nothing of that. `hint` is
    added to how to go on.
    """
    try:
        yield out
    except KeyboardInterrupt as interrupt:
        if out is None:
            note = "interrupted; nothing was kept, since there is no --out DIR to go on from"
        else:
            note = f"interrupted; this goes on from here: {own_command()}{hint}"
        raise KeyboardInterrupt(note) from interrupt
    if out is None and not quiet:
        print("this run was not kept: --out DIR keeps it, with its page", file=sys.stderr)


def require_folder(out: Path | None, plan: bool) -> Path:
    """The folder of a command whose whole result is files; raises where none is named.

    A plan writes nothing: it only asks how much room the folder has.
    """
    if out is None and plan:
        return Path()
    if out is None:
        raise HoldfastError("name the folder that the result goes to with --out.")
    return out


def own_command() -> str:
    """This process's command as it was given, but for the key and a URL's password."""
    arguments = [_CREDENTIALS.sub("…@", word) for word in sys.argv[1:]]
    for i, word in enumerate(arguments):
        if word.startswith("--api-key="):
            arguments[i] = "--api-key=…"
        elif i and arguments[i - 1] == "--api-key":
            arguments[i] = "…"
    return shlex.join(["holdfast", *arguments])


def print_json(summary: object) -> None:
    """One JSON object on one line of standard output."""
    print(dumps(summary))


def print_result(result: object, lines: Iterable[str], as_json: bool) -> None:
    """One JSON object, or lines for people."""
    if as_json:
        print_json(result)
    else:
        print(*lines, sep="\n")


def print_plan(estimate: TrainingEstimate, as_json: bool) -> None:
    """What a training will take: one JSON object, or a line for people."""
    print_result(estimate, [f"{estimate.sentence()}."], as_json)


def print_summary(summary: Summary, lines: Iterable[str], as_json: bool) -> None:
    """The result of a command: one JSON object, or lines for people.

    Args:
        summary: the result.
        lines: the result in words; what to know of the model and the page's path follow them.
        as_json: print the object.
    """
    print_result(summary, chain(lines, filter(None, (summary.note, summary.report))), as_json)


def print_estimate(estimate: RunEstimate, as_json: bool, beside: str = "") -> None:
    """What a run will take: one JSON object, or a sentence that ends with what is on top."""
    print_result(estimate, [estimate.sentence(beside)], as_json)
