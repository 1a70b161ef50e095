"""Collecting prompt shares: π of each row's last query, layer by layer, during a forward pass.

Shares come from a layer's weights where these are made, and else from the log-sum-exps of its fused
attention: only the keys of the spans have to be met again, and these are gathered once.

This module knows tensors. It knows no tokens and no models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from holdfast.control.attention import Merge, gather_columns
from holdfast.control.kernels import additive_mask, attention_scores, in_float32
from holdfast.control.steering import Steering


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
        self._keys: dict[int, Tensor] = {}
        self._mask: Tensor | None = None
        self._visible: Tensor | None = None
        self._steering: Steering | None = None
        self._persona: Tensor | None = None

    def begin(self, columns: int) -> None:
        """Begin a pass whose queries see up to so many columns."""
        self.spans = self._within(torch.arange(columns, device=self.starts.device)[None])
        self.places = self.columns.clamp(max=columns - 1)
        self._mask = self._visible = None

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
        dropped = self.spans.shape[-1] - weights.shape[-1]
        spans = self.spans[:, :, dropped:].to(weights.device).movedim(0, -1)
        share = weights.float() @ spans  # (B, H, spans)
        self.layers[layer] = share, share if plain is None else plain.float() @ spans

    def record_spans(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        lse: Tensor,
        mask: Tensor | None,
        scale: float | None,
    ) -> None:
        """Record a layer's π from the log-sum-exp of its plain attention.

        The spans' keys are gathered once, and then used in every pass.

        Args:
            layer: its number.
            query: one to a row, (B, H, 1, D).
            key: of all columns, (B, Hkv, Lk, D).
            lse: the log-sum-exp over all keys, (B, H, 1).
            mask: (B or 1, 1, 1, Lk), boolean or additive; None where all keys are seen.
            scale: what scores are multiplied by; None for 1/√D.
        """
        score = self._scores(layer, query, key, mask, scale)[:, :, 0]
        share = (score - lse).exp() @ self.inside.movedim(0, -1)
        self.layers[layer] = share, share

    def record_merge(
        self,
        layer: int,
        query: Tensor,
        near: Tensor | None,
        key: Tensor,
        merge: Merge,
        mask: Tensor | None,
        scale: float | None,
    ) -> None:
        """Record a layer's π under a control that the recorder `knows`, from its two parts.

        A key of the persona weighs exp(s - l_P) times the persona's share after, and one of the
        rest exp(s - l_R) times the rest's.

        Args:
            layer: its number.
            query: one to a row, (B, H, 1, D).
            near: the query that meets the persona; None where it is the same.
            key: of all columns, (B, Hkv, Lk, D).
            merge: the attentions to the two parts.
            mask: as in `record_spans`.
            scale: what scores are multiplied by; None for 1/√D.
        """
        assert self._persona is not None
        persona, spans = self._persona[:, None].to(query.device), self.inside.movedim(0, -1)
        both = query if near is None else torch.cat([query, near], 2)
        score = self._scores(layer, both, key, mask, scale)
        plain, steered = score[:, :, 0], score[:, :, -1]  # (B, H, n)
        inner = torch.where(persona, steered - merge.lse_p, plain - merge.lse_r).exp()
        weights = inner * torch.where(persona, merge.persona, merge.rest)
        share = weights.to(spans.dtype) @ spans
        if not self.plain:
            self.layers[layer] = share, share
            return
        lse_p = merge.lse_p
        if near is not None:
            lse_p = plain.masked_fill(~persona, -torch.inf).logsumexp(-1, keepdim=True)
        total = torch.logaddexp(lse_p, merge.lse_r)
        self.layers[layer] = share, (plain - total).exp().to(spans.dtype) @ spans

    def _scores(
        self, layer: int, query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None
    ) -> Tensor:
        """Scores of the spans' keys, (B, H, Lq, n), -inf where a query does not see one."""
        places = self.places.to(key.device)
        if layer not in self._keys:
            self._keys[layer] = in_float32(gather_columns(key, places))
        score = attention_scores(query, self._keys[layer], scale)
        if mask is None:
            return score
        if mask is not self._mask or self._visible is None:  # layers share a mask
            whole = cast(Tensor, additive_mask(mask, query)).expand(len(places), 1, 1, -1)
            self._mask, self._visible = mask, whole.gather(3, places[:, None, None])
        return score + self._visible

    def result(self) -> Tensor:
        """π as (2, spans, B, layers, H): under the control, then under plain attention.

        Starts over: the next pass is recorded anew.
        """
        layers = [self.layers[i] for i in sorted(self.layers)]
        self.layers = {}
        heads = max(share.shape[1] for share, _ in layers)

        def stacked(shares: Sequence[Tensor]) -> Tensor:
            padded = [
                x if x.shape[1] == heads else pad(x, (0, 0, 0, heads - x.shape[1]))
                for x in (share.to(self.spans.device) for share in shares)
            ]
            return torch.stack(padded, dim=1)  # (B, layers, H, spans)

        both = torch.stack([stacked(shares) for shares in zip(*layers, strict=True)])
        return both.movedim(-1, 1)
