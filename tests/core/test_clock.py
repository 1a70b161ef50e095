"""A model on this CPU is timed by the work it does, any other by the wall clock."""

from __future__ import annotations

import time
from collections.abc import Mapping

from actors import Actor
from holdfast.core.backend import clock_of, seconds_of


class OnCpu(Actor):
    """Says that it computes here."""

    def describe(self) -> Mapping[str, object]:
        return {"name": self.name, "device": "cpu"}


def test_waiting_does_not_count_for_a_model_on_this_cpu() -> None:
    seconds = seconds_of(OnCpu())
    began = seconds()
    time.sleep(0.2)
    wait = seconds() - began
    sum(i * i for i in range(2_000_000))
    assert wait < 0.05 < seconds() - began


def test_waiting_counts_for_a_model_elsewhere() -> None:
    for model in (OnCpu(local=False), Actor()):
        assert clock_of(model) == "wall clock"
        seconds = seconds_of(model)
        began = seconds()
        time.sleep(0.05)
        assert seconds() - began >= 0.045
