"""Drawing tokens, row by row, so that no row sees the others.

A row's uniforms come from its own counter-based generator (Philox keyed with the
row's seed), one per step, and the draw is the inverse of the cumulative
distribution over tokens in falling order of probability:

    token = the first i with  p_1 + … + p_i > u · (p_1 + … + p_n),

n being the nucleus: the smallest number of tokens whose probabilities reach
top_p (Holtzman et al. 2020), after top-k and temperature. What else is in the
batch enters nowhere. Everything is computed in float32 or better.

Guidance makes one distribution of two, of the model with the persona and of that without:

    log p = log p₀ + α (log p₁ - log p₀)        p₀ without the persona, α = 1 is off

This module knows logits and numbers. It knows no model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.core.backend import Sampling

Floats = np.ndarray[Any, np.dtype[np.float64]]

# Tokens looked at, and then looked at where these are too few, before the whole vocabulary is
# sorted; a nucleus of .9 rarely needs the second number.
HEAD, MORE = 128, 2048
# Tokens of which the largest logit is looked at first.
GROUP = 64
# Temperatures below it are 0 in float32, and greedy.
LEAST = torch.finfo(torch.float32).tiny
# Rows drawn at once on a CPU: their logits stay in its cache.
CHUNK = 8


def draw_uniforms(seed: int, steps: int) -> Floats:
    """Numbers in [0, 1), one for each step of a row with that seed."""
    return np.random.Generator(np.random.Philox(key=seed % 2**128)).random(steps)


def draw(logits: Tensor, u: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Token ids (rows,) from logits (rows, vocabulary) and uniforms (rows,).

    The second result is True for each row whose logits can be trusted: its largest is a
    finite number (NaN counts as largest).
    """
    if logits.device.type == "mps":  # no float64 and no large top-k there
        logits = logits.cpu()
    u = u.to(logits.device)
    if logits.device.type != "cpu" or len(logits) <= CHUNK:
        return _draw(logits, u, sampling)
    parts = [
        _draw(some, some_u, sampling)
        for some, some_u in zip(logits.split(CHUNK), u.split(CHUNK), strict=True)
    ]
    return torch.cat([tokens for tokens, _ in parts]), torch.cat([sound for _, sound in parts])


def _draw(logits: Tensor, u: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """`draw` for rows that are worked on at once."""
    logits = logits.float()
    top = logits.amax(dim=-1, keepdim=True)
    sound = torch.isfinite(top[:, 0])
    if sampling.temperature < LEAST or sampling.top_k == 1:
        return logits.argmax(dim=-1), sound
    x = (logits - top).div_(sampling.temperature)
    if sampling.top_k > 0:
        values, ids = x.topk(min(sampling.top_k, x.shape[-1]), dim=-1)
        return _invert(values.softmax(-1), ids, u, sampling.top_p), sound
    if sampling.top_p < 1:
        total = x.exp().sum(-1, keepdim=True)
        return _draw_from_nucleus(x, total, u, sampling.top_p, HEAD), sound
    return _invert(x.softmax(-1), None, u, 1.0), sound


def _draw_from_nucleus(x: Tensor, total: Tensor, u: Tensor, top_p: float, count: int) -> Tensor:
    """Draw from the nucleus, looked for among the `count` likeliest tokens.

    Rows in which these do not reach `top_p` are drawn from `MORE`, or from the whole vocabulary.
    """
    size = x.shape[-1]
    whole = count > HEAD and count >= size // 4
    values, ids = _sort(x) if whole else find_largest(x, min(count, size))
    p = values.exp() / total
    tokens = _invert(p, ids, u, top_p)
    wide = (p.sum(-1) < top_p + 1e-6).nonzero()[:, 0]
    if len(wide) and p.shape[-1] < size:
        more = MORE if count < MORE else size
        tokens[wide] = _draw_from_nucleus(x[wide], total[wide], u[wide], top_p, more)
    return tokens


def find_largest(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row (rows, n) in falling order, and where they are.

    They are in the groups with the largest maxima, so that few numbers have to be sorted.
    """
    rows, size = x.shape
    groups = size // GROUP
    if groups < 4 * count:
        return x.topk(count, dim=-1)
    whole = groups * GROUP
    maxima = x[:, :whole].view(rows, groups, GROUP).amax(-1)
    first = maxima.topk(count, dim=-1, sorted=False).indices * GROUP
    inside = (first[..., None] + torch.arange(GROUP, device=x.device)).flatten(1)
    rest = torch.arange(whole, size, device=x.device).expand(rows, -1)
    places = torch.cat([inside, rest], 1)
    values, order = x.gather(1, places).topk(count, dim=-1)
    return values, places.gather(1, order)


def _sort(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sort rows (rows, n) of numbers up to 0 in falling order; return values and indices.

    On a CPU, NumPy's vectorised sort orders them as integers with the index in the lower half:
    a third of the time of a stable sort with indices.
    """
    if x.device.type != "cpu":
        values, ids = x.sort(dim=-1, descending=True, stable=True)
        return values, ids
    # The bits of -x, which is not negative, rise as x falls.
    bits = (-x).add_(0.0).numpy().view(np.uint32).astype(np.uint64)
    keys = (bits << np.uint64(32)) | np.arange(x.shape[-1], dtype=np.uint64)
    keys.sort(axis=-1)
    places = torch.from_numpy((keys & np.uint64(0xFFFFFFFF)).astype(np.int64))
    return x.gather(-1, places), places


def _invert(p: Tensor, ids: Tensor | None, u: Tensor, top_p: float) -> Tensor:
    """Invert the cumulative distribution of p (rows, n) at u times the mass of the nucleus."""
    sums = p.double().cumsum(-1)
    # A token is in the nucleus while the mass before it is below top_p, so at least one is.
    last = (
        (sums < top_p).sum(-1).clamp_(max=p.shape[-1] - 1)
        if top_p < 1
        else torch.full_like(u, p.shape[-1] - 1, dtype=torch.long)
    )
    mass = sums.gather(-1, last[:, None])
    place = torch.searchsorted(sums, u[:, None] * mass, right=True)[:, 0]
    place = torch.minimum(place, last)
    return place if ids is None else ids.gather(-1, place[:, None])[:, 0]


def guide(with_persona: Tensor, without: Tensor, strength: Tensor | float) -> Tensor:
    """The joint log-probabilities, not normalised.

    Args:
        with_persona: log p₁, (…, vocabulary).
        without: log p₀, of the same shape.
        strength: α, or one for each row, (B, 1).
    """
    joint = without + strength * (with_persona - without)
    # A token that both rule out stays ruled out: the difference of two -inf is NaN.
    return joint.masked_fill(with_persona.isneginf() & without.isneginf(), -torch.inf)
