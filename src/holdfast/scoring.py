"""How likely a model finds given replies: log-likelihoods in place of generation.

    score(option) = Σ log p(token | chat, tokens before)      over the option's tokens

under the chat's control, from one forward pass over chat and option together. A multiple
choice is then the option with the highest score; divided by the number of tokens where
options differ much in length. Which of the two is better depends on the task: letters
have one token each, and it makes no difference.

This module knows token ids. It keeps nothing between calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from holdfast.batch import Request
from holdfast.errors import ControlError
from holdfast.share import observed
from holdfast.steering import Steering, moved, refuse_unreached

if TYPE_CHECKING:
    from holdfast.engine import Engine

Row = tuple[Request, tuple[int, ...]]


def likelihoods(engine: Engine, rows: Sequence[Row]) -> list[float]:
    """The log-likelihood of each row's tail after its request, in order.

    Requests under guidance are scored by the joint distribution, renormalised.
    """
    found = [0.0] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0].ids) + len(rows[i][1]))
    with torch.inference_mode(), observed(engine.model, engine._attention):
        for start in range(0, len(order), engine.batch_size):
            part = order[start : start + engine.batch_size]
            for i, value in zip(part, _scores(engine, [rows[i] for i in part]), strict=True):
                found[i] = value
    return found


def _scores(engine: Engine, rows: Sequence[Row]) -> list[float]:
    tails = [tail for _, tail in rows]
    whole = _tails(engine, [request for request, _ in rows], tails)
    guided = [i for i, (request, _) in enumerate(rows) if request.guide]
    if guided:
        guides = [rows[i][0].guide for i in guided]
        bare = [Request(guide.ids, 0) for guide in guides if guide]
        without = _tails(engine, bare, [tails[i] for i in guided])
        for i, guide, plain in zip(guided, guides, without, strict=True):
            if guide is not None:
                joint = plain + guide.strength * (whole[i] - plain)
                whole[i] = joint.log_softmax(-1)
    return [
        float(logs.gather(1, torch.tensor(tail, device=logs.device)[:, None]).sum())
        for logs, tail in zip(whole, tails, strict=True)
    ]


def _tails(
    engine: Engine, requests: Sequence[Request], tails: Sequence[tuple[int, ...]]
) -> list[Tensor]:
    """Log-probabilities at the tokens of each tail: (tokens, vocabulary) each."""
    lengths = [len(r.ids) + len(tail) for r, tail in zip(requests, tails, strict=True)]
    width = max(lengths)
    pads = [width - length for length in lengths]
    ids = torch.zeros(len(requests), width, dtype=torch.long)
    for i, (request, tail) in enumerate(zip(requests, tails, strict=True)):
        ids[i, pads[i] :] = torch.tensor([*request.ids, *tail])
    ids = ids.to(engine.device)
    columns = torch.arange(width, device=engine.device)
    starts = torch.tensor(pads, device=engine.device)[:, None]
    arguments: dict[str, Any] = {"attention_mask": (columns >= starts).long()}
    if "position_ids" in engine._takes:
        arguments["position_ids"] = (columns - starts).clamp(min=0)
    held = [r.held and moved(r.held, pad) for r, pad in zip(requests, pads, strict=True)]
    steered = None
    if any(held):
        rotary = engine.rotary if any(h and h.control.anchor for h in held) else None
        if isinstance(rotary, str):
            raise ControlError(rotary)
        steered = Steering(held, rotary, engine.device).at(0, width)
    if steered is not None:
        arguments["holdfast"] = steered
    logits = engine.model(input_ids=ids, use_cache=False, **arguments).logits
    refuse_unreached(steered, engine.name)
    # The logits at one place are about the next.
    return [
        logits[i, width - len(tail) - 1 : width - 1].float().log_softmax(-1)
        for i, tail in enumerate(tails)
    ]
