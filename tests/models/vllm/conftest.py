"""vLLM in this process, and the models that it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

# vLLM reads these once. In one process a start takes seconds, not a minute; a thread that is bound
# to a core waits for whatever else runs there.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

WHY = "vLLM is not in this environment: `make vllm` sets one up and runs these tests."


def vllm_or_skip() -> Any:
    """The package vllm; skips the module without it."""
    return pytest.importorskip("vllm", reason=WHY)


def weights(name: str) -> str:
    """The folder of a model's weights; skips the test where they are not on this machine."""
    from holdfast.models.fetch import cache_folder
    from holdfast.models.vllm.folder import dense_folder

    if name == "mini":
        return dense_folder(name)
    file: Path = cache_folder() / "studies" / name / f"{name}.gguf"
    if not file.exists():
        pytest.skip(f"the weights of {name} are not here: `python studies/fetch.py {name}`.")
    return dense_folder(str(file))
