"""A worker of a cluster: the models in a process of their own, and the units that it does.

A worker says that it has begun, loads its models, and then does one unit at a time.

This module knows backends and units. It knows no Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from holdfast.core.backend import Backend
from holdfast.core.progress import Progress
from holdfast.core.run import Run, TurnTime

U = TypeVar("U")
ModelOpener = Callable[[], Backend]
Work = Callable[[Sequence[Backend], U, Run[Any, Any], Progress], None]
"""Does a unit with the models and appends its records to a run."""


@dataclass(frozen=True)
class PoolJob(Generic[U]):
    """A unit for a worker."""

    unit: U
    records: Sequence[Any]
    """Its records so far."""
    record_type: type


@dataclass(frozen=True)
class PoolJobResult:
    """The records of a unit, from the worker that did it."""

    records: list[Any]
    """All records of the unit."""
    times: list[TurnTime]
    """How long turns took, where that was measured."""
    replies: int
    """Replies generated."""


@dataclass(frozen=True)
class ModelCard:
    """What a backend says of itself."""

    name: str
    local: bool
    context: int | None
    user_first: bool
    share_refusal: str | None
    describe: Mapping[str, object]

    @classmethod
    def of(cls, model: Backend) -> ModelCard:
        """The card of a model."""
        return cls(
            name=model.name,
            local=model.local,
            context=model.context,
            user_first=model.user_first,
            share_refusal=getattr(model, "share_refusal", None),
            describe=dict(model.describe()),
        )


class PoolWorker:
    """The models in a process of their own, and the units it does with them."""

    def __init__(self, openers: Sequence[ModelOpener]) -> None:
        self._openers = openers
        self._models: list[Backend] = []

    def begin(self) -> None:
        """Do nothing: the worker has a place on a node once this returns."""

    def open(self) -> list[ModelCard]:
        """Load the models, and say what they are."""
        self._models = [opener() for opener in self._openers]
        return [ModelCard.of(model) for model in self._models]

    def do(self, work: Work[Any], job: PoolJob[Any]) -> PoolJobResult:
        """Do a unit."""
        run, progress = Run[Any](None, {}, job.record_type), Progress(enabled=False)
        run.append(job.records)
        work(self._models, job.unit, run, progress)
        return PoolJobResult(run.records, run.times, progress.replies)

    def call(self, model: int, method: str, *args: Any, **options: Any) -> Any:
        """Call a model's method."""
        return getattr(self._models[model], method)(*args, **options)
