"""How long a training takes and whether it fits, measured before it starts.

Speeds are measured on the model itself with a short batch: tokens written a second, and the
seconds of a forward pass and of a backward pass a token. `step_memory` has the memory.

This module knows models. It knows no tasks and no personas.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import message
from holdfast.core.errors import HoldfastError
from holdfast.evals.estimate import RunEstimate
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.memory import total_memory
from holdfast.results.training.recipe import TrainingEstimate
from holdfast.training.step_memory import memory_now

GB = 1e9
BYTES = 8
"""Bytes of a token in a run's folder: four letters, and as many of what stands around them."""
_ROWS, _NEW, _LENGTH = 4, 8, 64  # of the measured batch


@dataclass(frozen=True)
class Speed:
    """How fast a model works on its device."""

    write_seconds: float
    """Seconds for a token that is written, in a batch."""
    pass_seconds: float
    """Seconds for a token in a forward pass; a backward pass takes twice that."""


def measure(backend: LocalBackend) -> Speed:
    """Time a short batch of replies and a forward pass, after one of each to warm up."""
    chat = (message("user", "Tell me about the sea."),)
    asks = [Ask(chat, i, keep=False) for i in range(_ROWS)]
    ids = torch.full((_ROWS, _LENGTH), 1, device=backend.engine.device)
    model: Any = backend.engine.model
    for new in (2, _NEW):
        start = time.perf_counter()
        replies = backend.reply(asks, Sampling(new, 1.0, top_p=1.0))
        write_seconds = time.perf_counter() - start
    with torch.no_grad():
        for _ in range(2):
            start = time.perf_counter()
            model(input_ids=ids, use_cache=False)
            if ids.device.type == "cuda":
                torch.cuda.synchronize(ids.device)
            pass_seconds = time.perf_counter() - start
    tokens = max(1, sum(reply.completion_tokens for reply in replies))
    return Speed(write_seconds / tokens, pass_seconds / (_ROWS * _LENGTH))


def estimate_measurement(backend: LocalBackend, run: RunEstimate) -> TrainingEstimate:
    """What it takes to measure a model, of which only the tokens that it writes are counted."""
    engine = backend.engine  # its widest buffers were those of the measured step
    buffers = min(engine.batch_size, run.replies) * engine.row_bytes
    return TrainingEstimate(
        prompts=run.replies,
        tokens=run.tokens_at_most,
        memory_gb=round((memory_now(backend) + buffers) / GB, 4),
        disk_gb=round(run.tokens_at_most * BYTES / GB, 4),
        seconds=run.seconds,
    )


def check_fits(estimate: TrainingEstimate, backend: LocalBackend, folder: Path) -> None:
    """Refuse a training that memory or disk cannot hold.

    Raises:
        HoldfastError: It needs more than there is.
    """
    device = backend.engine.device
    there = total_memory(device) / GB
    if estimate.memory_gb > there:
        raise HoldfastError(
            f"a step needs about {estimate.memory_gb:.1f} GB of memory and {device} has "
            f"{there:.1f}: train on shorter replies (`max_new_tokens`); permix also takes "
            "a step in parts (`parts` 4) and trains a LoRA (`rank` 16)."
        )
    place = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(place).free / GB
    if estimate.disk_gb > free:
        raise HoldfastError(
            f"the run needs about {estimate.disk_gb:.1f} GB of disk and {place} has {free:.1f} "
            "free: free some, or choose another `out`."
        )


def show(estimate: TrainingEstimate, stage: str) -> None:
    """Say on standard error what a training will take, before it starts."""
    processors = f"{psutil.cpu_count()} processors"
    print(f"{stage}: {estimate.sentence()} ({processors})", file=sys.stderr, flush=True)
