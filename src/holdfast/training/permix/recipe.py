"""How a model is trained: everything but who is asked what.

The defaults for large models are those of common GRPO recipes; the paper's own are not known. A
small model needs a far higher learning rate and gets shorter replies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from holdfast.core.errors import HoldfastError

ARMS = ("permix", "rlvr", "sft")
SCALES = ("group", "batch", "none")
VLLM = ("off", "colocate", "server")


@dataclass(frozen=True)
class Recipe:
    """One step is `prompts` prompts with `rollouts` rollouts each, in `parts` for the memory.

    `beta` weighs the KL to the model before training; `scale` is what a group's rewards are
    divided by: their own deviation, the batch's, or nothing. `rank` 0 trains all weights, any
    other a LoRA of that rank.
    """

    prompts: int = 8
    rollouts: int = 8
    parts: int = 1
    learning_rate: float = 1e-6
    beta: float = 0.04
    scale: str = "group"
    temperature: float = 1.0
    max_new_tokens: int = 512
    rank: int = 0
    warmup: int = 0
    save_every: int = 20
    vllm: str = "off"

    def __post_init__(self) -> None:
        if self.rollouts < 2:
            raise HoldfastError(f"a group has at least 2 rollouts, not {self.rollouts}.")
        if min(self.prompts, self.parts, self.max_new_tokens, self.save_every) < 1:
            raise HoldfastError("prompts, parts, new tokens and steps between saves are 1 or more.")
        if min(self.rank, self.warmup) < 0 or self.beta < 0:
            raise HoldfastError("rank, warm-up and beta are 0 or more.")
        if self.learning_rate <= 0 or self.temperature <= 0:
            raise HoldfastError("learning rate and temperature are above 0.")
        for name, value, known in (("scale", self.scale, SCALES), ("vllm", self.vllm, VLLM)):
            if value not in known:
                raise HoldfastError(f"there is no {name} {value!r}: use {', '.join(known)}.")

    def rows(self, processes: int) -> int:
        """Rollouts of a process in each part of a step. Raises HoldfastError where they are none.

        In all of a step's parts together the groups stay whole, whatever process has them.
        """
        each, rest = divmod(self.prompts * self.rollouts, processes * self.parts)
        if rest or not each:
            raise HoldfastError(
                f"{self.prompts} prompts of {self.rollouts} rollouts cannot be dealt evenly to "
                f"{processes} processes in {self.parts} parts: choose numbers that divide."
            )
        return each


def recipe_for(parameters: int, arm: str, given: dict[str, object]) -> Recipe:
    """The defaults for a model of that many parameters and an arm, with what is `given`."""
    from holdfast.models.local.backend import SMALL

    made = Recipe()
    if given.get("rank"):
        made = replace(made, learning_rate=1e-5)
    if arm == "sft":
        made = replace(made, learning_rate=2e-5)
    if parameters < SMALL:
        rate = 1e-3 if given.get("rank") else 1e-4
        made = replace(made, learning_rate=rate, max_new_tokens=48)
    wanted = {name: value for name, value in given.items() if value is not None}
    return replace(made, **wanted)  # type: ignore[arg-type]


def refuse(arm: str, per: str, bare: float, vllm: str) -> None:
    """Raise HoldfastError for what would train something else than is asked for."""
    if arm not in ARMS:
        raise HoldfastError(f"there is no arm {arm!r}: use {', '.join(ARMS)}.")
    if arm == "rlvr" and per == "rollout":
        raise HoldfastError("rlvr has no personas to mix per rollout: use --arm permix.")
    if arm == "sft" and per == "rollout":
        raise HoldfastError("sft has no rollouts to mix personas in: leave --mixing at prompt.")
    if arm == "permix" and bare == 1:
        raise HoldfastError("with a share of 1 no prompt has a persona: use --arm rlvr.")
    if vllm == "server" and per == "rollout":
        raise HoldfastError(
            "a vLLM server gets one prompt of each group and would give all of its rollouts one "
            "persona: mix per prompt, or use --vllm colocate."
        )
