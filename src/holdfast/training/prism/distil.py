"""Stage 5: the persona distilled into an adapter, on the answers that it won.

The teacher is the model with the persona as its system prompt, the student the same model
with the adapter and without the prompt, both reading the same answer tokens y:

    loss = T² · mean over the tokens of y of KL( p_T(· | persona, x, y<t) ‖ p_T(· | x, y<t) )

with p_T the softmax at temperature T, over the whole vocabulary or over the teacher's `top`
tokens. The run asserts what makes this a distillation at all: the teacher reads the persona,
the student does not, and their KL before the first step is far above what two encodings of one
prompt differ by.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from holdfast.core.backend import Backend
from holdfast.core.chat import Chat, message
from holdfast.core.errors import ModelError
from holdfast.core.progress import Progress
from holdfast.core.seeds import seed_of
from holdfast.models.local.backend import SMALL, LocalBackend
from holdfast.models.local.gate import padded

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
APART = 10  # times that the first KL must be above the KL of a prompt with itself


@dataclass(frozen=True)
class Recipe:
    """How an adapter is trained. `top` 0 is the whole vocabulary."""

    rank: int = 16
    alpha: int = 32
    epochs: int = 10
    batch: int = 16
    learning_rate: float = 2e-4
    temperature: float = 2.0
    top: int = 0
    max_length: int = 1024


def recipe_for(
    model: Backend,
    rank: int = 16,
    epochs: int | None = None,
    learning_rate: float | None = None,
    top: int = 0,
) -> Recipe:
    """The paper's settings, and for a small model more epochs at a higher rate, unless given."""
    small = isinstance(model, LocalBackend) and model.engine.model.num_parameters() < SMALL
    return Recipe(
        rank=rank,
        alpha=2 * rank,
        epochs=epochs or (20 if small else Recipe.epochs),
        learning_rate=learning_rate or (2e-3 if small else Recipe.learning_rate),
        top=top,
    )


class Pair(NamedTuple):
    """The two views of an answer: ids that end in the same answer tokens, `answer` of them."""

    teacher: tuple[int, ...]
    student: tuple[int, ...]
    answer: int


class Distilled(NamedTuple):
    """Mean KL a token over all pairs before and after, and of the student with itself."""

    first: float
    last: float
    same: float


def pair(
    backend: LocalBackend, persona: str, chat: Chat, answer: str, *, ended: bool = True
) -> Pair:
    """The views of one answer, with the token that ends it where it ended by itself.

    Raises `ModelError` where the teacher does not read the persona.
    """
    teacher = backend.template.render((message("system", persona), *chat)).ids
    student = backend.template.render(chat).ids
    read = backend.tokenizer.decode(list(teacher)), backend.tokenizer.decode(list(student))
    if persona not in read[0] or persona in read[1]:
        raise ModelError(
            f"{backend.name}'s chat template does not show the persona to the teacher alone, so "
            "that there is nothing to distil."
        )
    said = tuple(backend.tokenizer(answer, add_special_tokens=False)["input_ids"])
    if ended and backend.ends:
        own = backend.tokenizer.eos_token_id
        said += (own if own in backend.ends else min(backend.ends),)
    return Pair((*teacher, *said), (*student, *said), len(said))


def logits(model: torch.nn.Module, rows: Sequence[tuple[Sequence[int], int]]) -> Tensor:
    """What predicts the last `n` tokens of each row of ids, one after another: (tokens, V)."""
    device = next(model.parameters()).device
    ids, mask = (one.to(device) for one in padded([row for row, _ in rows]))
    out = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    parts = [out[i, len(row) - n - 1 : len(row) - 1] for i, (row, n) in enumerate(rows)]
    return torch.cat(parts).float()


def divergence(teacher: Tensor, student: Tensor, temperature: float, top: int = 0) -> Tensor:
    """T² times the mean over tokens of KL(teacher ‖ student), from logits."""
    if top:
        kept = teacher.topk(min(top, teacher.shape[-1]), dim=-1).indices
        teacher, student = teacher.gather(-1, kept), student.gather(-1, kept)
    one, other = ((x / temperature).log_softmax(-1) for x in (teacher, student))
    return temperature**2 * F.kl_div(other, one, reduction="batchmean", log_target=True)


def distil(
    backend: LocalBackend,
    pairs: Sequence[Pair],
    recipe: Recipe,
    folder: Path,
    seed: int = 0,
    progress: Progress | None = None,
) -> Distilled:
    """Train the adapter and save it as PEFT does; the model is as it was afterwards.

    Raises `ModelError` for an empty set, a KL that shows that nothing is distilled, or one
    that is not finite.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as missing:
        raise ModelError("an adapter needs peft: pip install 'holdfast[prism]'.") from missing

    kept = [p for p in pairs if p.answer and len(p.teacher) <= recipe.max_length]
    if not kept:
        raise ModelError(
            "no persona won an answer that fits, so there is nothing to distil: write more "
            "queries, or choose personas that help (holdfast effect)."
        )
    torch.manual_seed(seed_of("distil", seed) % 2**63)
    base: Any = backend.engine.model
    layers = int(backend.engine.config.num_hidden_layers)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(TARGETS),
        layers_to_transform=list(range(1, layers)),
        task_type="CAUSAL_LM",
    )
    same = _same(base, kept[: recipe.batch], recipe)
    first = _mean(base, kept, recipe)
    if not first > APART * max(same, 1e-9):
        raise ModelError(
            f"teacher and student differ by a KL of {first:.2g}, and one prompt with itself by "
            f"{same:.2g}: the persona changes nothing that could be distilled."
        )
    learning = {name: p.requires_grad for name, p in base.named_parameters()}
    model = get_peft_model(base, config)
    try:
        _train(model, kept, recipe, seed, progress or Progress(enabled=False))
        last = _mean(model, kept, recipe)
        model.save_pretrained(str(folder))
    finally:
        model.unload()
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(learning[name])
        base.train(False)
    return Distilled(first, last, same)


def _goal(model: Any, some: Sequence[Pair]) -> Tensor:
    """What the teacher says: the model under the persona, without any adapter."""
    off = model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()
    with torch.no_grad(), off:
        return logits(model, [(p.teacher, p.answer) for p in some])


def _mean(model: Any, pairs: Sequence[Pair], recipe: Recipe) -> float:
    """KL a token over all pairs, with the adapter where there is one."""
    total = tokens = 0.0
    model.train(False)
    for start in range(0, len(pairs), recipe.batch):
        some = pairs[start : start + recipe.batch]
        with torch.no_grad():
            own = logits(model, [(p.student, p.answer) for p in some])
        kl = divergence(_goal(model, some), own, recipe.temperature, recipe.top)
        total, tokens = total + float(kl) * len(own), tokens + len(own)
    return total / tokens


def _same(model: torch.nn.Module, some: Sequence[Pair], recipe: Recipe) -> float:
    """KL of the student's prompts in one batch with the same prompts one by one."""
    with torch.no_grad():
        own = logits(model, [(p.student, p.answer) for p in some])
        again = torch.cat([logits(model, [(p.student, p.answer)]) for p in some])
        return max(0.0, float(divergence(own, again, recipe.temperature, recipe.top)))


def _train(
    model: Any, pairs: Sequence[Pair], recipe: Recipe, seed: int, progress: Progress
) -> None:
    """Train in place."""
    model.train(True)
    mine = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(mine, lr=recipe.learning_rate, weight_decay=0.01)
    rng = random.Random(seed_of("order", seed))
    batches = -(-len(pairs) // recipe.batch)
    steps = batches * recipe.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps + 1, pct_start=0.1
    )
    with progress.of(steps):
        for _ in range(recipe.epochs):
            order = rng.sample(list(pairs), len(pairs))
            for start in range(0, len(order), recipe.batch):
                some = order[start : start + recipe.batch]
                goal = _goal(model, some)
                own = logits(model, [(p.student, p.answer) for p in some])
                loss = divergence(goal, own, recipe.temperature, recipe.top)
                if not bool(loss.isfinite()):
                    raise ModelError(
                        f"the KL is not finite at step {schedule.last_epoch + 1}: lower the "
                        "learning rate."
                    )
                loss.backward()
                torch.nn.utils.clip_grad_norm_(mine, 1.0)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                schedule.step()
                progress.advance(1, 0)
