"""Train one arm with TRL and save what it gives.

This module knows the trainers' settings. A `TrainingPlan` says what is trained on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars  # type: ignore[import-untyped]
from peft import LoraConfig
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.utils import logging
from trl import GRPOConfig, SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from holdfast.core.backend import Ask
from holdfast.core.chat import Chat, Message, message
from holdfast.core.folder import disk_errors
from holdfast.core.progress import Progress
from holdfast.core.seeds import seed_of
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load
from holdfast.results.training.permix import IMITATIONS, Rollout, StepMetrics
from holdfast.training.permix.dataset import chats
from holdfast.training.permix.grpo import (
    MixedGRPOTrainer,
    StepCallback,
    last_checkpoint,
    steps_of,
    train_resumably,
)
from holdfast.training.permix.imitation import with_answers
from holdfast.training.permix.metrics import MetricsLog
from holdfast.training.permix.mixing import NOBODY
from holdfast.training.permix.plan import (
    ADAPTER,
    CHECKPOINTS,
    MODEL,
    TrainingPlan,
    main_process,
    processes,
)
from holdfast.training.permix.settings import MEDIUM
from holdfast.training.permix.task_reward import Reward


def fit(
    backend: LocalBackend, plan: TrainingPlan, reward: Reward, folder: Path, progress: Progress
) -> list[StepMetrics]:
    """Train the model and save `model/`, and `adapter/` for a LoRA.

    Args:
        backend: The model, trained in place.
        plan: What it is trained on.
        reward: The reward; of rft it chooses the answers.
        folder: The run's folder; training goes on from its last checkpoint.
        progress: Shows the steps.

    Returns:
        The metrics of all steps.
    """
    logging.disable_progress_bar()
    disable_progress_bars()
    checkpoints = folder / CHECKPOINTS
    model: Any = backend.engine.model
    if tied := getattr(model, "all_tied_weights_keys", None):
        # A checkpoint has them once. The trainer would call them missing where it goes on.
        model._keys_to_ignore_on_save = list(tied)
    if plan.arm in IMITATIONS:
        plan = with_answers(backend, plan, reward, folder)
    steps_so_far = steps_of(last_checkpoint(checkpoints))
    metrics = MetricsLog(
        folder if main_process() else None,
        plan.rows,
        plan.personas,
        rollouts=plan.settings.rollouts,
        per=plan.mixing,
        steps=steps_so_far,
    )
    with disk_errors(folder), warnings.catch_warnings():
        # peft and trl use names that transformers will drop: nothing a user can change.
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
        trainer: Any = (
            sft_trainer(backend, plan, checkpoints)
            if plan.arm in IMITATIONS
            else grpo_trainer(backend, plan, reward, checkpoints, metrics)
        )
        if metrics.steps:  # where SFT's trainer goes on it would count tokens from 0
            trainer._total_train_tokens = metrics.steps[-1].tokens or 0
        callback = StepCallback(metrics, progress, lambda: list(step_samples(trainer, plan)))
        with progress.of(plan.steps, "steps"):
            progress.resume(steps_so_far)
            train_resumably(trainer, callback, checkpoints, alone=processes() == 1)
        backend.forget()
        _save(trainer, backend, plan, folder)
    return metrics.steps


def mean_reward(backend: LocalBackend, plan: TrainingPlan, reward: Reward) -> float:
    """The mean reward of one reply to each prompt that would come after training."""
    prompts = chats(plan.next_rows, plan.tasks, plan.personas)
    asks = [Ask(chat, seed_of("ahead", plan.seed, i), keep=False) for i, chat in enumerate(prompts)]
    rewards = [
        reward.score(row.item, reply.text, cut=reply.stop == "length")
        for row, reply in zip(
            plan.next_rows, backend.reply(asks, plan.settings.sampling), strict=True
        )
    ]
    return round(sum(rewards) / len(rewards), 4)


def grpo_config(backend: LocalBackend, plan: TrainingPlan, checkpoints: Path) -> GRPOConfig:
    """The settings as TRL's GRPO takes them."""
    settings = plan.settings
    return GRPOConfig(
        **_shared_config(backend, plan, checkpoints),
        learning_rate=settings.learning_rate,
        num_generations=settings.rollouts,
        max_completion_length=settings.max_new_tokens,
        temperature=settings.temperature,
        beta=settings.beta,
        scale_rewards=settings.scale,
        shuffle_dataset=False,
        use_vllm=settings.vllm != "off",
        vllm_mode="server" if settings.vllm == "server" else "colocate",
        vllm_server_base_url=settings.vllm_url,
        vllm_gpu_memory_utilization=settings.vllm_memory,
        vllm_tensor_parallel_size=settings.vllm_parallel,
        chat_template_kwargs=backend.template.options or None,
    )


def grpo_trainer(
    backend: LocalBackend,
    plan: TrainingPlan,
    reward: Reward,
    checkpoints: Path,
    metrics: MetricsLog,
) -> MixedGRPOTrainer:
    """The trainer of permix and rlvr, over the rows of the plan."""
    prompts = chats(plan.rows, plan.tasks, plan.personas)
    rows = [
        {"prompt": _messages(backend, chat), "item": row.item, "row": number}
        for number, (chat, row) in enumerate(zip(prompts, plan.rows, strict=True))
    ]
    model: Any = backend.engine.model
    # The template may close a reply by a token that the model's files do not name.
    model.generation_config.eos_token_id = sorted(backend.ends)
    trainer = MixedGRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=grpo_config(backend, plan, checkpoints),
        train_dataset=Dataset.from_list(rows),
        processing_class=backend.tokenizer,
        peft_config=_lora(plan),
        metrics=metrics,
    )
    reward.ends = frozenset((*trainer.eos_token_ids, backend.tokenizer.pad_token_id))
    return trainer


def sft_trainer(backend: LocalBackend, plan: TrainingPlan, checkpoints: Path) -> SFTTrainer:
    """The trainer of sft and rft: the plan's answers, under the personas of the rows."""
    config = SFTConfig(
        **_shared_config(backend, plan, checkpoints),
        learning_rate=plan.settings.learning_rate,
        train_sampling_strategy="sequential",
        completion_only_loss=True,
        max_length=None,
    )
    prompts = chats(plan.rows, plan.tasks, plan.personas)
    options = backend.template.options
    completions: list[Message] = [message("assistant", answer) for answer in plan.answers]
    for completion, thought in zip(completions, plan.thoughts, strict=False):
        completion["reasoning_content"] = thought
    rows = [
        {
            "prompt": _messages(backend, chat),
            "completion": [completion],
            **({"chat_template_kwargs": options} if options else {}),
        }
        for chat, completion in zip(prompts, completions, strict=True)
    ]
    return SFTTrainer(
        model=backend.engine.model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=backend.tokenizer,
        peft_config=_lora(plan),
    )


def _shared_config(backend: LocalBackend, plan: TrainingPlan, checkpoints: Path) -> dict[str, Any]:
    """Settings of both trainers. Every step is logged; the rows are taken in their order."""
    settings, device = plan.settings, backend.engine.device.type
    # Of several processes the model is on the CPU until the trainer places it.
    cpu = device == "cpu" and (processes() == 1 or not torch.cuda.is_available())
    large = backend.engine.model.num_parameters() >= MEDIUM
    return {
        "output_dir": str(checkpoints),
        "max_steps": plan.steps,
        "per_device_train_batch_size": settings.rows(processes()),
        "gradient_accumulation_steps": settings.parts,
        "warmup_steps": settings.warmup,
        "save_steps": settings.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "report_to": settings.report_to,
        "disable_tqdm": True,
        "use_cpu": cpu,
        "bf16": torch.cuda.is_available() and not cpu and device != "mps",
        "gradient_checkpointing": large,
        "seed": seed_of("permix", plan.seed) % 2**31,
    }


def _messages(backend: LocalBackend, chat: Chat) -> list[dict[str, str]]:
    """The chat as the template takes it: a system prompt may be folded into the first turn."""
    return [{"role": m["role"], "content": m["content"]} for m in backend.template.fold(chat)]


def _lora(plan: TrainingPlan) -> LoraConfig | None:
    if not plan.settings.rank:
        return None
    rank = plan.settings.rank
    return LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def step_samples(trainer: Any, plan: TrainingPlan) -> Iterator[Rollout]:
    """Some of the last step's rollouts, with their personas and questions."""
    for sample in getattr(trainer, "samples", ()):
        row = plan.rows[sample.row]
        persona = plan.personas[row.persona].id if row.persona != NOBODY else None
        yield Rollout(persona, plan.tasks[row.item].turns[-1], sample.reply, sample.reward)


def _save(trainer: Any, backend: LocalBackend, plan: TrainingPlan, folder: Path) -> None:
    """Save the whole model; an adapter is saved as such, then merged into its base."""
    whole = folder / MODEL
    own = folder / ADAPTER if plan.settings.rank else whole
    trainer.save_model(str(own))
    if main_process():
        # The trainer's settings are a pickle, which no command reads.
        (own / TRAINING_ARGS_NAME).unlink(missing_ok=True)
    if plan.settings.rank and main_process():
        # Of several processes each may have a shard alone, so the adapter goes onto a copy.
        model: Any = (
            trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
            if processes() == 1
            else load(
                str(folder / ADAPTER), dtype=backend.engine.model.dtype, device="cpu"
            ).engine.model
        )
        model.save_pretrained(str(whole))
        backend.tokenizer.save_pretrained(str(whole))
