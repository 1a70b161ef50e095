"""Settings that commands which ask tasks share."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.backend import Sampling
from holdfast.core.settings import option, with_default

PLACES = ("system", "user")  # where a persona may be: system prompt, or before the first message


def read_names(text: str) -> tuple[str, ...]:
    """Names with commas between, as the command line has them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def form_option() -> str | None:
    """The field `form` of settings with tasks: None is the source's own (`FORMS`), "" nothing."""
    return option(None, "Sentence after each question that says where to put the answer.")


@dataclass(frozen=True)
class TaskSampling(Sampling):
    """How replies to tasks are drawn: they may be long."""

    max_new_tokens: int = with_default(Sampling, "max_new_tokens", 512)


@dataclass(frozen=True)
class GreedyTaskSampling(TaskSampling):
    """How replies to tasks with one right answer are drawn: greedily."""

    temperature: float = with_default(Sampling, "temperature", 0.0)
