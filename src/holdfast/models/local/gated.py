"""A model whose adapter is on or off for each query, decided by the gate in the same call.

Layer 0 is run once on the prompts for the gate, through a view of the same weights; then one
batch holds the rows with the adapter and those without. No system prompt is needed: the
persona is in the adapter.

    gate      on where the gate says so
    always    on everywhere
    random    on as often as the gate would, at random
    never     off everywhere, which is the base model

This module knows a local model and a folder of `pipeline.train`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.errors import ModelError, RunError
from holdfast.core.run import Record
from holdfast.core.seeds import seed_of
from holdfast.models.local import gate
from holdfast.models.local import lora as adapter
from holdfast.models.local.model import LocalBackend

MODES = ("gate", "always", "random", "never")


class Router:
    """A local model with an adapter and its gate; close it to have the model as it was."""

    def __init__(self, model: LocalBackend, folder: Path) -> None:
        made = about(folder)
        own = model.describe()["weights"]
        if made["base"]["weights"] != own:
            raise ModelError(
                f"the adapter in {folder} was trained on {made['base']['name']}, whose weights are "
                f"not those of {model.name}."
            )
        self.model, self.gate, self.name = model, gate.read(folder), str(folder)
        rows = adapter.Rows(model.engine.model, adapter.read(folder), model.name)
        self.choose = rows.choose
        model.engine.adapters[self.name] = self

    def __enter__(self) -> Router:
        return self

    def __exit__(self, *error: object) -> None:
        del self.model.engine.adapters[self.name]
        self.model.forget()

    def decide(self, asks: Sequence[Ask], mode: str = "gate", rate: float = 0.0) -> list[bool]:
        """Which asks are answered with the adapter; `rate` is the part of `random`."""
        if mode not in MODES:
            raise ValueError(f"there is no mode {mode!r}: {', '.join(MODES)}")
        if mode in ("always", "never"):
            return [mode == "always"] * len(asks)
        if mode == "random":
            draws = [np.random.default_rng(seed_of("random gate", a.seed)).random() for a in asks]
            return [bool(draw < rate) for draw in draws]
        return self.gated([self.model.ids(ask) for ask in asks])

    def gated(self, prompts: Sequence[Sequence[int]]) -> list[bool]:
        """Which prompts, as token ids, the gate switches the adapter on for."""
        found = self.gate.chances(gate.features(self.model.engine.model, prompts, self.model.name))
        return [bool(chance >= gate.THRESHOLD) for chance in found]

    def reply(self, asks: Sequence[Ask], sampling: Sampling, on: Sequence[bool]) -> list[Reply]:
        """One reply per ask, with the adapter in the rows of `on`, all in one batch."""
        return self.model.reply(asks, sampling, [self.name if one else "" for one in on])

    def describe(self) -> Mapping[str, object]:
        """What determines the replies, as JSON."""
        return self.model.describe()


ABOUT = "prism.json"


def about(folder: Path) -> Record:
    """What prism.json says. Raises `RunError` where there is none."""
    try:
        found: Record = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{folder} holds no trained PRISM ({error}): holdfast prism train writes one."
        ) from error
    return found
