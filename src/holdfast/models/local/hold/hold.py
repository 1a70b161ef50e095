"""`hold`: a control around your own `generate`, and nothing else of Holdfast.

    with holdfast.hold(model, "split-softmax:0.7"):
        model.generate(...)

Inside the block the model runs with Holdfast's attention. A hook on its decoder tells every
forward pass where each row has its persona and its turns. The hook reads both from the token ids
that go through, and remembers them for the cache that the ids go into. On exit the model is as
it was.

What it cannot know: ids that went into a cache outside the block, and how a cache reorders its
own rows (beams of one prompt share what matters here, the prompt).
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import holdfast.control.observe  # noqa: F401  registers the attentions that `switch` names
from holdfast.control.rotary import Rotary
from holdfast.control.steered_pass import SteeredPass, refuse_unreached, start_pass
from holdfast.control.steering import Columns, RowSteering, Steering, out_of_range
from holdfast.control.switch import (
    attention_for,
    decoder_of,
    hold_alone,
    reads_both_ways,
    unreached_error,
    use_attention,
)
from holdfast.core.control import Control, parse
from holdfast.core.errors import ControlError
from holdfast.models.local.hold.block import as_block
from holdfast.models.local.hold.positions import check_positions
from holdfast.models.local.hold.rows import BatchRows
from holdfast.models.local.hold.targets import HoldTargets, find_targets, lazy_tokenizer


@as_block
def hold(
    model: Any,
    control: str | Control,
    span: str | Sequence[int] | Sequence[Columns | None] | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    turns: Sequence[int] | Sequence[Sequence[int]] | None = None,
) -> Iterator[None]:
    """Put a transformers model under a control while the block runs.

    **The model is changed in place**, and is exactly as before after the block, also after an
    exception. Rows without the persona are left alone.

    Args:
        model: a transformers model, or one in a pipeline, PEFT, DDP or trainer (and its reference).
        control: an attention control as text, as in "split-softmax:0.7" or "anchor+boost:2".
        span: the persona: its text, its token ids, or columns [start, end) row by row (None for
            a row without). By default any system message is the persona.
        tokenizer: the model's tokenizer; by default the pipeline's or trainer's, else the one
            under the model's name.
        turns: where user turns begin, which anchor and restore need: the ids that open one, or
            columns row by row. By default the chat template says it.

    Raises:
        ControlError: the control cannot be applied exactly; on entry, in a forward pass, or where
            the block ends while another thread is generating.
    """
    inner, inner_tokenizer = _unwrap(model)
    attention_control = _attention_only(parse(control))
    if not attention_control.steers:
        yield
        return
    decoder = decoder_of(inner)
    kind = _check_model(inner, attention_control)
    tokens = tokenizer or inner_tokenizer
    targets = find_targets(
        span,
        turns,
        lazy_tokenizer(inner, tokens),
        needs_turns=attention_control.needs_turns,
        needs_replies=attention_control.needs_replies,
    )
    with ExitStack() as stack:
        stack.enter_context(hold_alone(decoder))
        reference = getattr(model, "ref_model", None)
        if isinstance(reference, nn.Module):  # a trainer's, whose KL is of the same chat
            stack.enter_context(
                hold(reference, attention_control, span, tokenizer=tokens, turns=turns)
            )
        rotary = Rotary(inner) if attention_control.anchor else None
        stack.enter_context(use_attention(decoder, kind))
        block = _Block(inner, attention_control, targets, rotary)
        stack.callback(block.close)
        yield
        block.end()


@dataclass
class _BatchState:
    """What is known of one batch between its passes."""

    rows: BatchRows
    """Ids, personas and turns."""
    steering: Steering | None = None
    """What the attention takes; None after a change of the rows."""
    end: int = 0
    """The column after the last pass."""


class _Block:
    """One model inside a block: the hooks on its body, and the state of every cache."""

    def __init__(
        self, model: PreTrainedModel, control: Control, targets: HoldTargets, rotary: Rotary | None
    ) -> None:
        self.name = type(model).__name__
        self.control, self.targets, self.rotary = control, targets, rotary
        self._open, self._ran, self._matched = True, False, False
        self._caches: WeakKeyDictionary[Any, _BatchState] = WeakKeyDictionary()
        self._pass = threading.local()  # the forward pass under way in this thread
        self._threads: set[int] = set()  # those with a pass under way
        # Ids enter the body; some models call the decoder in it past the body.
        bodies: dict[int, Any] = {id(body): body for body in (model.base_model, decoder_of(model))}
        self._names = {name: self._parameters(body) for name, body in bodies.items()}
        self._hooks = [model.register_forward_hook(self._check)] if id(model) not in bodies else []
        for body in bodies.values():
            self._hooks += [
                body.register_forward_pre_hook(self._before, with_kwargs=True),
                body.register_forward_hook(self._after, always_call=True),
            ]

    def _parameters(self, body: nn.Module) -> list[str]:
        """Names of a body's positional parameters; it must also accept further keywords."""
        parameters = inspect.signature(body.forward).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            raise unreached_error(self.name)
        return list(parameters)

    def close(self) -> None:
        """Take the hooks off."""
        self._open = False
        for hook in self._hooks:
            hook.remove()

    def end(self) -> None:
        """Refuse to leave a pass of another thread; warn if no row of any had the persona."""
        # A pass of this thread is over, or was cut off by Ctrl-C.
        if self._threads - {threading.get_ident()}:
            raise ControlError(
                "the block ends while another thread is generating, which would go on without the"
                " control: join it inside the block."
            )
        if self._ran and not self._matched:
            warnings.warn(
                f"`{self.control.text}` did nothing: no row had the persona's tokens and others"
                " after them. Give `span` as the persona's text, its token ids, or columns.",
                stacklevel=5,  # this method, the generator, contextlib, the block, and the user
            )

    def _before(
        self, body: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Give a pass its steering."""
        # A body within a body; the same one again follows a pass that Ctrl-C has cut off.
        if getattr(self._pass, "body", None) not in (None, body):
            return None
        self._pass.body, self._pass.steering = body, None
        self._threads.add(threading.get_ident())
        arguments = dict(zip(self._names[id(body)], args, strict=False)) | kwargs
        if arguments.get("holdfast") is not None:
            raise ControlError("this pass is under control already: leave one of the two out.")
        ids, cache = arguments.get("input_ids"), arguments.get("past_key_values")
        inputs: Tensor = arguments["inputs_embeds"] if ids is None else ids
        count, queries = inputs.shape[:2]
        column = 0 if cache is None else int(cache.get_seq_length())
        state = self._state(cache, column, count)
        if state.rows.needs(column):
            self._read_ids(state, ids, column)
        if queries > 1:
            check_positions(arguments, column, queries, anchored=bool(self.control.anchor))
        if state.steering is None:
            state.steering = self._steering(state.rows, inputs.device)
        state.end = column + queries
        steered_pass = start_pass(state.steering, column, queries)
        self._pass.state, self._pass.steering = state, steered_pass
        if steered_pass is None:
            return None
        anchor = self.control.anchor
        if self.rotary is not None and anchor is not None:
            self.rotary.check_reach(state.steering.first_end, state.end, anchor.layers)
        self._matched = True
        return args, {**kwargs, "holdfast": steered_pass}

    def _state(self, cache: Any, column: int, count: int) -> _BatchState:
        """Return the batch's state, new for a new cache; follow a cache whose rows changed."""
        state = None if cache is None or not column else self._caches.get(cache)
        if state is None:
            state = _BatchState(self.targets.rows(count))
            if column and state.rows.needs(column):
                raise ControlError(
                    "this cache was filled outside the block: fill it inside, or give `span`"
                    " (and for anchor and restore `turns`) as columns."
                )
            if cache is not None:
                self._caches[cache] = state
        elif len(state.rows.places) != count:
            times, rest = divmod(count, len(state.rows.places))
            if rest or not times:
                raise ControlError(
                    "rows of a cache were taken out inside the block, and which ones cannot be"
                    " known: give `span` (and for anchor and restore `turns`) as columns, and a new"
                    " block."
                )
            state.rows.repeat(times)
            state.steering = None
        if column != state.end:
            # The cache was cropped, as by assisted decoding: its columns have to be read again.
            state.steering = None
        return state

    def _read_ids(self, state: _BatchState, ids: Tensor | None, column: int) -> None:
        """Look for personas and turns in the ids of a pass that begins in `column`."""
        if ids is None:
            raise ControlError(
                "the persona is found by token ids, and this pass has embeddings only: give"
                " `span` (and for anchor and restore `turns`) as columns."
            )
        if state.rows.read(ids.tolist(), column):
            state.steering = None

    def _steering(self, rows: BatchRows, device: torch.device) -> Steering:
        controls = [
            place and RowSteering(self.control, *place, tuple(turns), tuple(replies))
            for place, turns, replies in zip(rows.places, rows.turns, rows.replies, strict=True)
        ]
        self._ran = True
        return Steering(controls, self.rotary, device)

    def _after(self, body: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Remember the pass's cache, and refuse a pass whose attention was not reached."""
        if getattr(self._pass, "body", None) is not body:
            return
        self._pass.body, self._pass.ran = None, True
        self._threads.discard(threading.get_ident())
        if output is None:  # an exception is under way
            return
        state: _BatchState = self._pass.state
        steered_pass: SteeredPass | None = self._pass.steering
        cache = getattr(output, "past_key_values", None)
        if cache is not None:
            self._caches[cache] = state
            if not cache.get_seq_length():
                raise ControlError(
                    f"{self.name} keeps a cache that does not count its tokens, so the next pass"
                    " could not be held: pass use_cache=False."
                )
        refuse_unreached(steered_pass, self.name)
        hidden: Tensor = output[0]
        parts = body.modules() if steered_pass is not None and hidden.requires_grad else ()
        if any(getattr(part, "gradient_checkpointing", False) for part in parts):
            hidden.register_hook(self._require_open)

    def _check(self, model: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Refuse a pass of the whole model that did not go through its body."""
        if not getattr(self._pass, "ran", False):
            raise unreached_error(self.name)
        self._pass.ran = False

    def _require_open(self, gradient: Tensor) -> None:
        if not self._open:
            raise ControlError(
                "gradient checkpointing computes attention again in the backward pass, which has"
                " to be under control as well: call backward() inside the block."
            )


def _unwrap(model: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    """Return the transformers model in a pipeline, trainer, PEFT model or DDP; its tokenizer."""
    outer, tokenizer = model, None
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
                f"{type(outer).__name__} has no transformers model inside: give one that"
                " AutoModelForCausalLM.from_pretrained loads, a pipeline, a trainer, or a PEFT"
                " model; neither a name nor a model of holdfast.load is one."
            )
    return model, tokenizer


def _attention_only(control: Control) -> Control:
    """Return the control; refuse one that changes more than the attention."""
    if control.prism is not None:
        raise ControlError(
            f"`{control.text}` decides by message, which generate() does not see: load the adapter"
            " with peft, or ask the model through holdfast.load(...).reply."
        )
    if control.rewrites:
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


def _check_model(model: PreTrainedModel, control: Control) -> str:
    """The attention that a model is held with. Raises `ControlError` where it cannot be."""
    name, decoder = type(model).__name__, decoder_of(model)
    if model.config.is_encoder_decoder:
        raise ControlError(
            f"{name} reads the persona in an encoder, and controls are for models that read and"
            " write one text: use window or reminder."
        )
    if reads_both_ways(model):
        raise ControlError(
            f"{name} reads a text in both directions, and controls are for models whose tokens see"
            " what is before them."
        )
    kind, why = attention_for(decoder)
    why = why or out_of_range(control, decoder.config)
    if kind is None or why is not None:
        raise ControlError(f"`{control.text}` cannot be put on this model: {why}.")
    return kind
