"""The tokenizer of a GGUF file splits as the file says, and is the file's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from holdfast.core.errors import ModelError
from holdfast.models.local.load import load
from models.test_dense_copy import cache  # noqa: F401
from tiny_gguf import random_model, write_family
from tiny_models import CHATML, GROUPED, LLAMA3, tokenizer

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def network() -> Any:
    return random_model(LlamaConfig(**GROUPED))


def read(file: Path) -> Any:
    """The tokenizer of a file; that of its copy is the same."""
    first, again = (load(str(file)).tokenizer for _ in range(2))
    assert first.backend_tokenizer.to_str() == again.backend_tokenizer.to_str()
    return first


@pytest.mark.parametrize(
    ("split", "tokens"),
    [
        (None, ["Ċ", "Ċ", "1"]),
        ("gpt-2", ["Ċ", "Ċ", "1"]),
        ("smollm", ["ĊĊ", "1"]),
        ("stablelm2", ["ĊĊ", "1"]),
        ("llama-bpe", ["ĊĊ", "1"]),
    ],
)
def test_lines_before_a_number_are_split_as_in_training(
    tmp_path: Path, network: Any, split: str | None, tokens: list[str]
) -> None:
    subject = read(write_family(tmp_path / "tiny.gguf", network, "llama", split=split))
    assert subject.tokenize("\n\n1") == tokens


def test_a_split_that_transformers_does_not_know_is_refused(tmp_path: Path, network: Any) -> None:
    file = write_family(tmp_path / "tiny.gguf", network, "llama", split="deepseek-llm")
    with pytest.raises(ModelError, match=r"splits texts in a way .*`deepseek-llm`"):
        load(str(file))


def test_a_template_beside_a_file_is_its_template(tmp_path: Path, network: Any) -> None:
    file = write_family(tmp_path / "tiny.gguf", network, "llama", template=None)
    with pytest.raises(ModelError, match=r"put a chat_template\.jinja into its folder"):
        load(str(file))
    for template in (CHATML, LLAMA3):
        (tmp_path / "chat_template.jinja").write_text(template, encoding="utf-8")
        assert read(file).chat_template == template


def test_a_tokenizer_beside_a_file_is_another_models(tmp_path: Path, network: Any) -> None:
    tokenizer("llama3").save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    subject = read(write_family(tmp_path / "tiny.gguf", network, "llama"))
    assert subject.chat_template == CHATML
    assert subject.convert_tokens_to_ids("ĊĊ") is not None
