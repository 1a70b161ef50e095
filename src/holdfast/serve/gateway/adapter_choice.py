"""`prism:PATH` in the gateway: with which LoRA of the API a chat is answered.

The gate reads what leaves layer 0 at the end of a chat, so embeddings and one layer of the base
model decide here, on a CPU. The rest of the model and the adapter are behind the API, which knows
the adapter by a name of its own (`--lora-modules NAME=PATH` in vLLM). Where the gate says so, that
name goes into the request's field `model`.

This module needs torch, unlike the rest of the gateway. It knows chats and no HTTP.
"""

from __future__ import annotations

import threading
from pathlib import Path

from holdfast.control.rewrite import gate_chat
from holdfast.core.chat import Chat
from holdfast.core.control import Control
from holdfast.core.errors import ModelError
from holdfast.models.local.gate import THRESHOLD, compute_features, read_gate
from holdfast.models.local.gated_adapter import read_about
from holdfast.models.local.load import load_first_layer


class AdapterChoice:
    """The gate of one trained folder, beside the layer that it reads."""

    def __init__(
        self,
        folder: Path,
        *,
        lora: str | None = None,
        base: str | None = None,
        dtype: str = "auto",
        device: str = "cpu",
    ) -> None:
        """Load gate and layer.

        Args:
            folder: what `holdfast prism train` wrote.
            lora: the adapter's name at the API; by default the folder's own.
            base: the base model on this machine; by default by the name that it was trained on.
            dtype: number format of the layer.
            device: where the layer runs.

        Raises:
            RunError: the folder holds no trained adapter.
            ModelError: the base cannot be read, or is another model.
        """
        about = read_about(folder)
        self.lora = lora or folder.resolve().name
        self._name = base or str(about["model"])
        self._gate = read_gate(folder)
        self._layer = load_first_layer(self._name, dtype=dtype, device=device)
        self._lock = threading.Lock()
        if self._layer.digest != about["base"]["weights"]:
            raise ModelError(
                f"the adapter in {folder} was trained on {about['base']['name']}, whose weights "
                f"are not those of {self._name}: name its base with `model`."
            )

    def choose(self, chat: Chat, control: Control) -> str | None:
        """The LoRA's name, or None where the base model answers.

        Args:
            chat: the chat before the control.
            control: says whether the gate reads its first user message or all of it.
        """
        ids = self._layer.template.render(gate_chat(chat, control)).ids
        with self._lock:
            state = compute_features(self._layer.model, [ids], self._name)
            return self.lora if float(self._gate.probabilities(state)[0]) >= THRESHOLD else None
