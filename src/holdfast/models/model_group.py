"""Several models that answer as one, so that a trained checkpoint is a row among the controls.

    also:NAME             the reply of the model NAME to the same chat
    also:NAME+anchor      its reply under a control of its own

An ask whose control names a model goes to that model, every other ask to the first. All models
answer the same conversations: the first model speaks the user's side throughout. Chats are passed
on as text, so templates and tokenizers may differ.

This module knows backends and names. It loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.control import Control
from holdfast.core.errors import ControlError, HoldfastError

T = TypeVar("T")


class ModelGroup:
    """A backend of a first model and others that controls name; all else is the first's."""

    def __init__(self, first: Backend, others: Sequence[Backend]) -> None:
        """Join models.

        Raises `HoldfastError` where two have one name, or where a name has a `+`, which joins
        controls.
        """
        self._models = {"": first, **{other.name: other for other in others}}
        if len(self._models) <= len(others):
            raise HoldfastError("two models beside the first have one name: name each once.")
        if bad := next((name for name in self._models if "+" in name), None):
            raise HoldfastError(f"{bad} cannot stand in a control: rename it, without a `+`.")
        self._first = first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._first, name)

    @property
    def local(self) -> bool:
        """True if all models are."""
        return all(model.local for model in self._models.values())

    @property
    def context(self) -> int | None:
        """The shortest context of all models."""
        return min((m.context for m in self._models.values() if m.context), default=None)

    @property
    def user_first(self) -> bool:
        """True if any model wants a user message first."""
        return any(model.user_first for model in self._models.values())

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """Return one reply per ask, in order; each model gets its asks in one call."""
        return self._by_model(asks, lambda model, indices, own: model.reply(own, sampling))

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Return log-likelihoods of each ask's options; each model gets its asks in one call.

        A call without asks reaches all models, so that one which gives only text refuses it.
        """
        if not asks:
            for model in self._models.values():
                model.likelihoods((), ())
        return self._by_model(
            asks,
            lambda model, indices, own: model.likelihoods(own, [options[i] for i in indices]),
        )

    def refusal(self, control: Control) -> str | None:
        """Say why the control's model cannot be put under the rest of the control, or None."""
        return self._model(control.model).refusal(control.own)

    def forget(self) -> None:
        """Drop what all models keep between calls."""
        for model in self._models.values():
            model.forget()

    def describe(self) -> Mapping[str, object]:
        """Return what determines the replies, as JSON: the first's, and the others' by name."""
        others = {name: dict(m.describe()) for name, m in self._models.items() if name}
        return {**self._first.describe(), "also": others}

    def _model(self, name: str) -> Backend:
        if name not in self._models:
            raise ControlError(f"no model {name!r} stands beside: name it with `also`.")
        return self._models[name]

    def _by_model(
        self, asks: Sequence[Ask], call: Callable[[Backend, list[int], list[Ask]], list[T]]
    ) -> list[T]:
        """Call each model with its asks and their indices; return all results in order."""
        results: dict[int, T] = {}
        for name in dict.fromkeys(ask.control.model for ask in asks):
            indices = [i for i, ask in enumerate(asks) if ask.control.model == name]
            own = [replace(asks[i], control=asks[i].control.own) for i in indices]
            results.update(zip(indices, call(self._model(name), indices, own), strict=True))
        return [results[i] for i in range(len(asks))]
