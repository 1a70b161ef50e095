"""A name leads to its files: a folder, a GGUF file, an adapter on its base, or a hub id."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedConfig

from holdfast.core.backend import Ask, Sampling
from holdfast.core.errors import ModelError
from holdfast.models import load
from holdfast.models.local.files import MINI, ModelSource, find_source, hash_source
from holdfast.models.local.weights import refuse_format
from tiny_models import model, tokenizer

CHAT = ({"role": "user", "content": "hello there"},)


def test_a_gguf_file_and_a_folder_with_one_are_the_same_source(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF")
    expected = ModelSource(str(tmp_path), gguf="tiny.gguf")
    assert find_source(str(file)) == find_source(str(tmp_path)) == expected
    assert expected.arguments == {"gguf_file": "tiny.gguf"}
    assert hash_source(expected) is not None


def test_several_gguf_files_need_a_name(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"2 GGUF files: name one, as in .*/a\.gguf"):
        find_source(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "sentence"), [({}, "it has no config.json"), ({"x.txt": "x"}, "no adapter")]
)
def test_a_folder_without_a_model_is_refused(
    tmp_path: Path, content: dict[str, str], sentence: str
) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=sentence):
        find_source(str(tmp_path))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="no GGUF file: pass the model's folder"):
        find_source(str(tmp_path / "weights.bin"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("~nobody-here/model", "there is no folder or file ~nobody-here/model"),
        ("a" * 300, "a{80} cannot be looked up: File name too long"),
        ("two words", "two words is not a folder here, and cannot be a model on the hub"),
        ("häuser/modell", "häuser/modell is not a folder here, and cannot be a model on the hub"),
    ],
)
def test_what_can_be_no_name_of_a_model_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        load.load(name)


def test_an_adapter_names_its_base_or_is_told_it(tmp_path: Path) -> None:
    about = tmp_path / "adapter_config.json"
    about.write_text(json.dumps({"base_model_name_or_path": str(MINI)}))
    assert find_source(str(tmp_path)) == ModelSource(str(MINI), adapter=str(tmp_path))
    about.write_text(json.dumps({"base_model_name_or_path": "/nowhere/at-all"}))
    with pytest.raises(ModelError, match=r"is not here \(.*\): name the model with --base"):
        find_source(str(tmp_path))
    assert find_source(str(tmp_path), base="mini").path == str(MINI)
    about.write_text("{}")
    with pytest.raises(ModelError, match="names no model: name it with --base"):
        find_source(str(tmp_path))


@pytest.mark.parametrize("content", [b'{"base_model', b"[1]", b"3", b"\xff"])
def test_an_adapter_whose_description_is_broken_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "adapter_config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"adapter_config\.json cannot be read"):
        find_source(str(tmp_path))
    with pytest.raises(ModelError, match=r"adapter_config\.json cannot be read"):
        find_source(str(tmp_path), base="mini")


def test_a_model_with_an_adapter_replies_as_the_merged_model_does(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    plain = deepcopy(model())  # an adapter freezes what it is put on
    plain.save_pretrained(base)
    tokenizer().save_pretrained(base)
    torch.manual_seed(0)
    adapted = get_peft_model(plain, LoraConfig(r=4, target_modules="all-linear"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(adapter)
    loaded = load.load(str(adapter), dtype="float32", device="cpu")
    without = load.load(str(base), dtype="float32", device="cpu")
    merged = adapted.merge_and_unload()
    state = loaded.engine.model.state_dict()  # type: ignore[attr-defined]
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(state[name], weight, msg=name)
    assert loaded.describe()["weights"] != without.describe()["weights"]
    assert loaded.reply([Ask(CHAT, 0)], Sampling(max_new_tokens=3, temperature=0))


def test_weights_of_mlx_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match="quantised for MLX, which transformers does not read"):
        refuse_format("mine", PreTrainedConfig(quantization={"bits": 4, "group_size": 64}))
