"""An adapter on every architecture that attention controls know: distilled, saved, read again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, GPT2Config

from holdfast.core.chat import message
from holdfast.core.errors import ModelError
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.lora import RowLora, read_lora
from holdfast.training.prism import pipeline
from holdfast.training.prism.distillation import Distillation, distil, linear_names, two_views
from tiny_models import CONFIGS, ODD_CONFIGS, model, tokenizer

PIRATE = "You are a pirate. Start every reply with Ahoy."
IDS = torch.tensor([[12, 13, 14, 15, 16], [17, 18, 19, 20, 21]])


# The random Mistral's window is too short to see a persona from the answer.
KINDS = [kind for kind in (*CONFIGS, *ODD_CONFIGS) if kind != "mistral"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_distilled_and_acts_in_chosen_rows_as_pefts_does(
    kind: str, tmp_path: Path
) -> None:
    base = model(kind)
    own = LocalBackend(base, tokenizer(), kind, batch_size=16)
    chat = (message("user", "How do I boil an egg?"),)
    answers = [two_views(own, PIRATE, chat, f"Ahoy! Boil it for {n} minutes.") for n in (6, 8)]
    settings = Distillation(rank=2, alpha=4, epochs=6, batch=2, learning_rate=1e-2)
    kl = distil(own, answers, settings, tmp_path)
    assert kl.last < kl.first
    with torch.no_grad():
        plain = base(input_ids=IDS).logits
        rows = RowLora(base, read_lora(tmp_path), kind)
        rows.choose([True, False])
        in_rows = base(input_ids=IDS).logits
        rows.remove()
        stock = PeftModel.from_pretrained(base, str(tmp_path))
        in_peft = stock(input_ids=IDS).logits
        stock.unload()
    torch.testing.assert_close(in_rows[1], plain[1])
    torch.testing.assert_close(in_rows[0], in_peft[0])
    assert not torch.allclose(in_rows[0], plain[0])


def test_a_llama_is_adapted_where_the_paper_adapts_one() -> None:
    names = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert set(linear_names(model("llama"), "layers")) == names


def test_a_model_without_linear_layers_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    gpt2 = AutoModelForCausalLM.from_config(
        GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2)
    )
    with pytest.raises(ModelError, match="needs linear layers, which this model lacks"):
        pipeline.train(LocalBackend(gpt2, tokenizer(), "tiny-gpt2"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
