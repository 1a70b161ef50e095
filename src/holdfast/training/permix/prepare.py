"""Before a training: its tasks and personas, its model, and what it will take.

This module knows settings, tasks and models. It knows no trainer.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from holdfast.core.errors import HoldfastError, ModelError, first_line
from holdfast.core.extras import install
from holdfast.models.load import BEHIND_URL
from holdfast.models.local.backend import LocalBackend
from holdfast.models.template_options import warn_of_unread
from holdfast.results.training.permix import IMITATIONS
from holdfast.results.training.recipe import TrainingEstimate
from holdfast.training.estimate import GB, measure
from holdfast.training.permix.dataset import TrainingData, chat, load_data
from holdfast.training.permix.plan import main_process, processes
from holdfast.training.permix.settings import (
    LAPTOP_CATEGORIES,
    MEDIUM,
    NEXT_PROMPTS,
    PermixSettings,
    TrainerSettings,
    on_a_laptop,
)
from holdfast.training.permix.trial import trial_size
from holdfast.training.step_memory import lora_parameters, step_memory

_SOME = 32  # prompts whose tokens are counted
# TRL scores tokens over so many entries of the vocabulary at a time: with Triton in place, in 2
# bytes each, and on a CPU in eight copies in float32 beside.
_TILE = 32768


class PreparedTraining(NamedTuple):
    """What a training begins with."""

    backend: LocalBackend
    """The model."""
    data: TrainingData
    """Its tasks and personas."""
    trainer: TrainerSettings
    """How it is trained."""
    chooses: Literal["none", "some", "one"]
    """How many of the categories a trial is to choose: all stay, some, or the one that teaches
    most."""


def prepare(
    model: str,
    settings: PermixSettings,
    *,
    dtype: str,
    device: str,
    options: Mapping[str, Any] | None = None,
    base: str | None = None,
) -> PreparedTraining:
    """Load tasks, personas and model, and fill in the trainer's defaults.

    Args:
        model: "mini", a folder or a hub id.
        settings: What is trained on, under whom, and how.
        dtype: Number format of the weights.
        device: Where the model runs.
        options: Options of the chat template.
        base: The model that an adapter goes onto, in place of the one that it names.

    Raises:
        HoldfastError: The settings contradict each other, or a source or the model is unusable.
    """
    if model.startswith(BEHIND_URL):
        raise ModelError(f"{model} cannot be trained: name a model that runs on this machine.")
    settings.check()
    _check_gpus(device)
    data = load_data(settings.data, base or model, settings.seed)
    backend = _open(model, bool(settings.rank), dtype, device, options, base)
    size, place = backend.engine.model.num_parameters(), backend.engine.device.type
    trainer = TrainerSettings.of(settings, size, place)
    _check_tools(trainer)
    _check_context(backend, data, 0 if settings.arm == "sft" else trainer.max_new_tokens)
    if not data.exercises or settings.data.category:
        return PreparedTraining(backend, data, trainer, "none")
    if on_a_laptop(size, place):
        return PreparedTraining(backend, data.of_categories(LAPTOP_CATEGORIES), trainer, "one")
    return PreparedTraining(backend, data, trainer, "some")


def _check_tools(trainer: TrainerSettings) -> None:
    """Refuse what would log or write rollouts and is not here, before anything is written."""
    if trainer.vllm != "off" and importlib.util.find_spec("vllm") is None:
        raise ModelError(
            f"`vllm` {trainer.vllm} needs vLLM here: pip install vllm, or leave it at off."
        )
    if trainer.report_to == "none":
        return
    from transformers.integrations.integration_utils import get_reporting_integration_callbacks

    try:
        for callback in get_reporting_integration_callbacks([trainer.report_to]):
            callback()
    except (ValueError, RuntimeError, ImportError) as error:
        raise HoldfastError(
            f"steps cannot be logged to {trainer.report_to}: {first_line(error)}."
        ) from error


def _check_context(backend: LocalBackend, data: TrainingData, new_tokens: int) -> None:
    """Refuse prompts that leave no room for a reply: trainers go beyond what a model can read."""
    longest, context = _longest_prompt(backend, data), backend.context
    if context is not None and longest + new_tokens > context:
        reply = f" and a reply has up to {new_tokens} more" if new_tokens else ""
        raise HoldfastError(
            f"the longest prompt has {longest:,} tokens{reply}, and the model reads {context:,}: "
            "take long tasks out, or lower `max_new_tokens`."
        )


def _check_gpus(device: str) -> None:
    """Refuse several GPUs in one process, over which a trainer would deal rows unevenly."""
    import torch

    number = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if number > 1 and processes() == 1:
        raise HoldfastError(
            f"there are {number} GPUs and one process: start it with accelerate launch "
            f"--num_processes {number} -m holdfast permix train …, or show it one GPU with "
            "CUDA_VISIBLE_DEVICES=0."
        )


def _open(
    model: str,
    adapter: bool,
    dtype: str,
    device: str,
    options: Mapping[str, Any] | None,
    base: str | None,
) -> LocalBackend:
    """Load the model: in float32 where its own weights learn, as small steps need.

    Under several processes the trainer places it.
    """
    try:
        import trl  # noqa: F401
    except ModuleNotFoundError as missing:
        raise ModelError(f"training needs trl: {install('permix')}.") from missing
    from holdfast.models.local.files import find_source
    from holdfast.models.local.load import load

    if adapter and find_source(model, base).adapter is not None:
        raise ModelError(
            f"{model} is an adapter, and a LoRA on it would name a base that lacks it: train the "
            "merged model (the folder model/ of permix train), or with `rank` 0."
        )
    kind = "float32" if dtype == "auto" and not adapter else dtype
    place = "cpu" if processes() > 1 else device
    backend = load(model, dtype=kind, device=place, options=options, base=base)
    if main_process():
        warn_of_unread(model, backend, options or ())
    return backend


def estimate_training(training: PreparedTraining, settings: PermixSettings) -> TrainingEstimate:
    """What a training will take, from a measured step of its model."""
    backend, data, trainer, _ = training
    speed = measure(backend)
    prompt, longest = _mean_prompt(backend, data), _longest_prompt(backend, data)
    rows = trainer.prompts * trainer.rollouts
    step_tokens = rows * (prompt + trainer.max_new_tokens)
    imitates = settings.arm in IMITATIONS
    reply_seconds = trainer.max_new_tokens * speed.write_seconds
    writes = 0 if settings.arm == "sft" else rows * reply_seconds
    # Replies that nothing is learned from: the trial's, and the reward's before and after.
    replies = settings.trial * trial_size(data.tasks) + imitates * 2 * NEXT_PROMPTS
    beside = replies * (prompt * speed.pass_seconds + reply_seconds)
    # The policy's pass and its backward pass (three), and the reference's where there is a KL.
    passes = 3 + (not imitates) * (1 + (trainer.beta > 0))
    size = backend.engine.model.num_parameters() * backend.engine.model.dtype.itemsize
    learns = lora_parameters(backend.engine.model, trainer.rank) * 4 if trainer.rank else size
    width = longest + trainer.max_new_tokens  # rows are padded to the longest
    step_seconds = writes + passes * step_tokens * speed.pass_seconds
    return TrainingEstimate(
        prompts=settings.steps * (rows if imitates else trainer.prompts) + replies,
        tokens=round(settings.steps * step_tokens + replies * (prompt + trainer.max_new_tokens)),
        memory_gb=round(_memory(backend, trainer, settings.arm, width) / GB, 4),
        # The model, and checkpoints with the optimiser's averages: two are kept while a third
        # is written.
        disk_gb=round((size + 3 * 3 * learns) / GB, 4),
        seconds=round(settings.steps * step_seconds + beside, 1),
    )


def _mean_prompt(backend: LocalBackend, data: TrainingData) -> float:
    """Tokens of a prompt: the mean of some that are spread over all tasks."""
    some = data.tasks[:: -(-len(data.tasks) // _SOME)]
    people = (*data.personas[: len(some)], *[None] * len(some))
    chats = [chat(task, one) for task, one in zip(some, people, strict=False)]
    return sum(len(backend.template.render(one).ids) for one in chats) / len(chats)


def _longest_prompt(backend: LocalBackend, data: TrainingData) -> int:
    """Tokens of the longest task under the longest persona, both by their bytes in UTF-8."""
    task = max(data.tasks, key=lambda one: len("".join((*one.history, *one.turns)).encode()))
    persona = max(data.personas, key=lambda one: len(one.text.encode()), default=None)
    return len(backend.template.render(chat(task, persona)).ids)


def _memory(backend: LocalBackend, trainer: TrainerSettings, arm: str, longest: int) -> float:
    """Bytes at the peak of a step whose rows have `longest` tokens."""
    rows, model = trainer.rows(processes()), backend.engine.model
    vocabulary = int(model.config.get_text_config().vocab_size)
    if arm in IMITATIONS:  # all logits at once, as they are and in float32 with a gradient
        scored_tokens = rows * longest
        scored_bytes = vocabulary * (2 * model.dtype.itemsize + 3 * 4)
    else:
        scored_tokens = rows * trainer.max_new_tokens
        scored_bytes = min(vocabulary, _TILE) * (34 if backend.engine.device.type == "cpu" else 2)
    return step_memory(
        backend,
        rank=trainer.rank,
        rows=rows,
        tokens=longest,
        scored_tokens=scored_tokens,
        scored_bytes=scored_bytes,
        checkpointed=model.num_parameters() >= MEDIUM,
    )
