"""A model on this machine: chats in, replies out, through the engine.

Any causal chat model that transformers loads: `mini`, a folder, or a hub id. The
template turns a chat into token ids, the engine continues them, the tokenizer
turns what comes back into text.

This module knows chats and models. It knows no personas, judges or rounds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast.control.rewrite import rewrite
from holdfast.control.steering import Held
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.chat import Chat
from holdfast.core.control import Control
from holdfast.core.errors import ControlError, HoldfastError
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.likelihood import likelihoods
from holdfast.models.engine.row import Guide, Halt, Request, Result, Spans
from holdfast.models.local.gated_adapter import GatedAdapter
from holdfast.models.local.memory import total_memory
from holdfast.models.local.persona_span import occurrences
from holdfast.models.local.template import Rendered, Template
from holdfast.models.local.weights import hash_parameters

TEMPLATES = 16  # sets of template options that are remembered
SMALL = 50_000_000  # parameters below which a step costs its overhead, not its rows


class LocalBackend:
    """A `Backend` over a transformers model and its tokenizer.

    `options` go to the chat template (`enable_thinking`, for instance). `share_refusal`
    says why prompt share cannot be measured on this model, or is None; asks to measure
    then get replies without a share.
    """

    local = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        *,
        batch_size: int | None = None,
        cache_bytes: int | None = None,
        options: Mapping[str, Any] | None = None,
        digest: str | None = None,
    ) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.template = Template(tokenizer, name, options)
        self._templates: dict[str, Template] = {}
        rows = batch_size or (256 if model.num_parameters() < SMALL else 32)
        limit = total_memory(model.device) // 4 if cache_bytes is None else cache_bytes
        self.engine = Engine(model, name=name, batch_size=rows, cache_bytes=limit)
        self._digest = digest
        self.ends = _ends(model, tokenizer)
        self._adapters: dict[str, GatedAdapter] = {}

    @property
    def small(self) -> bool:
        """Whether a decoding step costs its overhead, and not its rows."""
        return self.engine.model.num_parameters() < SMALL

    @property
    def digest(self) -> str:
        """What tells the weights from others: the files' hash, or one over the parameters."""
        if self._digest is None:
            self._digest = hash_parameters(self.engine.model)
        return self._digest

    @property
    def context(self) -> int | None:
        """Tokens the model can see, prompt and reply together."""
        return self.engine.context

    @property
    def user_first(self) -> bool:
        """True where the template wants a chat to open with a user message."""
        return self.template.user_first

    @property
    def folds_system(self) -> bool:
        """True where the template has no system role and the prompt joins the first message."""
        return self.template.folds_system

    @property
    def share_refusal(self) -> str | None:
        """Why prompt share cannot be measured on this model, or None."""
        return self.engine.no_share

    def reply(
        self, asks: Sequence[Ask], sampling: Sampling, adapters: Sequence[str] | None = None
    ) -> list[Reply]:
        """One reply per ask, in order; `adapters` are names of the engine's, "" for none.

        Without them an adapter is on where an ask's control has one and its gate says so.

        Raises `ControlError` for a control that there is not or that this model cannot be put
        under, and `ModelError` for a chat that the template refuses or logits that are not
        finite.
        """
        requests = [self.request(ask) for ask in asks]
        if adapters is not None:
            requests = [r.switched(name) for r, name in zip(requests, adapters, strict=True)]
        halt = self._halt(sampling.stop) if sampling.stop else None
        results = self.engine.generate(requests, sampling, self.ends, halt)
        return [
            self._reply(request, result, sampling.stop)
            for request, result in zip(requests, results, strict=True)
        ]

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]], *, per_token: bool = False
    ) -> list[list[float]]:
        """Log-likelihood of each ask's options as its reply, under the ask's control.

        The sum over an option's tokens, or `per_token` their mean; -inf for all of an ask's
        options where they do not fit the context. Options are taken as they are, without the
        token that would end the reply.
        """
        if any(ask.control.prism for ask in asks):
            raise ControlError("options are scored without an adapter: use generation.")
        requests = [self.request(ask) for ask in asks]
        tails = [[self._encode(option) for option in each] for each in options]
        found = likelihoods(self.engine, requests, tails)
        if not per_token:
            return found
        return [
            [score / len(tail) for score, tail in zip(scores, each, strict=True)]
            for scores, each in zip(found, tails, strict=True)
        ]

    def count(self, text: str) -> int:
        """Tokens in a text, without any that a template would add."""
        return len(self._encode(text))

    def prompt_tokens(self, ask: Ask) -> int:
        """Tokens of an ask's chat as the model would see it, template included."""
        return len(self.request(ask).ids)

    def ids(self, ask: Ask) -> tuple[int, ...]:
        """Token ids of an ask's chat as the model would see it."""
        return self.request(ask).ids

    def values(self, ask: Ask, ids: Sequence[int] | None = None) -> list[Tensor]:
        """Each layer's value vectors of the tokens of an ask's chat, (tokens, heads · size).

        `ids` are other tokens in their place. Raises `ModelError` where they cannot be read.
        """
        request = self.request(ask)
        return self.engine.values(request if ids is None else Request(tuple(ids), ask.seed))

    def forget(self) -> None:
        """Drop all kept keys and values.

        Called at the start of a unit of work, it makes that unit's replies the same, byte
        for byte, whatever was asked before it.
        """
        self.engine.forget()

    def describe(self) -> Mapping[str, object]:
        """What determines the replies, as JSON."""
        model = self.engine.model
        return {
            "name": self.name,
            "backend": "local",
            "architecture": type(model).__name__,
            "weights": self.digest,
            "template": hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest(),
            "template_options": self.template.options,
            "folds_system": self.folds_system,
            **self.template.describe(),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": self.engine.device.type,
            "batch_size": self.engine.batch_size,
            "context": self.context,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def rewritten(self, chat: Chat, control: Control) -> Chat:
        """The chat as the control's window and reminders leave it for this model's template."""
        anywhere, first = self.template.system_anywhere, self.template.user_first
        return rewrite(chat, control, system_anywhere=anywhere, user_first=first)

    def _adapter(self, path: str) -> GatedAdapter:
        if path not in self._adapters:
            self._adapters[path] = GatedAdapter(self.engine, self.name, self.digest, Path(path))
        return self._adapters[path]

    def request(self, ask: Ask, options: Mapping[str, Any] | None = None) -> Request:
        """An ask as the engine takes it. Raises `ControlError` and `ModelError` as `reply` does.

        `options` go to the chat template beside the backend's own (`tools`, for instance).
        """
        control = ask.control
        if control.needs_weights and (why := self.refusal(control)):
            raise ControlError(why)
        template = self.template_with(options)
        chat = template.render(self.rewritten(ask.chat, control))
        spans = Spans(chat.content, chat.template) if chat.content and chat.template else None
        has_prompt = bool(ask.chat) and ask.chat[0]["role"] == "system"
        held = self._held(control, chat) if control.steers and has_prompt else None
        guide = None
        if control.guidance is not None and has_prompt:
            bare = template.render(self.rewritten(ask.chat[1:], control))
            guide = Guide(bare.ids, control.guidance)
        state = control.state if held else ""
        request = Request(chat.ids, ask.seed, ask.keep, spans, ask.measure, state, held, guide)
        if control.prism is None:
            return request
        return replace(request, adapter=self._adapter(control.prism).name, gated=True)

    def template_with(self, options: Mapping[str, Any] | None) -> Template:
        """The chat template with more options; the last few are kept, each costs some renderings.

        Raises `ModelError` where it renders no chat with them.
        """
        if not options:
            return self.template
        key = json.dumps(options, sort_keys=True)
        found = self._templates.pop(key, None) or Template(
            self.tokenizer, self.name, {**self.template.options, **options}
        )
        self._templates[key] = found
        if len(self._templates) > TEMPLATES:
            del self._templates[next(iter(self._templates))]
        return found

    def _held(self, control: Control, chat: Rendered) -> Held:
        """Where the persona and the turns are, as places in the chat's token ids."""
        if chat.content is None or chat.template is None:
            raise ControlError(
                f"`{control.text}` needs the persona's tokens, which {self.name}'s chat template "
                "does not show in one piece: use window or reminder."
            )
        turn = self.template.turn_ids if control.anchor else ()
        turns = tuple(occurrences(turn, list(chat.ids)))
        first = self.template.leading_bos(chat.ids)
        return Held(control, chat.content, (first, chat.template[1]), turns)

    def refusal(self, control: Control) -> str | None:
        """Why this model cannot be put under a control, or None."""
        if control.prism is not None:
            try:
                self._adapter(control.prism)
            except HoldfastError as error:
                return f"{self.name} cannot be put under `{control.text}`: {error}"
        if control.anchor and self.engine.no_anchor is not None:
            return self.engine.no_anchor
        why = self._why_not(control)
        return (
            None
            if why is None
            else (
                f"{self.name} cannot be put under `{control.text}`: {why}. Use window or reminder."
            )
        )

    def _why_not(self, control: Control) -> str | None:
        if control.guidance is not None and not self.engine.reuses:
            return "guidance needs rows of different lengths side by side, unlike its cache"
        if not control.steers:
            return None
        if self.engine.no_share is not None:
            return self.engine.no_share
        layers = self.engine.config.num_hidden_layers
        for part in control.attention:
            if part.layers is not None and part.layers[1] >= layers:
                return f"it has the layers 0 to {layers - 1}"
        if control.anchor and not self.template.turn_ids:
            return "its chat template does not show where turns begin"
        return None

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Token ids as text, without special tokens."""
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def _halt(self, stops: tuple[str, ...]) -> Halt:
        return lambda ids: _cut(self.decode(ids), stops) is not None

    def _reply(self, request: Request, result: Result, stops: tuple[str, ...]) -> Reply:
        text = self.decode(result.ids)
        end = _cut(text, stops)
        return Reply(
            text=text if end is None else text[:end],
            stop=result.stop,
            prompt_tokens=len(request.ids) + (len(request.guide.ids) if request.guide else 0),
            cached_tokens=result.cached,
            completion_tokens=result.steps,
            share=result.share,
        )


def _cut(text: str, stops: Iterable[str]) -> int | None:
    """Where the first of the stop strings begins, or None."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return min(places, default=None)


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a reply: those of the generation config, and the tokenizer's."""
    config = getattr(model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    if ends is None:
        ends = model.config.get_text_config(decoder=True).eos_token_id
    found = set() if ends is None else {ends} if isinstance(ends, int) else set(ends)
    if tokenizer.eos_token_id is not None:
        found.add(tokenizer.eos_token_id)
    return frozenset(found)
