"""Runs of PRISM that a kill tore, folders that are broken, and what a plan says of long texts."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraModel

from actors import cut_lines
from holdfast.core.errors import ModelError, PersonaError, RunError
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gated_adapter import ABOUT, read_about
from holdfast.models.local.lora import CONFIG, WEIGHTS, read_lora
from holdfast.persona.experts import Expert
from holdfast.training.prism import distillation, divergence, pipeline, stages
from holdfast.training.prism.distillation import Distillation, TwoViews
from holdfast.training.prism.evaluation import evaluate
from holdfast.training.prism.plan import estimate_training
from holdfast.training.prism.router_training import train_router
from holdfast.training.prism.settings import PrismSettings
from tiny_models import model, tokenizer

ANN = Expert("ann", ("talk",), "You are Ann.", "You are Ann.", "You are Ann, who says: xyz xyz.")
BOB = Expert("bob", ("other",), "You are Bob.", "You are Bob.", "You are Bob the builder, zyx.")
BRIEF: dict[str, Any] = {"max_new_tokens": 6, "temperature": 0.0}
FEW: dict[str, Any] = {"rank": 2, "epochs": 1, "batch": 8, "learning_rate": 1e-2, "trial": False}


def backend() -> LocalBackend:
    return LocalBackend(model("llama", 0), tokenizer(), "small", batch_size=16)


def tasks(folder: Path, word: str) -> str:
    """The path of a file of sixteen tasks."""
    path = folder / f"{word[:10]}.jsonl"
    judge = {"name": "regex", "pattern": "[aeiou]"}
    rows = [
        {"category": kind, "id": f"{kind}{i}", "turns": [f"{kind} {word} {i}?"], "judge": judge}
        for kind in ("talk", "other")
        for i in range(8)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def train_with_wins(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "prism", **changes: Any
) -> Path:
    """Train where every second query is won."""
    even = lambda pair: lambda text: float(pair.query.number % 2 and text == pair.persona)  # noqa: E731
    monkeypatch.setattr(stages, "find_scorers", lambda own, tasks: even)
    out, source = folder / name, tasks(folder, "number")
    pipeline.train(
        backend(), out=out, experts=[ANN, BOB], tasks=source, **{**BRIEF, **FEW, **changes}
    )
    return out


def tear(records: Path, lines: int, *later: str) -> None:
    """Leave a stage as a kill in it does: some of its records, and nothing that comes after it."""
    folder = records.parents[1]
    for stage in later:
        shutil.rmtree(folder / stage)
    (folder / ABOUT).unlink()
    cut_lines(records, lines)


def test_an_arm_that_a_kill_tore_is_asked_again_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, source = train_with_wins(tmp_path, monkeypatch), tasks(tmp_path, "letter")
    settings = {"tasks": source, "samples": 2, "out": tmp_path / "eval", **BRIEF}
    rows = evaluate(backend(), folder, **settings).summary.rows
    records = tmp_path / "eval" / "records.jsonl"
    before = records.read_bytes()
    cut_lines(records, 100)
    assert evaluate(backend(), folder, **settings).summary.rows == rows
    assert records.read_bytes() == before


def test_queries_from_tasks_that_a_kill_tore_are_all_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = train_with_wins(tmp_path, monkeypatch) / "queries" / "records.jsonl"
    before = records.read_bytes()
    tear(records, 5, "answers", "verdicts")
    train_with_wins(tmp_path, monkeypatch)
    assert records.read_bytes() == before


@pytest.mark.parametrize(
    ("stage", "work"), [("answers", "answer_queries"), ("verdicts", "compare_answers")]
)
def test_a_stage_that_a_kill_tore_goes_on_in_the_batches_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, work: str
) -> None:
    original, calls = getattr(stages, work), list[int]()

    def count(who: Any, batch: Any, *others: Any) -> Any:
        calls.append(len(batch))
        return original(who, batch, *others)

    monkeypatch.setattr(stages, "BATCH", 3)
    monkeypatch.setattr(stages, "LEAST", 2)
    monkeypatch.setattr(stages, work, count)
    records = train_with_wins(tmp_path, monkeypatch) / stage / "records.jsonl"
    whole, before = list(calls), records.read_bytes()
    assert whole[0] == (4 if stage == "answers" else 3) and len(whole) > 4
    for count_left in (2, 8):
        tear(records, count_left, *(("verdicts",) if stage == "answers" else ()))
        calls.clear()
        train_with_wins(tmp_path, monkeypatch)
        assert calls == whole[-len(calls) :] and sum(calls) > 16 - count_left
        assert records.read_bytes() == before


def test_a_first_batch_that_a_kill_tore_is_asked_again_whole_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it would go on unchecked, in batches of other sizes."""
    records = train_with_wins(tmp_path, monkeypatch) / "answers" / "records.jsonl"
    before = records.read_bytes()
    tear(records, 5, "verdicts")
    sizes: list[int] = []
    monkeypatch.setattr(stages, "check_cut", lambda answers, *rest: sizes.append(len(answers)))
    train_with_wins(tmp_path, monkeypatch, trial=True)
    assert sizes == [12]  # six of each persona
    assert records.read_bytes() == before


def test_any_seed_and_any_name_of_a_folder_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_with_wins(tmp_path, monkeypatch, "a+b@c", seed=-1)
    summary = evaluate(
        backend(), folder, tasks=tasks(tmp_path, "letter"), samples=1, **BRIEF
    ).summary
    assert "router" in [row.arm for row in summary.rows]


@pytest.mark.parametrize("content", ['{"summ', "[]", "3", "{}", '{"model": "m", "base": {}}'])
def test_a_broken_description_is_refused_in_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / ABOUT).write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read: train the adapter again, or copy it"):
        read_about(tmp_path)


@pytest.mark.parametrize(("name", "content"), [(WEIGHTS, b"\x10torn"), (CONFIG, b"3")])
def test_broken_files_of_an_adapter_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    folder = train_with_wins(tmp_path, monkeypatch)
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match="there is no adapter in"):
        read_lora(folder)


def test_tasks_without_a_persona_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(PersonaError, match=r"these are of talk, other, and the personas are for w"):
        pipeline.train(
            backend(), out=tmp_path / "prism", personas="core", tasks=tasks(tmp_path, "number")
        )
    assert not (tmp_path / "prism").exists()


def test_a_plan_counts_the_tasks_own_tokens_and_personas_of_any_length(tmp_path: Path) -> None:
    def tokens(source: str, expert: Expert) -> int:
        settings = PrismSettings(tasks=source, **BRIEF, **FEW)
        training = pipeline._set_up(backend(), settings, tmp_path / "prism", [expert, BOB])
        return estimate_training(training).tokens

    short, long = tasks(tmp_path, "number"), tasks(tmp_path, "a long task " * 100)
    assert tokens(long, ANN) > 10 * tokens(short, ANN)
    assert tokens(short, Expert("ann", ("talk",), "x", "x", "word " * 2000)) > 10_000


def test_logits_are_in_memory_for_a_few_wins_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    logits = divergence.logits

    def count(some: Any, rows: Any) -> torch.Tensor:
        counts.append(len(rows))
        return logits(some, rows)

    monkeypatch.setattr(distillation, "logits", count)
    views = [TwoViews((5, 6, 7, 8 + i, 9), (7, 8 + i, 9), 1) for i in range(16)]
    settings = Distillation(rank=2, epochs=1, rows=4)
    distillation.distil(backend(), views, settings, tmp_path / "adapter")
    assert max(counts) == settings.rows


def test_a_router_learns_whatever_way_few_wins_fall_into_folds() -> None:
    rng = np.random.default_rng(0)
    for n in range(60):
        size = int(rng.integers(4, 14))
        groups = [int(g) for g in rng.integers(0, int(rng.integers(2, 6)), size)]
        wins = [bool(x) for x in rng.random(size) < 0.4]
        pairs = {*zip(groups, wins, strict=True)}
        if 2 <= sum(on for _, on in pairs) <= len(pairs) - 2:
            texts = [f"question {'abcdef'[rng.integers(6)]} of {group}" for group in groups]
            router = train_router(texts, wins, groups, seed=n)
            # One that ranks worse than chance does not do the opposite of what it learned.
            assert router.slope >= 0
            assert np.isfinite(router.chances(texts)).all()


def test_a_base_with_dropout_teaches_what_it_says_without(tmp_path: Path) -> None:
    views = [TwoViews((5, 6, 7, 8 + i, 9, 10), (7, 8 + i, 9, 10), 2) for i in range(8)]
    settings = Distillation(rank=2, epochs=2, batch=4)
    divergences = []
    for dropout in (0.0, 0.5):
        own = LocalBackend(copy.deepcopy(model("llama", 0)), tokenizer(), "small")
        for module in own.engine.model.modules():
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = dropout
        divergences.append(distillation.distil(own, views, settings, tmp_path / str(dropout)).last)
    assert divergences[0] == divergences[1]


def test_an_adapter_that_diverges_in_its_last_step_is_not_saved(tmp_path: Path) -> None:
    views = [TwoViews((5, 6, 7, 8 + i, 9), (7, 8 + i, 9), 1) for i in range(4)]
    settings = Distillation(rank=2, epochs=1, learning_rate=1e30)
    with pytest.raises(ModelError, match="not finite after the last step: lower the learning rate"):
        distillation.distil(backend(), views, settings, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_ctrl_c_while_a_lora_is_put_on_leaves_the_model_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = [TwoViews((5, 6, 7, 8 + i, 9), (7, 8 + i, 9), 1) for i in range(4)]
    own, replace, calls = backend(), LoraModel._create_and_replace, iter(range(9))
    before = {name: type(one) for name, one in own.engine.model.named_modules()}
    learning = [one.requires_grad for one in own.engine.model.parameters()]

    def interrupt(self: Any, *args: Any, **options: Any) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        replace(self, *args, **options)

    monkeypatch.setattr(LoraModel, "_create_and_replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        distillation.distil(own, views, Distillation(rank=2, epochs=1), tmp_path / "adapter")
    assert {name: type(one) for name, one in own.engine.model.named_modules()} == before
    assert [one.requires_grad for one in own.engine.model.parameters()] == learning
    assert not hasattr(own.engine.model, "peft_config")
