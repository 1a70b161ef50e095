"""A PEFT adapter merged into its model, so that the two compute what they compute side by side.

This module knows models and adapters. It knows no names of models.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

from torch import nn

from holdfast.core.errors import ModelError, first_line
from holdfast.core.extras import install
from holdfast.models.local.files import ADAPTER
from holdfast.models.local.load_errors import model_errors


def merge_adapter(name: str, model: Any, folder: str | None) -> Any:
    """Return the model with its adapter merged in.

    Args:
        name: the adapter's name, for errors.
        model: the model that the adapter goes onto; it is changed.
        folder: the adapter's folder; None for a model without one.

    Raises:
        ModelError: peft is not installed, the adapter cannot be merged, or it is not whole.
    """
    if folder is None:
        return model
    try:
        from peft import PeftModel
    except ModuleNotFoundError as missing:
        raise ModelError(
            f"{name} is an adapter, which needs {missing.name}: {install('prism')}."
        ) from missing
    with model_errors(name), warnings.catch_warnings():
        # PEFT makes the matrices up that a file lacks, so that they change nothing.
        warnings.filterwarnings("error", "Found missing adapter keys")
        # Whose weights are parted below.
        warnings.filterwarnings("ignore", ".*tie_word_embeddings")
        # It uses old names of transformers, which no user can change.
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
        try:
            peft_model: Any = PeftModel.from_pretrained(model, folder)
        except UserWarning as warning:
            raise ModelError(
                f"the adapter {name} lacks matrices that its {ADAPTER} names, or names them"
                f" otherwise ({first_line(warning, 160)}): save it by PEFT once more."
            ) from warning
        if (about := peft_model.peft_config["default"]).is_prompt_learning:
            raise ModelError(
                f"{name} is an adapter of the kind {about.peft_type.value}, which cannot be merged"
                " into its model: choose a LoRA."
            )
        _refuse_unread_matrices(name, peft_model, folder)
        _part_shared_weights(peft_model)
        merged: Any = peft_model.merge_and_unload()
        merged.config.tie_word_embeddings = _are_tied(merged)
        for weight in merged.parameters():  # PEFT has frozen them, and a training may follow
            weight.requires_grad_(weight.is_floating_point())
        return merged


def _refuse_unread_matrices(name: str, peft_model: Any, folder: str) -> None:
    """Refuse an adapter whose file has matrices that go nowhere: it was trained otherwise."""
    from peft.utils import load_peft_weights, set_peft_model_state_dict

    result: Any = set_peft_model_state_dict(peft_model, load_peft_weights(folder, device="cpu"))
    unread = sorted(result.unexpected_keys)
    if unread:
        raise ModelError(
            f"the adapter {name} has {len(unread)} matrices that go nowhere ({unread[0]}, …): its"
            f" {ADAPTER} names fewer, or its base has fewer layers. Name the right one with `base`,"
            " or save it by PEFT once more."
        )


def _part_shared_weights(peft_model: Any) -> None:
    """Give adapted layers weights of their own, where other layers have the same ones.

    Side by side an adapter changes the layer that it is on. Merged into weights that are shared, by
    tied embeddings or by layers that an adapter repeats, it would change the others as well.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = peft_model.get_base_model()
    weights = [weight for part in model.modules() for weight in part._parameters.values()]
    owners = Counter(map(id, weights))
    for layer in [part for part in model.modules() if isinstance(part, BaseTunerLayer)]:
        base = layer.get_base_layer()
        for name, weight in base._parameters.items():
            if weight is not None and owners[id(weight)] > 1:
                owners[id(weight)] -= 1
                setattr(base, name, nn.Parameter(weight.detach().clone(), requires_grad=False))


def _are_tied(model: Any) -> bool:
    """Whether a model's embeddings are its head's weights."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    return head is not None and head.weight is embeddings.weight
