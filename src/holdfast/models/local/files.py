"""A model's files: where they are, what they hash to, and why they cannot be read.

transformers fails in many ways on a wrong name or a damaged file. Each failure becomes one
`ModelError` whose sentence says what to do.

This module knows names and files. It loads nothing.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import errors as hub
from safetensors import SafetensorError

from holdfast.core.errors import ModelError

MINI = Path(__file__).parents[1] / "mini" / "weights"
# Files of more bytes in all are hashed by headers and sizes only: hashing them whole takes minutes.
HASHED = 1 << 30
# A quantisation's name in config.json to the package that reads it, where the two differ.
_PACKAGES = {
    "awq": "gptqmodel", "gptq": "gptqmodel", "bitsandbytes_4bit": "bitsandbytes",
    "bitsandbytes_8bit": "bitsandbytes", "mxfp4": "kernels",
    "quanto": "optimum-quanto",
}  # fmt: skip


def find_source(name: str) -> str:
    """Find the folder or hub id of a name. Raises `ModelError` if a folder holds no model."""
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
def model_errors(name: str, quantisation: str | None = None) -> Iterator[None]:
    """Turn whatever transformers raises inside of the block into a `ModelError`.

    Args:
        name: the model's name, for the sentence.
        quantisation: the `quant_method` of its config, if it has one.
    """
    try:
        yield
    except ModelError:
        raise
    except ImportError as error:
        if quantisation is None:
            raise
        package = _PACKAGES.get(quantisation, quantisation)
        raise ModelError(
            f"{name} is quantised with {quantisation}, which needs the package {package} here:"
            f" pip install {package}, or choose weights that are not quantised."
        ) from error
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
    if "trust_remote_code" in str(error):
        return (
            f"{name} comes with code of its own, which Holdfast does not run: choose a model that"
            " transformers knows, or serve it behind an API and use --model api:NAME."
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


def hash_files(path: str) -> str | None:
    """sha256 over a folder's safetensors in order of name; None if the folder has none.

    If they have more than `HASHED` bytes in all, only their headers and sizes are hashed.
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
