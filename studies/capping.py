"""Capping along a persona direction: a rival that needs activations.

After the Assistant Axis (arXiv:2601.10387) and persona vectors (arXiv:2507.21509). For each
persona and decoder layer, v is the mean residual activation at the tokens of the model's own
replies under the persona, less the mean at the tokens of its replies without it, normalised;
and τ a quantile of the with-persona projections on v. At inference, in the layers chosen and at
every position (as in the released code),

    h ← h + max(0, τ - ⟨h, v⟩) v

that is, the projection may not fall below what it usually is under the persona. Tokens that the
model keeps as attention sinks (a norm of more than `SINK` times the median, as its first token's)
are left as they are and count to no mean: the floor would move one by thousands and break the
attention to it. The chat keeps its system prompt. Layers and quantile are chosen on development
personas and conversations and reported on others.

    python studies/capping.py --model mini --personas 3 --each 8 --rounds 16

Prints JSON lines: the development rows, then `none`, `anchor` and the capping chosen.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from arms import (
    DEVELOPMENT,
    Arm,
    Case,
    case_options,
    choose,
    openers,
    plain,
    rows,
    sample_personas,
    suite_of,
)
from routed import (
    RoutedBackend,
    State,
    TokenizedDialogue,
    beside,
    decoder_layers,
    exchanges,
    hook_layers,
    pad_right,
    tokenize_dialogue,
)
from torch import Tensor, nn

from holdfast.core.backend import Sampling
from holdfast.core.records import dumps
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load
from holdfast.persona.suite import Persona

QUANTILES = (0.25, 0.5, 0.75, 0.95)
SINK = 4


@dataclass(frozen=True)
class Direction:
    """Unit directions (layers, width), and the projections at the tokens of replies."""

    vectors: Tensor
    projections: Tensor  # (layers, tokens), ascending
    largest: Tensor  # (layers,), the norm of a token that is no sink

    def threshold(self, layer: int, quantile: float) -> float:
        return float(torch.quantile(self.projections[layer], quantile))


@dataclass(frozen=True)
class Setting:
    """The layers that are capped (inclusive), and the quantile that is their floor."""

    layers: tuple[int, int]
    quantile: float

    def __str__(self) -> str:
        return f"capping:{self.quantile:g}@layers={self.layers[0]}-{self.layers[1]}"


def settings(count: int) -> list[Setting]:
    """All layers, the second half, the last third and the middle third, at every quantile."""
    third = max(1, count // 3)
    ranges = [
        (0, count - 1),
        (count // 2, count - 1),
        (count - third, count - 1),
        (count // 3, max(count // 3, 2 * count // 3 - 1)),
    ]
    return [Setting(at, quantile) for at in dict.fromkeys(ranges) for quantile in QUANTILES]


@torch.no_grad()
def activations(
    model: nn.Module, layers: Sequence[nn.Module], chats: Sequence[TokenizedDialogue]
) -> Tensor:
    """Outputs of every layer at the tokens of the replies: (layers, tokens, width), float32."""
    device = next(model.parameters()).device
    outputs: list[list[Tensor]] = [[] for _ in layers]
    for first in range(0, len(chats), 16):
        part = chats[first : first + 16]
        ids, mask = pad_right(part, device)
        replies = torch.zeros_like(mask, dtype=torch.bool)
        for i, chat in enumerate(part):
            # The token that ends a reply is predicted, never an input of it.
            replies[i, chat.start : len(chat.ids) - 1] = True

        def note(into: list[Tensor], at: Tensor, hidden: Tensor) -> Tensor:
            into.append(hidden[at].float().cpu())
            return hidden

        notes = [partial(note, into, replies) for into in outputs]
        with hook_layers(list(zip(layers, notes, strict=True))):
            model(input_ids=ids, attention_mask=mask, use_cache=False)
    return torch.stack([torch.cat(parts) for parts in outputs])


def direction(under: Tensor, without: Tensor) -> Direction:
    """The direction of activations at replies under a persona from those without any."""
    largest = SINK * torch.cat([under, without], 1).norm(dim=-1).median(-1).values
    means = [_mean_of_usual(hidden, largest) for hidden in (under, without)]
    vectors = nn.functional.normalize(means[0] - means[1], dim=-1)
    projections = torch.einsum("ltd,ld->lt", under, vectors)
    return Direction(vectors, projections.sort(-1).values, largest)


def _mean_of_usual(hidden: Tensor, largest: Tensor) -> Tensor:
    """Mean over the tokens that are no sinks, (layers, width)."""
    usual = (hidden.norm(dim=-1) <= largest[:, None]).float()[..., None]
    return (hidden * usual).sum(1) / usual.sum(1)


def apply_floor(hidden: Tensor, vector: Tensor, least: float, largest: float) -> Tensor:
    """h + max(0, τ - ⟨h, v⟩) v at every position but those of sinks."""
    lack = (least - hidden @ vector).clamp(min=0)
    lack = lack.where(hidden.norm(dim=-1) <= largest, 0)
    return hidden + lack[..., None] * vector


def cap_persona(
    model: nn.Module, layers: Sequence[nn.Module], persona: Direction, setting: Setting
) -> State:
    """The state of a model whose projections on the persona's direction are floored."""
    parameter = next(model.parameters())
    low, high = setting.layers
    hooks: list[tuple[nn.Module, Callable[[Tensor], Tensor]]] = [
        (
            layers[layer],
            partial(
                apply_floor,
                vector=persona.vectors[layer].to(parameter.device, parameter.dtype),
                least=persona.threshold(layer, setting.quantile),
                largest=float(persona.largest[layer]),
            ),
        )
        for layer in range(low, high + 1)
    ]
    return partial(hook_layers, hooks)


def directions(
    backend: LocalBackend,
    personas: Sequence[Persona],
    first_turns: Sequence[str],
    seed: int,
    sampling: Sampling | None = None,
) -> dict[str, Direction]:
    """Every persona's direction, by system prompt."""
    began, model = time.monotonic(), backend.engine.model

    def replies(prompt: str | None) -> Tensor:
        dialogues = exchanges(backend, prompt, first_turns, 1, seed, sampling)
        chats = [tokenize_dialogue(backend.template, prompt, turns) for turns in dialogues]
        return activations(model, decoder_layers(model), chats)

    without = replies(None)
    by_prompt = {p.prompt: direction(replies(p.prompt), without) for p in personas}
    seconds = (time.monotonic() - began) / len(personas)
    print(f"directions: {seconds:.1f} s a persona", file=sys.stderr, flush=True)
    return by_prompt


def states(
    setting: Setting, backend: LocalBackend, by_prompt: Mapping[str, Direction]
) -> dict[str, State]:
    """The capped state of every persona, by system prompt."""
    model = backend.engine.model
    layers = decoder_layers(model)
    return {prompt: cap_persona(model, layers, at, setting) for prompt, at in by_prompt.items()}


def arm(
    setting: Setting, backend: LocalBackend, by_prompt: Mapping[str, Direction], case: Case
) -> Arm:
    """The conversations with every agent's persona capped; the users are left alone."""
    agent = RoutedBackend(backend, states(setting, backend, by_prompt))
    return case.hold(str(setting), agent, beside(backend))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    case_options(parser)
    parser.add_argument("--personas-dev", type=int, default=1, help="others, to choose settings on")
    parser.add_argument("--each-dev", type=int, default=4, help="their conversations")
    options = parser.parse_args()
    backend = load(options.model)
    suite = suite_of(backend)
    first_turns = openers(suite)
    chosen_on = sample_personas(suite, options.personas_dev, DEVELOPMENT)
    pairs = options.each_dev * len(chosen_on)
    case = Case.of(suite, chosen_on, pairs, options.rounds, DEVELOPMENT)
    by_prompt = directions(backend, chosen_on, first_turns, DEVELOPMENT)
    candidates = settings(len(decoder_layers(backend.engine.model)))
    arms = [case.hold("none", backend, beside(backend))]
    arms += [arm(setting, backend, by_prompt, case) for setting in candidates]
    base, *development = rows(arms, case.conversations)
    for row in (base, *development):
        print(dumps({"part": "development", **row}), flush=True)
    best = choose(development, base)["control"]
    setting = next(one for one in candidates if str(one) == best)
    others = sample_personas(suite, options.personas, options.seed, chosen_on)
    pairs = options.each * len(others)
    case = Case.of(suite, others, pairs, options.rounds, options.seed)
    by_prompt = directions(backend, others, first_turns, options.seed)
    arms = [case.hold(c, backend, beside(backend), control=c) for c in plain(backend)]
    arms.append(arm(setting, backend, by_prompt, case))
    for row in rows(arms, case.conversations):
        print(dumps({"part": "reported", "personas": len(others), **row}), flush=True)


if __name__ == "__main__":
    main()
