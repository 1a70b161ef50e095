"""Prompt baking: a rival that needs training.

After Bhargava et al. (arXiv:2409.13697). For each persona a LoRA is trained so that the model
without the system prompt says what the model with it says: on the model's own replies y to
openers x under the persona u,

    loss = mean over the tokens of y of KL( p(· | u, x, y<t) ‖ p_LoRA(· | x, y<t) )

The teacher is the same model with the adapter switched off. With the prompt in its own chat the
student starts at a loss of 0 and would learn nothing, so `--student both` trains on the chat
without the prompt and on the chat with it, which keeps the two from adding up. The drift
protocol then meets the baked model without the prompt (`baking`) and with it
(`baking+prompt`), on the conversations of `none` and `anchor`; users are the plain model.

Openers are the suite's starters and all its personas' probes, so a baked persona has been asked
its own probe in training, on a history of at most one round.

    python studies/baking.py --model mini --personas 3 --each 8 --rounds 16

Prints JSON lines: one for each adapter's training, then the rows.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

import torch
from arms import Case, case_options, openers, plain, rows, sample_personas, suite_of
from peft import LoraConfig
from routed import (
    RoutedBackend,
    State,
    TokenizedDialogue,
    beside,
    exchanges,
    pad_right,
    tokenize_dialogue,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from holdfast.core.backend import Sampling
from holdfast.core.records import dumps
from holdfast.core.seeds import seed_of
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load
from holdfast.persona.suite import Persona

Student = Literal["without", "both"]


@dataclass(frozen=True)
class Recipe:
    """How an adapter is trained."""

    student: Student = "without"
    rank: int = 8
    steps: int = 80
    batch: int = 16
    learning_rate: float = 2e-3
    rounds: int = 2  # of each training dialogue; the loss is on every reply
    own: int = 0  # dialogues that begin with the persona's own probes, beside the openers
    sampling: Sampling | None = None  # of the replies; as `routed` has it where nothing is given

    @property
    def views(self) -> int:
        """Of a reply's two views, without the prompt and with it, how many the student learns."""
        return 2 if self.student == "both" else 1


@dataclass(frozen=True)
class Pair:
    """One reply with the prompt (the teacher's view) and without: the same tokens at the end."""

    prompted: TokenizedDialogue
    bare: TokenizedDialogue


def pairs(
    backend: LocalBackend, persona: Persona, first_turns: Sequence[str], recipe: Recipe, seed: int
) -> list[Pair]:
    """The persona's own replies, each after every shorter history of its dialogue."""
    examples = []
    first_turns = [*islice(cycle(persona.probes), recipe.own), *first_turns]
    for turns in exchanges(
        backend, persona.prompt, first_turns, recipe.rounds, seed, recipe.sampling
    ):
        for end in range(2, len(turns) + 1, 2):
            with_ = tokenize_dialogue(backend.template, persona.prompt, turns[:end])
            without = tokenize_dialogue(backend.template, None, turns[:end])
            if with_.reply == without.reply:  # else the tokenizer joined text across a border
                examples.append(Pair(with_, without))
    return examples


def reply_logits(model: PreTrainedModel, chats: Sequence[TokenizedDialogue]) -> Tensor:
    """Logits that predict the tokens of the replies, one after another: (tokens, vocabulary)."""
    ids, mask = pad_right(chats, model.device)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
    parts = [logits[i, c.start - 1 : len(c.ids) - 1] for i, c in enumerate(chats)]
    return torch.cat(parts)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Mean over tokens of KL(teacher ‖ student), from logits."""
    own, other = student.log_softmax(-1), teacher.log_softmax(-1)
    return F.kl_div(own, other, reduction="batchmean", log_target=True)


@contextmanager
def wearing(model: PreTrainedModel, adapter: str) -> Iterator[None]:
    """The model with an adapter on; without any again on leaving."""
    model.enable_adapters()
    model.set_adapter(adapter)
    try:
        yield
    finally:
        model.disable_adapters()


def add_adapter(model: PreTrainedModel, adapter: str, recipe: Recipe) -> dict[str, Tensor]:
    """Add an untrained adapter to the model; its parameters by name."""
    config = LoraConfig(
        r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules="all-linear", bias="none"
    )
    model.add_adapter(config, adapter_name=adapter)
    return parameters_of(model, adapter)


def parameters_of(model: PreTrainedModel, adapter: str) -> dict[str, Tensor]:
    """An adapter's parameters by name."""
    return {name: p for name, p in model.named_parameters() if f".{adapter}." in name}


def bake(model: PreTrainedModel, adapter: str, data: Sequence[Pair], recipe: Recipe) -> Any:
    """Add an adapter to the model and train it, the model's own weights staying as they are.

    Returns the divergence without the prompt: at the first step, and the mean of the last ten.
    """
    torch.manual_seed(seed_of("bake", adapter) % 2**63)
    mine = list(add_adapter(model, adapter, recipe).values())
    optimiser = torch.optim.AdamW(mine, lr=recipe.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
    )
    rng = random.Random(seed_of("bake", adapter))
    losses = []
    for _ in range(recipe.steps):
        some = rng.sample(data, min(recipe.batch, len(data)))
        with torch.no_grad():
            goal = reply_logits(model, [pair.prompted for pair in some])
        views = [[pair.bare for pair in some], [pair.prompted for pair in some]]
        with wearing(model, adapter):
            each = [divergence(goal, reply_logits(model, view)) for view in views[: recipe.views]]
            torch.stack(each).mean().backward()
        torch.nn.utils.clip_grad_norm_(mine, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        losses.append(each[0].item())
    last = losses[-10:]
    return {"first": round(losses[0], 4), "last": round(sum(last) / len(last), 4)}


def bake_personas(
    backend: LocalBackend,
    personas: Sequence[Persona],
    first_turns: Sequence[str],
    recipe: Recipe,
    seed: int,
    folder: Path | None = None,
) -> dict[str, State]:
    """A state with an adapter of its own for every persona, by system prompt.

    Those that `folder` has are taken from it, and the others kept there.
    """
    model = backend.engine.model
    states: dict[str, State] = {}
    for number, persona in enumerate(personas):
        adapter = f"{folder.name.replace('.', '-') if folder else 'persona'}{number}"
        file = folder / f"{persona.id}.safetensors" if folder else None
        if file and file.exists():
            own = add_adapter(model, adapter, recipe)
            for name, value in load_file(file).items():
                own[name].data.copy_(value)
        else:
            _train(backend, persona, adapter, first_turns, recipe, seed)
            if file:
                parameters = parameters_of(model, adapter)
                file.parent.mkdir(parents=True, exist_ok=True)
                save_file({name: value.detach() for name, value in parameters.items()}, file)
        model.disable_adapters()
        states[persona.prompt] = partial(wearing, model, adapter)
    return states


def _train(
    backend: LocalBackend,
    persona: Persona,
    adapter: str,
    first_turns: Sequence[str],
    recipe: Recipe,
    seed: int,
) -> None:
    """Train a persona's adapter and print how far it came."""
    began = time.monotonic()
    data = pairs(backend, persona, first_turns, recipe, seed)
    losses = bake(backend.engine.model, adapter, data, recipe)
    line = {"persona": persona.id, "replies": len(data), "divergence": losses}
    line["seconds"] = round(time.monotonic() - began, 1)
    print(dumps({"part": "training", **line}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    case_options(parser)
    parser.add_argument("--student", choices=["without", "both"], default=Recipe.student)
    parser.add_argument("--rank", type=int, default=Recipe.rank)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    options = parser.parse_args()
    recipe = Recipe(
        options.student, options.rank, options.steps, learning_rate=options.learning_rate
    )
    backend = load(options.model)
    suite = suite_of(backend)
    personas = sample_personas(suite, options.personas, options.seed)
    states = bake_personas(backend, personas, openers(suite), recipe, options.seed)
    case = Case.of(suite, personas, options.each * len(personas), options.rounds, options.seed)
    user = beside(backend)
    arms = [case.hold(c, backend, user, control=c) for c in plain(backend)]
    for name, prompted in (("baking", False), ("baking+prompt", True)):
        arms.append(case.hold(name, RoutedBackend(backend, states, prompted=prompted), user))
    for row in rows(arms, case.conversations):
        print(dumps({"part": "reported", "personas": len(personas), **row}), flush=True)


if __name__ == "__main__":
    main()
