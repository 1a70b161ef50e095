"""Collecting prompt shares: π of each row's last query, layer by layer, during a forward pass.

Shares come from a layer's weights where these are made, and else from the log-sum-exps of its fused
attention: only the keys of the spans have to be met again. These are gathered once, and all layers
meet theirs in one product at the end of the pass, since a layer alone is mostly overhead.

This module knows tensors. It knows no tokens and no models.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from holdfast.control.attention import Merge, gather_columns
from holdfast.control.kernels import additive_mask, attention_scores, in_float32
from holdfast.control.steering import Steering
from holdfast.control.switch import AttentionCall


class _Layer(NamedTuple):
    """What the recorder computes a layer's π from when the pass has ended."""

    number: int
    query: Tensor  # (B, H, 1 or 2, D): plain attention's, and where it differs the persona's
    keys: torch.Size  # of the spans' keys, (B, Hkv, n, D)
    visible: Tensor | None  # added to the scores, (B, 1, 1, n)
    scale: float | None
    parts: tuple[Tensor, ...]  # (B, H, 1) each: the log-sum-exp, or a merge's

    @property
    def form(self) -> Hashable:
        """Equal for layers that one product can serve."""
        like = self.query.shape, self.query.dtype, self.query.device, self.keys, len(self.parts)
        return *like, id(self.visible), self.scale


class Recorder:
    """Collects π of each row's last query, layer by layer, during one forward pass.

    It serves passes whose rows and columns stay where they are.

    Args:
        starts: the first column of each row's spans, (spans, B).
        ends: the columns after them; equal to the first where a row has none.
        plain: also record plain attention's π where a control is active, which costs a
            second set of weights.
    """

    def __init__(self, starts: Tensor, ends: Tensor, plain: bool = True) -> None:
        self.starts, self.ends, self.plain = starts, ends, plain
        first = starts.amin(0)
        columns = first[:, None] + torch.arange(int((ends - first).amax()), device=first.device)
        self.columns = columns  # of all spans of a row, (B, n)
        self.inside = self._within(columns)
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._waiting: list[_Layer] = []
        self._keys: dict[int, Tensor] = {}
        self._stacks: dict[tuple[int, ...], Tensor] = {}
        self._mask: Tensor | None = None
        self._visible: Tensor | None = None
        self._steering: Steering | None = None
        self._persona: Tensor | None = None

    def begin(self, columns: int) -> None:
        """Begin a pass whose queries see up to so many columns."""
        self.spans = self._within(torch.arange(columns, device=self.starts.device)[None])
        self.places = self.columns.clamp(max=columns - 1)
        self._mask = self._visible = None
        self._waiting = []

    def sees(self, key: Tensor, mask: Tensor | None) -> bool:
        """Whether the spans' keys are enough: a layer's are all columns, its mask all heads'."""
        shared = mask is None or mask.shape[1] == 1
        return shared and key.shape[2] == self.spans.shape[-1]

    def knows(self, steering: Steering) -> bool:
        """Whether the spans' keys are enough under a control: the persona's are among them.

        Under restore, no other of them may be in a turn, whose weights change in several ways.
        """
        if steering is not self._steering:
            columns, starts, ends = (
                x.to(self.columns.device) for x in (self.columns, steering.starts, steering.ends)
            )
            persona = (columns >= starts[:, None]) & (columns < ends[:, None])
            whole = bool((persona.sum(1) == (ends - starts)).all())
            if any(group.restores for group in steering.shares):
                turns = steering.turns.to(columns.device).amin(1, keepdim=True)
                whole &= not bool((self.inside.any(0) & ~persona & (columns >= turns)).any())
            self._steering, self._persona = steering, persona if whole else None
        return self._persona is not None

    def _within(self, columns: Tensor) -> Tensor:
        """1 where a column (B or 1, n) belongs to a row's span: (spans, B, n)."""
        starts, ends = self.starts[..., None], self.ends[..., None]
        return ((columns >= starts) & (columns < ends)).float()

    def record(self, layer: int, weights: Tensor, plain: Tensor | None = None) -> None:
        """Record a layer's π.

        Args:
            layer: its number.
            weights: of the last queries, (B, H, Lk).
            plain: the same without the control; None where there is none.
        """
        # A sliding window's cache may have dropped the first columns.
        first_column = self.spans.shape[-1] - weights.shape[-1]
        spans = self.spans[:, :, first_column:].to(weights.device).movedim(0, -1)
        share = weights.float() @ spans  # (B, H, spans)
        self.layers[layer] = share, share if plain is None else plain.float() @ spans

    def record_spans(self, call: AttentionCall, lse: Tensor) -> None:
        """Keep what a layer's π is computed from: the log-sum-exp of its plain attention.

        The spans' keys are gathered once, and then used in every pass.

        Args:
            call: with one query to a row, the keys of all columns, and a mask of all heads.
            lse: the log-sum-exp over all keys, (B, H, 1).
        """
        self._keep(call, call.query, (lse,))

    def record_merge(self, call: AttentionCall, near: Tensor | None, merge: Merge) -> None:
        """Keep what a layer's π is computed from under a control that the recorder `knows`.

        A key of the persona weighs exp(s - l_P) times the persona's share after, and one of the
        rest exp(s - l_R) times the rest's.

        Args:
            call: as in `record_spans`.
            near: the query that meets the persona; None where it is the same.
            merge: the attentions to the two parts.
        """
        both = call.query if near is None else torch.cat([call.query, near], 2)
        self._keep(call, both, (merge.lse_p, merge.lse_r, merge.persona, merge.rest))

    def _keep(self, call: AttentionCall, query: Tensor, parts: tuple[Tensor, ...]) -> None:
        layer, key, mask, scale = call.layer, call.key, call.mask, call.scale
        if layer not in self._keys:
            self._keys[layer] = in_float32(gather_columns(key, self.places.to(key.device)))
        if mask is not None and (mask is not self._mask or self._visible is None):
            whole = cast(Tensor, additive_mask(mask, query)).expand(len(self.places), 1, 1, -1)
            places = self.places[:, None, None].to(mask.device)
            self._mask, self._visible = mask, whole.gather(3, places)
        visible = None if mask is None else self._visible  # layers share a mask
        self._waiting.append(_Layer(layer, query, self._keys[layer].shape, visible, scale, parts))

    def _compute(self, layers: Sequence[_Layer]) -> None:
        """Record the π of layers whose tensors have the same shapes, as if they were rows."""
        first, count = layers[0], len(layers)
        score = attention_scores(
            torch.cat([one.query for one in layers]),
            self._stacked_keys(tuple(one.number for one in layers)),
            first.scale,
        ).unflatten(0, (count, -1))  # (layers, B, H, Lq, n)
        if first.visible is not None:
            score = score + first.visible
        spans = self.inside.movedim(0, -1).to(score)  # (B, n, spans)
        parts = [torch.stack(of) for of in zip(*(one.parts for one in layers), strict=True)]
        if len(parts) == 1:
            shares = (score[..., 0, :] - parts[0]).exp() @ spans
            plains = shares
        else:
            shares, plains = self._under_control(score, parts, spans)
        for one, share, plain in zip(layers, shares, plains, strict=True):
            self.layers[one.number] = share, plain

    def _under_control(
        self, score: Tensor, parts: Sequence[Tensor], spans: Tensor
    ) -> tuple[Tensor, Tensor]:
        """π under the control and, where it is asked for, under plain attention."""
        assert self._persona is not None
        lse_p, lse_r, persona_share, rest_share = parts  # (layers, B, H, 1)
        persona = self._persona[:, None].to(score.device)
        plain, steered = score[..., 0, :], score[..., -1, :]
        inner = torch.where(persona, steered - lse_p, plain - lse_r).exp()
        share = (inner * torch.where(persona, persona_share, rest_share)).to(spans) @ spans
        if not self.plain:
            return share, share
        if score.shape[-2] > 1:
            lse_p = plain.masked_fill(~persona, -torch.inf).logsumexp(-1, keepdim=True)
        total = torch.logaddexp(lse_p, lse_r)
        return share, (plain - total).exp().to(spans) @ spans

    def _stacked_keys(self, layers: tuple[int, ...]) -> Tensor:
        """The spans' keys of layers, one after another: (layers · B, Hkv, n, D)."""
        if layers not in self._stacks:
            stack = torch.cat([self._keys[layer] for layer in layers])
            self._keys.update(zip(layers, stack.chunk(len(layers)), strict=True))  # kept once
            self._stacks[layers] = stack
        return self._stacks[layers]

    def result(self) -> Tensor:
        """π as (2, spans, B, layers, H): under the control, then under plain attention.

        Starts over: the next pass is recorded anew.
        """
        groups: dict[Hashable, list[_Layer]] = {}
        for one in self._waiting:
            groups.setdefault(one.form, []).append(one)
        for layers_alike in groups.values():
            self._compute(layers_alike)
        layers = [self.layers[i] for i in sorted(self.layers)]
        self.layers, self._waiting = {}, []
        heads = max(share.shape[1] for share, _ in layers)

        def stack_layers(shares: Sequence[Tensor]) -> Tensor:
            padded = [
                x if x.shape[1] == heads else pad(x, (0, 0, 0, heads - x.shape[1]))
                for x in (share.to(self.spans.device) for share in shares)
            ]
            return torch.stack(padded, dim=1)  # (B, layers, H, spans)

        both = torch.stack([stack_layers(shares) for shares in zip(*layers, strict=True)])
        return both.movedim(-1, 1)
