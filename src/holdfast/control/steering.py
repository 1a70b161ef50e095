"""One forward pass under control: which keys are the persona, row by row, and what is done.

A `Steering` belongs to a batch. `at(column, queries)` gives the `Pass` of one forward
pass, which travels to every attention call as the model's keyword argument `holdfast`.
There the keys split in the persona's span P and the rest R, each an attention with its
log-sum-exp, merged as

    π = sigmoid(l_P - l_R)        out = w(π)·o_P + (1 - w(π))·o_R

with w the row's share function (the identity without one). Under anchor the query that
meets P is turned back by

    Δ = max(0, T - e)        T the first column of the query's own turn, e the span's end

positions: its scores are then those of keys moved to sit just before the turn, since
rotary scores know distances only. Keys stay as they are, so a cache holds the same
either way, and any mix of turns and rows is one call.

Queries up to a span's end, and rows without one, are left alone. Columns are places of
keys, padding included. This module knows tensors; where the spans come from is the
engine's and `hold`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from holdfast.control.attention import (
    ShareFunction,
    masked,
    merge,
    parted,
    plain_weights,
    share_function,
    sliced,
    taken,
    weighed,
)
from holdfast.control.kernels import additive, applied, attend, differentiates, scores
from holdfast.control.rotary import Rotary
from holdfast.core.control import AttentionControl, Control
from holdfast.core.errors import ControlError

Columns = tuple[int, int]
# Up to so many keys the weights of one query take less time than two parts.
BRIEF = 512
_NEVER = 1 << 40  # a turn in a column that no query reaches


@dataclass(frozen=True)
class Held:
    """One row's control, and the columns [start, end) it is about.

    `content` are the persona's own tokens, `message` the system message as rendered
    without BOS, `turns` the columns where user turns begin.
    """

    control: Control
    content: Columns
    message: Columns
    turns: tuple[int, ...] = ()

    @property
    def span(self) -> Columns:
        """The persona's columns: anchor's where there is an anchor, else the share's."""
        part = self.control.anchor or self.control.share
        return self.message if part is not None and part.span == "message" else self.content


def moved(held: Held, by: int) -> Held:
    """The same row, its columns `by` further right."""
    (a, b), (c, d) = held.content, held.message
    turns = tuple(turn + by for turn in held.turns)
    return Held(held.control, (a + by, b + by), (c + by, d + by), turns)


@dataclass(frozen=True)
class _Group:
    """Rows under the same part but for its strength: (rows,) of booleans."""

    part: AttentionControl
    rows: Tensor
    share: ShareFunction | None
    whole: bool  # every row and head, so that nothing has to be masked

    def covers(self, layer: int) -> bool:
        """Whether it is for any head of a layer."""
        layers = self.part.layers
        return layers is None or layers[0] <= layer <= layers[1]

    def choose(self, changed: Tensor, other: Tensor) -> Tensor:
        """`changed` (rows, heads, …) where the part is for, `other` elsewhere."""
        if self.whole:
            return changed
        heads = changed.shape[1]
        low, high = self.part.heads or (0, heads)
        at = torch.arange(heads, device=self.rows.device)
        chosen = self.rows[:, None] & (at >= low) & (at <= high)
        beyond = (1,) * (changed.ndim - 2)
        return torch.where(chosen.reshape(*chosen.shape, *beyond).to(other.device), changed, other)


class Steering:
    """The control of a batch's rows (None for a row without one).

    `rotary` is needed where a row is under anchor.
    """

    def __init__(
        self,
        rows: Sequence[Held | None],
        rotary: Rotary | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.rotary, self.device = rotary, torch.device(device)
        spans = [held.span if held else (0, 0) for held in rows]
        self.first = min((held.span[1] for held in rows if held), default=_NEVER)
        # Where every row has its span in the same columns, keys are sliced, not gathered.
        self.aligned = spans[0] if len(set(spans)) == 1 and rows and rows[0] else None
        self.start = torch.tensor([a for a, _ in spans], device=self.device)
        self.end = torch.tensor([b for _, b in spans], device=self.device)
        self.width = max((b - a for a, b in spans), default=0)
        self.shares = self._groups(rows, "share")
        self.anchors = self._groups(rows, "anchor")
        longest = max((len(held.turns) for held in rows if held), default=0)
        turns = [[*(held.turns if held else ())] for held in rows]
        padded = [[*t, *[_NEVER] * (longest - len(t))] for t in turns]
        self.turns = torch.tensor(padded, device=self.device).reshape(len(rows), longest)
        # Persona keys gathered at one decoding step and met again at the next, by layer.
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.approached: dict[int, Tensor] = {}

    def _groups(self, rows: Sequence[Held | None], slot: str) -> list[_Group]:
        found: dict[tuple[object, ...], list[int]] = {}
        parts: list[AttentionControl | None] = [
            getattr(h.control, slot) if h else None for h in rows
        ]
        for i, part in enumerate(parts):
            if part is not None:
                found.setdefault((part.kind, part.layers, part.heads), []).append(i)
        return [self._group(parts, members) for members in found.values()]

    def _group(self, parts: Sequence[AttentionControl | None], members: list[int]) -> _Group:
        chosen = torch.zeros(len(parts), dtype=torch.bool)
        chosen[members] = True
        one = parts[members[0]]
        assert one is not None
        share = None
        if one.kind != "anchor":
            # Rows outside of the group take its first strength, and are masked afterwards.
            inside = set(members)
            each = [p.strength if p and i in inside else one.strength for i, p in enumerate(parts)]
            strengths = torch.tensor(each, dtype=torch.float32, device=self.device)
            share = share_function(one.kind, strengths[:, None, None])
        whole = one.heads is None and len(members) == len(parts)
        return _Group(one, chosen.to(self.device), share, whole)

    def at(self, column: int, queries: int) -> Pass | None:
        """The pass whose first query is in `column`, or None where no query is steered."""
        return Pass(self, column, queries) if column + queries > self.first else None


class Pass:
    """One forward pass of a `Steering`. `met` are the layers whose attention saw it."""

    def __init__(self, steering: Steering, column: int, queries: int) -> None:
        self.steering, self.column, self.queries = steering, column, queries
        self.met: list[int] = []
        at = torch.arange(column, column + queries, device=steering.device)  # (Lq,)
        has = steering.end > steering.start
        steered = (at >= steering.end[:, None]) & has[:, None]
        self.steered = steered[:, None]  # (B, 1, Lq)
        self.shift = self._shift(at) * steered  # (B, Lq)
        place = torch.arange(steering.width, device=steering.device)
        self.places = steering.start[:, None] + place  # (B, n)
        self.inside = self.places < steering.end[:, None]
        self._masks: dict[tuple[object, ...], Tensor] = {}
        self._seen: list[Tensor] = []  # masks are told apart by identity, so they are held on to

    def _shift(self, at: Tensor) -> Tensor:
        """How far each query is from its persona's own end, in whole turns: (B, Lq)."""
        s = self.steering
        if not s.turns.shape[1]:
            return torch.zeros(s.turns.shape[0], len(at), dtype=torch.long, device=s.device)
        begun = s.turns[:, None, :] <= at[:, None]  # (B, Lq, turns)
        last = torch.where(begun, s.turns[:, None, :], 0).amax(-1)
        return (last - s.end[:, None]).clamp(min=0)

    def acts(self, layer: int) -> bool:
        """Whether any part is for this layer."""
        return any(g.covers(layer) for g in (*self.steering.shares, *self.steering.anchors))

    def share(self, layer: int) -> ShareFunction | None:
        """The share function of a layer, over all rows; None where it is the identity."""
        groups = [g for g in self.steering.shares if g.covers(layer)]

        def apply(pi: Tensor) -> Tensor:
            w = pi
            for group in groups:
                w = w if group.share is None else group.choose(group.share(pi), w)
            return w

        return apply if groups else None

    def near(self, module: torch.nn.Module, query: Tensor, layer: int) -> Tensor | None:
        """The queries that meet the persona under anchor; None where they are as they were."""
        moved: Tensor | None = None
        for group in self.steering.anchors:
            if group.covers(layer) and self.steering.rotary is not None:
                turned = self.steering.rotary.back(module, query, self.shift.to(query.device))
                moved = group.choose(turned, query if moved is None else moved)
        return moved

    def span(self, keys: int) -> Tensor:
        """Which of a layer's keys are the persona: (B, keys)."""
        name = ("span", keys)
        if name not in self._masks:
            at = torch.arange(keys, device=self.steering.device) + self._offset(keys)
            s = self.steering
            self._masks[name] = (at >= s.start[:, None]) & (at < s.end[:, None])
        return self._masks[name]

    def _offset(self, keys: int) -> int:
        """The column of the first key: above 0 where a sliding window's cache has dropped some."""
        return max(0, self.column + self.queries - keys)

    def attention(
        self,
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        scale: float | None,
    ) -> Tensor:
        """Two fused attentions, merged: (B, H, Lq, D); the reference where it is differentiated."""
        if differentiates(query, key, value):
            weights = self.weights(module, query, key, mask, scale)
            return applied(weights.to(value.dtype), value)
        layer = layer_of(module)
        other = self.near(module, query, layer)
        share = self.share(layer)
        near = query if other is None else other
        aligned = self.steering.aligned
        if aligned and not self._offset(key.shape[2]):
            causal = mask is None and key.shape[2] == self.column + self.queries
            full = None if causal else self._additive(mask, query, key.shape[2])
            steered = self.steered.to(query.device)
            return sliced(query, near, key, value, full, scale, aligned, share, steered, causal)[0]
        keys, values = self._gathered(layer, key, value)
        at_p, at_r = self._parted(mask, query, key.shape[2])
        o_p, l_p = attend(near, keys, values, at_p, scale)
        o_r, l_r = attend(query, key, value, at_r, scale)
        return merge(o_p, l_p, o_r, l_r, share, self.steered.to(query.device))[0]

    def _gathered(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The persona's keys and values of each row, (B, Hkv, n, D), padded to the longest."""
        kept, decoding = self.steering.kept, self.queries == 1 and not key.requires_grad
        if decoding and layer in kept:
            return kept[layer]
        places = (self.places - self._offset(key.shape[2])).clamp(0, key.shape[2] - 1)
        keys, values = taken(key, places), taken(value, places)
        if decoding and not self._offset(key.shape[2]):
            kept[layer] = keys, values
        return keys, values

    def _additive(self, mask: Tensor | None, query: Tensor, keys: int) -> Tensor | None:
        """What each query may see, added to scores; None where it sees all keys."""
        if mask is None and self.queries == 1:
            return None
        name = ("full", id(mask), keys, query.dtype, query.device)
        if name not in self._masks:
            seen = mask
            if seen is None:
                at = torch.arange(self.queries, device=query.device)[:, None] + self.column
                seen = torch.arange(keys, device=query.device) + self._offset(keys) <= at
            self._masks[name] = cast(Tensor, additive(seen, query))[..., :keys]
            self._seen += [mask] if mask is not None else []
        return self._masks[name]

    def _parted(self, mask: Tensor | None, query: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        """What each query may see of its persona, and of the rest: both to be added to scores."""
        name = ("parts", id(mask), keys, query.dtype, query.device)
        if (*name, 0) not in self._masks:
            offset = self._offset(keys)
            places = (self.places - offset).clamp(0, keys - 1)
            inside = self.inside & (self.places >= offset)
            full = self._additive(mask, query, keys)
            at_p, at_r = parted(full, query, places, inside, self.span(keys))
            self._masks[(*name, 0)], self._masks[(*name, 1)] = at_p, at_r
            self._seen += [mask] if mask is not None else []
        return self._masks[(*name, 0)], self._masks[(*name, 1)]

    def weighs(self, layer: int, keys: int) -> bool:
        """Whether one query to a row is steered by its weights sooner than in two parts."""
        return keys <= BRIEF or self.share(layer) is None

    def single(
        self,
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        mask: Tensor | None,
        scale: float | None,
    ) -> tuple[Tensor, Tensor]:
        """One query to a row: its plain scores, not masked, and its weights as they come out.

        Both (B, H, 1, Lk).
        """
        layer, keys = layer_of(module), key.shape[2]
        near, share, span = self.near(module, query, layer), self.share(layer), self.span(keys)
        if near is None:
            plain = score = scores(query, key, scale)
        elif keys <= BRIEF:
            # Keys are read once for both, which is what the time goes into.
            plain, met = scores(torch.cat([query, near], 2), key, scale).split(1, 2)
            score = torch.where(span[:, None, None], met, plain)
        else:
            plain = scores(query, key, scale)
            score = self._approached(layer, near, key, plain, scale)
        score = masked(score, mask)
        weights = (
            score.softmax(-1) if share is None else weighed(score, span, share, self.steered)[0]
        )
        return plain, weights

    def _approached(
        self, layer: int, near: Tensor, key: Tensor, score: Tensor, scale: float | None
    ) -> Tensor:
        """Scores in which the persona's keys, gathered once for many steps, meet `near`."""
        kept, offset = self.steering.approached, self._offset(key.shape[2])
        places = (self.places - offset).clamp(0, key.shape[2] - 1).to(key.device)
        if offset or key.requires_grad or layer not in kept:
            kept[layer] = taken(key, places)
        index = places[:, None, None].expand(-1, score.shape[1], -1, -1)  # (B, H, 1, n)
        inside = (self.inside & (self.places >= offset)).to(key.device)[:, None, None]
        met = torch.where(inside, scores(near, kept[layer], scale), score.gather(3, index))
        return score.scatter(3, index, met)

    def weights(
        self,
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        mask: Tensor | None,
        scale: float | None,
        last: bool = False,
        **odd: Any,
    ) -> Tensor:
        """The attention matrix as it comes out, (B, H, Lq, Lk) in float32; differentiable.

        `last` computes the last query's alone. `odd` are `softcap` and `sinks`.
        """
        layer, keys = layer_of(module), key.shape[2]
        other = self.near(module, query, layer)
        full = self._additive(mask, query, keys)
        steered = self.steered.to(query.device)
        if last:
            query, steered = query[:, :, -1:], steered[..., -1:]
            other = None if other is None else other[:, :, -1:]
            full = None if full is None else full[..., -1:, :]
        span = self.span(keys).to(query.device)
        return plain_weights(
            query,
            key,
            full,
            scale,
            span=span,
            share=self.share(layer),
            steered=steered,
            moved=None if other is None else (other, span),
            **odd,
        )[0]


def layer_of(module: torch.nn.Module) -> int:
    """The number of an attention module's layer."""
    layer: Any = module.layer_idx
    return int(layer)


def refuse_unreached(passed: Pass | None, name: str) -> None:
    """Raise `ControlError` where a model did not hand its attention the pass, right after it."""
    if passed is not None and not passed.met:
        raise unreached(name)
    if passed is not None and len(passed.met) > len(set(passed.met)):
        raise ControlError(
            f"{name} computes several attentions in a layer, and a share is defined for one: use "
            "window or reminder."
        )


def unreached(name: str) -> ControlError:
    """What to say of a model that keeps what its attention should know."""
    return ControlError(
        f"{name} does not hand arguments on to its attention, so it cannot be steered: use window "
        "or reminder."
    )
