"""`holdfast permix train`: the arms, the folder they leave, and how they go on after a stop.

    manifest.json    everything that determines the result
    items.jsonl      the tasks that were trained on
    metrics.jsonl    one line per step (`book`)
    checkpoints/     the trainer's own, from which the same command goes on
    adapter/         the LoRA, where one was trained, as PEFT saves it
    model/           the trained model whole, a stock folder for every command's --model
    summary.json, report.html

Three arms take as many steps over the same tasks: *permix* with personas drawn for its prompts,
*rlvr* without any, and *sft*, which imitates gold answers under personas drawn as for permix, as
many rows a step as the others have rollouts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import report
from holdfast.core.errors import HoldfastError, ModelError
from holdfast.core.progress import Progress
from holdfast.core.records import Record, dumps
from holdfast.core.run import Run
from holdfast.core.version import __version__
from holdfast.evals.tasks.tasks import Task
from holdfast.models.load import API
from holdfast.persona import pool
from holdfast.training.permix import dataset, metrics
from holdfast.training.permix.dataset import Found, Sources
from holdfast.training.permix.mixing import Mix
from holdfast.training.permix.plan import ITEMS, MODEL, Plan, main_process, processes
from holdfast.training.permix.recipe import Recipe, recipe_for, refuse
from holdfast.training.permix.reward import Reward, Verify, check

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend

WINDOW = 10  # steps at either end of which a mean is told
AHEAD = 64  # prompts on which the rewards of an arm without rollouts are measured


@dataclass(frozen=True)
class Trained:
    """What was made. `summary` is the object that `holdfast permix train --json` prints."""

    summary: Record

    @property
    def checkpoint(self) -> Path:
        """The trained model's folder."""
        return Path(self.summary["checkpoint"])


def train(
    model: str,
    out: Path | str,
    *,
    arm: str = "permix",
    steps: int = 200,
    sources: Sources | None = None,
    bare: float = 0.25,
    per: str = "prompt",
    seed: int = 0,
    verifier: str = "auto",
    reading: str = "final",
    verify: Verify | None = None,
    dtype: str = "auto",
    device: str = "auto",
    command: str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> Trained:
    """Train one arm; what the command `holdfast permix train` does.

    A share `bare` of prompts has no persona; the others have one `per` prompt, or per rollout.
    `verifier` and `reading` are those of `Reward`, `verify` a function of a task and a completion
    in their place. `given` are fields of `Recipe`, whose defaults go by the model's size
    (`recipe_for`). Raises `ModelError` for a model that cannot be trained, and `HoldfastError`
    for what `recipe.refuse` names, tasks or personas that are in both sets, a reward that sees the
    persona, and rewards without any variance.
    """
    if model.startswith(API):
        raise ModelError(f"{model} cannot be trained: name a model that runs on this machine.")
    if steps < 1:
        raise HoldfastError(f"at least 1 step is needed, not {steps}.")
    began, folder = time.monotonic(), Path(out)
    refuse(arm, per, bare, str(given.get("vllm") or "off"))
    found = dataset.load(sources or Sources(), model, seed)
    with Reward(found.tasks, wanted=verifier, reading=reading, verify=verify) as reward:
        _check_reward(reward, found)
        backend = _opened(model, bool(given.get("rank")), dtype, device)
        recipe = recipe_for(backend.engine.model.num_parameters(), arm, given)
        plan = _plan(arm, found, bare, per, steps, seed, recipe)
        described = {**_described(backend, plan, found, bare), "reward": [verifier, reading]}
        run = Run(folder if main_process() else None, described)
        done = folder / "summary.json"
        if done.exists():
            return Trained(json.loads(done.read_text(encoding="utf-8")))
        if main_process():
            _write_items(folder / ITEMS, found.tasks)
        told = _fitted(backend, plan, reward, folder, progress or Progress(enabled=False))
        summary: Record = {
            "arm": arm,
            "model": model,
            "steps": steps,
            **told,
            "beta": recipe.beta if arm != "sft" else None,
            "mixing": per if arm != "rlvr" else None,
            "bare": bare if arm != "rlvr" else 1.0,
            "tasks": len(found.tasks),
            "personas": len(plan.personas),
            "held_out": len(found.held_out),
            "verifier_errors": reward.errors,
            "checkpoint": str(folder / MODEL),
            "report": str(folder / "report.html"),
            "command": command,
            "seed": seed,
            "seconds": round(time.monotonic() - began, 1),
        }
    if main_process():
        run.finish(summary)
        report.write_permix(summary, metrics.read(folder), folder / "report.html")
    return Trained(summary)


def _opened(model: str, adapter: bool, dtype: str, device: str) -> LocalBackend:
    """The model's backend: in float32 where its own weights learn, as small steps need.

    Under several processes the trainer places it.
    """
    try:
        import trl  # noqa: F401
    except ModuleNotFoundError as missing:
        raise ModelError("training needs trl: pip install 'holdfast[permix]'.") from missing
    from holdfast.models.local import load as local

    kind = "float32" if dtype == "auto" and not adapter else dtype
    return local.load(model, dtype=kind, device="cpu" if processes() > 1 else device)


def _plan(
    arm: str, found: Found, bare: float, per: str, steps: int, seed: int, recipe: Recipe
) -> Plan:
    people = () if arm == "rlvr" else found.personas
    prompts = steps * recipe.prompts * (recipe.rollouts if arm == "sft" else 1)
    mix = Mix(len(people), bare, per, seed)
    rows = list(mix.rows(len(found.tasks), prompts + AHEAD, recipe.rollouts))
    end = prompts * (recipe.rollouts if per == "rollout" else 1)
    return Plan(arm, rows[:end], rows[end:], found.tasks, people, per, steps, seed, recipe)


def _described(backend: LocalBackend, plan: Plan, found: Found, bare: float) -> Record:
    """The manifest: everything that determines the result."""
    import trl

    return {
        "command": "permix train",
        "version": __version__,
        "model": backend.describe(),
        "arm": plan.arm,
        "steps": plan.steps,
        # How often a run is saved changes nothing of what comes out.
        "recipe": {k: v for k, v in asdict(plan.recipe).items() if k != "save_every"},
        "personas": pool.described(plan.personas),
        "held_out": pool.described(found.held_out),
        "bare": bare,
        "mixing": plan.per,
        "tasks": [asdict(task) for task in found.tasks],
        "evaluation": [task.id for task in found.evaluation],
        "seed": plan.seed,
        "processes": processes(),
        "trl": trl.__version__,
    }


def _write_items(path: Path, tasks: Sequence[Task]) -> None:
    lines = (dumps({"id": t.id, "history": t.history, "turns": t.turns}) for t in tasks)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _check_reward(reward: Reward, found: Found) -> None:
    """The invariance of the reward, tried on a few tasks under personas of every kind."""
    some = list(range(min(8, len(found.tasks))))
    people = {one.kind: one for one in (*found.personas, *found.held_out)}
    asked = [[dataset.chat(found.tasks[i], who) for i in some] for who in (None, *people.values())]
    check(reward, asked, some)


def _fitted(
    backend: LocalBackend, plan: Plan, reward: Reward, folder: Path, progress: Progress
) -> Record:
    """Train and save, and what the steps' lines say.

    An arm without rollouts has its rewards measured before and after.
    """
    from holdfast.training.permix import arms

    bare_of_rollouts = plan.arm == "sft" and main_process()
    first = arms.rewards(backend, plan, reward) if bare_of_rollouts else None
    lines = arms.fit(backend, plan, reward, folder, progress)
    told = _told(lines)
    if bare_of_rollouts:
        from holdfast.models.local import load as local

        trained = local.load(str(folder / MODEL), device=str(backend.engine.device))
        told |= {"reward_first": first, "reward_last": arms.rewards(trained, plan, reward)}
    return told


def _told(lines: Sequence[Record]) -> Record:
    """The first and the last steps' means."""
    few = max(1, min(WINDOW, len(lines) // 3))

    def mean(name: str, part: slice) -> float | None:
        values = [line[name] for line in lines[part] if line.get(name) is not None]
        return round(sum(values) / len(values), 4) if values else None

    start, end = slice(0, few), slice(-few, None)
    return {
        "reward_first": mean("reward", start),
        "reward_last": mean("reward", end),
        "zero_variance_first": mean("zero_variance", start),
        "zero_variance_last": mean("zero_variance", end),
        "kl_last": mean("kl", end),
        "loss_last": mean("loss", end),
        "tokens": int(lines[-1].get("tokens", 0)) if lines else 0,
        "window": few,
    }
