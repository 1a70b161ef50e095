"""Loading a model's weights: in which dtype, on which device, and complete.

If a file lacks some of the weights, transformers fills them with random numbers. Such a model
is refused here.

This module knows dtypes and devices. It knows no chats.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from holdfast.core.errors import ModelError, suggestion
from holdfast.models.adapter import merge_adapter
from holdfast.models.engine.packed import can_pack, multiplies_bfloat16
from holdfast.models.gguf.control_tokens import restore_names
from holdfast.models.gguf.ends import restore_end_tokens, restore_ends
from holdfast.models.gguf.header import read_header
from holdfast.models.gguf.layers import restore_layers
from holdfast.models.gguf.rope import restore_frequencies
from holdfast.models.gguf.tokenizer import restore_split
from holdfast.models.local.files import ModelSource, base_error
from holdfast.models.local.gate import find_layers_name
from holdfast.models.local.load_errors import check_hub, model_errors, refuse_adapter_beside
from holdfast.models.quantisation import (
    quantisation,
    refuse_format,
    refuse_unread_tensors,
)

# Below this many parameters float32 is affordable, and the same on every device.
SMALL = 1_000_000_000
# Below this many, products are a small part of a step, and a narrower dtype gains nothing.
TINY = 50_000_000
TEMPLATE = "chat_template.jinja"


def read_small_files(
    name: str, source: ModelSource
) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    """Return a model's configuration and its tokenizer.

    Raises `ModelError` where they cannot be read, or the weights are in a format that is not.
    """
    if not Path(source.path).is_dir():
        try:
            check_hub(source.path)
        except ModelError as error:
            if source.adapter is None:
                raise
            raise base_error(name, source.path, error) from error
    with model_errors(name):
        refuse_adapter_beside(name, source.path)
        config = AutoConfig.from_pretrained(
            source.path, trust_remote_code=False, **source.arguments
        )
        refuse_format(name, config)
        return config, _read_tokenizer(name, source, config)


def _read_tokenizer(
    name: str, source: ModelSource, config: PreTrainedConfig
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, or an adapter's own: it may be trained in another template.

    A template beside an adapter or a GGUF file replaces the model's.
    """
    own = Path(source.adapter or source.path)
    if source.adapter and (own / "tokenizer_config.json").exists():
        return AutoTokenizer.from_pretrained(own, config=config, trust_remote_code=False)
    if source.gguf:
        tokenizer = _read_gguf_tokenizer(name, Path(source.path) / source.gguf)
    else:
        tokenizer = AutoTokenizer.from_pretrained(source.path, trust_remote_code=False)
    beside = [Path(source.path)] * bool(source.gguf) + [own] * bool(source.adapter)
    for template in (folder / TEMPLATE for folder in beside):
        if template.exists():
            tokenizer.chat_template = template.read_text(encoding="utf-8")
    return tokenizer


def _read_gguf_tokenizer(name: str, file: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a GGUF file; transformers would prefer one that lies beside the file."""
    with tempfile.TemporaryDirectory() as empty:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            empty, gguf_file=str(file.resolve()), trust_remote_code=False
        )
    if header := read_header(file):
        tokenizer = restore_names(tokenizer, header)
        restore_split(name, tokenizer, header)
        restore_end_tokens(tokenizer, header)
    return tokenizer


def load_weights(
    name: str,
    source: ModelSource,
    config: PreTrainedConfig,
    *,
    dtype: str | torch.dtype = "auto",
    device: str = "auto",
    device_map: str | Mapping[str, Any] | None = None,
) -> PreTrainedModel:
    """Load the causal language model at a path onto its device.

    Args:
        name: the model's name, for errors.
        source: where its files are.
        config: the model's configuration.
        dtype: as in `pick_dtype`.
        device: as in `pick_device`.
        device_map: a map of accelerate's, in place of `device`; "auto" is used where there are
            several GPUs and one is too small.

    Raises:
        ModelError: the weights cannot be read, or some are missing from the files.
    """
    place, method = pick_device(device), quantisation(config)
    with model_errors(name, method):
        size = count_parameters(config)
        precision = pick_dtype(dtype, place, config, size)
        if device_map is None and device == "auto" and not _fits_one_gpu(size * precision.itemsize):
            device_map = "auto"
        with _quiet():
            outcome: Any = AutoModelForCausalLM.from_pretrained(
                source.path,
                config=None if source.gguf else config,
                dtype=precision,
                device_map=device_map,
                output_loading_info=True,
                trust_remote_code=False,
                **source.arguments,
                **_dense(source),
            )
        weights, info = outcome
        if header := read_header(Path(source.path) / source.gguf) if source.gguf else None:
            restore_frequencies(name, weights, header)
            restore_layers(name, weights, header)
            restore_ends(weights, header)
        if device_map is None:
            weights = weights.to(place)
    _refuse_incomplete(name, weights, info, method)
    result: PreTrainedModel = merge_adapter(name, weights, source.adapter).eval()
    return result


def load_first_layer_weights(
    name: str, source: ModelSource, config: PreTrainedConfig, dtype: str, device: str
) -> PreTrainedModel:
    """Load a model's embeddings and layer 0, in the number format that the whole would have.

    Of safetensors nothing else is read; a GGUF file or an adapter's base is read whole first.

    Raises:
        ModelError: as `load_weights`.
    """
    place, method = pick_device(device), quantisation(config)
    precision = pick_dtype(dtype, place, config, count_parameters(config))
    if source.gguf or source.adapter:
        whole: Any = load_weights(name, source, config, dtype=precision, device=device)
        decoder = whole.base_model
        layers = find_layers_name(decoder, name)
        setattr(decoder, layers, getattr(decoder, layers)[:1])
        return decoder  # type: ignore[no-any-return]
    short = copy.deepcopy(config)
    text = short.get_text_config(decoder=True)
    text.num_hidden_layers = 1
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    with model_errors(name, method), _quiet():
        outcome: Any = AutoModel.from_pretrained(
            source.path,
            config=short,
            dtype=precision,
            output_loading_info=True,
            trust_remote_code=False,
        )
    weights, info = outcome
    _refuse_incomplete(name, weights, info, method)
    first: PreTrainedModel = weights.to(place).eval()
    return first


def _refuse_incomplete(
    name: str, weights: Any, info: Mapping[str, Any], method: str | None
) -> None:
    """Refuse weights whose files lack tensors, or have some that the model does not read.

    Args:
        name: the model's name, for errors.
        weights: the model as transformers loaded it.
        info: transformers' loading report.
        method: how the weights are quantised; None where they are not.
    """
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"the weights of {name} lack {len(missing)} of the model's tensors ({missing[0]}, …):"
            " it is not a causal language model, or its files are incomplete."
        )
    if method is None:
        refuse_unread_tensors(name, weights, info["unexpected_keys"])


def _dense(source: ModelSource) -> dict[str, Any]:
    """The argument that unpacks a GGUF file's weights, which newer versions else leave packed."""
    if not source.gguf:
        return {}
    try:
        from transformers import GgufConfig
    except ImportError:  # older versions always unpack them
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' loading report and progress bars; `load_weights` checks the report."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(50)  # logging.CRITICAL
    if bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def build_empty_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Build a causal language model without its weights, on torch's meta device."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    empty: PreTrainedModel = model.eval()
    return empty


def count_parameters(config: PreTrainedConfig) -> int:
    """Count a causal language model's parameters without allocating them."""
    return int(build_empty_model(config).num_parameters())


def pick_device(device: str) -> torch.device:
    """Return the named device; "auto" is the first of CUDA, MPS and the CPU that exists."""
    if device != "auto":
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ModelError(
                f"torch sees no GPU here for {device!r}: use cpu, or install its CUDA build."
            )
        choice = torch.device("meta")  # which computes nothing
        # What torch raises for a device that it was built without differs by device.
        with suppress(RuntimeError, AssertionError, ImportError):
            choice = torch.empty(0, device=device).device
        if choice.type == "meta":
            raise ModelError(f"there is no device {device!r} here: use cpu, cuda or mps.")
        return choice
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(
    dtype: str | torch.dtype, device: torch.device, config: PreTrainedConfig, size: int
) -> torch.dtype:
    """Return the named dtype; "auto" depends on the device and on the number of parameters.

    On a CPU "auto" is bfloat16 from `TINY` parameters on where the processor multiplies it in
    hardware; else float32 below `SMALL` parameters and the weights' own dtype above. On a GPU it
    is bfloat16, but float32 for a small model that is stored so.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype != "auto":
        dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
        if dtype not in dtypes:
            raise ModelError(f"there is no dtype {dtype!r}: {suggestion(dtype, dtypes)}")
        return dtypes[dtype]
    if device.type == "cpu" and size >= TINY and multiplies_bfloat16():
        return torch.bfloat16
    own = getattr(config.get_text_config(decoder=True), "dtype", None) or config.dtype
    if size < SMALL and (device.type == "cpu" or own in (None, torch.float32)):
        return torch.float32
    if device.type == "cpu":
        return own if isinstance(own, torch.dtype) else torch.float32
    return torch.bfloat16


def default_rows(model: PreTrainedModel) -> int:
    """Rows of a model that are decoded at once, unless somebody says otherwise.

    Reading the weights is what takes the time of a step, and up to 64 rows read them for the price
    of one where they are packed. A tiny model's step costs its overhead.
    """
    if model.num_parameters() < TINY:
        return 256
    return 64 if can_pack(model.parameters()) else 32


def format_line(name: str, model: PreTrainedModel) -> str:
    """The number format of a model's weights and its device, in one line."""
    device = model.device.type
    line = f"{name} runs in {str(model.dtype).removeprefix('torch.')} on {device}"
    if device == "cpu" and model.dtype == torch.bfloat16 and multiplies_bfloat16():
        line += (
            ", which this processor multiplies in hardware; with --dtype float32 a reply does not"
            " depend on what else is in its batch"
        )
    return line


def _fits_one_gpu(size: int) -> bool:
    """False if there are several GPUs and the weights would fill more than 4/5 of the first."""
    if torch.cuda.device_count() < 2:
        return True
    return size < torch.cuda.mem_get_info(0)[0] * 0.8
