"""Several models answering as one, so that a trained checkpoint is a row beside the controls.

    also:NAME             what NAME answers to the same chat
    also:NAME+anchor      the same under a control of its own

An ask whose control begins with `also:` goes to the model of that name, every other one to the
first. The conversations are the same: the user's side is spoken by the first model throughout,
and chats are handed over as text, so that templates and tokenizers may differ.

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


class Beside:
    """A backend of a first model and others by name."""

    def __init__(self, first: Backend, others: Sequence[Backend]) -> None:
        self._models = {"": first, **{one.name: one for one in others}}
        if len(self._models) <= len(others):
            raise HoldfastError("two models beside the first have one name: name each once.")
        if bad := next((name for name in self._models if "+" in name), None):
            raise HoldfastError(f"{bad} cannot stand in a control: rename it, without a `+`.")
        self._first = first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._first, name)

    @property
    def local(self) -> bool:
        """True where all are."""
        return all(model.local for model in self._models.values())

    @property
    def context(self) -> int | None:
        """The shortest of all."""
        return min((m.context for m in self._models.values() if m.context), default=None)

    @property
    def user_first(self) -> bool:
        """True where any wants a user first."""
        return any(model.user_first for model in self._models.values())

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """One reply per ask, in order, each model's together."""
        return self._each(asks, lambda model, at, own: model.reply(own, sampling))

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]], *, per_token: bool = False
    ) -> list[list[float]]:
        """Log-likelihoods of each ask's options, each model's together."""
        return self._each(
            asks,
            lambda model, at, own: model.likelihoods(
                own, [options[i] for i in at], per_token=per_token
            ),
        )

    def refusal(self, control: Control) -> str | None:
        """Why the model that a control asks for cannot be put under its own part, or None."""
        return self._model(control.model).refusal(control.own)

    def forget(self) -> None:
        """Drop what is kept between calls."""
        for model in self._models.values():
            model.forget()

    def describe(self) -> Mapping[str, object]:
        """What determines the replies, as JSON: the first's, and the others' by name."""
        others = {name: dict(m.describe()) for name, m in self._models.items() if name}
        return {**self._first.describe(), "also": others}

    def _model(self, name: str) -> Backend:
        if name not in self._models:
            raise ControlError(f"no model {name!r} stands beside: name it with --also.")
        return self._models[name]

    def _each(
        self, asks: Sequence[Ask], do: Callable[[Backend, list[int], list[Ask]], list[T]]
    ) -> list[T]:
        """What each model makes of its asks, in the order of all."""
        found: dict[int, T] = {}
        for name in dict.fromkeys(ask.control.model for ask in asks):
            at = [i for i, ask in enumerate(asks) if ask.control.model == name]
            own = [replace(asks[i], control=asks[i].control.own) for i in at]
            found.update(zip(at, do(self._model(name), at, own), strict=True))
        return [found[i] for i in range(len(asks))]
