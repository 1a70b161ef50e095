"""The few calls of Ray that a pool makes, in this process, with workers that die when told to."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


class ActorLost(Exception):
    """In place of ray.exceptions.RayActorError."""


class TaskFailed(Exception):
    """In place of ray.exceptions.RayTaskError, with its cause."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class ResultLost(Exception):
    """In place of ray.exceptions.ObjectLostError."""


class FakeRay:
    """A cluster of so many CPUs.

    `dies(worker, method, args)` says whether a call ends a worker; `error` is what asking it for a
    result then raises. A cluster that is `full` lets nothing begin within the time that somebody
    waits for it.
    """

    exceptions = SimpleNamespace(
        RayActorError=ActorLost, RayTaskError=TaskFailed, ObjectLostError=ResultLost
    )

    def __init__(
        self,
        cpus: int,
        dies: Callable[[int, str, Sequence[Any]], bool],
        error: type[Exception] = ActorLost,
        full: bool = False,
    ) -> None:
        self.cpus, self.dies, self.error, self.full = cpus, dies, error, full
        self.rng = random.Random(3)
        self.starts = 0
        self.dead_workers: list[Any] = []
        self.dead: set[int] = set()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cpus)}

    def remote(self, kind: type) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._actor(kind)))

    def _actor(self, kind: type) -> Callable[..., Any]:
        def start(*args: Any) -> Any:
            self.starts += 1
            number, instance = self.starts, kind(*args)
            methods = {
                name: self._method(number, instance, name)
                for name in ("begin", "open", "do", "call")
            }
            return SimpleNamespace(number=number, **methods)

        return start

    def _method(self, number: int, instance: Any, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if number in self.dead or self.dies(number, name, args):
                self.dead.add(number)
                return SimpleNamespace(error=self.error())
            try:
                return SimpleNamespace(error=None, value=getattr(instance, name)(*args, **options))
            except Exception as error:
                return SimpleNamespace(error=TaskFailed(error))

        return SimpleNamespace(remote=_as_reference(call))

    def get(self, reference: Any) -> Any:
        if reference.error is not None:
            raise reference.error
        return reference.value

    def available_resources(self) -> dict[str, float]:
        return {"memory": 1e9} if self.full else self.cluster_resources()

    def wait(
        self, references: list[Any], num_returns: int, timeout: float | None = None
    ) -> tuple[list[Any], list[Any]]:
        if timeout is not None:  # asked whether a worker has begun, which all do at once
            ready = 0 if self.full else num_returns
            return references[:ready], references[ready:]
        at = self.rng.randrange(len(references))  # whichever comes first
        return [references.pop(at)], references

    def put(self, value: Any) -> Any:
        return value

    def kill(self, worker: Any) -> None:
        self.dead_workers.append(worker)

    def shutdown(self) -> None:
        self.starts = -1


class _Reference:
    """A result that can be a key, as Ray's references can."""

    def __init__(self, outcome: Any) -> None:
        self.error, self.value = outcome.error, getattr(outcome, "value", None)


def _as_reference(call: Callable[..., Any]) -> Callable[..., _Reference]:
    return lambda *args, **options: _Reference(call(*args, **options))
