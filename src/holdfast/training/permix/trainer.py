"""TRL's trainers, with what mixing needs of them.

`Group` is `GRPOTrainer` with two changes: rollouts of a question under personas of their own
(per rollout) are rows that lie side by side, so that the sampler must not repeat them; and the
rewards of all processes are told to the book. The rows are made beforehand and taken in their
order: TRL fetches a row once for every rollout, and a persona that is drawn while it is
fetched would differ within the group.

This module knows trainers. It knows no tasks.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate.utils import gather, gather_object  # type: ignore[import-untyped]
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOTrainer  # type: ignore[attr-defined]
from trl.trainer.utils import RepeatSampler

from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.training.permix.metrics import Book
from holdfast.training.permix.reward import text

SAMPLES = 3  # rollouts kept of a step


class Group(GRPOTrainer):
    """GRPO over rows that are laid out already."""

    def __init__(self, *args: Any, book: Book, **options: Any) -> None:
        super().__init__(*args, **options)
        self.book = book
        self.samples: list[Record] = []

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        if self.book.per == "prompt":
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
        said = gather_object([text(one) for one in completions])
        self.book.score(rows, rewards[:, 0].tolist())
        step = max(1, len(rows) // SAMPLES)
        self.samples = [
            {"row": rows[i], "reply": said[i], "reward": float(rewards[i, 0])}
            for i in range(0, len(rows), step)
        ][:SAMPLES]
        return rewards


class Watch(TrainerCallback):
    """Closes the book's page after every step, and ends a step cleanly on an interrupt."""

    def __init__(self, book: Book, progress: Progress, samples: Callable[[], Sequence[Record]]):
        self.book, self.progress, self.samples = book, progress, samples
        self.stopped = False

    def stop(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler: a second one is not waited for."""
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
        if self.stopped:
            control.should_save = control.should_training_stop = True
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        if logs and "loss" in logs:
            self.book.close(state.global_step, logs, self.samples())
            self.progress.advance(1, 0)


def run(trainer: Any, watch: Watch, folder: Path, *, alone: bool) -> None:
    """Train, from the last checkpoint in `folder` where there is one.

    An interrupt is waited out to the end of the step, whose state is kept; then it is raised.
    Not so under several processes, which would stop at different steps.
    """
    for theirs in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(theirs)
    trainer.add_callback(watch)
    last = checkpoint(folder)
    before = signal.getsignal(signal.SIGINT)
    alone = alone and threading.current_thread() is threading.main_thread()
    if alone:
        signal.signal(signal.SIGINT, watch.stop)
    try:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    finally:
        if alone:
            signal.signal(signal.SIGINT, before)
    if watch.stopped:
        raise KeyboardInterrupt


def checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint: one that a kill cut short has no trainer_state.json."""
    if not folder.is_dir():
        return None
    last = get_last_checkpoint(str(folder))
    found = sorted(folder.glob("checkpoint-*"), key=steps_of, reverse=True) if last else []
    return next((one for one in found if (one / "trainer_state.json").exists()), None)


def steps_of(checkpoint: Path | None) -> int:
    """Steps that a checkpoint has behind it."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
