"""`holdfast permix train`: the arms, the folder they leave, and how they go on after a stop.

    manifest.json    everything that determines the result
    items.jsonl      the tasks that were trained on
    metrics.jsonl    one line per step (`book`)
    checkpoints/     the trainer's own, from which the same command goes on
    adapter/         the LoRA, where one was trained, as PEFT saves it
    model/           the trained model whole, a stock folder for every command's --model
    summary.json, report.html

Three arms see the same tasks in the same order, in as many steps: *permix* with personas drawn
for its prompts, *rlvr* without any, and *sft*, which imitates gold answers under the personas of
permix, as many rows a step as the others have rollouts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast import pool as pools
from holdfast.errors import HoldfastError, ModelError
from holdfast.models import API
from holdfast.permix import dataset
from holdfast.permix.book import Book
from holdfast.permix.mixing import Mix, Row
from holdfast.permix.recipe import Recipe, recipe_for, refuse
from holdfast.permix.reward import Reward, Verify, check
from holdfast.pool import Member
from holdfast.progress import Progress
from holdfast.run import Record, Run, dumps
from holdfast.tasks import Task

MODEL, ADAPTER, CHECKPOINTS, ITEMS = "model", "adapter", "checkpoints", "items.jsonl"
EACH = 200  # tasks of a category to train on
EVALUATED = 40  # tasks of a category that are kept for evaluation
WINDOW = 10  # steps at either end of which a mean reward is told


@dataclass(frozen=True)
class Trained:
    """What was made. `summary` is the object that `holdfast permix train --json` prints."""

    summary: Record

    @property
    def checkpoint(self) -> Path:
        """The trained model's folder."""
        return Path(self.summary["checkpoint"])


@dataclass(frozen=True)
class Plan:
    """All that an arm trains on, in order."""

    arm: str
    rows: Sequence[Row]
    tasks: Sequence[Task]
    personas: Sequence[Member]
    per: str
    steps: int
    seed: int
    recipe: Recipe


def train(
    model: str,
    out: Path | str,
    *,
    arm: str = "permix",
    steps: int = 200,
    tasks: str | Path | None = None,
    each: int = EACH,
    categories: Sequence[str] = (),
    evaluation: str | Path | None = None,
    evaluation_each: int = EVALUATED,
    personas: str | Path | None = None,
    held_out: str | Path | None = None,
    bare: float = 0.25,
    per: str = "prompt",
    seed: int = 0,
    verifier: str = "auto",
    reading: str = "lenient",
    verify: Verify | None = None,
    dtype: str = "auto",
    device: str = "auto",
    command: str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> Trained:
    """Train one arm; what the command `holdfast permix train` does.

    `tasks` and `evaluation` are sources of `tasks.load` (mini's own for mini), at most `each` and
    `evaluation_each` of a category, the latter drawn by seed 0 as other commands draw them;
    `personas` and `held_out` sources of `pool.load`. A share `bare` of prompts has no persona.
    `verifier` and `reading` are those of `Reward`, `verify` a function of a task and a completion
    in their place. `given` are fields of `Recipe`. Raises `ModelError`
    for a model that cannot be trained, and `HoldfastError` for what `recipe.refuse` names,
    tasks or personas that are in both sets, a reward that sees the persona, and rewards without
    any variance.
    """
    if model.startswith(API):
        raise ModelError(f"{model} cannot be trained: name a model that runs on this machine.")
    if steps < 1:
        raise HoldfastError(f"at least 1 step is needed, not {steps}.")
    began, folder = time.monotonic(), Path(out)
    own = "mini" if model == "mini" else "core"
    kept = dataset.evaluation_tasks(
        evaluation or ("mini" if own == "mini" else None), each=evaluation_each, seed=0
    )
    items = dataset.training_tasks(
        tasks or own, kept, each=each, seed=seed, categories=categories
    )
    people = pools.load(personas or own, split="train")
    others = pools.load(held_out or personas or own, split="held-out")
    dataset.apart(people, others)
    backend = _opened(model, given.get("rank"), dtype, device)
    recipe = recipe_for(backend.engine.model.num_parameters(), arm, given)
    refuse(arm, per, bare, recipe)
    plan = _plan(arm, items, people, bare, per, steps, seed, recipe)
    described: Record = {
        "command": "permix train",
        "version": __version__,
        "model": backend.describe(),
        "arm": arm,
        "steps": steps,
        "recipe": asdict(recipe),
        "personas": pools.described(plan.personas),
        "held_out": pools.described(others),
        "bare": bare,
        "mixing": per,
        "tasks": [task.id for task in items],
        "evaluation": len(kept),
        "seed": seed,
        "processes": processes(),
        **_versions(),
    }
    run = Run(folder if main_process() else None, described)
    if (folder / "summary.json").exists():
        return Trained(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
    reward = Reward(items, verify)
    _check_reward(reward, items, [*plan.personas[:8], *others[:8]])
    if main_process():
        lines = (dumps({"id": t.id, "history": t.history, "turns": t.turns}) for t in items)
        (folder / ITEMS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    from holdfast.permix import arms

    lines_ = arms.fit(backend, plan, reward, folder, progress or Progress(enabled=False))
    if not main_process():
        return Trained({"arm": arm, "steps": steps, "checkpoint": str(folder / MODEL)})
    summary: Record = {
        "arm": arm,
        "model": model,
        "steps": steps,
        **_told(lines_),
        "beta": recipe.beta if arm != "sft" else None,
        "mixing": per if arm != "rlvr" else None,
        "bare": bare if arm != "rlvr" else 1.0,
        "tasks": len(items),
        "personas": len(plan.personas),
        "held_out": len(others),
        "checkpoint": str(folder / MODEL),
        "report": str(folder / "report.html"),
        "command": command,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
    }
    run.finish(summary)
    return Trained(summary)


def processes() -> int:
    """How many processes train together, as `accelerate launch` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def main_process() -> bool:
    """True in the one process that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def _opened(model: str, rank: object, dtype: str, device: str) -> Any:
    """The model's backend. All weights are trained in float32, an adapter beside the weights' own.

    Under several processes the trainer places it.
    """
    from holdfast import local

    kind = "float32" if dtype == "auto" and not rank else dtype
    return local.load(model, dtype=kind, device="cpu" if processes() > 1 else device)


def _plan(
    arm: str,
    items: Sequence[Task],
    people: Sequence[Member],
    bare: float,
    per: str,
    steps: int,
    seed: int,
    recipe: Recipe,
) -> Plan:
    known = () if arm == "rlvr" else tuple(people)
    prompts = recipe.prompts * (recipe.rollouts if arm == "sft" else 1)
    mix = Mix(len(known), bare, per, seed)
    rows = list(mix.rows(len(items), steps * prompts, recipe.rollouts))
    return Plan(arm, rows, items, known, per, steps, seed, recipe)


def _check_reward(reward: Reward, tasks: Sequence[Task], people: Sequence[Member]) -> None:
    """The invariance of the reward, tried on a few tasks."""
    some = list(range(min(8, len(tasks))))
    asked = [[dataset.chat(tasks[i], who) for i in some] for who in (None, *people)]
    check(reward, asked, some)


def _versions() -> Record:
    try:
        import trl
    except ModuleNotFoundError as missing:
        raise ModelError("training needs trl: pip install 'holdfast[permix]'.") from missing
    return {"trl": trl.__version__}


def _told(lines: Sequence[Record]) -> Record:
    """The first and the last steps' numbers."""
    few = max(1, min(WINDOW, len(lines) // 3))

    def ends(name: str) -> tuple[float | None, float | None]:
        values = [line[name] for line in lines if line.get(name) is not None]
        if not values:
            return None, None
        return tuple(round(sum(p) / len(p), 4) for p in (values[:few], values[-few:]))  # type: ignore

    reward, flat = ends("reward"), ends("zero_variance")
    return {
        "reward_first": reward[0],
        "reward_last": reward[1],
        "zero_variance_first": flat[0],
        "zero_variance_last": flat[1],
        "kl_last": ends("kl")[1],
        "loss_last": ends("loss")[1],
        "tokens": lines[-1].get("tokens") if lines else None,
        "window": few,
    }
