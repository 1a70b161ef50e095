"""What a folder of a trained PRISM says of itself is read without trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.control.trained_files import training_prompts
from holdfast.core.control import parse
from holdfast.core.errors import ControlError, RunError
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gated_adapter import read_about
from tiny_models import model, tokenizer


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "5", '{"model": "m", "base": 5}', '{"model": "m", "base": {}}']
)
def test_a_file_that_does_not_name_its_model_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "prism.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"prism.json cannot be read: train the adapter again"):
        read_about(tmp_path)
    control = parse(f"prism:{tmp_path}")
    subject = LocalBackend(model("llama"), tokenizer(), "tiny")
    assert "prism.json cannot be read" in str(subject.refusal(control))
    with pytest.raises(ControlError, match="holds no trained PRISM"):
        training_prompts(control)
