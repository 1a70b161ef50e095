"""TRL's trainers, with what mixing needs of them.

`MixedGRPOTrainer` is `GRPOTrainer` with three changes. Rollouts of a question under personas of
their own (per rollout) are rows that lie side by side, so the sampler does not repeat them; the
rewards of all processes go to the metrics; and the KL's reference is a copy of the model. The rows
are made beforehand and taken in their order: TRL fetches a row once for every rollout, and a
persona that is drawn while it is fetched would differ within the group.

This module knows trainers. It knows no tasks.
"""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather, gather_object  # type: ignore[import-untyped]
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl import GRPOTrainer  # type: ignore[attr-defined]
from trl.trainer import grpo_trainer, utils
from trl.trainer.utils import RepeatSampler

from holdfast.core.progress import Progress
from holdfast.results.training.permix import Rollout
from holdfast.training.permix.metrics import MetricsLog, divergence_error
from holdfast.training.permix.rollout_text import read_completion

SAMPLES = 3  # rollouts kept of a step


class StepSample(NamedTuple):
    """A rollout of the last step."""

    row: int
    """Number of its row."""
    reply: str
    """Its text."""
    reward: float
    """Its reward."""


@contextmanager
def _completions_alone() -> Iterator[None]:
    """Have TRL score the completions' tokens alone, and not those of the prompts.

    It does so where there is Triton; elsewhere it scores every position, so that a compiler meets
    few shapes. A CPU compiles nothing, and prompts are two thirds of the tokens.
    """
    scoring: Any = utils
    theirs = scoring._use_triton
    scoring._use_triton = lambda device: True
    try:
        yield
    finally:
        scoring._use_triton = theirs


@contextmanager
def _reference(model: Any) -> Iterator[None]:
    """Have TRL take a copy of the model as its reference, as the model is before training.

    TRL would read it from where the model's configuration was: of an adapter that is the base.
    """
    trainer: Any = grpo_trainer
    theirs = trainer.create_model_from_path
    trainer.create_model_from_path = lambda *args, **options: deepcopy(model)
    try:
        yield
    finally:
        trainer.create_model_from_path = theirs


def _contiguous(module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Of frozen weights torch copies as many as there are rows to multiply a slice of states."""
    return (inputs[0].contiguous(), *inputs[1:])


class MixedGRPOTrainer(GRPOTrainer):
    """GRPO over rows that are laid out already."""

    def __init__(self, *, model: Any, metrics: MetricsLog, **options: Any) -> None:
        with _reference(model):
            super().__init__(model=model, **options)
        self.metrics_log = metrics
        self.samples: list[StepSample] = []
        head: Any = self.accelerator.unwrap_model(self.model).get_output_embeddings()
        head.register_forward_pre_hook(_contiguous)

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> Any:
        with _completions_alone():
            return super()._get_per_token_logps_and_entropies(*args, **options)

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        if self.metrics_log.per == "prompt":
            return super()._get_train_sampler(dataset)
        settings: Any = self.args
        rows: Any = dataset if dataset is not None else self.train_dataset
        return RepeatSampler(
            data_source=rows,
            mini_repeat_count=1,
            batch_size=settings.generation_batch_size,
            repeat_count=self.num_iterations * settings.steps_per_generation,
            shuffle=False,
        )

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Any:
        # (rollouts of all processes, 1), in the order of the sampler.
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        mine = torch.tensor([one["row"] for one in inputs], device=rewards.device)
        rows = gather(mine).tolist()
        texts = gather_object([read_completion(one) for one in completions])
        self.metrics_log.add_rewards(rows, rewards[:, 0].tolist())
        step = max(1, len(rows) // SAMPLES)
        self.samples = [
            StepSample(rows[i], texts[i], float(rewards[i, 0])) for i in range(0, len(rows), step)
        ][:SAMPLES]
        return rewards


class StepCallback(TrainerCallback):
    """Writes the metrics of every step, ends a step cleanly on an interrupt, and clears up."""

    def __init__(
        self, metrics: MetricsLog, progress: Progress, samples: Callable[[], Sequence[Rollout]]
    ):
        self.metrics, self.progress, self.samples = metrics, progress, samples
        self.stopped = False

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal: stop at the end of the step, on a second signal at once."""
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
        if self.stopped:
            control.should_save = control.should_training_stop = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Remove the cards that TRL and PEFT write beside checkpoints: templates, half empty."""
        if state.is_world_process_zero:
            for card in Path(args.output_dir).rglob("README.md"):
                card.unlink()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        if logs and "loss" in logs:
            self.metrics.end_step(state.global_step, logs, self.samples())
            self.progress.advance(1, 0)


def train_resumably(trainer: Any, callback: StepCallback, folder: Path, *, alone: bool) -> None:
    """Train, from the last checkpoint where there is one.

    After an interrupt the step under way is finished and its state kept; then it is raised.

    Args:
        trainer: A trainer of transformers or TRL.
        callback: Writes the metrics.
        folder: Where checkpoints are.
        alone: Whether this is the only process; several would stop at different steps, so an
            interrupt ends them at once.

    Raises:
        HoldfastError: The training diverged.
    """
    for theirs in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(theirs)
    trainer.add_callback(callback)
    last = last_checkpoint(folder)
    before = signal.getsignal(signal.SIGINT)
    alone = alone and threading.current_thread() is threading.main_thread()
    if alone:
        signal.signal(signal.SIGINT, callback.stop)
    try:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):
            raise
        raise divergence_error(trainer.state.global_step) from error  # torch cannot draw a token
    finally:
        if alone:
            signal.signal(signal.SIGINT, before)
    if callback.stopped:
        raise KeyboardInterrupt


def last_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint; of one that a kill cut short the state is missing or torn."""
    checkpoints = [one for one in folder.glob("checkpoint-*") if re.search(r"-\d+$", one.name)]
    newest = sorted(checkpoints, key=steps_of, reverse=True)
    return next((one for one in newest if _is_whole(one)), None)


def _is_whole(checkpoint: Path) -> bool:
    """Whether its state, which is written last, can be read."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True


def steps_of(checkpoint: Path | None) -> int:
    """Steps after which a checkpoint was saved; 0 without one."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
