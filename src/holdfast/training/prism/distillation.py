"""Stage 5: the persona distilled into an adapter, on the answers that it won.

The teacher is the model with the persona as its system prompt. The student is the same model
with the adapter and without the prompt. Both read the same answer tokens y:

    loss = T² · mean over the tokens of y of KL( p_T(· | persona, x, y<t) ‖ p_T(· | x, y<t) )

p_T is the softmax at temperature T, over the whole vocabulary or over the teacher's `top`
tokens, renormalised (the released code takes 64). Logits are computed where the answers are, for a
few rows at a time, and of the teacher's only the top ones are kept. The run asserts what makes
this a distillation at all: the teacher reads the persona, the student does not, and their KL before
the first step is far above what two encodings of one prompt differ by.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from holdfast.core.chat import Chat, message
from holdfast.core.errors import ModelError
from holdfast.core.extras import install
from holdfast.core.folder import disk_errors
from holdfast.core.progress import Progress
from holdfast.core.seeds import seed_of
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gate import find_layers_name
from holdfast.models.local.turns import find_reply_closing
from holdfast.training.prism.divergence import TeacherTargets, divergence, logits
from holdfast.training.prism.settings import PrismSettings

APART = 10  # times that the first KL must be above the KL of a prompt with itself


@dataclass(frozen=True)
class Distillation:
    """How an adapter is trained; the defaults are the paper's where it gives them."""

    rank: int = 16
    """Rank of the adapter."""
    alpha: int = 32
    """Its scale is alpha / rank."""
    epochs: int = 10
    """Times that every win is seen."""
    batch: int = 16
    """Wins in a step."""
    rows: int = 4
    """Wins that are in memory together; a step adds up the gradients of its parts."""
    learning_rate: float = 2e-4
    """Peak learning rate."""
    temperature: float = 2.0
    """T of the softmax."""
    top: int = 0
    """Tokens of the teacher that the KL is taken over; 0 is the whole vocabulary."""
    max_length: int = 1024
    """Tokens of prompt and answer at most; longer wins are left out."""

    @classmethod
    def of(cls, settings: PrismSettings, model: LocalBackend) -> Distillation:
        """The settings for a model: a small one gets more epochs at a higher rate by default."""
        return cls(
            rank=settings.rank,
            alpha=2 * settings.rank,
            epochs=settings.epochs or (20 if model.small else cls.epochs),
            batch=settings.batch,
            learning_rate=settings.learning_rate or (2e-3 if model.small else cls.learning_rate),
            top=settings.top,
        )


class TwoViews(NamedTuple):
    """An answer as teacher and student read it."""

    teacher: tuple[int, ...]
    """Token ids of persona, query and answer."""
    student: tuple[int, ...]
    """Token ids of query and answer."""
    answer: int
    """Tokens of the answer, which both end in."""


class Divergences(NamedTuple):
    """Mean KL a token over all answers."""

    first: float
    """Before training."""
    last: float
    """After training."""
    same: float
    """Of the student's prompts with themselves, in a batch and one by one."""
    too_long: int = 0
    """Answers that were left out for their length."""
    mass: float = 1.0
    """Mean probability (T = 1) that the teacher gives to the tokens that the KL is taken over."""


def two_views(
    backend: LocalBackend, persona: str, chat: Chat, answer: str, *, ended: bool = True
) -> TwoViews:
    """Encode one answer as teacher and student read it.

    Args:
        backend: The model, for its template and tokenizer.
        persona: The teacher's system prompt.
        chat: The query.
        answer: The answer to it.
        ended: Whether the answer ended by itself; the token that ends a turn is then part of it.

    Raises:
        ModelError: The chat template does not show the persona to the teacher alone.
    """
    teacher = backend.template.render((message("system", persona), *chat)).ids
    student = backend.template.render(chat).ids
    prompt = persona.strip()  # templates may trim it
    if prompt not in backend.decode(teacher) or prompt in backend.decode(student):
        raise ModelError(
            f"{backend.name}'s chat template does not show the persona to the teacher alone, so "
            "that there is nothing to distil."
        )
    tokens = backend.encode(answer)
    if ended and backend.ends:
        own = next(iter(find_reply_closing(backend.template)), backend.tokenizer.eos_token_id)
        tokens += (own if own in backend.ends else min(backend.ends),)
    return TwoViews((*teacher, *tokens), (*student, *tokens), len(tokens))


def distil(
    backend: LocalBackend,
    answers: Sequence[TwoViews],
    settings: Distillation,
    folder: Path,
    seed: int = 0,
    progress: Progress | None = None,
) -> Divergences:
    """Train the adapter and save it as PEFT does; the model is as it was afterwards.

    Args:
        backend: The model.
        answers: The answers that the persona won.
        settings: How the adapter is trained.
        folder: Where the adapter is saved.
        seed: Decides the adapter's first weights and the order of the answers.
        progress: Shows the steps.

    Raises:
        ModelError: No answer fits, the KL shows that nothing is distilled, or it is not finite.
    """
    require_peft()
    usable = [one for one in answers if one.answer and len(one.teacher) <= settings.max_length]
    too_long = sum(len(one.teacher) > settings.max_length for one in answers)
    if not usable:
        raise ModelError(
            f"no persona won an answer that fits ({too_long} of {len(answers)} are longer than "
            f"{settings.max_length} tokens with their prompt), so there is nothing to distil: "
            "write more queries, shorter answers (`max_new_tokens`), or choose personas that help "
            "(holdfast effect)."
        )
    base: Any = backend.engine.model
    same = _divergence_from_itself(base, usable[: settings.rows], settings)
    first, mass = _mean_divergence(base, usable, settings)
    if not first > APART * max(same, 1e-9):
        raise ModelError(
            f"teacher and student differ by a KL of {first:.2g}, and one prompt with itself by "
            f"{same:.2g}: the persona changes nothing that could be distilled."
        )
    with _quiet(), _add_lora(base, settings, seed) as model:
        _train(model, usable, settings, seed, progress or Progress(enabled=False))
        last, _ = _mean_divergence(model, usable, settings)
        if not isfinite(last):  # no step came after the one that diverged
            raise _divergence_error("after the last step")
        with disk_errors(folder):
            model.save_pretrained(str(folder))
    return Divergences(first, last, same, too_long, round(mass, 4))


def require_peft() -> None:
    """Raise `ModelError` where peft is not installed."""
    try:
        with _quiet():
            import peft  # noqa: F401
    except ModuleNotFoundError as missing:
        raise ModelError(f"an adapter needs peft: {install('prism')}.") from missing


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' FutureWarnings: peft uses its old names, which no user can change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
        yield


def linear_names(model: torch.nn.Module, layers: str) -> list[str]:
    """The names of a layer's linear modules: of a Llama the seven that the paper adapts.

    Raises:
        ModelError: There are none, as in GPT-2, whose layers are convolutions.
    """
    places = (
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and f".{layers}." in f".{name}"
    )
    names = sorted({place.rpartition(".")[2] for place in places})
    if not names:
        raise ModelError("an adapter needs linear layers, which this model lacks: choose another.")
    return names


@contextmanager
def _add_lora(base: Any, settings: Distillation, seed: int) -> Iterator[Any]:
    """The model with a new LoRA on layers 1 to L - 1, removed at the end."""
    from peft import LoraConfig, get_peft_model

    layers = find_layers_name(base)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=linear_names(base, layers),
        layers_to_transform=list(range(1, int(base.config.num_hidden_layers))),
        layers_pattern=[layers],
        task_type="CAUSAL_LM",
    )
    learning = {name: p.requires_grad for name, p in base.named_parameters()}
    torch.manual_seed(seed_of("distil", seed) % 2**63)
    try:
        yield get_peft_model(base, config)
    finally:
        _remove_lora(base)
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(learning[name])
        base.train(False)


def _remove_lora(base: Any) -> None:
    """Put the model's own layers back, also where Ctrl-C came before PEFT had replaced them all."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(base.named_modules()):
        if isinstance(module, BaseTunerLayer):
            base.set_submodule(name, module.get_base_layer())
    vars(base).pop("peft_config", None)


def _targets(model: Any, answers: Sequence[TwoViews], top: int) -> TeacherTargets:
    """The top logits of the model under the persona, without any adapter."""
    plain = model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()
    with torch.no_grad(), plain:
        return TeacherTargets.of(logits(model, [(one.teacher, one.answer) for one in answers]), top)


def _student_logits(model: Any, answers: Sequence[TwoViews]) -> Tensor:
    return logits(model, [(one.student, one.answer) for one in answers])


def _mean_divergence(
    model: Any, answers: Sequence[TwoViews], settings: Distillation
) -> tuple[float, float]:
    """KL a token over all answers, with the adapter if there is one, and the targets' mass."""
    total = mass = tokens = 0.0
    model.train(False)
    for part in _parts(answers, settings.rows):
        targets = _targets(model, part, settings.top)
        with torch.no_grad():
            student = _student_logits(model, part)
        kl = float(divergence(targets, student, settings.temperature))
        total, mass = total + kl * len(student), mass + targets.mass * len(student)
        tokens += len(student)
    return total / tokens, mass / tokens


def _parts(answers: Sequence[TwoViews], size: int) -> Iterator[Sequence[TwoViews]]:
    for start in range(0, len(answers), size):
        yield answers[start : start + size]


def _divergence_from_itself(
    model: torch.nn.Module, answers: Sequence[TwoViews], settings: Distillation
) -> float:
    """KL of the student's prompts in one batch with the same prompts one by one."""
    with torch.no_grad():
        together = _student_logits(model, answers)
        alone = torch.cat([_student_logits(model, [one]) for one in answers])
        targets = TeacherTargets.of(together, settings.top)
        return max(0.0, float(divergence(targets, alone, settings.temperature)))


def _train(
    model: Any,
    answers: Sequence[TwoViews],
    settings: Distillation,
    seed: int,
    progress: Progress,
) -> None:
    """Train the adapter in place: AdamW, one cycle of the learning rate, gradients clipped at 1."""
    model.train(False)  # a base with dropout would be a teacher that says something else each time
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=settings.learning_rate, weight_decay=0.01)
    rng = random.Random(seed_of("order", seed))
    steps = -(-len(answers) // settings.batch) * settings.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=steps + 1, pct_start=0.1
    )
    with progress.of(steps, "steps"):
        for _ in range(settings.epochs):
            order = rng.sample(list(answers), len(answers))
            for batch in _parts(order, settings.batch):
                if not _backward(model, batch, settings):
                    raise _divergence_error(f"at step {schedule.last_epoch + 1}")
                torch.nn.utils.clip_grad_norm_(trainable, 1.0)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                schedule.step()
                progress.advance(1, 0)


def _divergence_error(when: str) -> ModelError:
    return ModelError(f"the KL is not finite {when}: lower the learning rate.")


def _backward(model: Any, batch: Sequence[TwoViews], settings: Distillation) -> bool:
    """Add up the gradients of a batch, a few rows at a time; whether its KL is finite."""
    tokens = sum(one.answer for one in batch)
    finite = True
    for part in _parts(batch, settings.rows):
        targets = _targets(model, part, settings.top)
        loss = divergence(targets, _student_logits(model, part), settings.temperature)
        finite &= bool(loss.isfinite())
        (loss * (sum(one.answer for one in part) / tokens)).backward()
    return finite
