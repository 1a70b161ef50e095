"""The package vLLM where `bench/vllm.py` has its name and its folder is searched first."""

from __future__ import annotations

import sys
from pathlib import Path


def unhide_vllm() -> None:
    """Take this folder off the path, so that the next import of `vllm` is that of the package."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != here]
