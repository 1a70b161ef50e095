"""The settings of `holdfast permix`: what is trained on, under whom, and how.

The defaults for large models are those of common GRPO recipes; the paper's own are not known. A
small model needs a far higher learning rate and gets shorter replies.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import Any

from holdfast.core.backend import Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.settings import changed_settings, option, require_at_least, require_name
from holdfast.evals.tasks.settings import form_option
from holdfast.results.training.permix import IMITATIONS
from holdfast.training.permix.mixing import PersonaMix

ARMS = ("permix", "rlvr", *IMITATIONS)
NO_RESULT = ("save_every", "vllm_url", "vllm_memory", "vllm_parallel", "report_to")
"""Fields of `TrainerSettings` that change no result, and may differ where a run goes on."""
SCALES = ("group", "batch", "none")
VLLM = ("off", "colocate", "server")
NEXT_PROMPTS = 64  # prompts on which the reward of an arm without rollouts is measured
MEDIUM = 1_000_000_000  # below so many parameters a model is trained on a CPU in minutes
# GRPO's usual 1e-6 is for all weights. A LoRA wants some ten times that of full training and more
# ("LoRA Without Regret", Thinking Machines 2025).
LORA_RATE = 1e-4
# The narrower the model the higher: its authors' fit for fine-tuning Llamas has (2000 / width)^.78,
# 2.6 at 576. Short runs want more again: in 24 steps SmolLM2-135M learned more at 5e-4 than at 3e-4
# or 1e-4, at a KL of .2 to .3 a token. Qwen-0.5B's replies become all alike there, and it learns at
# 1e-4 (docs/guide/permix.md).
NARROW = 300_000_000  # parameters below which a model counts as narrow
NARROW_LORA_RATE = 5e-4
NARROW_TEMPERATURE = 0.7  # at 1 SmolLM2-135M answers at random
SFT_RATE = 2e-5
LAPTOP = {"prompts": 4, "rollouts": 4}
"""What differs for a model below `MEDIUM` on a CPU: steps of seconds, whose reward says something
since it is over four prompts."""
LAPTOP_CATEGORIES = ("extraction-1", "extraction-2", "extraction-3")
"""Of these the trial chooses one for such a model: the answer is in the prompt, so that there is a
skill to learn, and at one of the levels the model is right some of the time."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where tasks and personas come from; None is mini's own for mini.

    For other models the tasks are the exercises, and the personas those of core.
    """

    tasks: str | None = option(
        None, "To train on: exercises, mini, gsm8k:train, math:train, or a JSONL file."
    )
    """Source of the tasks to train on (`load_items`)."""
    tasks_per_category: int | None = option(
        None, "Tasks of each category at most: 200, exercises 60."
    )
    category: tuple[str, ...] = option(
        (), "Only this one, as extraction-2 or extraction (repeat); mini's recall only so."
    )
    """Categories to train on; by default all, and of mini's `dataset.SHORT`."""
    eval_tasks: str | None = option(None, "Tasks of the evaluation, which training leaves out.")
    eval_tasks_per_category: int = option(40, "Tasks of each category that are kept apart.")
    form: str | None = form_option()
    """Said after each question, in training and evaluation; None is the source's own (`FORMS`)."""
    personas: str | None = option(None, "core, mini, or a TOML file of [[persona]] tables.")
    """Source of the personas (`pool.load`), of which those for training are taken."""
    held_out: str | None = option(None, "Another pool, whose held-out personas are for evaluation.")
    bare: float = option(0.25, "Share of prompts without a persona.")
    mixing: str = option("prompt", "A persona per prompt, or one per rollout of it.")

    def check(self) -> None:
        """Raise HoldfastError for what cannot be."""
        require_at_least(1, self, "tasks_per_category", "eval_tasks_per_category")
        PersonaMix(0, self.bare, self.mixing, 0)


@dataclass(frozen=True, kw_only=True)
class PermixSettings:
    """One training. None is the default for the arm and the model's size (`TrainerSettings`)."""

    arm: str = option(
        "permix",
        "permix; rlvr, without personas; sft, on gold answers; rft, on its own right ones.",
    )
    steps: int = option(200, "Steps of the optimiser.")
    data: DataSettings = DataSettings()
    """Where tasks and personas come from."""
    verifier: str = option(
        "auto", "How answers in words and numbers are checked: auto, exact, numeric or math."
    )
    reading: str = option("final", "How the reward reads answers: final, lenient or strict.")
    beta: float | None = option(None, "Weight of the KL to the model before training: 0.04.")
    scale: str | None = option(
        None, "Rewards are divided by the deviation of their group, batch, or none."
    )
    prompts: int | None = option(None, "Prompts of a step: 8, or 4 below 1B parameters on a CPU.")
    rollouts: int | None = option(None, "Rollouts of a prompt: 8, or 4 below 1B on a CPU.")
    parts: int | None = option(None, "Parts that a step is computed in, to save memory: 1.")
    learning_rate: float | None = option(
        None, "1e-6 (LoRA 1e-4, sft and rft 2e-5 and 2e-4), or more if small."
    )
    temperature: float | None = option(
        None, "Temperature of the rollouts: 1, or 0.7 below 300M parameters on a CPU."
    )
    max_new_tokens: int | None = option(
        None, "Tokens of a rollout at most: 512, for exercises 64, or fewer if small."
    )
    rank: int | None = option(None, "Rank of a LoRA; 0 trains all weights.")
    warmup: int | None = None
    """Steps over which the learning rate rises."""
    save_every: int | None = option(None, "Steps between checkpoints: 20.")
    vllm: str | None = option(None, "Who writes the rollouts: off, colocate or server.")
    """Who writes the rollouts: transformers, vLLM in the same process, or a vLLM server."""
    vllm_url: str | None = option(None, "Address of the vLLM server, as http://host:8000.")
    vllm_memory: float | None = option(None, "Share of a GPU's memory for vLLM beside it: 0.3.")
    vllm_parallel: int | None = option(None, "GPUs that vLLM splits the model over: 1.")
    report_to: str | None = option(None, "Log steps there too: trackio, wandb or tensorboard.")
    trial: bool = option(True, "Ask a few prompts first, and stop where nothing can be learned.")
    """Whether the untrained model is asked a few prompts first, which choose the exercises."""
    seed: int = option(0, "Decides everything that is drawn.")

    def check(self) -> None:
        """Raise HoldfastError for what would train something else than is asked for."""
        self.data.check()
        arm, mixing = self.arm, self.data.mixing
        TrainerSettings(**self.collect_trainer_settings())
        if self.steps < 1:
            raise HoldfastError(f"at least 1 step is needed, not {self.steps}.")
        require_name("arm", arm, ARMS)
        if arm == "rlvr" and mixing == "rollout":
            raise HoldfastError("rlvr has no personas to mix per rollout: use `arm` permix.")
        if arm in IMITATIONS and mixing == "rollout":
            raise HoldfastError(
                f"{arm} has no rollouts to mix personas in: leave `mixing` at prompt."
            )
        if arm == "permix" and self.data.bare == 1:
            raise HoldfastError("with a share of 1 no prompt has a persona: use `arm` rlvr.")
        vllm_options = changed_settings(self, "vllm_url", "vllm_memory", "vllm_parallel")
        if vllm_options and self.vllm in (None, "off"):
            raise HoldfastError(
                f"{vllm_options[0]} is of `vllm` colocate or server: choose one, or leave it out."
            )
        if self.vllm == "server" and mixing == "rollout":
            raise HoldfastError(
                "a vLLM server gets one prompt of each group and would give all of its rollouts "
                "one persona: mix per prompt, or use `vllm` colocate."
            )

    def collect_trainer_settings(self) -> dict[str, Any]:
        """The chosen ones of `TrainerSettings`, by name."""
        values = {one.name: getattr(self, one.name) for one in fields(TrainerSettings)}
        return {name: one for name, one in values.items() if one is not None}


def on_a_laptop(parameters: int, device: str) -> bool:
    """Whether a model that is no toy trains on a CPU, within minutes only if little is asked."""
    from holdfast.models.local.weights import TINY

    return TINY <= parameters < MEDIUM and device == "cpu"


@dataclass(frozen=True)
class TrainerSettings:
    """How a model is trained: everything but who is asked what."""

    prompts: int = 8
    """Prompts of a step."""
    rollouts: int = 8
    """Rollouts of a prompt."""
    parts: int = 1
    """Parts that a step is computed in, to save memory."""
    learning_rate: float = 1e-6
    """Learning rate."""
    beta: float = 0.04
    """Weight of the KL to the model before training."""
    scale: str = "group"
    """What a group's rewards are divided by: their own deviation, the batch's, or nothing."""
    temperature: float = 1.0
    """Temperature of the rollouts."""
    max_new_tokens: int = 512
    """Tokens of a rollout at most."""
    rank: int = 0
    """Rank of a LoRA; 0 trains all weights."""
    warmup: int = 0
    """Steps over which the learning rate rises."""
    save_every: int = 20
    """Steps between checkpoints."""
    vllm: str = "off"
    """Who writes the rollouts."""
    vllm_url: str | None = None
    """Address of the vLLM server."""
    vllm_memory: float = 0.3
    """Share of a GPU's memory that vLLM takes in the same process; TRL's default."""
    vllm_parallel: int = 1
    """GPUs that vLLM splits the model over."""
    report_to: str = "none"
    """Where the trainer logs its steps too."""

    def __post_init__(self) -> None:
        if self.rollouts < 2:
            raise HoldfastError(f"a group has at least 2 rollouts, not {self.rollouts}.")
        whole = (self.prompts, self.parts, self.max_new_tokens, self.save_every, self.vllm_parallel)
        if min(whole) < 1:
            raise HoldfastError(
                "prompts, parts, new tokens, steps between saves and vLLM's GPUs are 1 or more."
            )
        if min(self.rank, self.warmup) < 0 or not 0 <= self.beta < inf:
            raise HoldfastError("rank, warm-up and beta are 0 or more.")
        if not (0 < self.learning_rate < inf and 0 < self.temperature < inf):
            raise HoldfastError("learning rate and temperature are above 0.")
        if not 0 < self.vllm_memory <= 1:
            raise HoldfastError("vLLM's share of the memory is above 0 and at most 1.")
        require_name("scale", self.scale, SCALES)
        require_name("vllm", self.vllm, VLLM)

    @classmethod
    def of(cls, settings: PermixSettings, parameters: int, device: str = "cpu") -> TrainerSettings:
        """The settings for a model: those chosen, else its defaults.

        Args:
            settings: What was chosen.
            parameters: Parameters of the model.
            device: Type of its device.
        """
        from holdfast.evals.tasks.tasks import EXERCISES
        from holdfast.models.local.weights import TINY

        values: dict[str, Any] = {}
        if settings.rank:
            values["learning_rate"] = LORA_RATE
        if settings.arm in IMITATIONS:
            values["learning_rate"] = SFT_RATE * (10 if settings.rank else 1)
        if settings.data.tasks in (None, *EXERCISES):
            values["max_new_tokens"] = 64
        if parameters < TINY:
            values["learning_rate"] = 1e-3 if settings.rank else 1e-4
            values["max_new_tokens"] = 48
        elif on_a_laptop(parameters, device):
            values |= LAPTOP
            if parameters < NARROW:
                values["temperature"] = NARROW_TEMPERATURE
                if settings.rank and settings.arm not in IMITATIONS:
                    values["learning_rate"] = NARROW_LORA_RATE
            if settings.data.tasks in (None, *EXERCISES):
                values["max_new_tokens"] = 32
        return cls(**values | settings.collect_trainer_settings())

    @property
    def sampling(self) -> Sampling:
        """How replies outside of a step are drawn: as rollouts are."""
        return Sampling(self.max_new_tokens, self.temperature, top_p=1.0)

    def rows(self, processes: int) -> int:
        """Rollouts of a process in each part of a step.

        In all of a step's parts together the groups stay whole, whatever process has them.

        Raises:
            HoldfastError: They cannot be dealt evenly.
        """
        each, rest = divmod(self.prompts * self.rollouts, processes * self.parts)
        if rest or not each:
            raise HoldfastError(
                f"{self.prompts} prompts of {self.rollouts} rollouts cannot be dealt evenly to "
                f"{processes} processes in {self.parts} parts: choose numbers that divide."
            )
        return each
