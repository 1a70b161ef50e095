"""What a command does around its work: read its texts, load models, name a folder, be resumed."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import HoldfastError, RunError

if TYPE_CHECKING:
    from holdfast.core.backend import Backend
    from holdfast.core.shards import Where
    from holdfast.evals.conversation.setup import Pairs


def opened(
    name: str,
    *,
    dtype: str = "auto",
    device: str = "auto",
    base_url: str | None = None,
    api_key: str | None = None,
    **limits: Any,
) -> Backend:
    """The model of that name; `limits` are those of an API."""
    from holdfast.models.load import API, load

    if name.startswith(API):
        return load(name, base_url=base_url, api_key=api_key, **limits)
    return load(name, dtype=dtype, device=device)


@contextlib.contextmanager
def verified(model: Backend, way: str | None) -> Iterator[Backend]:
    """The model with its replies checked that way, if one is named; ends with what came of it."""
    if way is None:
        yield model
        return
    from holdfast.models.fact_check import FactCheckedBackend

    checked = FactCheckedBackend(model, way)
    yield checked
    print(checked.summary, file=sys.stderr)


@contextlib.contextmanager
def placed(
    ray: str | None,
    shard: str | None,
    names: Sequence[str],
    open_model: Callable[[str], Backend],
    device: str = "auto",
    *,
    as_json: bool = False,
    alone: Sequence[str | None] = (),
) -> Iterator[tuple[Where, list[Backend]]]:
    """The models of those names, and where their batches are done: here, a shard, a cluster.

    `alone` are options whose models a cluster's workers would not have.
    """
    from holdfast.core.ray_pool import Pool
    from holdfast.core.shards import Shard, ShardDone
    from holdfast.models.load import API

    if ray and shard:
        raise HoldfastError("--ray and --shard are two ways to share a run out: give one of them.")
    if ray and any(alone):
        raise HoldfastError("--also and --verify work on one machine: leave --ray out, or them.")
    part = Shard.parse(shard) if shard else None
    if ray:
        where = "cpu" if all(name.startswith(API) for name in names) else device
        with Pool(ray, [partial(open_model, name) for name in names], device=where) as pool:
            yield pool, pool.models
        return
    try:
        yield part, [open_model(name) for name in names]
    except ShardDone as done:
        if as_json:
            print_json(done.summary)
        else:
            print(done)


@contextlib.contextmanager
def resumable(out: Path | None, command: str, model: str) -> Iterator[Path]:
    """The folder of a run; an interrupt ends with the command that goes on from there."""
    folder = out or _free_folder(command, model)
    try:
        yield folder
    except KeyboardInterrupt as interrupt:
        again = _shown([*sys.argv[1:], *([] if out else ["--out", str(folder)])])
        raise KeyboardInterrupt(f"interrupted; this goes on from here: {again}") from interrupt


def own_command() -> str:
    """This process's command as it was given, but for the key."""
    return _shown(sys.argv[1:])


def print_json(summary: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard output."""
    print(json.dumps(summary, ensure_ascii=False, allow_nan=False))


def as_pairs(text: str) -> Pairs:
    """--pairs as a number or "all"."""
    if text == "all":
        return "all"
    try:
        return int(text)
    except ValueError:
        raise HoldfastError(f"--pairs is a number or “all”, not {text!r}") from None


def as_controls(text: str) -> list[str]:
    """--controls as a list: a comma before an option (`heads=0-3`) belongs to its control."""
    return [one.strip() for one in re.split(r",(?!\s*\w+=)", text)]


def as_names(text: str) -> list[str]:
    """Names with commas between as a list."""
    return [one.strip() for one in text.split(",") if one.strip()]


def shortened(text: str, limit: int) -> str:
    """A text on one line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _shown(args: Sequence[str]) -> str:
    shown = list(args)
    for i, word in enumerate(args):
        if word.startswith("--api-key="):
            shown[i] = "--api-key=…"
        elif i and args[i - 1] == "--api-key":
            shown[i] = "…"
    return shlex.join(["holdfast", *shown])


def _free_folder(command: str, model: str) -> Path:
    """runs/COMMAND-MODEL-1, or the next number that is free."""
    name = "".join(c if c.isalnum() or c in "-." else "-" for c in model)
    for number in range(1, 10_000):
        folder = Path("runs") / f"{command}-{name}-{number}"
        if not folder.exists():
            return folder
    raise RunError("runs/ is full of runs of this name; choose a folder with --out")
