"""Loading a model from its files, and what is said where they are not right."""

from __future__ import annotations

import copy
import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, LlamaConfig

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import agent_view, message
from holdfast.core.control import parse
from holdfast.core.errors import ModelError
from holdfast.models import quantisation
from holdfast.models.local import files, load_errors, weights
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load, outline
from tiny_models import CONFIGS, SHAPE, model, tokenizer

SHORT = Sampling(max_new_tokens=10)
PROMPT = "Speak like a pirate."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    model("llama").save_pretrained(path)
    tokenizer("chatml").save_pretrained(path)
    return path


def copy_folder(folder: Path, to: Path) -> Path:
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_a_folder_loads_and_answers_like_the_model_it_was_saved_from(folder: Path) -> None:
    subject = load(str(folder))
    ask = [Ask(agent_view(PROMPT, ["Hi"]), 3)]
    assert subject.reply(ask, SHORT) == LocalBackend(model("llama"), tokenizer(), "tiny").reply(
        ask, SHORT
    )
    assert subject.describe()["weights"] == files.hash_files(str(folder))
    assert (subject.name, subject.local) == (str(folder), True)


def test_dtype_and_device_can_be_chosen(folder: Path) -> None:
    assert load(str(folder), dtype="bfloat16", device="cpu").describe()["dtype"] == "bfloat16"
    with pytest.raises(ModelError, match="no dtype 'int3'"):
        load(str(folder), dtype="int3")
    # Names of devices that torch knows and was not built with, or that compute nothing, too.
    for absent in ("abacus", "xpu", "hpu", "meta"):
        with pytest.raises(ModelError, match=f"no device '{absent}' here"):
            load(str(folder), device=absent)
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="sees no GPU here for 'cuda'"):
            load(str(folder), device="cuda")


def test_the_dtype_follows_size_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "multiplies_bfloat16", lambda: False)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    half = LlamaConfig(dtype="bfloat16")
    single = LlamaConfig(dtype="float32")
    small, large = 10_000_000, 7_000_000_000
    assert weights.pick_dtype("auto", cpu, half, small) == torch.float32
    assert weights.pick_dtype("auto", cpu, half, large) == torch.bfloat16
    assert weights.pick_dtype("auto", gpu, single, small) == torch.float32
    assert weights.pick_dtype("auto", gpu, half, small) == torch.bfloat16
    assert weights.pick_dtype("auto", gpu, single, large) == torch.bfloat16


def test_a_processor_that_multiplies_bfloat16_gets_it_for_all_but_tiny_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "multiplies_bfloat16", lambda: True)
    cpu, single = torch.device("cpu"), LlamaConfig(dtype="float32")
    assert weights.pick_dtype("auto", cpu, single, 135_000_000) == torch.bfloat16
    assert weights.pick_dtype("auto", cpu, single, 2_700_000) == torch.float32
    assert weights.pick_dtype("float32", cpu, single, 135_000_000) == torch.float32


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the flags are read from Linux")
def test_what_the_processor_multiplies_is_what_its_flags_say() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    assert weights.multiplies_bfloat16() == bool({"amx_bf16", "avx512_bf16"} & set(flags))


def test_the_number_format_is_said_with_the_way_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "multiplies_bfloat16", lambda: True)
    assert weights.format_line("tiny", model("llama")) == "tiny runs in float32 on cpu"
    narrow = copy.deepcopy(model("llama")).to(torch.bfloat16)
    assert "bfloat16 on cpu" in weights.format_line("tiny", narrow)
    assert "with --dtype float32" in weights.format_line("tiny", narrow)


def test_a_models_size_is_known_without_its_weights() -> None:
    assert weights.count_parameters(CONFIGS["llama"]) == model("llama").num_parameters()


def test_a_name_that_leads_nowhere_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="is a file"):
        load(str(tmp_path / "file"))


@pytest.mark.parametrize("name", ["nobody/no-such-model", "no-such-model"])
def test_a_hub_id_without_a_network_says_so(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} .*cannot be reached"):
        load(name)


def test_an_adapter_whose_base_is_out_of_reach_says_how_to_name_it(tmp_path: Path) -> None:
    about = {"base_model_name_or_path": "nobody/no-such-model"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(about), encoding="utf-8")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    sentence = (
        "is an adapter on nobody/no-such-model, which is not here .*: name the model with `base`"
    )
    with pytest.raises(ModelError, match=sentence):
        load(str(tmp_path))


def test_the_hub_is_asked_once_for_a_model_that_it_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def refuse(url: str) -> None:
        calls.append(url)
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(load_errors, "get_hf_file_metadata", refuse)
    with pytest.raises(ModelError, match=r"cannot be reached: check the name and the network\."):
        load("nobody/no-such-model")
    assert calls == ["https://huggingface.co/nobody/no-such-model/resolve/main/config.json"]


def test_an_adapter_on_the_hub_has_to_be_brought_here(monkeypatch: pytest.MonkeyPatch) -> None:
    has = {"adapter_config.json": "in/the/cache.json"}
    monkeypatch.setattr(load_errors, "try_to_load_from_cache", lambda name, file: has.get(file))
    monkeypatch.setattr(load_errors, "find_adapter_config_file", lambda name: "in/the/cache.json")
    with pytest.raises(ModelError, match="adapter on the hub: bring it here by `hf download me/it"):
        load("me/it")


def test_files_on_the_hub_without_a_config_are_perhaps_gguf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("me/it does not appear to have a file named config.json. Checkout …")

    monkeypatch.setattr(load_errors, "get_hf_file_metadata", lambda url: None)
    monkeypatch.setattr(weights.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(ModelError, match=r"has no config\.json: if it has GGUF files on the hub"):
        load("me/it")


def test_an_adapter_beside_weights_is_not_put_onto_them_unasked(
    folder: Path, tmp_path: Path
) -> None:
    copy_folder(folder, tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "me/it"}')
    with pytest.raises(ModelError, match=r"an adapter, which may be in the model's weights alr"):
        load(str(tmp_path))


def test_no_chat_template_is_said_before_weights_are_read(folder: Path, tmp_path: Path) -> None:
    copy_folder(folder, tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="has no chat template"):
        load(str(tmp_path))


@pytest.mark.parametrize("damage", ["cut", "noise", "gone"])
def test_unreadable_weights_say_so(folder: Path, tmp_path: Path, damage: str) -> None:
    file = copy_folder(folder, tmp_path) / "model.safetensors"
    data = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if damage == "cut" else bytes(range(256)) * 9)
    with pytest.raises(ModelError, match=r"cannot be (read|loaded)|can be read"):
        load(str(tmp_path))


def test_code_in_pickled_weights_is_not_run(folder: Path, tmp_path: Path) -> None:
    weights = load_file(copy_folder(folder, tmp_path) / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    assert load(str(tmp_path))

    class Code:
        def __reduce__(self) -> Any:
            return (tmp_path / "ran").touch, ()

    torch.save({"code": Code(), **weights}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickled weights of .* run code: choose safetensors"):
        load(str(tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"hidden_size": 33}, r"config\.json of .* is not what .*size \(33\) is not a multiple"),
        ({"hidden_size": "32"}, r"config\.json of .* is not what .*hidden_size"),
        ({"rope_parameters": "linear"}, r"config\.json of .* is not what .*rope_parameters"),
        ({"quantization_config": "awq"}, "its files are wrong or too new .'str' object has no"),
    ],
)
def test_settings_of_a_config_that_no_model_has_are_named(
    folder: Path, tmp_path: Path, settings: dict[str, object], sentence: str
) -> None:
    file = copy_folder(folder, tmp_path) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings), encoding="utf-8")
    with pytest.raises(ModelError, match=sentence):
        load(str(tmp_path))


def test_a_tokenizer_that_is_no_json_says_so(folder: Path, tmp_path: Path) -> None:
    (copy_folder(folder, tmp_path) / "tokenizer.json").write_text("version https://git-lfs")
    with pytest.raises(ModelError, match=r"a JSON file of .* is damaged .*: copy its small files"):
        load(str(tmp_path))


def test_a_damaged_config_says_so(folder: Path, tmp_path: Path) -> None:
    (copy_folder(folder, tmp_path) / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(tmp_path))


def test_an_unknown_architecture_says_so(folder: Path, tmp_path: Path) -> None:
    (copy_folder(folder, tmp_path) / "config.json").write_text('{"model_type": "tomorrow"}')
    with pytest.raises(ModelError, match=r"cannot be loaded: .*tomorrow"):
        load(str(tmp_path))


def test_a_model_that_is_not_causal_is_refused(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=SHAPE["vocab_size"],
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(tmp_path)
    tokenizer("chatml").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="not a causal language model"):
        load(str(tmp_path))


def test_weights_of_another_shape_are_refused(folder: Path, tmp_path: Path) -> None:
    file = copy_folder(folder, tmp_path) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"intermediate_size": 40}))
    with pytest.raises(ModelError, match=r"do not have the shapes that its config\.json gives"):
        load(str(tmp_path))


def test_a_folder_without_a_tokenizer_says_so(folder: Path, tmp_path: Path) -> None:
    (copy_folder(folder, tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer that can be read"):
        load(str(tmp_path))


def test_missing_tensors_are_refused_rather_than_made_up(folder: Path, tmp_path: Path) -> None:
    file = copy_folder(folder, tmp_path) / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lack 1 of the model's tensors"):
        load(str(tmp_path))


def test_the_hash_of_large_files_covers_headers_sizes_and_samples(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = files.hash_files(str(folder))
    monkeypatch.setattr(files, "HASH_LIMIT", 0)
    quick = files.hash_files(str(folder))
    file = copy_folder(folder, tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes() + b"\0")
    longer = files.hash_files(str(tmp_path))
    tensors = load_file(folder / "model.safetensors")
    save_file({name: one + 1 for name, one in tensors.items()}, file, {"format": "pt"})
    assert file.stat().st_size == (folder / "model.safetensors").stat().st_size
    assert len({full, quick, longer, files.hash_files(str(tmp_path))}) == 4
    assert files.hash_files("a/hub-id") is None


@pytest.mark.parametrize(
    ("method", "package"),
    [
        ("awq", "gptqmodel"),
        ("gptq", "gptqmodel"),
        ("compressed-tensors", "compressed-tensors"),
        ("bitsandbytes", "bitsandbytes"),
        ("torchao", "torchao"),
    ],
)
def test_a_quantised_folder_names_the_package_that_reads_it(
    folder: Path, tmp_path: Path, method: str, package: str
) -> None:
    file = copy_folder(folder, tmp_path) / "config.json"
    settings: dict[str, object] = {"quant_method": method, "bits": 4, "group_size": 8}
    if method == "bitsandbytes":
        settings = {"quant_method": method, "load_in_4bit": True}
    if method == "torchao":
        settings = {"quant_method": method, "quant_type": "int8_weight_only"}
    config = json.loads(file.read_text()) | {"quantization_config": settings}
    file.write_text(json.dumps(config), encoding="utf-8")
    if all(map(quantisation._is_installed, package.split())):
        pytest.skip(f"{package} is installed")
    with pytest.raises(ModelError, match=f"quantised with {method}.*pip install {package}"):
        load(str(tmp_path))


@pytest.mark.parametrize("part", ["config", "tokenizer"])
def test_a_folder_with_code_of_its_own_is_refused_without_a_question(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    name, classes = {
        "config": ("config.json", {"AutoConfig": "own.OwnConfig"}),
        "tokenizer": ("tokenizer_config.json", {"AutoTokenizer": ["own.OwnTokenizer", None]}),
    }[part]
    file = copy_folder(folder, tmp_path) / name
    settings = json.loads(file.read_text()) | {"auto_map": classes}
    if part == "config":
        settings["model_type"] = "own"
    else:
        settings["tokenizer_class"] = "OwnTokenizer"
    file.write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "own.py").write_text("raise SystemExit\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", StringIO("y\n" * 5))
    with pytest.raises(ModelError, match="code of its own, which Holdfast does not run"):
        load(str(tmp_path))


def test_an_outline_reads_chats_under_anchor_without_weights() -> None:
    chat = (message("system", "You are Ann."), message("user", "Hello"))
    backend = outline("mini")
    steering = backend.steering(parse("anchor"), backend.template.render(chat))
    assert steering.turns
