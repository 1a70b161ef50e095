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
from holdfast.models.engine.loaded import LoadedModel, logits_error
from holdfast.models.engine.request import Request
from holdfast.models.engine.sampling import guide

Ids = tuple[int, ...]


class OptionRow(NamedTuple):
    """A request and the first tokens of some of its options, scored in one pass."""

    place: int
    """The request's place in the call."""
    request: Request
    prefix: Ids
    """What its options begin with, fed after the prompt."""
    options: tuple[int, ...]
    """Which of the request's options it scores."""

    @property
    def length(self) -> int:
        return len(self.request.ids) + len(self.prefix)

    @property
    def bare(self) -> OptionRow | None:
        """The same without the persona, where the request is under guidance."""
        guidance = self.request.guide
        return self._replace(request=Request(guidance.ids, 0)) if guidance else None


def likelihoods(
    engine: LoadedModel, requests: Sequence[Request], options: Sequence[Sequence[Ids]]
) -> list[list[float]]:
    """The log-likelihood of each request's options, in order.

    Args:
        engine: the model.
        requests: the prompts, with their controls. Under guidance the joint distribution
            counts, renormalised.
        options: the token ids of each request's options.

    Returns:
        A score for each option; -inf for all options of a request where one of them does not
        fit the context, with room for the token that would end the reply.

    Raises:
        ModelError: the model's logits are not finite.
    """
    scores = [[-math.inf] * len(each) for each in options]
    rows = [
        row
        for i, (request, each) in enumerate(zip(requests, options, strict=True))
        for row in _make_rows(i, request, each, engine)
    ]
    with engine.switch_attention():
        for batch in _make_batches(engine, rows):
            try:
                logs_of_rows = _score_rows(engine, batch)
            except torch.OutOfMemoryError as error:
                raise engine.memory_error(max(row.length for row in rows)) from error
            for row, logs in zip(batch, logs_of_rows, strict=True):
                for k in row.options:
                    tail = torch.tensor(options[row.place][k], device=logs.device)
                    at = torch.arange(len(tail), device=logs.device)
                    scores[row.place][k] = float(logs[at, tail].sum())
    return scores


def _make_rows(
    place: int, request: Request, options: Sequence[Ids], engine: LoadedModel
) -> list[OptionRow]:
    """Make rows that together score all options; none where one option would not fit."""
    if not request.ids or not all(options):
        raise ValueError("a request needs at least one token, and so does each option")
    prompts = [request.ids, *([request.guide.ids] if request.guide else [])]
    for ids in (*prompts, *options):
        engine.check_ids(ids)
    longest = max(map(len, prompts)) + max(map(len, options), default=0)
    if engine.context is not None and longest >= engine.context:
        return []
    # An option's last token is never fed: its score is in the logits of the one before.
    by_prefix: dict[Ids, list[int]] = {}
    for k in sorted(range(len(options)), key=lambda k: -len(options[k])):
        before = options[k][:-1]
        home = next((prefix for prefix in by_prefix if prefix[: len(before)] == before), before)
        by_prefix.setdefault(home, []).append(k)
    return [OptionRow(place, request, prefix, tuple(ks)) for prefix, ks in by_prefix.items()]


def _make_batches(engine: LoadedModel, rows: Sequence[OptionRow]) -> Iterator[list[OptionRow]]:
    """Batch rows of about the same length; of the same where padding is not exact."""
    padded = [row for row in rows if engine.can_pad(row.length)]
    exact = [row for row in rows if not engine.can_pad(row.length)]
    for alike in (padded, exact):
        batch: list[OptionRow] = []
        for row in sorted(alike, key=lambda row: (row.length, row.place)):
            most = min(engine.batch_size, max(1, engine.prefill_tokens // row.length))
            if batch and (len(batch) >= most or (alike is exact and batch[0].length < row.length)):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch


def _score_rows(engine: LoadedModel, rows: Sequence[OptionRow]) -> list[Tensor]:
    """Log-probabilities (tokens, vocabulary) after each row's request and each prefix token."""
    whole = _run_pass(engine, rows)
    bares = [bare._replace(place=i) for i, row in enumerate(rows) if (bare := row.bare)]
    for batch in _make_batches(engine, bares):
        for (i, *_), plain in zip(batch, _run_pass(engine, batch), strict=True):
            guidance = rows[i].request.guide
            assert guidance is not None
            whole[i] = guide(whole[i], plain, guidance.strength).log_softmax(-1)
    if any(bool(logs.isnan().any()) for logs in whole):
        raise logits_error(engine.name)
    return whole


def _run_pass(engine: LoadedModel, rows: Sequence[OptionRow]) -> list[Tensor]:
    """One forward pass over rows flush right."""
    width, count = max(row.length for row in rows), 1 + max(len(row.prefix) for row in rows)
    pads = [width - row.length for row in rows]
    lines = [
        [0] * pad + [*row.request.ids, *row.prefix] for pad, row in zip(pads, rows, strict=True)
    ]
    ids = torch.tensor(lines, device=engine.device)
    columns = torch.arange(width, device=engine.device)
    starts = torch.tensor(pads, device=engine.device)[:, None]
    arguments: dict[str, Any] = {}
    if any(pads):
        arguments["attention_mask"] = columns >= starts
    if "position_ids" in engine.optional_arguments:
        arguments["position_ids"] = (columns - starts).clamp(min=0)
    if "logits_to_keep" in engine.optional_arguments:
        arguments["logits_to_keep"] = count
    steerings = [row.request.steering for row in rows]
    steering = engine.steering(
        [s and s.shift_right(pad) for s, pad in zip(steerings, pads, strict=True)]
    )
    steered_pass = start_pass(steering, 0, width) if steering else None
    if steered_pass is not None:
        arguments["holdfast"] = steered_pass
    logits = engine.model(input_ids=ids, use_cache=False, **arguments).logits
    refuse_unreached(steered_pass, engine.name)
    return [
        logits[i, logits.shape[1] - len(row.prefix) - 1 :].float().log_softmax(-1)
        for i, row in enumerate(rows)
    ]
