"""Training: what is learned from, what is not, and that it can be interrupted."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from mini_dialogue import dialogue
from mini_tokenizer import train_tokenizer
from mini_train import TrainingSettings, batches, encode, labels_of, rate, train
from transformers import AutoModelForCausalLM, AutoTokenizer


@pytest.fixture(scope="module")
def tokenizer():
    rng = random.Random(0)
    return train_tokenizer(m["content"] for _ in range(1500) for m in dialogue(rng))


def test_every_chat_comes_back_from_its_tokens(tokenizer) -> None:
    for seed in range(50):
        chat = dialogue(random.Random(seed))
        (ids,) = encode(tokenizer, [chat])
        text = tokenizer.decode(ids)
        assert text.startswith("<s>") and text.endswith("<|end|>")
        assert all(f"<|{m['role']}|>{m['content']}<|end|>" in text for m in chat)


def test_a_shorter_chat_is_a_strict_prefix_of_a_longer_one(tokenizer) -> None:
    chat = dialogue(random.Random(4))
    longer, shorter = encode(tokenizer, [chat, chat[:-2]])
    assert longer[: len(shorter)] == shorter


def test_digits_are_single_tokens(tokenizer) -> None:
    assert len(tokenizer("2048", add_special_tokens=False)["input_ids"]) == 4


def test_unknown_roles_are_refused(tokenizer) -> None:
    with pytest.raises(Exception, match="system, user and assistant"):
        tokenizer.apply_chat_template([{"role": "narrator", "content": "Once"}], tokenize=False)


def test_nothing_is_learned_from_the_system_prompt(tokenizer) -> None:
    chat = next(c for c in map(dialogue, map(random.Random, range(50))) if c[0]["role"] == "system")
    (ids,) = encode(tokenizer, [chat])
    end = ids.index(tokenizer.convert_tokens_to_ids("<|end|>"))
    labels = labels_of(ids)
    assert set(labels[: end + 1]) == {-100}
    assert labels[end + 1 :] == ids[end + 1 :]


def test_steps_hold_dialogues_of_similar_length_and_resume_where_they_stopped(tokenizer) -> None:
    recipe = TrainingSettings(tokens=1536, parts=2)
    steps, rest = batches(tokenizer, recipe), batches(tokenizer, recipe, skip=1)
    next(steps)
    second, again = next(steps), next(rest)
    assert len(second) == 2
    for (ids, labels), (same, _) in zip(second, again, strict=True):
        assert torch.equal(ids, same) and ids.shape == labels.shape
        assert ids.shape[1] in recipe.widths


def test_the_rate_rises_and_falls_to_a_tenth() -> None:
    recipe = TrainingSettings(steps=1200, cosine=1000)
    assert rate(recipe, 0) < rate(recipe, 99) == pytest.approx(recipe.learning_rate)
    for step in (1000, 1199):
        assert rate(recipe, step) == pytest.approx(recipe.learning_rate / 10)


def test_an_interrupted_training_goes_on_and_leaves_a_stock_folder(tmp_path: Path) -> None:
    recipe = TrainingSettings(steps=4, tokens=768, parts=2, warmup=1)
    train(recipe, tmp_path, every=2, until=2)
    train(recipe, tmp_path, every=2)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in records] == [2, 4]
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert sum(p.numel() for p in model.parameters()) < 3_000_000
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template
