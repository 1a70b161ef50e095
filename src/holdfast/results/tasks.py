"""What is recorded of tasks that are asked under personas: `effect` and `robustness`."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.records import optional_field


@dataclass(frozen=True)
class TaskArm:
    """One way to ask a task: under which persona, how long it is, and where it is."""

    kind: str = "none"
    """`none` has no persona; `pool` is a persona of robustness; `each` an expert of the matrix;
    else `matched`, `other`, `safety` or `random` (`persona.experts`)."""
    length: str | None = optional_field()
    """Length of the persona."""
    place: str | None = optional_field()
    """`system`, or `user` for before the user's first message."""
    expert: str | None = optional_field()
    """Id of the persona; none for random text."""
    text: str | None = optional_field()
    """The persona's text; in records only random text, as the manifest has the others."""


@dataclass(frozen=True, kw_only=True)
class ArmReplies(TaskArm):
    """The replies to a task under an arm."""

    replies: tuple[str, ...]
    """The reply to each turn."""
    stops: tuple[str, ...]
    """Why each of them ended."""
    thoughts: tuple[str | None, ...] | None = optional_field()
    """What a thinking model thought before each of them."""

    @property
    def failed(self) -> bool:
        """Whether a reply did not fit the context, or failed."""
        return bool({"overflow", "error"} & set(self.stops))


@dataclass(frozen=True)
class TaskRecord:
    """A task asked once of a model under every arm."""

    model: int
    """Position of the model among those that are measured."""
    task: str
    """Id of the task."""
    sample: int
    """Index of the sample."""
    arms: tuple[ArmReplies, ...]
    """The replies under each arm; the one without a persona is the first."""

    @property
    def key(self) -> tuple[int, str, int]:
        """What identifies it."""
        return self.model, self.task, self.sample
