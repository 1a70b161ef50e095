"""A name leads to its files: a folder, a GGUF file, an adapter on its base, or a hub id."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import PreTrainedConfig

from holdfast.core.backend import Ask, Sampling
from holdfast.core.errors import ModelError
from holdfast.models import load
from holdfast.models.local.files import MINI, ModelSource, find_source, hash_source
from holdfast.models.local.weights import refuse_format
from tiny_models import TEMPLATES, model, tokenizer

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


def test_a_gguf_file_beside_a_config_or_a_projector_is_the_model(tmp_path: Path) -> None:
    for name in ("tiny.gguf", "mmproj-F16.gguf", "config.json"):
        (tmp_path / name).write_bytes(b"{}")
    assert find_source(str(tmp_path)).gguf == "tiny.gguf"
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert find_source(str(tmp_path)).gguf is None


@pytest.mark.parametrize("whole", [True, False])
def test_a_gguf_file_in_parts_is_refused(tmp_path: Path, whole: bool) -> None:
    for name in ("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    place = tmp_path if whole else tmp_path / "a-00001-of-00002.gguf"
    with pytest.raises(ModelError, match="in parts, of which one alone is read: join them"):
        find_source(str(place))


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
        (
            "smol lm",
            r"did you mean smollm2 or smollm3\? `holdfast models list` has the short names; check",
        ),
        ("häuser/modell", "häuser/modell is not a folder here, and cannot be a model on the hub"),
    ],
)
def test_what_can_be_no_name_of_a_model_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        load.load(name)


def test_an_adapter_names_its_base_or_is_told_it(tmp_path: Path) -> None:
    about = tmp_path / "adapter_config.json"
    about.write_text(json.dumps({"base_model_name_or_path": str(MINI)}))
    with pytest.raises(ModelError, match="an adapter without its adapter_model"):
        find_source(str(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
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


def adapted_model(folder: Path, config: Any, seed: int = 0, **options: Any) -> Any:
    """Save a tiny model as `base` and a random adapter on it as `adapter`; return both joined."""
    plain = deepcopy(model())  # an adapter freezes what it is put on
    plain.save_pretrained(folder / "base")
    tokenizer().save_pretrained(folder / "base")
    torch.manual_seed(seed)
    peft_model = get_peft_model(plain, config)
    for name, weight in peft_model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    peft_model.peft_config["default"].base_model_name_or_path = str(folder / "base")
    peft_model.save_pretrained(folder / "adapter", **options)
    return peft_model


def test_a_model_with_an_adapter_replies_as_the_merged_model_does(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    peft_model = adapted_model(tmp_path, LoraConfig(r=4, target_modules="all-linear"))
    backend = load.load(str(adapter), dtype="float32", device="cpu")
    without = load.load(str(base), dtype="float32", device="cpu")
    merged_model = peft_model.merge_and_unload()
    state = backend.engine.model.state_dict()  # type: ignore[attr-defined]
    for name, weight in merged_model.state_dict().items():
        torch.testing.assert_close(state[name], weight, msg=name)
    assert backend.describe()["weights"] != without.describe()["weights"]
    assert backend.reply([Ask(CHAT, 0)], Sampling(max_new_tokens=3, temperature=0))


def test_an_adapter_speaks_the_template_that_it_was_trained_in(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapted_model(tmp_path, LoraConfig(r=4, target_modules=["q_proj"]))
    assert "<|im_start|>user" in load.load(str(adapter)).template.text(CHAT)  # type: ignore[attr-defined]
    (adapter / "chat_template.jinja").write_text(TEMPLATES["gemma"])
    assert "<start_of_turn>user" in load.load(str(adapter)).template.text(CHAT)  # type: ignore[attr-defined]
    tokenizer("llama3").save_pretrained(adapter)
    shutil.copy(tmp_path / "base" / "config.json", adapter)  # as some trainers leave it
    assert "<|start_header_id|>" in load.load(str(adapter)).template.text(CHAT)  # type: ignore[attr-defined]


def test_two_adapters_in_torchs_format_are_told_apart(tmp_path: Path) -> None:
    digests = set()
    for seed in (0, 1):
        config = LoraConfig(r=4, target_modules=["q_proj"])
        adapted_model(tmp_path / str(seed), config, seed, safe_serialization=False)
        source = ModelSource(
            str(tmp_path / "0/base"), adapter=str(tmp_path / str(seed) / "adapter")
        )
        digests.add(hash_source(source))
    assert len(digests) == 2


def test_loading_an_adapter_warns_of_nothing(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    adapted_model(tmp_path, LoraConfig(r=4, target_modules=["q_proj"]))
    recwarn.clear()
    load.load(str(tmp_path / "adapter"))
    assert not [str(one.message) for one in recwarn]


def test_an_adapter_whose_matrices_have_other_names_is_refused(tmp_path: Path) -> None:
    adapted_model(tmp_path, LoraConfig(r=4, target_modules=["q_proj"]))
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({f"mine.{name}": one for name, one in load_file(file).items()}, file)
    with pytest.raises(ModelError, match="lacks matrices that its adapter_config"):
        load.load(str(tmp_path / "adapter"))


def test_an_adapter_that_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    adapted_model(tmp_path, PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))
    with pytest.raises(ModelError, match="kind PROMPT_TUNING, which cannot be merged"):
        load.load(str(tmp_path / "adapter"))


def test_an_adapter_on_another_models_shapes_is_refused(tmp_path: Path) -> None:
    adapted_model(tmp_path, LoraConfig(r=4, target_modules=["q_proj"]))
    with pytest.raises(ModelError, match="has other shapes than its base"):
        load.load(str(tmp_path / "adapter"), base="mini")


def test_a_base_for_what_is_no_adapter_is_left_out_aloud(
    capsys: pytest.CaptureFixture[str],
) -> None:
    load.load("mini", base="other/model")
    assert "mini is no adapter, so that its base other/model is left out" in capsys.readouterr().err


def test_weights_of_mlx_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match="quantised for MLX, which transformers does not read"):
        refuse_format("mine", PreTrainedConfig(quantization={"bits": 4, "group_size": 64}))
