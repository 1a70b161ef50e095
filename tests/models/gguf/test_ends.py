"""A reply of a model from a GGUF file ends where the file, or llama.cpp, ends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from holdfast.models.gguf.ends import find_ends
from holdfast.models.gguf.header import TOKENS, GgufHeader
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load
from models.test_dense_copy import cache  # noqa: F401
from tiny_gguf import random_model, write_family
from tiny_models import GROUPED, SPECIALS

pytestmark = pytest.mark.usefixtures("cache")
END, OTHER = SPECIALS.index("<|im_end|>"), SPECIALS.index("[INST]")
NORMAL, USER_DEFINED = 1, 4
KNOWN = {SPECIALS.index(text) for text in ("</s>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>")}


@pytest.fixture
def network() -> Any:
    return random_model(LlamaConfig(**GROUPED))


def read(file: Path) -> LocalBackend:
    """The model of a file; that of its copy ends replies by the same tokens."""
    first, again = (load(str(file)) for _ in range(2))
    assert first.ends == again.ends
    assert first.describe() == again.describe()
    return first


def state_ends(file: Any) -> None:
    file.add_eot_token_id(OTHER)
    file.add_eom_token_id(OTHER + 1)


def test_a_files_second_and_third_end_end_a_reply(tmp_path: Path, network: Any) -> None:
    subject = read(write_family(tmp_path / "tiny.gguf", network, "llama", state=state_ends))
    assert subject.ends == {*KNOWN, OTHER, OTHER + 1}
    assert subject.engine.model.generation_config.eos_token_id == sorted(subject.ends)


def test_ends_that_llama_cpp_knows_by_their_text_end_a_reply(tmp_path: Path, network: Any) -> None:
    subject = read(write_family(tmp_path / "tiny.gguf", network, "llama"))
    assert subject.ends == KNOWN


@pytest.mark.parametrize("kind", [NORMAL, USER_DEFINED])
def test_an_end_of_another_type_is_a_control_token(tmp_path: Path, network: Any, kind: int) -> None:
    plain = read(write_family(tmp_path / "plain.gguf", network, "llama"))
    subject = read(write_family(tmp_path / "tiny.gguf", network, "llama", kinds={END: kind}))
    assert subject.encode("Hi.<|im_end|>") == plain.encode("Hi.<|im_end|>")
    assert subject.ends == KNOWN and subject.decode([END]) == ""


def test_a_generation_config_beside_a_file_is_another_models(tmp_path: Path, network: Any) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 77}), "utf-8")
    assert read(write_family(tmp_path / "tiny.gguf", network, "llama")).ends == KNOWN


def test_what_ends_a_thought_of_a_model_that_calls_ends_no_reply() -> None:
    tokens = ["<|end|>", "<|return|>", "<|call|>", "<|channel|>"]
    header = GgufHeader(Path(), {TOKENS: tokens, "tokenizer.ggml.eos_token_id": 1}, {}, 0)
    assert find_ends(header) == {"<|return|>": 1, "<|call|>": 2}
    assert find_ends(GgufHeader(Path(), {TOKENS: tokens[:1]}, {}, 0)) == {"<|end|>": 0}
