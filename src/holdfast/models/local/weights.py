"""Finding and loading a model's files: what is there, in which dtype, on which device.

transformers fails in many ways on a wrong name or a damaged file; each becomes one
`ModelError` whose sentence says what to do. Weights that are only partly there are
refused as well, where transformers would fill the rest with random numbers.

This module knows files, dtypes and devices. It knows no chats.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import errors as hub
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from holdfast.core.errors import ModelError

MINI = Path(__file__).parents[1] / "mini" / "weights"
# Below this many parameters float32 is affordable, and the same on every device.
SMALL = 1_000_000_000
# Weights beyond this many bytes are told apart by their headers and sizes: hashing takes minutes.
HASHED = 1 << 30


def source(name: str) -> str:
    """The folder or hub id behind a name. Raises `ModelError` where a folder holds no model."""
    if name == "mini":
        if not (MINI / "config.json").exists():
            raise ModelError(f"the embedded model is not in this installation ({MINI} is missing).")
        return str(MINI)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise ModelError(f"{name} holds no model: it has no config.json.")
        return str(folder)
    if folder.exists():
        raise ModelError(f"{name} is a file: pass the model's folder.")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"there is no folder {name}: check the path.")
    return name


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what transformers raises into a `ModelError`."""
    try:
        yield
    except ModelError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        raise ModelError(_sentence(name, error)) from error


def _sentence(name: str, error: BaseException) -> str:
    causes = list(_causes(error))
    if any(isinstance(cause, hub.GatedRepoError) for cause in causes):
        return f"{name} is gated: accept its terms on its hub page and log in with `hf auth login`."
    if any(isinstance(cause, hub.RepositoryNotFoundError) for cause in causes):
        return f"the hub has no model {name}: check the name, or log in if it is private."
    unreachable = (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError)
    if any(isinstance(c, unreachable) or "Connect" in type(c).__name__ for c in causes):
        return (
            f"{name} is not a folder here, not in the local cache, and the hub cannot be reached:"
            " check the name and the network."
        )
    if isinstance(error, torch.OutOfMemoryError):
        return f"{name} does not fit this device's memory: choose a smaller model or dtype."
    if any(isinstance(cause, SafetensorError | EOFError) for cause in causes):
        return f"the weights of {name} cannot be read ({_first(error)}): download them again."
    if "mismatched_sizes" in str(error):
        return f"the weights of {name} do not have the shapes that its config.json gives."
    if "backend tokenizer" in str(error):
        return f"{name} has no tokenizer that can be read: its folder needs a tokenizer.json."
    if "causal" in str(error).lower():
        return f"{name} is not a causal language model: choose a chat (instruct) model."
    return f"{name} cannot be loaded: {_first(error)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(".")


def model(
    name: str,
    path: str,
    config: PreTrainedConfig,
    *,
    dtype: str | torch.dtype = "auto",
    device: str = "auto",
    device_map: str | Mapping[str, Any] | None = None,
) -> PreTrainedModel:
    """The causal language model at a path, on its device and complete.

    Raises `ModelError` where weights are missing from the files.
    """
    where = pick_device(device)
    with explained(name):
        size = parameters(config)
        kind = pick_dtype(dtype, where, config, size)
        if device_map is None and device == "auto" and not _fits_one_gpu(size * kind.itemsize):
            device_map = "auto"
        with _quiet():
            answer: Any = AutoModelForCausalLM.from_pretrained(
                path,
                config=config,
                dtype=kind,
                device_map=device_map,
                output_loading_info=True,
            )
        loaded, info = answer
        if device_map is None:
            loaded = loaded.to(where)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"the weights of {name} lack {len(missing)} of the model's tensors ({missing[0]}, …):"
            " it is not a causal language model, or its files are incomplete."
        )
    result: PreTrainedModel = loaded.eval()
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' loading report and bars quiet: what matters of them is checked above."""
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


def outline(config: PreTrainedConfig) -> PreTrainedModel:
    """A causal language model without its weights: all but numbers is known of it."""
    with torch.device("meta"):
        made: Any = AutoModelForCausalLM.from_config(config)
    result: PreTrainedModel = made.eval()
    return result


def parameters(config: PreTrainedConfig) -> int:
    """Number of parameters of a causal language model, without making its weights."""
    return int(outline(config).num_parameters())


def pick_device(device: str) -> torch.device:
    """The device asked for, or the first of CUDA, MPS and the CPU that is there."""
    if device != "auto":
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise ModelError(f"there is no device `{device}`: use cpu, cuda or mps.") from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ModelError(
                f"torch sees no GPU here for `{device}`: use cpu, or install its CUDA build."
            )
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(
    dtype: str | torch.dtype, device: torch.device, config: PreTrainedConfig, size: int
) -> torch.dtype:
    """The dtype asked for; else float32 for small models, and the weights' own or bfloat16."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype != "auto":
        known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
        if dtype not in known:
            raise ModelError(f"there is no dtype `{dtype}`: use one of {', '.join(known)}.")
        return known[dtype]
    own = getattr(config.get_text_config(decoder=True), "dtype", None) or config.dtype
    if size < SMALL and (device.type == "cpu" or own in (None, torch.float32)):
        return torch.float32
    if device.type == "cpu":
        return own if isinstance(own, torch.dtype) else torch.float32
    return torch.bfloat16


def _fits_one_gpu(size: int) -> bool:
    """False where there are several GPUs and the weights would fill more than 4/5 of the first."""
    if torch.cuda.device_count() < 2:
        return True
    return size < torch.cuda.mem_get_info(0)[0] * 0.8


def file_hash(path: str) -> str | None:
    """sha256 over a folder's safetensors in order of name, or None where `path` is no such folder.

    Beyond `HASHED` bytes in all, over each file's header and size only.
    """
    files = sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else []
    if not files:
        return None
    whole = sum(file.stat().st_size for file in files) <= HASHED
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            if whole:
                digest.update(stream.read())
            else:
                digest.update(stream.read(min(struct.unpack("<Q", stream.read(8))[0], 1 << 26)))
    return digest.hexdigest()


def parameter_hash(loaded: PreTrainedModel) -> str:
    """sha256 over a model in memory: names, shapes, and a sum of each tensor."""
    digest = hashlib.sha256()
    with torch.inference_mode():
        for name, tensor in loaded.state_dict().items():
            total = float(tensor.double().sum()) if tensor.device.type != "mps" else 0.0
            entry = [name, list(tensor.shape), str(tensor.dtype), repr(total)]
            digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


def memory(device: torch.device) -> int:
    """Bytes of memory that a device has in all."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
