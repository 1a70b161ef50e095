"""What a training will take, as `--plan` prints it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingEstimate:
    """What a training will take, from a measured step."""

    prompts: int
    """Prompts that the model is asked, judging included."""
    tokens: int
    """Tokens that it reads and writes at most."""
    memory_gb: float
    """Memory at the peak of a step, in units of 10⁹ bytes."""
    disk_gb: float
    """Files that the run leaves or needs on the way, likewise."""
    seconds: float
    """Seconds, from a measured step of the same machine."""
