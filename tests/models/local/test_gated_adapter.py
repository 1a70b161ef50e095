"""Adapters on a model: a folder is read without trust, and many may load what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from holdfast.control.trained_files import training_prompts
from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import agent_view
from holdfast.core.control import parse
from holdfast.core.errors import ControlError, RunError
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gate import Gate
from holdfast.models.local.gated_adapter import GatedAdapter, read_about
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


def trained(folder: Path, subject: LocalBackend) -> Path:
    """A folder with a random adapter on a tiny model, and a gate that is always on."""
    config = LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[1])
    peft_model = get_peft_model(subject.engine.model, config)  # type: ignore[arg-type]
    peft_model.save_pretrained(str(folder))
    peft_model.unload()
    width = subject.engine.config.hidden_size
    Gate(torch.zeros(width), torch.ones(width), ((torch.zeros(1, width), torch.ones(1)),)).save(
        folder
    )
    about = {"model": "tiny", "base": {"name": "tiny", "weights": subject.digest}}
    (folder / "prism.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


@pytest.fixture
def subject() -> LocalBackend:
    return LocalBackend(model("llama", dtype=torch.float64), tokenizer(), "tiny")


def test_a_control_finds_its_adapter_after_an_evaluation_has_removed_its_own(
    subject: LocalBackend, tmp_path: Path
) -> None:
    folder = trained(tmp_path, subject)
    ask = Ask(agent_view("You are Ann.", ["Hi"]), 0, parse(f"prism:{folder}"))
    before = subject.reply([ask], Sampling(max_new_tokens=4))
    with GatedAdapter(subject.engine, subject.name, subject.digest, folder):
        assert subject.reply([ask], Sampling(max_new_tokens=4))[0].text == before[0].text
    assert subject.reply([ask], Sampling(max_new_tokens=4))[0].text == before[0].text


def test_an_adapter_may_come_while_a_thread_goes_through_those_that_are_there(
    subject: LocalBackend, tmp_path: Path
) -> None:
    folders = [trained(tmp_path / name, subject) for name in ("first", "second")]
    GatedAdapter(subject.engine, subject.name, subject.digest, folders[0])
    for _ in subject.engine.adapters.items():
        GatedAdapter(subject.engine, subject.name, subject.digest, folders[1])
    assert [*subject.engine.adapters] == [*map(str, folders)]
