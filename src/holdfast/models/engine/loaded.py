"""A model in memory, with all that decoding and scoring must know about it.

Batches, likelihoods and the engine share one `LoadedModel`: the weights, how its cache and its
attention work, the buffers of the batch under way, and the rows kept from earlier batches.

This module knows one model. It knows no requests and no text.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol

import torch
from transformers import Cache, PreTrainedModel

from holdfast.control.rotary import Rotary, input_device
from holdfast.control.steered_pass import refuse_unreached, start_pass
from holdfast.control.steering import RowSteering, Steering
from holdfast.control.switch import (
    FUSED,
    HELD_CONFIGS,
    attention_for,
    decoder_of,
    reads_both_ways,
    unreached_error,
    use_attention,
)
from holdfast.core.control import Range, parse
from holdfast.core.errors import ControlError, ModelError
from holdfast.models.engine.cache import BatchCache, is_plain, layer_kinds
from holdfast.models.engine.decoder import Decoder, make_decoder
from holdfast.models.engine.packed import PackedWeights
from holdfast.models.engine.prefix_store import PrefixStore
from holdfast.models.engine.shaping import Matcher


class RowAdapter(Protocol):
    """An adapter that can be on in some rows of a batch and off in others."""

    def ask_gate(self, prompts: Sequence[Sequence[int]]) -> list[bool]:
        """For which prompts, as token ids, the adapter's gate switches it on."""

    def choose(self, rows: Sequence[bool]) -> None:
        """Switch the adapter on in these rows of the next passes; with none it is off."""


class LoadedModel:
    """A model that is ready to decode.

    Args:
        model: a causal language model of transformers; it is put in evaluation mode.
        name: what errors call it.
        batch_size: rows that are decoded at once.
        cache_bytes: how many bytes of keys and values are kept between calls.
        prefill_tokens: how many prompt tokens one forward pass encodes at most, which
            bounds the memory of activations.

    Raises:
        ModelError: the model keeps no keys and values, or keeps them in a way of its own.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        name: str = "the model",
        batch_size: int = 32,
        cache_bytes: int = 2 << 30,
        prefill_tokens: int = 8192,
    ) -> None:
        if batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        model.train(False)
        self.model = model
        self.name = name
        self.batch_size = batch_size
        self.prefill_tokens = prefill_tokens
        parameters = inspect.signature(model.forward).parameters
        _refuse_unusable(name, model, parameters)
        self.optional_arguments = {n for n in ("position_ids", "logits_to_keep") if n in parameters}
        """Which of these optional arguments the model's forward pass has."""
        self.config = model.config.get_text_config(decoder=True)
        self.context: int | None = getattr(self.config, "max_position_embeddings", None)
        """Tokens that the model can see; None where it states no bound."""
        self.match: Callable[[str], Matcher] | None = None
        """Follows a grammar; whoever knows the tokenizer sets it."""
        self.vocabulary = int(next(model.get_input_embeddings().parameters()).shape[0])
        """Token ids that the model knows."""
        self.store = PrefixStore(cache_bytes)
        """Keys and values of earlier rows."""
        self._kinds = layer_kinds(model.config)
        self.reuses = is_plain(self._kinds)
        """Whether rows may be padded and their keys and values reused."""
        self.steady_tokens = _find_steady(self.config)
        """Tokens up to which rotary frequencies do not change; None where they never do."""
        self.cache: BatchCache | None = self._make_cache()
        """Buffers of the batch under way; None where `reuses` is False."""
        self.row_bytes = 0
        """Bytes of a row in the widest buffers that were dropped."""
        self.attention, self.no_share = attention_for(model)
        """The attention to run with, and why prompt share cannot be measured (or None)."""
        self.adapters: dict[str, RowAdapter] = {}
        self.decoder: Decoder | None = None
        """The quick forward pass, inside `decoding` and where the model allows it."""
        self._packs = PackedWeights()
        self.lock = threading.RLock()
        self.tokens_drawn = 0
        """Tokens drawn since the model was loaded, for progress while a call takes long."""

    @cached_property
    def rotary(self) -> Rotary | str:
        """The model's rotary embedding, or why the persona cannot be moved by it."""
        with self.lock:  # it runs the model once
            try:
                return Rotary(self.model)
            except ControlError as error:
                return str(error)

    @cached_property
    def no_anchor(self) -> str | None:
        """Why the persona cannot be moved before the turns, or None."""
        rotary = self.rotary
        return rotary if isinstance(rotary, str) else None

    @cached_property
    def no_steering(self) -> str | None:
        """Why a share cannot be given to the persona in this model, or None; tried in one pass."""
        if self.device.type == "meta":
            return None  # there are no weights to try it with
        row = RowSteering(parse("boost:2"), (0, 1), (0, 1))
        steered_pass = start_pass(Steering([row], None, self.device), 0, 3)
        ids = torch.arange(3, device=self.device)[None]
        with self.switch_attention():
            try:
                self.model(input_ids=ids, holdfast=steered_pass, use_cache=False)
                refuse_unreached(steered_pass, self.name)
            except ControlError as error:
                return str(error)
            except TypeError:  # its forward pass takes no further arguments
                return str(unreached_error(self.name))
        return None

    def check_anchor(self, end: int, tokens: int, layers: Range | None = None) -> None:
        """Check that anchor reaches a persona that ends in column `end` of a chat of `tokens`.

        `layers` are the first and the last that it names, None for all.

        Raises `ControlError` where it does not (`Rotary.check_reach`). An outline has no weights:
        whoever runs the model checks.
        """
        if self.device.type != "meta" and isinstance(self.rotary, Rotary):
            self.rotary.check_reach(end, tokens, layers)

    @property
    def device(self) -> torch.device:
        """Where token ids go in."""
        return input_device(self.model)

    def can_pad(self, tokens: int) -> bool:
        """Whether a row of so many tokens may lie beside shorter ones, or be reused."""
        return self.reuses and (self.steady_tokens is None or tokens <= self.steady_tokens)

    def check_ids(self, ids: Sequence[int]) -> None:
        """Raise `ModelError` where the model has no embedding for a token."""
        if max(ids) >= self.vocabulary:
            raise ModelError(
                f"{self.name} has {self.vocabulary} token embeddings, and its tokenizer makes the"
                f" id {max(ids)}: the tokenizer belongs to another model."
            )

    def memory_error(self, longest: int) -> ModelError:
        """The error for rows of up to `longest` tokens that have filled the device's memory."""
        return ModelError(
            f"the memory of {self.device} is full: {self.name} reads up to {self.batch_size} rows "
            f"of up to {longest} tokens at once here. Choose a smaller `batch`, fewer `rounds`, or "
            "`dtype` bfloat16."
        )

    def steering(self, rows: Sequence[RowSteering | None]) -> Steering | None:
        """The steering of a batch's rows; None where no row is steered.

        Raises:
            ControlError: a row is under anchor, and the persona cannot be moved.
        """
        if not any(rows):
            return None
        anchored = any(row is not None and row.control.anchor for row in rows)
        rotary = self.rotary if anchored else None
        if isinstance(rotary, str):
            raise ControlError(rotary)
        return Steering(rows, rotary, self.device)

    def forget(self) -> None:
        """Drop all kept rows and buffers, so that the next call is as in a new process."""
        with self.lock:
            self.store.clear()
            self.drop_buffers()

    def drop_buffers(self) -> None:
        """Replace the buffers of the batch under way, which may hold anything after an error."""
        if self.cache is not None:
            self.row_bytes = max(self.row_bytes, self.cache.row_bytes)
        self.cache = self._make_cache()

    @contextmanager
    def switch_attention(self) -> Iterator[None]:
        """Run the model with attention that can be measured; one thread at a time is inside.

        Raises:
            ControlError: the model is inside a `hold` block, which would steer the rows too.
        """
        if id(decoder_of(self.model).config) in HELD_CONFIGS:
            raise ControlError(
                f"{self.name} is inside a hold block, which would steer these rows unseen: leave"
                " the block first, or ask under its control."
            )
        with self.lock, torch.inference_mode(), use_attention(self.model, self.attention):
            yield

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """The block that a `Batch` runs in; one thread at a time is inside."""
        with self.switch_attention():
            # Looked for each time: the model may have been adapted, or hooked, since.
            if self.attention == FUSED and self.reuses:
                self.decoder = make_decoder(self.model, self._packs)
            try:
                yield
            finally:
                self.decoder = None
                for adapter in self.adapters.values():
                    adapter.choose(())

    def _make_cache(self) -> BatchCache | None:
        return BatchCache(self._kinds) if self.reuses else None


def _refuse_unusable(name: str, model: PreTrainedModel, parameters: Container[str]) -> None:
    """Raise `ModelError` for a model that the engine cannot decode; `parameters` are its pass's."""
    if "past_key_values" not in parameters:
        raise ModelError(
            f"{name} ({type(model).__name__}) keeps no keys and values, which the local engine"
            " needs: serve it behind an API and name it api:NAME."
        )
    if reads_both_ways(model):
        raise ModelError(
            f"{name} ({type(model).__name__}) reads a text in both directions, and writes"
            " none: choose a causal language model."
        )
    own = sys.modules[type(model).__module__]
    caches = [x for x in vars(own).values() if isinstance(x, type) and issubclass(x, Cache)]
    if any(cache.__module__ == own.__name__ for cache in caches):
        raise ModelError(
            f"{name} ({type(model).__name__}) keeps its keys and values in a cache of its own,"
            " which the local engine cannot fill: serve it behind an API and name it"
            " api:NAME."
        )


def _find_steady(config: Any) -> int | None:
    """Tokens up to which the rotary frequencies stay the same, or None where they always do.

    "longrope" changes them for all keys once a sequence is longer than the model was first
    trained for, so keys from before cannot be used after. (So does "dynamic", but only beyond
    `max_position_embeddings`, and no request gets there.)
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return None
    first = rope.get("original_max_position_embeddings")
    return first or getattr(config, "original_max_position_embeddings", None)


def logits_error(name: str) -> ModelError:
    """The error for logits that nothing can be drawn from."""
    return ModelError(
        f"{name} gives logits that are not finite (NaN or infinity): its weights are damaged, or"
        " its dtype is too narrow (try `dtype` float32)."
    )
