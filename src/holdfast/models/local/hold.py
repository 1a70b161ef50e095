"""`hold`: a control around your own `generate`, and nothing else of Holdfast.

    with holdfast.hold(model, "split-softmax:0.7"):
        model.generate(...)

Inside of the block the model runs with Holdfast's attention, and a hook on its decoder
hands every forward pass what that attention needs to know: where each row has its
persona and its turns. Both are read from the ids that go through, and remembered for the
cache that they go into. On exit the model is as it was.

What it cannot know: ids that went into a cache outside of the block, and the order of
rows that a cache changes by itself (beams of one prompt share what matters: the prompt).
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from holdfast.control.rotary import Rotary
from holdfast.control.steering import Columns, Held, Pass, Steering, refuse_unreached, unreached
from holdfast.control.switch import kind_for, observed
from holdfast.core.control import Control, parse
from holdfast.core.errors import ControlError
from holdfast.models.local.hold_rows import Rows, Sought, check_positions, sought

# Configurations of the models that are held: that is where their attention is chosen.
_taken: set[int] = set()
_lock = threading.Lock()


@contextmanager
def hold(
    model: Any,
    control: str | Control,
    span: str | Sequence[int] | Sequence[Columns | None] | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    turns: Sequence[int] | Sequence[Sequence[int]] | None = None,
) -> Iterator[None]:
    """Put a transformers model under a control while the block runs.

    **The model is changed in place**, and given back exactly as it was, also after an
    exception. It may be wrapped: a pipeline, a trainer, a PEFT model, DDP. Rows without the
    persona are left alone.

    `span` is the persona: its text, its token ids, or columns [start, end) row by row (None
    for a row without); by default any system message is. `turns` are where user turns begin,
    which anchor needs: the ids that open one, or columns row by row; by default the chat
    template tells. `tokenizer` is the pipeline's, or by default the one of the model's name.

    Raises `ControlError` for what cannot be done exactly: on entry, or in a forward pass.
    """
    inner, own = _unwrapped(model)
    read = _steering_only(parse(control))
    if not read.steers:
        yield
        return
    if inner.config.is_encoder_decoder:
        raise ControlError(
            f"{type(inner).__name__} reads the persona in an encoder, and controls are for models"
            " that read and write one text: use window or reminder."
        )
    decoder = inner.get_decoder()
    kind, why = kind_for(decoder)
    if kind is None:
        raise ControlError(f"`{control}` cannot be put on this model: {why}.")
    _check_ranges(read, decoder.config)
    places = sought(span, turns, _Lazy(inner, tokenizer or own), bool(read.anchor))
    with ExitStack() as stack:
        stack.enter_context(_alone(decoder))
        rotary = Rotary(inner) if read.anchor else None
        stack.enter_context(observed(decoder, kind))
        block = _Block(inner, read, places, rotary)
        stack.callback(block.close)
        yield
        block.report()


@dataclass
class _Known:
    """One batch: what is known of its rows, and the column after its last pass."""

    rows: Rows
    steering: Steering | None = None
    end: int = 0


class _Block:
    """One model under control: the hooks on its body, and what they know of every cache."""

    def __init__(
        self, model: PreTrainedModel, control: Control, places: Sought, rotary: Rotary | None
    ) -> None:
        self.name = type(model).__name__
        self.control, self.places, self.rotary = control, places, rotary
        self._open, self._ran, self._found = True, False, False
        self._caches: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()
        self._now = threading.local()
        # Ids enter the body; some models call the decoder in it past the body.
        bodies: dict[int, Any] = {
            id(body): body for body in (model.base_model, model.get_decoder())
        }
        self._names = {name: self._parameters(body) for name, body in bodies.items()}
        self._hooks = [model.register_forward_hook(self._check)] if id(model) not in bodies else []
        for body in bodies.values():
            self._hooks += [
                body.register_forward_pre_hook(self._before, with_kwargs=True),
                body.register_forward_hook(self._after, always_call=True),
            ]

    def _parameters(self, body: nn.Module) -> list[str]:
        """What a body's forward pass takes by place; more has to be welcome by name."""
        parameters = inspect.signature(body.forward).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            raise unreached(self.name)
        return list(parameters)

    def close(self) -> None:
        """Leave the model."""
        self._open = False
        for hook in self._hooks:
            hook.remove()

    def report(self) -> None:
        """Warn where nothing was held."""
        if self._ran and not self._found:
            warnings.warn(
                f"`{self.control.text}` did nothing: no row had the persona's tokens. Give `span`"
                " as the persona's text, its token ids, or columns.",
                stacklevel=4,  # this method, the block's generator, contextlib, and the user
            )

    def _before(
        self, body: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Hand a pass what its attention needs to know."""
        if getattr(self._now, "body", None) is not None:
            return None
        self._now.body, self._now.passed = body, None
        given = dict(zip(self._names[id(body)], args, strict=False)) | kwargs
        if given.get("holdfast") is not None:
            raise ControlError("this pass is under control already: leave one of the two out.")
        ids, cache = given.get("input_ids"), given.get("past_key_values")
        shown: Tensor = given["inputs_embeds"] if ids is None else ids
        count, queries = shown.shape[:2]
        column = 0 if cache is None else int(cache.get_seq_length())
        known = self._known(cache, column, count)
        if known.rows.needs(column):
            if ids is None:
                raise ControlError(
                    "the persona is found by token ids, and this pass has embeddings only: give"
                    " `span` (and for anchor `turns`) as columns."
                )
            if known.rows.take(ids.tolist(), column):
                known.steering = None
        if queries > 1:
            check_positions(given, column, queries, bool(self.control.anchor))
        if known.steering is None:
            known.steering = self._steering(known.rows, shown.device)
        known.end = column + queries
        passed = known.steering.at(column, queries)
        self._now.known, self._now.passed = known, passed
        return (args, kwargs) if passed is None else (args, {**kwargs, "holdfast": passed})

    def _known(self, cache: Any, column: int, count: int) -> _Known:
        known = None if cache is None or not column else self._caches.get(cache)
        if known is None:
            known = _Known(self.places.rows(count))
            if column and known.rows.needs(column):
                raise ControlError(
                    "this cache was filled outside of the block: fill it inside, or give `span`"
                    " (and for anchor `turns`) as columns."
                )
            if cache is not None:
                self._caches[cache] = known
        elif len(known.rows.places) != count:
            times, rest = divmod(count, len(known.rows.places))
            if rest or not times:
                raise ControlError(
                    "rows of a cache were taken out inside of the block, and which ones cannot be"
                    " known: give `span` (and for anchor `turns`) as columns, and a new block."
                )
            known.rows.repeat(times)
            known.steering = None
        if column != known.end:
            # Cropped, as assisted decoding does: what was gathered from it may be gone.
            known.steering = None
        return known

    def _steering(self, rows: Rows, device: torch.device) -> Steering:
        held = [
            None if place is None else Held(self.control, *place, tuple(turns))
            for place, turns in zip(rows.places, rows.turns, strict=True)
        ]
        self._ran, self._found = True, self._found or any(held)
        return Steering(held, self.rotary, device)

    def _after(self, body: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Remember the cache that a pass made, and see that the pass was under control."""
        if getattr(self._now, "body", None) is not body:
            return
        self._now.body, self._now.ran = None, True
        if output is None:  # an exception is under way
            return
        known: _Known = self._now.known
        passed: Pass | None = self._now.passed
        cache = getattr(output, "past_key_values", None)
        if cache is not None:
            self._caches[cache] = known
        refuse_unreached(passed, self.name)
        hidden: Tensor = output[0]
        if passed is not None and hidden.requires_grad and _computes_again(body):
            hidden.register_hook(self._inside)

    def _check(self, model: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """See that a pass of the whole model came through its body."""
        if not getattr(self._now, "ran", False):
            raise unreached(self.name)
        self._now.ran = False

    def _inside(self, gradient: Tensor) -> None:
        if not self._open:
            raise ControlError(
                "gradient checkpointing computes attention again in the backward pass, which has"
                " to be under control as well: call backward() inside of the block."
            )


def _computes_again(body: nn.Module) -> bool:
    """Whether gradient checkpointing is on anywhere."""
    return any(getattr(part, "gradient_checkpointing", False) for part in body.modules())


@contextmanager
def _alone(decoder: PreTrainedModel) -> Iterator[None]:
    """One block at a time for a model, or for models that share a configuration."""
    mine = id(decoder.config)
    with _lock:
        if mine in _taken:
            raise ControlError(
                f"{type(decoder).__name__} is held already (or shares its configuration with a"
                " model that is): leave that block first, or join controls with `+`."
            )
        _taken.add(mine)
    try:
        yield
    finally:
        with _lock:
            _taken.remove(mine)


def _unwrapped(model: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    """The transformers model in a pipeline, a trainer, a PEFT model or DDP; its tokenizer."""
    given, tokenizer = model, None
    while not isinstance(model, PreTrainedModel):
        for name in ("tokenizer", "processing_class"):
            tokenizer = tokenizer or getattr(model, name, None)
        if hasattr(model, "get_base_model"):
            model = model.get_base_model()
            continue
        inside = (getattr(model, name, None) for name in ("model", "pretrained_model", "module"))
        model = next((part for part in inside if isinstance(part, nn.Module)), None)
        if model is None:
            raise ControlError(
                f"{type(given).__name__} has no transformers model that could be held: give a"
                " PreTrainedModel, a pipeline, a trainer, or a PEFT model."
            )
    return model, tokenizer


class _Lazy:
    """The tokenizer, loaded by the model's name where none is given and one is needed."""

    def __init__(self, model: PreTrainedModel, given: PreTrainedTokenizerBase | None) -> None:
        self.model, self.given = model, given

    def __call__(self) -> PreTrainedTokenizerBase:
        if self.given is None:
            name = self.model.config._name_or_path
            try:
                loaded: Any = AutoTokenizer.from_pretrained(name)
            except (OSError, ValueError) as error:
                raise ControlError(
                    f"there is no tokenizer under the model's name (`{name}`): give `tokenizer`."
                ) from error
            self.given = loaded
        return self.given


def _steering_only(control: Control) -> Control:
    """The control, refused where it is more than attention."""
    if control.prism is not None:
        raise ControlError(
            f"`{control.text}` decides by message, which generate() does not see: load the adapter"
            " with peft, or ask the model through holdfast.load(...).reply."
        )
    if any(one is not None for one in (control.window, control.reminder, control.route)):
        raise ControlError(
            f"`{control.text}` rewrites the chat, which generate() does not see: rewrite it with"
            " holdfast.control.rewrite before the chat template."
        )
    if control.guidance is not None:
        raise ControlError(
            f"`{control.text}` needs a second row without the persona: give generate()"
            " guidance_scale, and the chat without it as negative_prompt_ids."
        )
    return control


def _check_ranges(control: Control, config: Any) -> None:
    limits = {"layers": config.num_hidden_layers, "heads": config.num_attention_heads}
    for part in control.attention:
        for name, count in limits.items():
            chosen: Columns | None = getattr(part, name)
            if chosen is not None and chosen[1] >= count:
                raise ControlError(
                    f"`{control.text}` names {name} that this model does not have: they are"
                    f" 0-{count - 1}."
                )
