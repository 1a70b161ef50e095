"""Quantised checkpoints: each kind is made here, and loaded as transformers alone loads it.

A test is skipped where the package that reads its kind is not installed; CI has none of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import agent_view, message
from holdfast.core.control import parse
from holdfast.core.errors import ModelError
from holdfast.models import quantisation
from holdfast.models.local import load_errors
from holdfast.models.local.load import load
from tiny_models import SHAPE, tokenizer

# Groups of 64 weights (GROUP) fit the rows, which are longer than those of other tests.
WIDE = SHAPE | {"hidden_size": 128, "intermediate_size": 192, "num_key_value_heads": 2}
GROUP = 64
IDS = torch.arange(20, 60)[None]
SHORT = Sampling(max_new_tokens=8)
CHAT = agent_view("Speak like a pirate.", [], "Hello!")


def plain(folder: Path) -> PreTrainedModel:
    """The model as transformers alone loads it."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model  # type: ignore[no-any-return]


def log_probabilities(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(IDS.to(model.device)).logits
    return logits.float().log_softmax(-1)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights that every kind is made from."""
    folder = tmp_path_factory.mktemp("dense")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(LlamaConfig(**WIDE)).save_pretrained(folder)
    tokenizer("chatml").save_pretrained(folder)
    return folder


def compress(dense: Path, folder: Path, scheme: str) -> None:
    """Write the weights as compressed-tensors does, rounded in groups, rows or as a whole."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        QuantizationStatus,
        apply_quantization_config,
        preset_name_to_scheme,
    )
    from compressed_tensors.quantization.utils import calculate_qparams

    quantisation: Any = (
        QuantizationScheme(
            targets=["Linear"],
            weights=QuantizationArgs(num_bits=4, strategy="group", group_size=64, symmetric=True),
        )
        if scheme == "W4A16"
        else preset_name_to_scheme(scheme, ["Linear"])
    )
    model = plain(dense)
    apply_quantization_config(
        model,
        QuantizationConfig(
            config_groups={"all": quantisation},
            ignore=["lm_head"],
            quantization_status="initialized",
        ),
    )
    layers: list[Any] = [one for one in model.modules() if hasattr(one, "quantization_scheme")]
    for layer in layers:
        weight, settings = layer.weight.data, layer.quantization_scheme.weights
        rows = weight.reshape(weight.shape[0], -1, settings.group_size or weight.shape[1])
        scale, zero = calculate_qparams(rows.amin(-1), rows.amax(-1), settings)
        layer.weight_scale.data.copy_(scale.reshape(layer.weight_scale.shape))
        if hasattr(layer, "weight_zero_point"):
            layer.weight_zero_point.data.copy_(zero.reshape(layer.weight_zero_point.shape))
        layer.quantization_status = QuantizationStatus.FROZEN
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(str(folder))


def quantised_by_transformers(dense: Path, folder: Path, settings: Any) -> None:
    """Write the weights as transformers quantises them on loading."""
    subject: Any = AutoModelForCausalLM.from_pretrained(
        dense, quantization_config=settings, dtype=torch.float32, device_map="cpu"
    )
    subject.save_pretrained(folder)


def round_in_groups(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four-bit levels (in, out), and each group's scales and zeros (groups, out)."""
    groups = weight.T.reshape(-1, GROUP, len(weight))
    low, high = groups.amin(1), groups.amax(1)
    scales = ((high - low) / 15).half()
    zeros = (-low / scales).round().clamp(1, 15)
    levels = (groups / scales[:, None] + zeros[:, None]).round().clamp(0, 15)
    return levels.flatten(0, 1).int(), scales, zeros.int()


def pack(levels: torch.Tensor, order: tuple[int, ...] = tuple(range(8))) -> torch.Tensor:
    """Eight levels of a row to an int32, the first of `order` in the lowest bits."""
    words = sum(levels[:, column::8].long() << 4 * at for at, column in enumerate(order))
    assert isinstance(words, torch.Tensor)
    return words.where(words < 2**31, words - 2**32).int().contiguous()


def write_packed(dense: Path, folder: Path, method: str) -> None:
    """Write the projections as files of GPTQ (its first format) or AWQ (gemm) have them.

    The folder "dequantised" beside holds the same numbers as plain weights.
    """
    packed, plain_weights = {}, load_file(dense / "model.safetensors")
    for name in [name for name in plain_weights if "proj" in name]:
        levels, scales, zeros = round_in_groups(plain_weights.pop(name))
        layer = name.removesuffix("weight")
        group = torch.arange(len(levels)) // GROUP
        packed[f"{layer}scales"] = scales
        if method == "gptq":  # rows are packed, and zeros are stored less one
            packed[f"{layer}qweight"] = pack(levels.T).T.contiguous()
            packed[f"{layer}qzeros"] = pack(zeros - 1)
            packed[f"{layer}g_idx"] = group.int()
        else:  # the order of AWQ's kernel
            order = (0, 2, 4, 6, 1, 3, 5, 7)
            packed[f"{layer}qweight"] = pack(levels, order)
            packed[f"{layer}qzeros"] = pack(zeros, order)
        plain_weights[name] = ((levels - zeros[group]) * scales[group].float()).T.contiguous()
    settings: dict[str, Any] = {"quant_method": method, "bits": 4, "group_size": GROUP}
    settings |= {"desc_act": False, "sym": False} if method == "gptq" else {"version": "gemm"}
    config = json.loads((dense / "config.json").read_text(encoding="utf-8"))
    others = {name: one for name, one in plain_weights.items() if "proj" not in name}
    for path, extra, tensors in (
        (folder, {"quantization_config": settings}, others | packed),
        (folder / "dequantised", {}, plain_weights),
    ):
        path.mkdir(exist_ok=True)
        (path / "config.json").write_text(json.dumps(config | extra), encoding="utf-8")
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def write(kind: str, dense: Path, folder: Path) -> None:
    package, _, variant = kind.partition(" ")
    module = pytest.importorskip(
        package.replace("-", "_"), reason=f"{package} is not installed: pip install {package}"
    )
    if package == "compressed-tensors":
        compress(dense, folder, variant)
    elif package == "gptqmodel":
        pytest.importorskip("optimum", reason="optimum is not installed: pip install optimum")
        write_packed(dense, folder, variant)
    elif package == "bitsandbytes":
        from transformers import BitsAndBytesConfig

        settings = BitsAndBytesConfig(**{f"load_in_{variant}": True})
        quantised_by_transformers(dense, folder, settings)
    else:
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        assert module
        quantised_by_transformers(dense, folder, TorchAoConfig(Int8WeightOnlyConfig()))
    tokenizer("chatml").save_pretrained(folder)


@pytest.mark.parametrize(
    "kind",
    [
        "compressed-tensors W4A16",
        "compressed-tensors W8A8",
        "compressed-tensors FP8_DYNAMIC",
        "bitsandbytes 8bit",
        "bitsandbytes 4bit",
        "torchao int8",
        "gptqmodel gptq",
        "gptqmodel awq",
    ],
)
def test_a_quantised_model_is_what_transformers_loads_and_takes_controls(
    kind: str, dense: Path, tmp_path: Path
) -> None:
    write(kind, dense, tmp_path)
    backend = load(str(tmp_path), dtype="float32", device="cpu")
    reference = log_probabilities(plain(tmp_path))
    assert torch.equal(log_probabilities(backend.engine.model), reference)
    far = (reference - log_probabilities(plain(dense))).abs().max()
    assert far > 1e-3  # it is quantised, and not the dense model
    controls = ("none", "split-softmax:0.7", "anchor")
    asks = [Ask(CHAT, 1, parse(one), measure=True) for one in controls]
    replies = backend.reply(asks, SHORT)
    assert all(reply.share is not None for reply in replies)
    again = load(str(tmp_path), dtype="float32", device="cpu")
    assert again.digest == backend.digest
    assert [one.text for one in again.reply(asks, SHORT)] == [one.text for one in replies]
    first = message("user", "Hello!")
    assert backend.reply([Ask((first,), 1)], SHORT)[0].stop in ("stop", "length")


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_packed_weights_are_read_as_the_numbers_they_stand_for(
    method: str, dense: Path, tmp_path: Path
) -> None:
    write(f"gptqmodel {method}", dense, tmp_path)
    backend = load(str(tmp_path), dtype="float32", device="cpu")
    reference = log_probabilities(plain(tmp_path / "dequantised"))
    difference = (log_probabilities(backend.engine.model) - reference).abs()
    assert difference.mean() < 0.02  # the kernel's rounding; the dense weights are 2 away


def test_hqq_is_refused_for_what_transformers_makes_of_it(dense: Path, tmp_path: Path) -> None:
    for file in dense.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "hqq", "quant_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match=r"hqq, whose weights transformers 5\.\d+\.\S+ does not"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("packages", "sentence"),
    [
        ((), "packages gptqmodel and optimum here: pip install gptqmodel optimum,"),
        (("optimum",), "package gptqmodel here: pip install gptqmodel,"),
        (("gptqmodel", "optimum"), "be loaded: gptqmodel >= 9 is needed."),
    ],
)
def test_all_that_gptq_lacks_is_named_before_it_is_tried(
    packages: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantisation, "_is_installed", packages.__contains__)
    with pytest.raises(ModelError, match=sentence), load_errors.model_errors("some", "gptq"):
        raise ImportError("gptqmodel >= 9 is needed.")


def test_of_other_kinds_the_sentence_is_transformers_own() -> None:
    with (
        pytest.raises(ModelError, match="quantised with eetq, and cannot be loaded: pip install k"),
        load_errors.model_errors("some", "eetq"),
    ):
        raise ImportError("pip install kernels")
