"""Small random adapters on a small random model, made in this process."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model

from tiny_models import model, tokenizer


def adapted_model(
    folder: Path, config: Any, seed: int = 0, *, tied: bool = False, **options: Any
) -> Any:
    """Save a tiny model as `base` and a random adapter on it as `adapter`; return both joined.

    `tied` has the embeddings for the head's weights.
    """
    plain = deepcopy(model())  # an adapter freezes what it is put on
    if tied:
        plain.config.tie_word_embeddings = True
        plain.tie_weights()
    plain.save_pretrained(folder / "base")
    tokenizer().save_pretrained(folder / "base")
    torch.manual_seed(seed)
    peft_model = get_peft_model(plain, config)
    for name, weight in peft_model.named_parameters():
        if "lora" in name and not weight.any():
            torch.nn.init.normal_(weight, std=0.5)
    peft_model.peft_config["default"].base_model_name_or_path = str(folder / "base")
    peft_model.save_pretrained(folder / "adapter", **options)
    return peft_model
