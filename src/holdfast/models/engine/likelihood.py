"""How likely a model finds given replies: log-likelihoods in place of generation.

    score(option) = Σ log p(token | chat, the option's tokens before it)

under the chat's control. A multiple choice is then the option with the highest score. The
sum favours short options, the mean over an option's tokens long ones; letters have one
token each, and for them it is the same.

Options of a chat that begin alike are scored by one row, so that all its letters cost one
pass over the chat. This module knows token ids. It keeps nothing between calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from holdfast.control.steered_pass import refuse_unreached, start_pass
from holdfast.models.engine.loaded import LoadedModel, unsound
from holdfast.models.engine.request import Request
from holdfast.models.engine.sampling import guide

Ids = tuple[int, ...]


class OptionRow(NamedTuple):
    """A request and the first tokens of some of its options, scored in one pass."""

    place: int
    """The request's place in the call."""
    request: Request
    fed: Ids
    """What its options begin with, fed after the prompt."""
    options: tuple[int, ...]
    """Which of the request's options it scores."""

    @property
    def length(self) -> int:
        return len(self.request.ids) + len(self.fed)

    @property
    def bare(self) -> OptionRow | None:
        """The same without the persona, where the request is under guidance."""
        guidance = self.request.guide
        return self._replace(request=Request(guidance.ids, 0)) if guidance else None


def likelihoods(
    loaded: LoadedModel, requests: Sequence[Request], options: Sequence[Sequence[Ids]]
) -> list[list[float]]:
    """The log-likelihood of each request's options, in order.

    Args:
        loaded: the model.
        requests: the prompts, with their controls. Under guidance the joint distribution
            counts, renormalised.
        options: the token ids of each request's options.

    Returns:
        A score for each option; -inf for all options of a request where one of them does not
        fit the context.

    Raises:
        ModelError: the model's logits are not finite.
    """
    scores = [[-math.inf] * len(each) for each in options]
    rows = [
        row
        for i, (request, each) in enumerate(zip(requests, options, strict=True))
        for row in _rows(i, request, each, loaded)
    ]
    with loaded.watched():
        for batch in _batches(loaded, rows):
            try:
                logs_of_rows = _guided(loaded, batch)
            except torch.OutOfMemoryError as error:
                raise loaded.full(max(row.length for row in rows)) from error
            for row, logs in zip(batch, logs_of_rows, strict=True):
                for k in row.options:
                    tail = torch.tensor(options[row.place][k], device=logs.device)
                    at = torch.arange(len(tail), device=logs.device)
                    scores[row.place][k] = float(logs[at, tail].sum())
    return scores


def _rows(
    place: int, request: Request, options: Sequence[Ids], loaded: LoadedModel
) -> list[OptionRow]:
    """Rows that together score all options; none where one option would not fit."""
    if not request.ids or not all(options):
        raise ValueError("a request needs at least one token, and so does each option")
    prompts = [request.ids, *([request.guide.ids] if request.guide else [])]
    for ids in (*prompts, *options):
        loaded.check_ids(ids)
    longest = max(map(len, prompts)) + max(map(len, options), default=0)
    if loaded.context is not None and longest > loaded.context:
        return []
    # An option's last token is never fed: its score is in the logits of the one before.
    scored: dict[Ids, list[int]] = {}
    for k in sorted(range(len(options)), key=lambda k: -len(options[k])):
        before = options[k][:-1]
        home = next((fed for fed in scored if fed[: len(before)] == before), before)
        scored.setdefault(home, []).append(k)
    return [OptionRow(place, request, fed, tuple(ks)) for fed, ks in scored.items()]


def _batches(loaded: LoadedModel, rows: Sequence[OptionRow]) -> Iterator[list[OptionRow]]:
    """Rows of about the same length; of the same where padding is not exact."""
    padded = [row for row in rows if loaded.pads(row.length)]
    exact = [row for row in rows if not loaded.pads(row.length)]
    for alike in (padded, exact):
        batch: list[OptionRow] = []
        for row in sorted(alike, key=lambda row: (row.length, row.place)):
            most = min(loaded.batch_size, max(1, loaded.prefill_tokens // row.length))
            if batch and (len(batch) >= most or (alike is exact and batch[0].length < row.length)):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch


def _guided(loaded: LoadedModel, rows: Sequence[OptionRow]) -> list[Tensor]:
    """Log-probabilities after each row's request and each token of `fed`: (tokens, vocabulary)."""
    whole = _logs(loaded, rows)
    bares = [bare._replace(place=i) for i, row in enumerate(rows) if (bare := row.bare)]
    for batch in _batches(loaded, bares):
        for (i, *_), plain in zip(batch, _logs(loaded, batch), strict=True):
            guidance = rows[i].request.guide
            assert guidance is not None
            whole[i] = guide(whole[i], plain, guidance.strength).log_softmax(-1)
    if any(bool(logs.isnan().any()) for logs in whole):
        raise unsound(loaded.name)
    return whole


def _logs(loaded: LoadedModel, rows: Sequence[OptionRow]) -> list[Tensor]:
    """One forward pass over rows flush right."""
    width, scored = max(row.length for row in rows), 1 + max(len(row.fed) for row in rows)
    pads = [width - row.length for row in rows]
    lines = [[0] * pad + [*row.request.ids, *row.fed] for pad, row in zip(pads, rows, strict=True)]
    ids = torch.tensor(lines, device=loaded.device)
    columns = torch.arange(width, device=loaded.device)
    starts = torch.tensor(pads, device=loaded.device)[:, None]
    arguments: dict[str, Any] = {}
    if any(pads):
        arguments["attention_mask"] = columns >= starts
    if "position_ids" in loaded.takes:
        arguments["position_ids"] = (columns - starts).clamp(min=0)
    if "logits_to_keep" in loaded.takes:
        arguments["logits_to_keep"] = scored
    steerings = [row.request.steering for row in rows]
    steering = loaded.steering(
        [s and s.shift_right(pad) for s, pad in zip(steerings, pads, strict=True)]
    )
    steered_pass = start_pass(steering, 0, width) if steering else None
    if steered_pass is not None:
        arguments["holdfast"] = steered_pass
    logits = loaded.model(input_ids=ids, use_cache=False, **arguments).logits
    refuse_unreached(steered_pass, loaded.name)
    return [
        logits[i, logits.shape[1] - len(row.fed) - 1 :].float().log_softmax(-1)
        for i, row in enumerate(rows)
    ]
