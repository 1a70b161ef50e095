"""A model on this machine: chats in, replies out, through the engine.

Any causal chat model that transformers loads: `mini`, a folder, or a hub id. The template turns a
chat into token ids, the engine continues them, the tokenizer turns what comes back into text.

This module knows chats and models. It knows no personas, judges or rounds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast.control.auto import Spec
from holdfast.control.rewrite import gate_chat, rewrite
from holdfast.control.steering import RowSteering, out_of_range
from holdfast.core.backend import Ask, Reply, Sampling, find_stop
from holdfast.core.chat import Chat, has_prompt, replace_surrogates
from holdfast.core.control import Control
from holdfast.core.errors import ContextError, ControlError, HoldfastError
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.grammar import Grammars
from holdfast.models.engine.likelihood import likelihoods
from holdfast.models.engine.request import Continuation, Guide, Request, Spans
from holdfast.models.local.files import hash_parameters, hash_settings
from holdfast.models.local.gated_adapter import GatedAdapter
from holdfast.models.local.memory import total_memory
from holdfast.models.local.prompt_cache import BYTES, PromptCache
from holdfast.models.local.special_tokens import find_end_tokens
from holdfast.models.local.template import RenderedChat, Template
from holdfast.models.local.turns import (
    find_reply_closing,
    find_reply_opening,
    find_turn_columns,
    turns_refusal,
)
from holdfast.models.local.weights import TINY, default_rows, format_line
from holdfast.models.thinking import ThoughtDecoder

TEMPLATES = 16  # templates with further options that are kept


class LocalBackend:
    """A `Backend` over a transformers model and its tokenizer.

    Attributes:
        name: the model as the user named it.
        tokenizer: its tokenizer.
        template: its chat template.
        engine: continues token ids.
        ends: token ids that end a reply.
        format_line: the weights' number format and device, in one line.
        thoughts: splits what the model writes into thought and reply.
        reply_ids: token ids that open a reply; none where the template does not show them.
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
        """Join a model and its tokenizer.

        Args:
            model: a causal language model.
            tokenizer: its tokenizer, with a chat template.
            name: the model's name, for errors and manifests.
            batch_size: rows decoded at once; by default what `default_rows` says.
            cache_bytes: bytes of keys and values kept between calls; by default a quarter of
                the device's memory.
            options: options of the chat template (`enable_thinking`, for instance).
            digest: what identifies the weights; by default a hash over the parameters.

        Raises:
            ModelError: the model has no chat template, or keeps no keys and values.
        """
        self.name = name
        self.tokenizer = tokenizer
        self.template = Template(tokenizer, name, options)
        self._templates = PromptCache[Template]()
        rows = batch_size or default_rows(model)
        limit = total_memory(model.device) // 4 if cache_bytes is None else cache_bytes
        self.engine = Engine(model, name=name, batch_size=rows, cache_bytes=limit)
        self._digest = digest
        self.ends = find_end_tokens(model, tokenizer) | find_reply_closing(self.template)
        self.format_line = format_line(name, model)
        self.engine.match = Grammars(tokenizer, self.ends)
        self.thoughts = ThoughtDecoder(tokenizer)
        self.reply_ids = find_reply_opening(self.template)

    @property
    def small(self) -> bool:
        """Whether the cost of a decoding step is its overhead, whatever the number of rows."""
        return self.engine.model.num_parameters() < TINY

    @property
    def digest(self) -> str:
        """What identifies the weights: a hash over their files, or over the parameters."""
        if self._digest is None:
            self._digest = hash_parameters(self.engine.model)
        return self._digest

    @property
    def context(self) -> int | None:
        """Tokens the model can see, prompt and reply together."""
        return self.engine.context

    @property
    def user_first(self) -> bool:
        """Whether a chat must open with a user message."""
        return self.template.user_first

    @property
    def folds_system(self) -> bool:
        """Whether the template has no system role, so that the prompt joins the first message."""
        return self.template.folds_system

    @property
    def share_refusal(self) -> str | None:
        """Why prompt share cannot be measured on this model, or None."""
        return self.engine.no_share

    def reply(
        self, asks: Sequence[Ask], sampling: Sampling, adapters: Sequence[str] | None = None
    ) -> list[Reply]:
        """Return one reply per ask, in order.

        Args:
            asks: the chats to answer.
            sampling: how tokens are drawn.
            adapters: for each ask the name of an adapter of the engine, or "" for none. By
                default an adapter is on where an ask's control has one and its gate says so.

        Raises:
            ControlError: this model cannot be put under an ask's control.
            ModelError: the template refuses a chat, or logits are not finite.
        """
        requests = list(map(self.request, asks))
        if adapters is not None:
            requests = [r.with_adapter(name) for r, name in zip(requests, adapters, strict=True)]
        halts = []
        if sampling.stop:
            halts = [self.thoughts.halt(request.ids, sampling.stop) for request in requests]
        results = self.engine.generate(requests, sampling, self.ends, halts)
        return [
            self._reply(request, result, sampling.stop)
            for request, result in zip(requests, results, strict=True)
        ]

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Return the log-likelihood of each ask's options as its reply, under the ask's control.

        It is the sum over an option's tokens; the token that would end the reply needs room but
        does not count. A thought that the template opens is empty. If one option does not fit the
        context, all options of that ask get -inf.
        """
        if any(ask.control.prism for ask in asks):
            raise ControlError("options are scored without an adapter: use generation.")
        requests = [self.request(ask).with_prompts(self.thoughts.close) for ask in asks]
        tails = [[self.encode(option) for option in each] for each in options]
        return likelihoods(self.engine, requests, tails)

    def count(self, text: str) -> int:
        """Count the tokens in a text, without a template's."""
        return len(self.encode(text))

    def prompt_tokens(self, ask: Ask) -> int:
        """Count the tokens of an ask's chat as the model sees it, template included."""
        return len(self.request(ask).ids)

    def ids(self, ask: Ask) -> tuple[int, ...]:
        """Return the token ids of an ask's chat as the model sees it."""
        return self.request(ask).ids

    def values(self, ask: Ask, ids: Sequence[int] | None = None) -> list[Tensor]:
        """Return each layer's value vectors of an ask's chat, (tokens, heads · size).

        `ids` replace the chat's tokens. Raises `ModelError` where the vectors cannot be read.
        """
        request = self.request(ask)
        return self.engine.values(request if ids is None else Request(tuple(ids), ask.seed))

    def forget(self) -> None:
        """Drop all kept keys and values: the next replies do not depend on earlier asks."""
        self.engine.forget()

    @cached_property
    def settings(self) -> dict[str, str]:
        """Hashes of what beside the weights makes replies; kept, since they may take a second."""
        return hash_settings(self.engine.model.config, self.ends, self.tokenizer)

    def describe(self) -> Mapping[str, object]:
        """Return what determines the replies, as JSON."""
        model = self.engine.model
        return {
            "name": self.name,
            "backend": "local",
            "architecture": type(model).__name__,
            "weights": self.digest,
            **self.settings,
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

    def apply_control(self, chat: Chat, control: Control, judge: Spec | None = None) -> Chat:
        """Return the chat after the control's rewriting; `auto:` decides by the persona's judge."""
        anywhere, first = self.template.system_anywhere, self.template.user_first
        return rewrite(chat, control, system_anywhere=anywhere, user_first=first, judge=judge)

    def _load_adapter(self, folder: Path) -> str:
        """Load the adapter in a folder, if it is not there; return its name in the engine."""
        if str(folder) not in self.engine.adapters:
            GatedAdapter(self.engine, self.name, self.digest, folder)
        return str(folder)

    def request(
        self, ask: Ask, options: Mapping[str, Any] | None = None, limit: int | None = None
    ) -> Request:
        """Return an ask as the engine takes it.

        `options` go to the chat template with the backend's own. Raises errors as `reply` does, and
        `ContextError` for a chat that has more than `limit` tokens for certain, unrendered.
        """
        control = ask.control
        if control.needs_weights and (why := self.refusal(control)):
            raise ControlError(why)
        template = self.template_with(options)
        messages = self.apply_control(ask.chat, control, ask.judge)
        if limit is not None and (least := template.least_tokens(messages)) > limit:
            raise ContextError(f"the chat has {least} tokens or more, and the limit is {limit}")
        chat = template.render(messages)
        spans = Spans(chat.content, chat.template) if chat.content and chat.template else None
        held = has_prompt(messages)  # a router may have dropped it
        steering = self.steering(control, chat) if control.steers and held else None
        guide = None
        if control.guidance is not None and held:
            bare = template.render(self.apply_control(ask.chat[1:], control, ask.judge))
            guide = Guide(bare.ids, control.guidance)
        state = f"{control.state}@{steering.content}{steering.message}" if steering else ""
        request = Request(chat.ids, ask.seed, ask.keep, spans, ask.measure, state, steering, guide)
        if control.prism is None:
            return request
        gate_ids = template.render(gate_chat(ask.chat, control)).ids
        name = self._load_adapter(Path(control.prism))
        return replace(request, adapter=name, gate_ids=gate_ids)

    def template_with(self, options: Mapping[str, Any] | None) -> Template:
        """Return the chat template with more options. About the last `TEMPLATES` are kept.

        Raises `ModelError` where it renders no chat with them.
        """
        if not options:
            return self.template
        key = json.dumps(options, sort_keys=True)
        template = self._templates.get(key)
        if template is None:
            template = self.template.with_options(options)
            self._templates.put(key, template, BYTES // TEMPLATES)
        return template

    def steering(self, control: Control, chat: RenderedChat) -> RowSteering:
        """Locate the persona and the turns in a chat's token ids; `ControlError` if it cannot."""
        if chat.content is None or chat.template is None:
            raise ControlError(
                f"`{control.text}` needs the persona's tokens, which {self.name}'s chat template "
                "does not show in one piece: use window or reminder."
            )
        if control.anchor:
            self.engine.check_anchor(chat.template[1], len(chat.ids), control.anchor.layers)
        message = max(self.template.leading_bos(chat.ids), chat.template[0]), chat.template[1]
        starts = find_turn_columns(control, self.template.turn_ids, self.reply_ids, [*chat.ids])
        return RowSteering(control, chat.content, message, *starts)

    def refusal(self, control: Control) -> str | None:
        """Say why this model cannot be put under a control, or None."""
        cannot = f"{self.name} cannot be put under `{control.text}`"
        if control.prism is not None:
            try:
                self._load_adapter(Path(control.prism))
            except HoldfastError as error:
                return f"{cannot}: {error}"
        if control.anchor and self.engine.no_anchor is not None:
            return self.engine.no_anchor
        if (why := self._why_not(control)) is not None:
            return f"{cannot}: {why}. Use window or reminder."
        if control.steers and (why := out_of_range(control, self.engine.config)) is not None:
            return f"{cannot}: {why}."
        return self.engine.no_steering if control.steers else None

    def _why_not(self, control: Control) -> str | None:
        if control.guidance is not None and not self.engine.reuses:
            return "guidance needs rows of different lengths side by side, unlike its cache"
        if not control.steers:
            return None
        if self.engine.no_share is not None:
            return self.engine.no_share
        return turns_refusal(control, self.template, self.reply_ids)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return a text's token ids, without a template's."""
        text = replace_surrogates(text)
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Return token ids as text, without special tokens."""
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def _reply(self, request: Request, result: Continuation, stops: tuple[str, ...]) -> Reply:
        thought, text, _ = self.thoughts.split(request.ids, result.ids)
        end = find_stop(text, stops)
        return Reply(
            text=text if end is None else text[:end],
            thought=thought,
            stop=result.stop,
            prompt_tokens=len(request.ids) + (len(request.guide.ids) if request.guide else 0),
            cached_tokens=result.cached_tokens,
            completion_tokens=result.steps,
            share=result.share,
        )
