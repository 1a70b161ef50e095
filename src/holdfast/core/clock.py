"""The clock that times a model: processor time where it computes in this process, else wall clock.

Other load on the machine takes the processor away from a model on the CPU, which the wall
clock counts and processor time does not. On a GPU the processor only waits; a reply is text,
which is there when the GPU has finished, so wall clock needs no synchronisation. Load on that
GPU still counts, as it does on an API's server.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from holdfast.core.backend import Backend

Clock = Literal["processor time", "wall clock"]


def clock_of(model: Backend) -> Clock:
    """Which clock times this model's replies."""
    on_cpu = model.local and model.describe().get("device") == "cpu"
    return "processor time" if on_cpu else "wall clock"


def seconds_of(model: Backend) -> Callable[[], float]:
    """A function that reads that model's clock, in seconds; only differences mean anything."""
    return time.process_time if clock_of(model) == "processor time" else time.perf_counter
