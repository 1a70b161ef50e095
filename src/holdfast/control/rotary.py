"""A model's own rotary embedding, and how a query is turned back by it.

With rotary positions a score knows only how far its query and key are apart,

    (R(a) q)·(R(b) k) = q·R(b - a) k,

so keys moved forward by Δ, seen by a query, score as the keys left in place, seen by
that query moved back by Δ. `turn_back` does the latter: it multiplies a rotated query by
R(-Δ) = R(Δ)ᵀ, from the cosine and sine that the model's own embedding gives for
position Δ and through the model's own `apply_rotary_pos_emb`. An attention scaling in
them (YaRN's) is divided out, so a query keeps its length and its scaling.

Models differ in which dimensions they rotate, which layers do so at all, and how pairs lie.
So this is measured on the model: one token is run at two positions, and every layer's queries
and keys at one must be those at the other, turned. (A single token's hidden states do not
depend on its position, unless positions enter in another way as well.) A model that does not
pass is refused.

This module knows tensors and one model. It knows no spans and no turns.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from holdfast.control.switch import decoder_of, layer_of, use_attention
from holdfast.core.control import Range
from holdfast.core.errors import ControlError

PROBE = "holdfast-probe"
# Two positions that are far apart for the fast dimensions, and within any model's context.
LATE, EARLY = 29, 16

# layer: its attention module, with rotated queries and keys (rows, heads, 1, size)
ProbeStates = dict[int, tuple[nn.Module, Tensor, Tensor]]
Rotation = Callable[[Tensor, Tensor, Tensor], Tensor]
_probe_states: ContextVar[ProbeStates] = ContextVar("holdfast_rotary_seen")


@dataclass(frozen=True)
class _LayerRotation:
    """How one layer rotates its queries and keys."""

    rotate: Rotation
    start: int
    """The first dimension that is rotated."""
    width: int
    """How many are."""
    kind: str | None
    """Which of the model's frequencies it uses; None where there is one set."""


class Rotary:
    """The rotary embedding of a model, checked on the model by one pass of a few tokens.

    Args:
        model: a causal language model of transformers.

    Raises:
        ControlError: it has none, its frequencies change with length, or its queries do not
            turn as the embedding says.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.name = type(model).__name__
        decoder = decoder_of(model)
        self._rotary = _find_embedding(decoder, self.name)
        self._config: Any = decoder.config
        self._kinds: list[str] | None = None
        if "layer_type" in inspect.signature(self._rotary.forward).parameters:
            self._kinds = self._config.layer_types
        self._scales: dict[str | None, float] = {}
        # (kind of frequencies, device): the last shift, its cosines and sines
        self._last_shift: dict[
            tuple[str | None, torch.device], tuple[weakref.ref[Tensor], Tensor, Tensor]
        ] = {}
        self._layers = {
            i: self._find_rotation(*state) for i, state in _probe_layers(decoder).items()
        }
        if not self._layers:
            raise ControlError(f"{self.name} does not let its attention be observed: use reminder.")
        if not any(self._layers.values()):
            raise ControlError(f"no layer of {self.name} uses rotary positions: use reminder.")

    @property
    def rotating(self) -> list[int]:
        """The layers that have rotary positions."""
        return [i for i, layer in self._layers.items() if layer is not None]

    def check_reach(self, end: int, tokens: int, layers: Range | None = None) -> None:
        """Check that the last of some tokens sees a persona where anchor acts.

        Anchor acts in layers with rotary positions. Where all of these have a sliding window,
        the persona is out of sight once the window has passed it.

        Args:
            end: the column after the persona.
            tokens: columns up to the last query's, that included.
            layers: the first and the last layer that the control names; None for all.

        Raises:
            ControlError: the window has passed it, or no such layer has rotary positions.
        """
        low, high = layers or (0, max(self._layers))
        rotating = [i for i in self.rotating if low <= i <= high]
        if not rotating:
            raise ControlError(
                f"anchor does nothing in the layers {low}-{high} of {self.name}, which have no"
                " rotary positions: name others, or use reminder."
            )
        window = getattr(self._config, "sliding_window", None)
        if window is None or end > tokens - window:
            return
        kinds = getattr(self._config, "layer_types", None)
        if kinds and any(kinds[i] != "sliding_attention" for i in rotating):
            return
        which = "layers" if layers is None else f"of the layers {low}-{high} those"
        raise ControlError(
            f"anchor does nothing in a chat of {tokens} tokens: all {which} of {self.name} with"
            f" rotary positions see the last {window} only, and the persona is before them: use"
            " reminder."
        )

    def turn_back(self, module: nn.Module, query: Tensor, shift: Tensor) -> Tensor:
        """Turn rotated queries back, as if they stood `shift` positions earlier.

        Args:
            module: the attention module; a layer without positions changes nothing.
            query: (B, H, Lq, D).
            shift: positions, (B, Lq) of integers.
        """
        layer = self._layers[layer_of(module)]
        return query if layer is None else self._turn(layer, query, shift)

    def _turn(self, layer: _LayerRotation, query: Tensor, shift: Tensor) -> Tensor:
        cos, minus_sin = self._cos_and_sin(layer.kind, shift, query.device)
        end = layer.start + layer.width
        rotation = layer.rotate(query[..., layer.start : end].float(), cos, minus_sin)
        if layer.width == query.shape[-1]:
            return rotation.to(query.dtype)
        parts = (query[..., : layer.start], rotation.to(query.dtype), query[..., end:])
        return torch.cat(parts, dim=-1)

    def _cos_and_sin(
        self, kind: str | None, shift: Tensor, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """cos and -sin (rows, queries, size) for `shift`; once per pass, not once per layer."""
        last = self._last_shift.get((kind, device))
        if last is not None and last[0]() is shift:
            return last[1], last[2]
        like = torch.empty(0, dtype=torch.float32, device=device)
        options = {} if kind is None else {"layer_type": kind}
        if kind not in self._scales:
            # The cosine of position 0 is 1, times the attention scaling.
            origin = torch.zeros(1, 1, dtype=torch.long, device=device)
            waves = self._rotary(like, origin, **options)
            if not isinstance(waves, tuple):
                raise ControlError(
                    f"{self.name} rotates by complex numbers, and anchor knows cosine and sine:"
                    " use reminder."
                )
            self._scales[kind] = float(waves[0].max())
        cos, sin = self._rotary(like, shift.to(device), **options)
        cos, minus_sin = cos / self._scales[kind], sin / -self._scales[kind]
        self._last_shift[kind, device] = weakref.ref(shift), cos, minus_sin
        return cos, minus_sin

    def _find_rotation(
        self, module: nn.Module, query: Tensor, key: Tensor
    ) -> _LayerRotation | None:
        """How a layer rotates (None: not at all), from rows that are alike but for position."""
        if nearly_equal(query[::2], query[1::2]) and nearly_equal(key[::2], key[1::2]):
            return None
        index = layer_of(module)
        kind = None if self._kinds is None else self._kinds[index]
        prefix = "" if kind is None else f"{kind}_"
        frequencies = getattr(self._rotary, f"{prefix}inv_freq", None)
        width = 0 if frequencies is None else 2 * frequencies.shape[-1]
        shift = torch.full((len(query) // 2, 1), LATE - EARLY, device=query.device)
        # First dimensions are rotated as a rule, last ones where keys are latent (DeepSeek).
        places = sorted({0, query.shape[-1] - width}) if width else []
        both = ((query[::2], query[1::2]), (key[::2], key[1::2]))
        for rotate, start in itertools.product([_halves, _rotation(module)], places):
            if rotate is None or start < 0:
                continue
            layer = _LayerRotation(rotate, start, width, kind)
            if all(nearly_equal(self._turn(layer, late, shift), early) for late, early in both):
                return layer
        raise ControlError(
            f"layer {index} of {self.name} does not turn its queries and keys by its rotary"
            " embedding alone, so anchor would not be exact: use reminder."
        )


def _find_embedding(decoder: PreTrainedModel, name: str) -> nn.Module:
    """The model's rotary embedding, whose frequencies must not change with length."""
    rotary = getattr(decoder, "rotary_emb", None)
    if not isinstance(rotary, nn.Module):
        raise ControlError(
            f"anchor moves the persona by rotary positions, and {name} is not built around them:"
            " use reminder."
        )
    kinds: Any = getattr(rotary, "rope_type", "default")
    for kind in kinds.values() if isinstance(kinds, dict) else [kinds]:
        if "dynamic" in str(kind) or kind == "longrope":
            raise ControlError(
                f"anchor needs rotary frequencies that stay what they are, and {name}'s `{kind}`"
                " scaling changes them with length: use reminder."
            )
    return rotary


def _halves(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """What most models do, in few operations: the halves of a head are its pairs' two sides."""
    if cos.shape[-1] != states.shape[-1]:
        return states  # not a turn, as `_find_rotation` will find
    half = states.shape[-1] // 2
    signed_sin = torch.cat([-sin[..., :half], sin[..., half:]], -1)[:, None]
    return (states * cos[:, None]).addcmul(states.roll(half, -1), signed_sin)


def _rotation(module: nn.Module) -> Rotation | None:
    """The model's own function, for states (rows, heads, queries, size) with cosine and sine."""
    own: Any = getattr(sys.modules[type(module).__module__], "apply_rotary_pos_emb", None)
    if own is None or "k" not in inspect.signature(own).parameters:
        rotation: Rotation | None = own
        return rotation

    def first(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        # It rotates keys as well: none will do.
        rotation: Tensor = own(states, states[:, :0], cos, sin)[0]
        return rotation

    return first


def nearly_equal(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding in the model's own precision; NaN equals nothing."""
    tolerance = 4 * max(torch.finfo(a.dtype).eps, 1e-5) * float(a.float().norm())
    return float((a.float() - b.float()).norm()) <= tolerance


def _probe_layers(decoder: PreTrainedModel) -> ProbeStates:
    """Rows 0 and 1, and 2 and 3, hold the same token: at `LATE` and at `EARLY`."""
    embedding: Any = decoder.get_input_embeddings()
    first, second = embedding.weight.shape[0] // 3, embedding.weight.shape[0] // 2
    ids = torch.tensor([first, first, second, second], device=input_device(decoder))
    positions = torch.tensor([LATE, EARLY] * 2, device=ids.device)
    return _run_probe(decoder, ids[:, None], positions[:, None])


def input_device(model: PreTrainedModel) -> torch.device:
    """Where token ids go in; under accelerate's offloading, where the model computes."""
    embedding: Any = model.get_input_embeddings()
    device: torch.device = next(embedding.parameters()).device
    if device.type == "meta":
        hooks = (getattr(part, "_hf_hook", None) for part in (model, embedding))
        places = (getattr(hook, "execution_device", None) for hook in hooks)
        device = next((torch.device(place) for place in places if place is not None), device)
    return device


def _run_probe(decoder: PreTrainedModel, ids: Tensor, positions: Tensor) -> ProbeStates:
    """Every layer's rotated queries and keys for rows of one token each."""
    states: ProbeStates = {}
    before = _probe_states.set(states)
    try:
        with use_attention(decoder, PROBE), _without_dropout(decoder), torch.no_grad():
            decoder(input_ids=ids, position_ids=positions, use_cache=False)
    finally:
        _probe_states.reset(before)
    return states


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """Turn dropout off; afterwards restore the mode of each module."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _probe(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any
) -> tuple[Tensor, None]:
    """Attention of single tokens, each to itself; records its module, query and key."""
    states = _probe_states.get(None)
    if states is not None:
        states[layer_of(module)] = module, query, key
    return value.repeat_interleave(query.shape[1] // value.shape[1], 1).transpose(1, 2), None


AttentionInterface.register(PROBE, _probe)
