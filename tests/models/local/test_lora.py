"""A LoRA on some rows: what peft computes in them, and the plain model in the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig

from holdfast.core.backend import Sampling
from holdfast.core.errors import ModelError
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.request import Request
from holdfast.models.local.lora import CONFIG, WEIGHTS, Lora, RowLora, read_lora
from tiny_models import GROUPED, model

IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])


def adapter(folder: Path, base: nn.Module) -> Path:
    """A LoRA with random matrices, saved by peft; the base is left as it was."""
    config = LoraConfig(
        r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"], layers_to_transform=[1]
    )
    peft_model = get_peft_model(base, config)  # type: ignore[arg-type]
    torch.manual_seed(3)
    for name, parameter in peft_model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.5)
    peft_model.save_pretrained(str(folder))
    peft_model.unload()
    return folder


def logits(of: nn.Module, ids: Tensor = IDS) -> Tensor:
    with torch.no_grad():
        output: Tensor = of(input_ids=ids).logits
    return output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return adapter(tmp_path / "adapter", model("llama", dtype=torch.float64))


def test_chosen_rows_are_pefts_and_the_others_the_plain_models(folder: Path) -> None:
    base = model("llama", dtype=torch.float64)
    plain = logits(base)
    rows = RowLora(base, read_lora(folder))
    torch.testing.assert_close(logits(base), plain)
    rows.choose([True, False, True])
    some = logits(base)
    rows.choose([True, True, True])
    every = logits(base)
    rows.remove()
    torch.testing.assert_close(logits(base), plain, atol=0, rtol=0)
    stock = PeftModel.from_pretrained(base, str(folder))
    reference = logits(stock)
    stock.unload()
    assert not torch.allclose(reference, plain)
    torch.testing.assert_close(every, reference)
    torch.testing.assert_close(some[[0, 2]], reference[[0, 2]])
    torch.testing.assert_close(some[1], plain[1])


def test_matrices_go_where_their_layer_computes() -> None:
    # Weights that accelerate offloads are on no device, and a model may be on several.
    layers = nn.Sequential(nn.Linear(4, 4, device="meta"), nn.Linear(4, 4))
    rows = RowLora(layers, Lora({"1": (torch.ones(2, 4), torch.ones(4, 2))}, 1.0))
    x = torch.ones(2, 4)
    plain = layers[1](x)
    rows.choose([True, False])
    torch.testing.assert_close(layers[1](x) - plain, torch.tensor([[8.0], [0.0]]).expand(2, 4))


def test_layer_0_gives_the_same_with_and_without(folder: Path) -> None:
    base = model("llama", dtype=torch.float64)
    assert all(".layers.0." not in path for path in read_lora(folder).matrices)
    before = base(input_ids=IDS, output_hidden_states=True).hidden_states[1]
    rows = RowLora(base, read_lora(folder))
    rows.choose([True] * 3)
    after = base(input_ids=IDS, output_hidden_states=True).hidden_states[1]
    rows.remove()
    torch.testing.assert_close(before, after, atol=0, rtol=0)


def test_in_one_batch_of_the_engine_each_row_is_what_it_is_alone(folder: Path) -> None:
    base = model("llama", dtype=torch.float64)
    engine = Engine(base, batch_size=4)
    rows = RowLora(base, read_lora(folder))
    engine.adapters = {"on": rows}
    ids = [(5, 6, 7), (9, 10, 11, 12, 13), (5, 6, 7), (20, 21)]
    on = [True, False, False, True]
    requests = [
        Request(one, 1, adapter="on" if a else "", state="on" if a else "")
        for one, a in zip(ids, on, strict=True)
    ]
    greedy = Sampling(max_new_tokens=6, temperature=0.0)
    together = engine.generate(requests, greedy)
    engine.forget()
    alone = [engine.generate([one], greedy)[0] for one in requests]
    assert [r.ids for r in together] == [r.ids for r in alone]
    assert together[0].ids != together[2].ids
    # Kept keys of one state are never those of the other.
    again = engine.generate(requests, greedy)
    linear = [base.get_submodule(path) for path in read_lora(folder).matrices]
    assert not any(module._forward_hooks for module in linear)
    assert [r.ids for r in again] == [r.ids for r in alone]


def test_an_adapter_of_another_model_or_of_another_kind_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    other = nn.Linear(3, 3)
    with pytest.raises(ModelError, match="was not made for small"):
        RowLora(other, read_lora(folder), "small")
    with pytest.raises(ModelError, match="no adapter in"):
        read_lora(tmp_path / "nothing")
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps({**config, "use_dora": True}), encoding="utf-8")
    with pytest.raises(ModelError, match="no plain LoRA"):
        read_lora(folder)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"alpha_pattern": {"down_proj": 60}}, "alpha_pattern"),
        ({"bias": "lora_only"}, "q_proj.*bias"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "lora_embedding"),
    ],
)
def test_an_adapter_that_does_more_than_two_matrices_is_refused(
    settings: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    kind = {"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"], **settings}
    config = LlamaConfig(**GROUPED, attention_bias=True)
    peft_model = get_peft_model(AutoModelForCausalLM.from_config(config), LoraConfig(**kind))
    peft_model.save_pretrained(str(tmp_path))
    with pytest.raises(ModelError, match=f"no plain LoRA .*{sentence}"):
        read_lora(tmp_path)


def test_a_rank_that_an_adapter_does_not_name_is_pefts_own(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in {"r", "lora_alpha"}}
    (folder / CONFIG).write_text(json.dumps(kept), encoding="utf-8")
    assert read_lora(folder).scale == LoraConfig().lora_alpha / LoraConfig().r


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_damaged_file_is_one_sentence(folder: Path, name: str) -> None:
    (folder / name).write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ModelError, match="there is no adapter in"):
        read_lora(folder)
