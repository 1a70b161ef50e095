"""A name leads to its files: a folder, a GGUF file, an adapter on its base, or a hub id."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from peft import LoraConfig

from holdfast.core.errors import ModelError
from holdfast.models import load
from holdfast.models.catalogue import MINI
from holdfast.models.local.files import ModelSource, find_source, hash_source
from tiny_adapters import adapted_model
from tiny_models import TEMPLATES, tokenizer

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


def test_an_adapter_on_an_adapter_or_on_itself_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, base in ((first, first), (second, first)):
        folder.mkdir()
        about = {"base_model_name_or_path": str(base)}
        (folder / "adapter_config.json").write_text(json.dumps(about), encoding="utf-8")
        (folder / "adapter_model.safetensors").write_bytes(b"")
        with pytest.raises(ModelError, match="first, which is an adapter itself: merge that one"):
            find_source(str(folder))
    with pytest.raises(ModelError, match="which is an adapter itself"):
        find_source(str(second), base=str(first))
    assert find_source(str(second), base="mini").path == str(MINI)


def test_an_adapter_names_its_base_or_is_told_it(tmp_path: Path) -> None:
    about = tmp_path / "adapter_config.json"
    about.write_text(json.dumps({"base_model_name_or_path": str(MINI)}))
    with pytest.raises(ModelError, match="an adapter without its adapter_model"):
        find_source(str(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert find_source(str(tmp_path)) == ModelSource(str(MINI), adapter=str(tmp_path))
    about.write_text(json.dumps({"base_model_name_or_path": "/nowhere/at-all"}))
    with pytest.raises(ModelError, match=r"is not here \(.*\): name the model with `base`"):
        find_source(str(tmp_path))
    assert find_source(str(tmp_path), base="mini").path == str(MINI)
    about.write_text("{}")
    with pytest.raises(ModelError, match="names no model: name it with `base`"):
        find_source(str(tmp_path))


@pytest.mark.parametrize("content", [b'{"base_model', b"[1]", b"3", b"\xff"])
def test_an_adapter_whose_description_is_broken_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "adapter_config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"adapter_config\.json cannot be read"):
        find_source(str(tmp_path))
    with pytest.raises(ModelError, match=r"adapter_config\.json cannot be read"):
        find_source(str(tmp_path), base="mini")


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


def test_a_base_for_what_is_no_adapter_is_left_out_aloud(
    capsys: pytest.CaptureFixture[str],
) -> None:
    load.load("mini", base="other/model")
    assert "mini is no adapter, so that its base other/model is left out" in capsys.readouterr().err
