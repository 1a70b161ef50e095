"""What mixing costs a training step: TRL's own GRPO step, and ours, on the same prompts.

All sides train the same model from the same seeds on the same prompts, personas included. So they
write the same tokens, and their steps do the same work:

- *plain*: `GRPOTrainer` on rows that hold the personas already, with the reward as a function;
- *prompt*: rows under `PersonaMix`, the sampler and the metrics of `holdfast permix train`;
- *rollout*: the same, mixed per rollout (its prompts differ, so compare with care).

    OMP_NUM_THREADS=1 python bench/permix.py
    OMP_NUM_THREADS=1 python bench/permix.py --rounds 9 --steps 6
    OMP_NUM_THREADS=1 python bench/permix.py --quick --json    # two rounds: a few minutes

The sides take turns, each time with a new trainer, whose first step warms up. The ratio is that of
matching steps, in processor time (which other work on the machine does not move) and in wall
time. Ours scores the tokens of completions alone; TRL's own those of prompts too, without Triton.
Prints a Markdown table of medians, and the time to draw a row; `--json` prints one object.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tables import table
from vllm_package import unhide_vllm

unhide_vllm()  # trl asks whether there is a package vllm

import torch
from datasets import Dataset
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl import GRPOTrainer

from holdfast.core.progress import Progress
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load
from holdfast.training.permix.dataset import chats, load_data
from holdfast.training.permix.fit import grpo_config, grpo_trainer, step_samples
from holdfast.training.permix.grpo import StepCallback
from holdfast.training.permix.metrics import MetricsLog
from holdfast.training.permix.mixing import PersonaMix
from holdfast.training.permix.plan import TrainingPlan
from holdfast.training.permix.settings import DataSettings, PermixSettings, TrainerSettings
from holdfast.training.permix.task_reward import Reward

Seconds = tuple[float, float]
"""Processor and wall time."""


class Clock(TrainerCallback):
    """Processor and wall seconds of every step, its log included."""

    def __init__(self) -> None:
        self.seconds: list[Seconds] = []

    def on_step_begin(self, *args: Any, **rest: Any) -> None:
        self._began = time.process_time(), time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        if logs and "loss" in logs:
            cpu, wall = self._began
            self.seconds.append((time.process_time() - cpu, time.perf_counter() - wall))


def plain(backend: LocalBackend, plan: TrainingPlan, reward: Reward, folder: Path) -> GRPOTrainer:
    """TRL's trainer on the same rows, which are mixed already."""
    prompts = chats(plan.rows, plan.tasks, plan.personas)
    rows = [
        {"prompt": [dict(m) for m in chat], "item": row.item}
        for chat, row in zip(prompts, plan.rows, strict=True)
    ]
    return GRPOTrainer(
        model=backend.engine.model,
        reward_funcs=reward,
        args=grpo_config(backend, plan, folder),
        train_dataset=Dataset.from_list(rows),
        processing_class=backend.tokenizer,
    )


def time_steps(
    side: str, backend: LocalBackend, plan: TrainingPlan, reward: Reward
) -> list[Seconds]:
    """Seconds of each step of a new trainer on a fresh copy of the model."""
    fresh = LocalBackend(copy.deepcopy(backend.engine.model), backend.tokenizer, backend.name)
    clock = Clock()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if side == "plain":
            trainer: Any = plain(fresh, plan, reward, folder)
        else:
            metrics = MetricsLog(
                folder, plan.rows, plan.personas, rollouts=plan.settings.rollouts, per=plan.mixing
            )
            trainer = grpo_trainer(fresh, plan, reward, folder, metrics)
            samples = lambda: list(step_samples(trainer, plan))  # noqa: E731
            trainer.add_callback(StepCallback(metrics, Progress(enabled=False), samples))
        for theirs in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(theirs)
        trainer.add_callback(clock)
        trainer.train()
    return clock.seconds[1:]


def _row(side: str, steps: Sequence[Seconds], others: Sequence[Seconds]) -> dict[str, object]:
    """Medians of one side, and of its steps' ratios to the same steps of TRL's own."""
    row: dict[str, object] = {"side": side}
    for which, name in enumerate(("processor", "wall")):
        pairs = zip(steps, others, strict=True)
        row[f"{name} ms"] = 1000 * statistics.median(one[which] for one in steps)
        row[f"{name} of plain"] = statistics.median(a[which] / b[which] for a, b in pairs)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--steps", type=int, default=5, help="of each trainer, the first unused")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two rounds of four steps")
    parser.add_argument("--json", action="store_true", help="print one object")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.steps = 2, 4
    torch.set_num_threads(args.threads)
    backend = load(args.model)
    data = load_data(DataSettings(), "mini", 0)
    parameters = backend.engine.model.num_parameters()
    settings = TrainerSettings.of(PermixSettings(save_every=10_000), parameters)
    reward = Reward(data.tasks)
    plans: dict[str, TrainingPlan] = {}
    drawing = 0.0
    for per in ("prompt", "rollout"):
        began = time.perf_counter()
        mix = PersonaMix(len(data.personas), 0.25, per, 0)
        prompts = args.steps * settings.prompts
        rows = list(mix.rows(len(data.tasks), prompts, settings.rollouts))
        drawing = (time.perf_counter() - began) / len(rows)
        plans[per] = TrainingPlan(
            "permix", rows, (), data.tasks, data.personas, per, args.steps, 0, settings
        )
    sides = {"plain": plans["prompt"], **plans}
    seconds: dict[str, list[Seconds]] = {side: [] for side in sides}
    for turn in range(args.rounds):
        order = list(sides.items())
        for side, plan in order if turn % 2 == 0 else order[::-1]:
            seconds[side] += time_steps(side, backend, plan, reward)
    table_rows = [_row(side, steps, seconds["plain"]) for side, steps in seconds.items()]
    reward.math.close()
    if args.json:
        print(json.dumps({"model": args.model, "rows": table_rows, "seconds_a_row": drawing}))
        return
    print(f"{args.model}, {settings.prompts} prompts of {settings.rollouts} rollouts, "
          f"{args.threads} threads, torch {torch.__version__}\n")  # fmt: skip
    print(table(table_rows))
    print(f"Drawing a row takes {drawing * 1e6:.0f} µs.")


if __name__ == "__main__":
    main()
