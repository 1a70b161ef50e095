"""One forward pass under a batch's `Steering`: the persona's part of attention, reweighted.

`start_pass` gives the `SteeredPass` of a forward pass, which reaches every attention call as
the model's keyword argument `holdfast`. There the keys split into the persona's span P and the
rest R, each an attention with its log-sum-exp, merged as

    π = sigmoid(l_P - l_R)        out = w(π)·o_P + (1 - w(π))·o_R

with w the row's share function (the identity without one). Under anchor, the query that meets
P is turned back by

    Δ = max(0, T - e)        T the first column of the query's own turn, e the span's end

positions. Its scores are then those of keys moved to just before the turn, since rotary scores
know distances only. Keys stay as they are, so a cache is the same either way, and any mix of
turns and rows is one call. Queries up to a span's end, and rows without a span, are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from holdfast.control.attention import (
    Attention,
    Merge,
    Queries,
    gather_columns,
    merge,
    merge_turns,
    sliced_attention,
)
from holdfast.control.kernels import (
    apply_weights,
    attend,
    attention_scores,
    join_attentions,
    needs_gradient,
)
from holdfast.control.pass_columns import KeyPart, PassColumns, PassMasks
from holdfast.control.reference_attention import TurnKeys, apply_mask, reference_weights, reweigh
from holdfast.control.share_functions import Restore, ShareFunction, TurnFunction
from holdfast.control.steering import RowGroup, Steering
from holdfast.control.switch import AttentionCall, layer_of, unreached_error
from holdfast.core.errors import ControlError

# Up to so many keys, the weights of one query take less time than two parts.
FEW_KEYS = 512


def start_pass(steering: Steering, column: int, queries: int) -> SteeredPass | None:
    """The pass whose first query is in `column`, or None where no query is steered."""
    if column + queries <= steering.first_end:
        return None
    return SteeredPass(steering, column, queries)


class SteeredPass(PassColumns):
    """One forward pass of a `Steering`, with the masks that its layers share."""

    def __init__(self, steering: Steering, column: int, queries: int) -> None:
        super().__init__(steering, column, queries)
        self._masks: list[PassMasks] = []

    def covers(self, layer: int) -> bool:
        """Whether any row's control changes this layer."""
        return any(group.covers(layer) for group in self.groups)

    def share(self, layer: int) -> ShareFunction | None:
        """The share function of a layer over all rows; None where it is the identity.

        Where a row's share depends on its turns (`restores`), it is a `TurnFunction`.
        """
        groups = [group for group in self.steering.shares if group.covers(layer)]

        def apply(pi: Tensor, without_earlier: Tensor | None = None) -> Tensor:
            w = pi
            for group in groups:
                if isinstance(group.share, Restore):
                    assert without_earlier is not None
                    w = group.select(group.share(pi, without_earlier), w)
                elif group.share is not None:
                    w = group.select(group.share(pi), w)
            return w

        return apply if groups else None

    def turn_keys(self, layer: int, keys: int, heads: int) -> TurnKeys | None:
        """Which keys a layer's share depends on; None where it depends on no turns."""
        if not (groups := self.restoring(layer)):
            return None
        return TurnKeys(
            self.earlier_turns(keys), self.own_replies(keys), self._takes(groups, heads)
        )

    def restoring(self, layer: int) -> list[RowGroup]:
        """The groups whose share depends on turns in a layer."""
        return [g for g in self.steering.shares if g.restores and g.covers(layer)]

    def _takes(self, groups: Sequence[RowGroup], heads: int) -> Tensor:
        """Rows and heads that take from own replies alone, (B, H, 1)."""
        takes = torch.zeros(len(self.steering.starts), heads, 1, dtype=torch.bool)
        takes = takes.to(self.steering.device)
        for group in groups:
            if group.control.source == "own":
                takes = group.select(torch.ones_like(takes), takes)
        return takes

    def _restore(self, call: AttentionCall, near: Tensor) -> Merge:
        """Attention where a share depends on earlier turns: up to five parts, merged."""
        _, query, key, value, mask, scale = call
        layer, masks = call.layer, self._masks_of(mask, query, key.shape[2])
        share = cast(TurnFunction, self.share(layer))
        reuses = self._can_reuse_keys(key.shape[2]) and self.column >= self.steering.last_turn

        def attend_to(name: str, part: KeyPart) -> Attention:
            keys, values = key[:, :, part.start :], value[:, :, part.start :]
            if part.places is not None:
                keys = self._gather((layer, name, "keys"), key, part.places, reuses)
                values = self._gather((layer, name, "values"), value, part.places, reuses)
            return attend(query, keys, values, part.mask, scale)

        turns = masks.turns
        later, earlier = attend_to("later", turns.later), None
        if turns.opening is not None:
            later = join_attentions(*attend_to("opening", turns.opening), *later)
        if turns.earlier is not None:
            own, others = turns.earlier
            earlier = attend_to("own", own), attend_to("others", others)
        persona = attend(near, *self._persona(layer, key, value), masks.parts[0], scale)
        steered = None if self.steers_all else self.steered.to(query.device)
        groups, takes = self.restoring(layer), None
        if not all(group.everywhere and group.control.source == "own" for group in groups):
            takes = self._takes(groups, query.shape[1]).to(query.device)
        return merge_turns(persona, later, earlier, share, takes, steered)

    def anchored_query(self, module: torch.nn.Module, query: Tensor, layer: int) -> Tensor | None:
        """The queries that meet the persona under anchor; None where no row is under it."""
        near: Tensor | None = None
        for group in self.steering.anchors:
            if group.covers(layer) and self.steering.rotary is not None:
                result = self.steering.rotary.turn_back(module, query, self.shift.to(query.device))
                near = group.select(result, query if near is None else near)
        return near

    def _can_reuse_keys(self, keys: int) -> bool:
        """Whether all rows' persona keys are there and stay where they are from now on."""
        return not self.first_column(keys) and self.steering.last_end <= keys

    def attention(self, call: AttentionCall) -> Tensor:
        """Two fused attentions, merged: (B, H, Lq, D); the reference where it is differentiated."""
        if needs_gradient(call.query, call.key, call.value):
            weights = self.weights(call)
            return apply_weights(weights.to(call.value.dtype), call.value)
        return self.merge(call, self.anchored_query(call.module, call.query, call.layer)).output

    def merge(self, call: AttentionCall, near: Tensor | None) -> Merge:
        """The fused attentions of a layer, merged; `near` is its `anchored_query`."""
        _, query, key, value, mask, scale = call
        layer, keys = call.layer, key.shape[2]
        near = query if near is None else near
        if self.restoring(layer):
            return self._restore(call, near)
        steered = self.steered.to(query.device)
        share = self.share(layer)
        span = self.steering.common_span
        if span and not self.first_column(keys):
            causal = mask is None and keys == self.column + self.queries
            full = None if causal else self._masks_of(mask, query, keys).full
            queries = Queries(query, near, steered)
            return sliced_attention(queries, key, value, span, share, full, scale, causal)
        mask_p, mask_r = self._masks_of(mask, query, keys).parts
        o_p, l_p = attend(near, *self._persona(layer, key, value), mask_p, scale)
        o_r, l_r = attend(query, key, value, mask_r, scale)
        return merge(o_p, l_p, o_r, l_r, share, steered)

    def _persona(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The persona's keys and values of each row, (B, Hkv, n, D), padded to the longest."""
        places, _ = self.key_places(key.shape[2])
        reuses = self._can_reuse_keys(key.shape[2])
        keys = self._gather((layer, "persona", "keys"), key, places, reuses)
        return keys, self._gather((layer, "persona", "values"), value, places, reuses)

    def _gather(
        self, name: tuple[int, str, str], states: Tensor, places: Tensor, reuses: bool
    ) -> Tensor:
        """A part's keys or values, gathered once in a row of decoding steps if `reuses`."""
        cache = self.steering.part_states
        reuses = reuses and self.queries == 1 and not states.requires_grad
        if reuses and name in cache:
            return cache[name]
        part = gather_columns(states, places)
        if reuses:
            cache[name] = part
        return part

    def _masks_of(self, mask: Tensor | None, query: Tensor, keys: int) -> PassMasks:
        """The masks that follow from a layer's own; layers with the same one share them."""
        for masks in self._masks:
            if masks.fits(mask, query, keys):
                return masks
        self._masks.append(PassMasks(self, mask, query, keys))
        return self._masks[-1]

    def prefers_weights(self, layer: int, keys: int) -> bool:
        """Whether one query to a row is steered sooner by its weights than in two parts."""
        return keys <= FEW_KEYS or self.share(layer) is None

    def one_query(
        self,
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        mask: Tensor | None,
        scale: float | None,
    ) -> tuple[Tensor, Tensor]:
        """Attention of one query to a row.

        Returns its plain scores without the mask, and its weights under the control, both
        (B, H, 1, Lk).
        """
        layer, keys = layer_of(module), key.shape[2]
        near, share = self.anchored_query(module, query, layer), self.share(layer)
        span = self.span(keys)
        if near is None:
            plain = score = attention_scores(query, key, scale)
        elif keys <= FEW_KEYS:
            # Keys are read once for both, and reading them is what takes the time.
            both = attention_scores(torch.cat([query, near], 2), key, scale)
            plain, near_scores = both.split(1, 2)
            score = torch.where(span[:, None, None], near_scores, plain)
        else:
            plain = attention_scores(query, key, scale)
            score = self._with_anchored_scores(layer, near, key, plain, scale)
        score = apply_mask(score, mask)
        if share is None:
            return plain, score.softmax(-1)
        turns = self.turn_keys(layer, keys, query.shape[1])
        return plain, reweigh(score, span, share, self.steered, turns=turns)[0]

    def _with_anchored_scores(
        self, layer: int, near: Tensor, key: Tensor, score: Tensor, scale: float | None
    ) -> Tensor:
        """Scores (B, H, 1, Lk) with those of the persona's keys replaced by `near`'s."""
        keys = key.shape[2]
        places, present = (x.to(key.device) for x in self.key_places(keys))
        name = layer, "persona", "keys"
        persona = self._gather(name, key, places, self._can_reuse_keys(keys))
        index = places[:, None, None].expand(-1, score.shape[1], -1, -1)  # (B, H, 1, n)
        near_scores = attention_scores(near, persona, scale)
        near_scores = torch.where(present[:, None, None], near_scores, 0.0)
        # Added to zeros, since places without a key may repeat another's.
        everywhere = torch.zeros_like(score).scatter_add(3, index, near_scores)
        return torch.where(self.span(keys)[:, None, None], everywhere, score)

    def weights(self, call: AttentionCall, queries: slice = slice(None), **extras: Any) -> Tensor:
        """The attention matrix under the control, (B, H, Lq, Lk) in float32; differentiable.

        Args:
            call: what the model gives the layer.
            queries: compute the rows of these alone.
            extras: `softcap` and `sinks` of `reference_weights`.
        """
        module, query, key, _, mask, scale = call
        layer, keys = call.layer, key.shape[2]
        near = self.anchored_query(module, query, layer)
        full = self._masks_of(mask, query, keys).full
        turns = self.turn_keys(layer, keys, query.shape[1])
        steered, span = self.steered.to(query.device), self.span(keys).to(query.device)
        own_mask = full if full is None or full.shape[2] == 1 else full[..., queries, :]
        return reference_weights(
            query[:, :, queries],
            key,
            own_mask,
            scale,
            span,
            self.share(layer),
            steered=steered[..., queries],
            near=None if near is None else near[:, :, queries],
            turns=turns and turns.part(queries),
            **extras,
        )[0]


def refuse_unreached(steered_pass: SteeredPass | None, name: str) -> None:
    """Check, right after a pass, that every layer's attention was steered once.

    Raises `ControlError` where the model did not hand the pass on, has several attentions in a
    layer, or none in the layers that a control names.
    """
    layers = [] if steered_pass is None else steered_pass.layers
    if steered_pass is not None and not layers:
        raise unreached_error(name)
    if len(layers) > len(set(layers)):
        raise ControlError(
            f"{name} computes several attentions in a layer, and a share is defined for one: use "
            "window or reminder."
        )
    for group in () if steered_pass is None else steered_pass.groups:
        if not any(map(group.covers, layers)):
            raise ControlError(
                f"{name} has no attention in the layers of `{group.control}`: it is in "
                f"{', '.join(map(str, layers))}."
            )
