"""One model in several states, a persona's asks going to that persona's state.

    RoutedBackend(plain, {prompt: state}, prompted=True)

answers an ask whose system prompt has a state under it (an adapter switched on, hooks put
in), and any other ask with the plain model. `prompted` False takes the system prompt out of
the chat first, so that the state alone has to hold the persona.

Each state has a `LocalBackend` of its own over the same weights, so that keys and values
computed under one are never met under another. And what the studies read off a model: the
tokens of its replies, and its decoder layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.chat import Chat, agent_view, message
from holdfast.core.control import Control
from holdfast.core.errors import ModelError
from holdfast.core.seeds import seed_of
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.template import Template

SAMPLING = Sampling()  # of the model's own replies
T = TypeVar("T")
State = Callable[[], AbstractContextManager[None]]


class RoutedBackend:
    """A `Backend` over one model; `states` are by system prompt."""

    local = True

    def __init__(
        self, plain: LocalBackend, states: Mapping[str, State], *, prompted: bool = True
    ) -> None:
        self.plain, self.states, self.prompted = plain, states, prompted
        self.name, self.context, self.user_first = plain.name, plain.context, plain.user_first
        self._backends = {prompt: beside(plain) for prompt in states}

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """One reply per ask, in order, each state's together."""
        return self._each(asks, lambda backend, at, agent_asks: backend.reply(agent_asks, sampling))

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Log-likelihoods of each ask's options, under its state."""
        return self._each(
            asks,
            lambda backend, at, agent_asks: backend.likelihoods(
                agent_asks, [options[i] for i in at]
            ),
        )

    def _each(
        self, asks: Sequence[Ask], answer: Callable[[LocalBackend, list[int], list[Ask]], list[T]]
    ) -> list[T]:
        """The answers in order: a state's asks, and their places, go to its backend at once."""
        groups: dict[str | None, list[int]] = {}
        for i, ask in enumerate(asks):
            prompt = system_of(ask.chat)
            groups.setdefault(prompt if prompt in self.states else None, []).append(i)
        by_place: dict[int, T] = {}
        for prompt, at in groups.items():
            if prompt is None:
                answers = answer(self.plain, at, [asks[i] for i in at])
            else:
                with self.states[prompt]():
                    rewritten = [self._without_prompt(asks[i]) for i in at]
                    answers = answer(self._backends[prompt], at, rewritten)
            by_place |= zip(at, answers, strict=True)
        return [by_place[i] for i in range(len(asks))]

    def _without_prompt(self, ask: Ask) -> Ask:
        if self.prompted:
            return ask
        return Ask(ask.chat[1:], ask.seed, ask.control, ask.keep, ask.measure)

    def refusal(self, control: Control) -> str | None:
        return self.plain.refusal(control)

    def count(self, text: str) -> int:
        return self.plain.count(text)

    def forget(self) -> None:
        for backend in (self.plain, *self._backends.values()):
            backend.forget()

    def describe(self) -> Mapping[str, object]:
        return self.plain.describe()


def beside(backend: LocalBackend) -> LocalBackend:
    """Another backend over the same weights, with keys and values of its own."""
    engine = backend.engine
    return LocalBackend(
        engine.model,
        backend.tokenizer,
        backend.name,
        batch_size=engine.batch_size,
        options=backend.template.options,
    )


def system_of(chat: Chat) -> str | None:
    """The system prompt of a chat, if it has one."""
    return chat[0]["content"] if chat and chat[0]["role"] == "system" else None


def exchanges(
    backend: LocalBackend,
    prompt: str | None,
    openers: Sequence[str],
    rounds: int,
    seed: int,
    sampling: Sampling | None = None,
) -> list[list[str]]:
    """Short dialogues, user and reply in turn, in which the model itself gives the replies.

    They are drawn as `SAMPLING` says where nothing else is given. Round r of dialogue i asks the
    opener r · stride further on than its first.
    """
    stride = max(1, len(openers) // rounds)
    dialogues: list[list[str]] = [[] for _ in openers]
    for number in range(rounds):
        for i, turns in enumerate(dialogues):
            turns.append(openers[(i + number * stride) % len(openers)])
        asks = [
            Ask(agent_view(prompt, turns), seed_of(seed, "exchange", prompt, number, i))
            for i, turns in enumerate(dialogues)
        ]
        for turns, reply in zip(dialogues, backend.reply(asks, sampling or SAMPLING), strict=True):
            turns.append(reply.text)
    backend.forget()
    return dialogues


@dataclass(frozen=True)
class TokenizedDialogue:
    """A chat that ends in a reply, as token ids; the reply's begin at `start`."""

    ids: tuple[int, ...]
    start: int

    @property
    def reply(self) -> tuple[int, ...]:
        return self.ids[self.start :]


def tokenize_dialogue(
    template: Template, prompt: str | None, turns: Sequence[str]
) -> TokenizedDialogue:
    """The tokens of a dialogue under a prompt (or none), its last reply and what ends it."""
    history = agent_view(prompt, turns[:-1])
    head = template.render(history).ids
    whole = template.text(template.fold((*history, message("assistant", turns[-1]))), prompt=False)
    ids = tuple(template.tokenizer(whole, add_special_tokens=False)["input_ids"])
    if ids[: len(head)] != head or len(ids) <= len(head):
        raise ModelError(
            "the chat template does not render a reply after the text that asked for it, so its "
            "tokens cannot be told apart; use a template without hidden reasoning"
        )
    return TokenizedDialogue(ids, len(head))


def pad_right(
    rows: Sequence[TokenizedDialogue], device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, (rows, longest), filled on the right."""
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        mask[i, : len(row.ids)] = 1
    return ids.to(device), mask.to(device)


def decoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The model's decoder layers, in order."""
    count = model.config.get_text_config(decoder=True).num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    raise ModelError(f"{type(model).__name__} does not show its {count} decoder layers")


@contextmanager
def hook_layers(layers: Sequence[tuple[nn.Module, Callable[[Tensor], Tensor]]]) -> Iterator[None]:
    """Put each layer's output (B, L, D) through its function while the context is open."""

    def make_hook(function: Callable[[Tensor], Tensor]) -> Callable[..., object]:
        def hook(_: nn.Module, __: object, output: object) -> object:
            if isinstance(output, tuple):
                return (function(output[0]), *output[1:])
            assert isinstance(output, Tensor)
            return function(output)

        return hook

    handles = [layer.register_forward_hook(make_hook(function)) for layer, function in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
