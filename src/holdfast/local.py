"""A model on this machine: chats in, replies out, through the engine.

Any causal chat model that transformers loads: `mini`, a folder, or a hub id. The
template turns a chat into token ids, the engine continues them, the tokenizer
turns what comes back into text.

This module knows chats and models. It knows no personas, judges or rounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from holdfast import weights
from holdfast.backend import Ask, Reply, Sampling
from holdfast.engine import Engine, Halt, Request, Result, Spans
from holdfast.errors import ControlError
from holdfast.template import Rendered, Template

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
        rows = batch_size or (256 if model.num_parameters() < SMALL else 32)
        kept = weights.memory(model.device) // 4 if cache_bytes is None else cache_bytes
        self.engine = Engine(model, name=name, batch_size=rows, cache_bytes=kept)
        self._digest = digest
        self._ends = _ends(model, tokenizer)

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

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """One reply per ask, in order.

        Raises `ControlError` for a control that this backend does not know, and
        `ModelError` for a chat that the template refuses or logits that are not finite.
        """
        rendered = [self.template.render(ask.chat) for ask in asks]
        requests = [_request(ask, chat) for ask, chat in zip(asks, rendered, strict=True)]
        halt = self._halt(sampling.stop) if sampling.stop else None
        results = self.engine.generate(requests, sampling, self._ends, halt)
        return [
            self._reply(request, result, sampling.stop)
            for request, result in zip(requests, results, strict=True)
        ]

    def count(self, text: str) -> int:
        """Tokens in a text, without any that a template would add."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def prompt_tokens(self, ask: Ask) -> int:
        """Tokens of an ask's chat as the model would see it, template included."""
        return len(self.template.render(ask.chat).ids)

    def forget(self) -> None:
        """Drop all kept keys and values.

        Called at the start of a unit of work, it makes that unit's replies the same, byte
        for byte, whatever was asked before it.
        """
        self.engine.forget()

    def describe(self) -> Mapping[str, object]:
        """What determines the replies, as JSON."""
        model = self.engine.model
        if self._digest is None:
            self._digest = weights.parameter_hash(model)
        return {
            "name": self.name,
            "backend": "local",
            "architecture": type(model).__name__,
            "weights": self._digest,
            "template": hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest(),
            "template_options": self.template.options,
            "folds_system": self.folds_system,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": self.engine.device.type,
            "batch_size": self.engine.batch_size,
            "context": self.context,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def _decode(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def _halt(self, stops: tuple[str, ...]) -> Halt:
        return lambda ids: _cut(self._decode(ids), stops) is not None

    def _reply(self, request: Request, result: Result, stops: tuple[str, ...]) -> Reply:
        text = self._decode(result.ids)
        end = _cut(text, stops)
        return Reply(
            text=text if end is None else text[:end],
            stop=result.stop,
            prompt_tokens=len(request.ids),
            cached_tokens=result.cached,
            completion_tokens=result.steps,
            share=result.share,
        )


def _cut(text: str, stops: Iterable[str]) -> int | None:
    """Where the first of the stop strings begins, or None."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return min(places, default=None)


def _request(ask: Ask, chat: Rendered) -> Request:
    if ask.control != "none":
        raise ControlError(f"this backend knows no control `{ask.control}`: use `none`.")
    spans = None if not chat.content or not chat.template else Spans(chat.content, chat.template)
    return Request(chat.ids, ask.seed, ask.keep, spans, ask.measure, state=ask.control)


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


def load(
    name: str,
    *,
    dtype: str | torch.dtype = "auto",
    device: str = "auto",
    device_map: str | Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    cache_bytes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> LocalBackend:
    """Load `mini`, a folder, or a hub id.

    `dtype` "auto" is float32 on a CPU for models below a billion parameters and bfloat16 on
    a GPU; `device` "auto" is the first of CUDA, MPS and the CPU that is there, over several
    GPUs where one is too small. `batch_size` rows are decoded at once (256 for small models,
    32 for others) and `cache_bytes` of keys and values kept (a quarter of the device's
    memory). Raises `ModelError`, one sentence on what to do, for a name
    that is not found, weights that cannot be read, or a model that is not a chat model.
    """
    path = weights.source(name)
    with weights.explained(name):
        config = AutoConfig.from_pretrained(path)
        tokenizer = AutoTokenizer.from_pretrained(path)
    Template(tokenizer, name, options)  # before the weights: what is missing is said sooner
    return LocalBackend(
        weights.model(name, path, config, dtype=dtype, device=device, device_map=device_map),
        tokenizer,
        name,
        batch_size=batch_size,
        cache_bytes=cache_bytes,
        options=options,
        digest=weights.file_hash(path) or getattr(config, "_commit_hash", None),
    )
