"""A model from a GGUF file has the rotary frequencies that the file states."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from holdfast.core.errors import ModelError
from holdfast.models.gguf.header import read_header
from holdfast.models.gguf.rope import read_parameters
from holdfast.models.local.load import load
from models.test_dense_copy import cache, write_gguf  # noqa: F401
from tiny_models import GROUPED

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def frequencies(**rope: Any) -> torch.Tensor:
    subject: Any = AutoModelForCausalLM.from_config(LlamaConfig(**GROUPED, rope_parameters=rope))
    own: torch.Tensor = subject.model.rotary_emb.inv_freq
    return own


def read(file: Path) -> Any:
    """The frequencies of the model in a file, and of its copy."""
    first, again = (load(str(file), dtype="float32").engine.model for _ in range(2))
    assert torch.equal(first.model.rotary_emb.inv_freq, again.model.rotary_emb.inv_freq)
    return first.model.rotary_emb.inv_freq


@pytest.mark.usefixtures("cache")
def test_the_divisors_of_llama_3_are_read(tmp_path: Path) -> None:
    plain, llama3 = frequencies(rope_type="default", rope_theta=500000.0), frequencies(**LLAMA3)
    divisors = (plain / llama3).tolist()
    file = write_gguf(tmp_path / "tiny.gguf", base=500000.0, divisors=divisors)
    assert not torch.allclose(plain, llama3)
    torch.testing.assert_close(read(file), llama3)


@pytest.mark.usefixtures("cache")
def test_a_factor_for_all_frequencies_is_read(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", scaling=("linear", 4.0))
    torch.testing.assert_close(
        read(file), frequencies(rope_type="linear", rope_theta=10000.0, factor=4.0)
    )


@pytest.mark.usefixtures("cache")
def test_frequencies_that_transformers_does_not_know_are_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", divisors=[1.0, 3.0, 5.0, 7.0])
    with pytest.raises(ModelError, match="states rotary frequencies that transformers"):
        load(str(file))


@pytest.mark.parametrize("divisors", [(), (1.0, 1.0, 1.0, 1.0)])
def test_a_file_that_changes_none_says_so(tmp_path: Path, divisors: tuple[float, ...]) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", divisors=divisors)
    header = read_header(file)
    assert header is not None
    assert read_parameters(header) == {"rope_theta": 10000.0}
    file.write_bytes(file.read_bytes()[:3000])
    assert read_header(file) is None


def test_a_value_of_no_known_kind_is_left_to_transformers(tmp_path: Path) -> None:
    file, key = tmp_path / "odd.gguf", b"general.odd"
    header = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1)
    file.write_bytes(header + struct.pack("<Q", len(key)) + key + struct.pack("<I", 99) + bytes(32))
    assert read_header(file) is None
