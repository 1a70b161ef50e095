"""Fitting one arm with its trainer, and saving what came out.

This module knows the trainers' settings. What is trained on, a `Plan` says.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils import logging
from trl import GRPOConfig, SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from holdfast.core.backend import Ask, Sampling
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.seeds import seed_of
from holdfast.models.local.backend import LocalBackend
from holdfast.training.permix import dataset
from holdfast.training.permix.metrics import Book
from holdfast.training.permix.plan import ADAPTER, CHECKPOINTS, MODEL, Plan, main_process, processes
from holdfast.training.permix.reward import Reward
from holdfast.training.permix.trainer import Group, Watch, checkpoint, run, steps_of


def fit(
    backend: LocalBackend, plan: Plan, reward: Reward, folder: Path, progress: Progress
) -> list[Record]:
    """Train, save `model/` (and `adapter/`), and the lines of metrics.jsonl."""
    main = main_process()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    logging.disable_progress_bar()
    saved = folder / CHECKPOINTS
    done = steps_of(checkpoint(saved))
    book = Book(
        folder if main else None,
        plan.rows,
        plan.personas,
        rollouts=plan.recipe.rollouts,
        per=plan.per,
        steps=done,
    )
    trainer = (_imitating if plan.arm == "sft" else rewarded)(backend, plan, reward, saved, book)
    watch = Watch(book, progress, lambda: samples(trainer, plan))
    with progress.of(plan.steps):
        progress.advance(done, 0)
        run(trainer, watch, saved, alone=processes() == 1)
    backend.forget()
    _save(trainer, backend, plan, folder)
    return book.lines


def rewards(backend: LocalBackend, plan: Plan, reward: Reward) -> float:
    """The mean reward of one reply to each prompt that comes after training."""
    drawn = Sampling(plan.recipe.max_new_tokens, plan.recipe.temperature, top_p=1.0)
    asked = dataset.chats(plan.ahead, plan.tasks, plan.personas)
    asks = [Ask(chat, seed_of("ahead", plan.seed, i), keep=False) for i, chat in enumerate(asked)]
    said = [reply.text for reply in backend.reply(asks, drawn)]
    paid = reward(completions=said, item=[row.item for row in plan.ahead])
    return round(sum(paid) / len(paid), 4)


def settings(backend: LocalBackend, plan: Plan, saved: Path) -> GRPOConfig:
    """What GRPO is told."""
    recipe = plan.recipe
    return GRPOConfig(
        **_common(backend, plan, saved),
        learning_rate=recipe.learning_rate,
        num_generations=recipe.rollouts,
        max_completion_length=recipe.max_new_tokens,
        temperature=recipe.temperature,
        beta=recipe.beta,
        scale_rewards=recipe.scale,
        shuffle_dataset=False,
        use_vllm=recipe.vllm != "off",
        vllm_mode="server" if recipe.vllm == "server" else "colocate",
        chat_template_kwargs=backend.template.options or None,
    )


def rewarded(backend: LocalBackend, plan: Plan, reward: Reward, saved: Path, book: Book) -> Group:
    """The trainer of permix and rlvr, over the rows of the plan."""
    asked = dataset.chats(plan.rows, plan.tasks, plan.personas)
    rows = [
        {"prompt": _messages(backend, chat), "item": row.item, "row": number}
        for number, (chat, row) in enumerate(zip(asked, plan.rows, strict=True))
    ]
    return Group(
        model=backend.engine.model,
        reward_funcs=reward,
        args=settings(backend, plan, saved),
        train_dataset=Dataset.from_list(rows),
        processing_class=backend.tokenizer,
        peft_config=_lora(plan),
        book=book,
    )


def _imitating(
    backend: LocalBackend, plan: Plan, reward: Reward, saved: Path, book: Book
) -> SFTTrainer:
    told = SFTConfig(
        **_common(backend, plan, saved),
        learning_rate=plan.recipe.learning_rate,
        train_sampling_strategy="sequential",
        completion_only_loss=True,
        max_length=None,
    )
    asked = dataset.chats(plan.rows, plan.tasks, plan.personas)
    rows = [
        {
            "prompt": _messages(backend, chat),
            "completion": [{"role": "assistant", "content": dataset.gold(plan.tasks[row.item])}],
        }
        for chat, row in zip(asked, plan.rows, strict=True)
    ]
    return SFTTrainer(
        model=backend.engine.model,
        args=told,
        train_dataset=Dataset.from_list(rows),
        processing_class=backend.tokenizer,
        peft_config=_lora(plan),
    )


def _common(backend: LocalBackend, plan: Plan, saved: Path) -> dict[str, Any]:
    """What both trainers are told. Every step is logged; the rows are taken as they come."""
    recipe, device = plan.recipe, backend.engine.device.type
    large = backend.engine.model.num_parameters() >= 50_000_000
    return {
        "output_dir": str(saved),
        "max_steps": plan.steps,
        "per_device_train_batch_size": recipe.rows(processes()),
        "gradient_accumulation_steps": recipe.parts,
        "warmup_steps": recipe.warmup,
        "save_steps": recipe.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": device == "cpu" and not torch.cuda.is_available(),
        "bf16": torch.cuda.is_available() and device != "mps",
        "gradient_checkpointing": large,
        "seed": seed_of("permix", plan.seed) % 2**31,
    }


def _messages(backend: LocalBackend, chat: Any) -> list[dict[str, str]]:
    """The chat as this template takes it: without a system role, folded into what is asked."""
    return [{"role": m["role"], "content": m["content"]} for m in backend.template.fold(chat)]


def _lora(plan: Plan) -> LoraConfig | None:
    if not plan.recipe.rank:
        return None
    rank = plan.recipe.rank
    return LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def samples(trainer: Any, plan: Plan) -> list[Record]:
    """A few of the step's rollouts, with who said them and to what."""
    found = []
    for one in getattr(trainer, "samples", ()):
        row = plan.rows[one["row"]]
        persona = plan.personas[row.persona].id if row.persona >= 0 else None
        asked = plan.tasks[row.item].turns[-1]
        found.append({"persona": persona, "asked": asked, "reply": one["reply"],
                      "reward": one["reward"]})  # fmt: skip
    return found


def _save(trainer: Any, backend: LocalBackend, plan: Plan, folder: Path) -> None:
    """The trained model whole; an adapter is kept as such and merged into a copy of its base."""
    whole = folder / MODEL
    if not plan.recipe.rank:
        trainer.save_model(str(whole))
        return
    trainer.save_model(str(folder / ADAPTER))
    if main_process():
        path = backend.engine.model.config._name_or_path
        base = AutoModelForCausalLM.from_pretrained(path, dtype=backend.engine.model.dtype)
        merged: Any = PeftModel.from_pretrained(base, str(folder / ADAPTER))
        merged.merge_and_unload().save_pretrained(str(whole))
        backend.tokenizer.save_pretrained(str(whole))
