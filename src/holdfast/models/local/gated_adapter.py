"""An adapter that a gate switches on or off for each prompt.

The gate reads what leaves layer 0 at the prompt's end, through a view of the same weights.
One batch then holds the rows with the adapter and those without it. No system prompt is
needed: the persona is in the adapter.

This module knows a loaded model and a folder that `holdfast prism train` wrote. It knows no chats.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.errors import ModelError, RunError
from holdfast.core.records import Record
from holdfast.models.engine.loaded import LoadedModel
from holdfast.models.local.gate import THRESHOLD, compute_features, read_gate
from holdfast.models.local.lora import RowLora, read_lora

ABOUT = "prism.json"


class GatedAdapter:
    """A LoRA with its gate on a loaded model, under the folder's name in `engine.adapters`.

    As a context manager it removes itself at the end, and the model is as it was.
    """

    def __init__(self, engine: LoadedModel, model_name: str, digest: str, folder: Path) -> None:
        """Read a trained folder and register it with the model.

        Args:
            engine: the model that is adapted.
            model_name: the model's name, for errors.
            digest: the digest of the model's weights (`LocalBackend.digest`).
            folder: what `holdfast prism train` wrote.

        Raises:
            ModelError: the adapter was trained on other weights, or a file cannot be read.
            RunError: the folder holds no trained adapter.
        """
        base = read_about(folder)["base"]
        if base["weights"] != digest:
            raise ModelError(
                f"the adapter in {folder} was trained on {base['name']}, whose weights are "
                f"not those of {model_name}."
            )
        self.name = str(folder)
        self._engine, self._model_name = engine, model_name
        self._gate = read_gate(folder)
        self.choose = RowLora(engine.model, read_lora(folder), model_name).choose
        # Not in place: the engine's thread may be going through them.
        engine.adapters = {**engine.adapters, self.name: self}

    def __enter__(self) -> GatedAdapter:
        return self

    def __exit__(self, *error: object) -> None:
        others = self._engine.adapters.items()
        self._engine.adapters = {name: one for name, one in others if one is not self}
        self._engine.forget()

    def ask_gate(self, prompts: Sequence[Sequence[int]]) -> list[bool]:
        """Say for each prompt (token ids) whether the gate switches the adapter on."""
        h = compute_features(self._engine.model, prompts, self._model_name)
        return [bool(p >= THRESHOLD) for p in self._gate.probabilities(h)]


def read_about(folder: Path) -> Record:
    """A folder's prism.json. Raises `RunError` where it is missing or does not name its model."""
    try:
        record = dict(json.loads((folder / ABOUT).read_text(encoding="utf-8")))
        _ = record["model"], record["base"]["name"], record["base"]["weights"]
    except (FileNotFoundError, NotADirectoryError) as missing:
        raise RunError(
            f"{folder} holds no trained PRISM: name a folder that holdfast prism train wrote."
        ) from missing
    except (OSError, ValueError, TypeError, LookupError) as broken:
        raise RunError(
            f"{folder / ABOUT} cannot be read: train the adapter again, or copy it whole."
        ) from broken
    return record
