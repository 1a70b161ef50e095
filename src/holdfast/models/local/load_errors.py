"""Why a model cannot be loaded, in one sentence that says what to do.

transformers and the hub's client fail in many ways on a wrong name or a damaged file. Each failure
becomes one `ModelError`.

This module knows errors, names and the hub. It reads no files and loads nothing.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError

import torch
from huggingface_hub import errors as hub
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from safetensors import SafetensorError
from transformers.utils.peft_utils import find_adapter_config_file

from holdfast.core.errors import ModelError, first_line
from holdfast.models.catalogue import CATALOGUE
from holdfast.models.local.files import ADAPTER
from holdfast.models.quantisation import refuse_missing_packages

# What transformers and its readers raise over wrong or damaged files.
_UNREADABLE = (
    OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, EOFError,
    SafetensorError, UnpicklingError, struct.error, hub.StrictDataclassError,
)  # fmt: skip


def check_hub(name: str) -> None:
    """Ask the hub once for a model that is not in its cache: transformers asks for a minute.

    Args:
        name: a hub id.

    Raises:
        ModelError: the hub has no such model, does not give it, or cannot be reached.
    """
    try:
        if any(try_to_load_from_cache(name, file) for file in ("config.json", ADAPTER)):
            return
        get_hf_file_metadata(hf_hub_url(name, "config.json"))
    except hub.EntryNotFoundError:
        return  # no config.json, which transformers explains
    except Exception as error:  # of the hub's client, whose HTTP library varies
        raise ModelError(_explain(name, error)) from error


def refuse_adapter_beside(name: str, path: str) -> None:
    """Refuse an adapter on the hub, or one beside weights: transformers puts it onto them unasked.

    Args:
        name: the model's name, for the sentence.
        path: a folder on this machine, or a hub id.

    Raises:
        ModelError: there is such an adapter.
    """
    if find_adapter_config_file(path) is None:
        return
    if Path(path).is_dir():
        raise ModelError(
            f"{path} holds a model and an adapter, which may be in the model's weights already:"
            f" move {ADAPTER} elsewhere, or give the adapter a folder of its own."
        )
    raise ModelError(
        f"{path} has an adapter on the hub: bring it here by `hf download {path} --local-dir"
        " FOLDER`, and give the folder in place of the hub id."
    )


@contextmanager
def model_errors(name: str, quantisation: str | None = None) -> Iterator[None]:
    """Turn whatever transformers raises inside of the block into a `ModelError`.

    Args:
        name: the model's name, for the sentence.
        quantisation: the `quant_method` of its config, if it has one.
    """
    refuse_missing_packages(name, quantisation)
    try:
        yield
    except ModelError:
        raise
    except ImportError as error:
        if "gguf" in str(error).lower():
            raise ModelError(f"{name} is a GGUF file, which needs: pip install gguf.") from error
        if quantisation is None:
            raise
        raise ModelError(
            f"{name} is quantised with {quantisation}, and cannot be loaded: "
            f"{first_line(error, 300)}."
        ) from error
    except _UNREADABLE as error:
        raise ModelError(_explain(name, error)) from error


def _short_names(name: str) -> str:
    """Where a name without an owner is looked up, and one that is close to it."""
    if "/" in name:
        return ""
    names = ["mini", *(model.name for model in CATALOGUE)]
    close = sorted(get_close_matches(name, names, n=2))  # smollm is as near to smollm2 as to 3
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{meant}`holdfast models list` has the short names; "


def _explain(name: str, error: BaseException) -> str:
    """What to do about an error of transformers, of its readers or of the hub's client."""
    causes = list(_walk_causes(error))
    return _explain_hub(name, causes) or _explain_files(name, error, causes)


def _explain_hub(name: str, causes: Sequence[BaseException]) -> str:
    """The same where the hub refuses or cannot be reached; empty where something else is wrong."""
    if any(isinstance(cause, hub.GatedRepoError) for cause in causes):
        return f"{name} is gated: accept its terms on its hub page and log in with `hf auth login`."
    if any(isinstance(cause, hub.RepositoryNotFoundError) for cause in causes):
        return (
            f"the hub has no model {name}: {_short_names(name)}check the name, or log in if it is"
            " private."
        )
    if any(isinstance(cause, hub.HFValidationError) for cause in causes):
        return (
            f"{name} is not a folder here, and cannot be a model on the hub, whose names are"
            f" OWNER/MODEL in letters, digits and -_. only: {_short_names(name)}check the name."
        )
    unreachable = (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError)
    if any(isinstance(c, unreachable) or "Connect" in type(c).__name__ for c in causes):
        return (
            f"{name} is not a folder here, not in the local cache, and the hub cannot be reached:"
            f" {_short_names(name)}check the name and the network."
        )
    return ""


def _explain_files(name: str, error: BaseException, causes: Sequence[BaseException]) -> str:
    """The same where the model's files, or this machine, are not what they must be."""
    if "trust_remote_code" in str(error):
        return (
            f"{name} comes with code of its own, which Holdfast does not run: choose a model that"
            " transformers knows, or serve it behind an API and name it api:NAME."
        )
    if isinstance(error, torch.OutOfMemoryError):
        return f"{name} does not fit this device's memory: choose a smaller model or dtype."
    if any(isinstance(cause, UnpicklingError) for cause in causes):
        return f"the pickled weights of {name} are damaged or run code: choose safetensors."
    if any(isinstance(cause, SafetensorError | EOFError) for cause in causes):
        return (
            f"the weights of {name} cannot be read ({first_line(error, 300)}): download them again."
        )
    if "size mismatch" in str(error):
        return (
            f"the adapter {name} has other shapes than its base, which is another model or has"
            " fewer tokens: name the right one with `base`, or merge the two where it was trained."
        )
    if "mismatched_sizes" in str(error):
        return f"the weights of {name} do not have the shapes that its config.json gives."
    if isinstance(error, hub.StrictDataclassError):
        wrong = first_line(error.__cause__ or error, 300)
        return (
            f"the config.json of {name} is not what its kind of model has ({wrong}): copy it anew."
        )
    if isinstance(error, json.JSONDecodeError):
        return f"a JSON file of {name} is damaged ({error}): copy its small files here once more."
    if "not appear to have a file named config.json" in str(error):
        return (
            f"{name} has no config.json: if it has GGUF files on the hub, bring one here by `hf"
            f" download {name} FILE.gguf --local-dir FOLDER`, and give the file as the model."
        )
    if "no file named" in str(error):
        return f"{name} has no weights that can be read: it needs model.safetensors or its index."
    if "backend tokenizer" in str(error):
        return f"{name} has no tokenizer that can be read: its folder needs a tokenizer.json."
    if "causal" in str(error).lower():
        return f"{name} is not a causal language model: choose a chat (instruct) model."
    if isinstance(error, KeyError | AttributeError):  # of code that trusted a file
        return (
            f"{name} cannot be loaded: its files are wrong or too new ({first_line(error, 300)})."
        )
    return f"{name} cannot be loaded: {first_line(error, 300)}"


def _walk_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
