"""Which quantised weights transformers reads here, and which it would read as something else.

Weights of a quantisation that transformers does not know load without an error where their shapes
are those of plain ones (eight-bit floats, for instance), and without their scales they are noise.

This module knows configurations and the names of tensors. It loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from holdfast.core.errors import ModelError

# A quantisation's name in config.json to the packages without which transformers cannot read it.
_PACKAGES = {
    "awq": ("gptqmodel",), "gptq": ("gptqmodel", "optimum"), "bitsandbytes": ("bitsandbytes",),
    "bitsandbytes_4bit": ("bitsandbytes",), "bitsandbytes_8bit": ("bitsandbytes",),
    "compressed-tensors": ("compressed-tensors",), "quanto": ("optimum-quanto",),
    "torchao": ("torchao",),
}  # fmt: skip
# Names that transformers reads beside those of its own table.
_BITSANDBYTES = "bitsandbytes"


def quantisation(config: PreTrainedConfig) -> str | None:
    """The name of the model's quantisation in its config ("gptq", "awq"…), or None."""
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return None
    values = settings if isinstance(settings, dict) else getattr(settings, "__dict__", {})
    method = values.get("quant_method")
    if method is None and (values.get("load_in_4bit") or values.get("load_in_8bit")):
        return _BITSANDBYTES  # whose older versions wrote no name
    return str(getattr(method, "value", method or "a method without a name"))


def refuse_format(name: str, config: PreTrainedConfig) -> None:
    """Raise `ModelError` for weights in a format that transformers does not read."""
    mlx = getattr(config, "quantization", None)
    if isinstance(mlx, dict) and {"bits", "group_size"} <= mlx.keys():
        raise ModelError(
            f"{name} is quantised for MLX, which transformers does not read: choose the original "
            "weights, or serve it with mlx_lm.server and name it api:NAME."
        )
    method = quantisation(config)
    # Of HQQ 5.23 with hqq 0.2.8 leaves the layers unread and fills them with random numbers.
    known = {None, _BITSANDBYTES, *AUTO_QUANTIZATION_CONFIG_MAPPING} - {"hqq"}
    if method not in known:
        raise ModelError(
            f"{name} is quantised with {method}, whose weights transformers "
            f"{transformers.__version__} does not read: choose weights that are not quantised, or "
            "quantised otherwise."
        )


def refuse_missing_packages(name: str, method: str | None) -> None:
    """Raise `ModelError` where packages are missing that a quantisation needs."""
    # What is raised without them differs: an ImportError, a NameError, or that a GPU is needed.
    if missing := [one for one in _PACKAGES.get(method or "", ()) if not _is_installed(one)]:
        plural = "s" if missing[1:] else ""
        raise ModelError(
            f"{name} is quantised with {method}, which needs the package{plural} "
            f"{' and '.join(missing)} here: pip install {' '.join(missing)}, or choose weights "
            "that are not quantised."
        )


def refuse_unread_tensors(name: str, model: PreTrainedModel, unread: Iterable[str]) -> None:
    """Refuse plain weights with more tensors for a layer than the model has.

    A whole layer that is left out may belong to another task; a scale or a bias that is left out
    of a layer makes that layer another one.

    Args:
        name: the model's name, for the sentence.
        model: the model as it was loaded.
        unread: names of the files' tensors that the model did not take.

    Raises:
        ModelError: there are such tensors.
    """
    prefix = f"{model.base_model_prefix}."  # which the files or the model may be without
    parts = model.named_modules()
    layers = {part.removeprefix(prefix) for part, module in parts if [*module.parameters(False)]}
    beside = sorted(x for x in unread if x.removeprefix(prefix).rpartition(".")[0] in layers)
    if beside:
        raise ModelError(
            f"the layers of {name} have {len(beside)} tensors that transformers does not read "
            f"({beside[0]}, …), so that it would be another model: choose weights that are not "
            "quantised, or whose config.json names a quantisation that transformers reads."
        )


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
