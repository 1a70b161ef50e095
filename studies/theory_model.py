"""What the cone theory speaks of, measured on a model's own conversations.

The dimension of the value vectors, the share and the score come from `holdfast explain`.
Here are added, on some of its conversations,

    spanning    whether the value vectors in view span their head's space as a cone
    W_ov        how far each head's W_ov takes a system token from the cone of system tokens
    tokens      how far the agent's own tokens are from that cone, layer by layer, beside tokens
                of a conversation without the persona

Llama-like models only: heads are read from `v_proj` and `o_proj`. The cone of system tokens
is that of what enters a layer's attention, after its norm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cones
import numpy as np
import theory_figures as figures
import torch
from cones import Array

from holdfast import Ask, load
from holdfast.core.chat import agent_view
from holdfast.core.control import NONE
from holdfast.core.intervals import Sample
from holdfast.core.records import Record, as_record, read_record
from holdfast.core.stats import mean
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.settings import ConversationSettings
from holdfast.evals.conversation.setup import draw_cast
from holdfast.evals.explain.explain import explain
from holdfast.evals.explain.value_vectors import probe_ask, tokens_in_view, turns_of
from holdfast.models.local.backend import LocalBackend
from holdfast.results.conversation import RoundRecord

TableParts = tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]
SOME = 24  # conversations whose cones are computed
TOKENS = 24  # of each kind, from each conversation


def measure(name: str, pairs: int, rounds: int, seed: int, run: Path) -> Iterator[TableParts]:
    """Tables for the document: by round, by layer, what the bound says, and the findings."""
    model = load(name)
    assert isinstance(model, LocalBackend)
    summary = as_record(
        explain(model, controls=["none"], pairs=pairs, rounds=rounds, seed=seed, out=run).summary
    )
    base = draw_cast(ConversationSettings(pairs=pairs, seed=seed), model).conversations
    own, bare = (_records(run / folder) for folder in (".", "without"))
    some = base[:SOME]
    spans, apart = [], []
    for c in some:
        turns = turns_of(own, c.id)
        spans.append(_spans(model, c, turns, rounds))
        apart.append(_apart(model, c, turns, turns_of(bare, c.id)))
    sample = Sample(len(some))
    yield _by_round(summary, np.stack(spans), sample)
    yield _by_layer(summary, np.stack(spans), np.stack(apart), sample)
    yield _bound(summary)
    yield "findings", ("in words",), tuple((line,) for line in summary["findings"])
    _figure(summary)


def _records(folder: Path) -> list[RoundRecord]:
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [read_record(RoundRecord, json.loads(line)) for line in lines]


def _spans(model: LocalBackend, c: Conversation, turns: Sequence[str], rounds: int) -> Array:
    """Part of a layer's heads whose values in view span their space: (rounds + 1, layers)."""
    size = model.engine.config.head_dim
    shares = []
    for r, n in enumerate(tokens_in_view(model, c, turns, NONE)):
        layers = model.values(probe_ask(c, turns, r, NONE))
        heads = [v.numpy()[:n].astype(float).reshape(n, -1, size) for v in layers]
        shares.append(
            [np.mean([cones.surrounds(h[:, i]) for i in range(h.shape[1])]) for h in heads]
        )
    whole = np.full((rounds + 1, len(shares[0])), np.nan)
    whole[: len(shares)] = shares
    return whole


def _apart(model: LocalBackend, c: Conversation, own: Sequence[str], bare: Sequence[str]) -> Array:
    """Mean distance to the cone of the system's tokens, by layer: (layers, 5).

    W_ov of system tokens, random directions, the agent's tokens in the first and in the last
    round, and its tokens in the first round of the conversation without personas.
    """
    probe = probe_ask(c, own, len(own) // 2, NONE)
    prompt = model.template.render(probe.chat)
    assert prompt.template is not None
    end = prompt.template[1]
    inputs = _inputs(model, prompt.ids)
    alone = _inputs(model, model.ids(Ask(agent_view(None, bare[:2], "?"), 0)))
    first, last = (_reply(model, c.agent.prompt, own, r) for r in (1, len(own) // 2))
    without = _reply(model, None, bare, 1)
    rng = np.random.default_rng(c.seed)
    rows = []
    for layer, (states, other) in enumerate(zip(inputs, alone, strict=True)):
        cone = states[:end].T
        system = states[rng.permutation(end)[:TOKENS]]
        mapped_tokens = np.concatenate([system @ w.T for w in _maps(model, layer)])
        random = rng.normal(size=(TOKENS, states.shape[1]))
        sets = (mapped_tokens, random, states[first], states[last], other[without])
        rows.append([cones.distance(cone, one).mean() for one in sets])
    return np.array(rows)


def _reply(model: LocalBackend, prompt: str | None, turns: Sequence[str], r: int) -> slice:
    """Places of the first tokens of the agent's reply in round r."""
    before = Ask(agent_view(prompt, turns[: 2 * r - 1]), 0)
    start = model.prompt_tokens(before)
    return slice(start, start + min(TOKENS, max(1, model.count(turns[2 * r - 1]))))


def _inputs(model: LocalBackend, ids: Sequence[int]) -> list[Array]:
    """What enters each layer's attention, (tokens, size)."""
    inner: Any = model.engine.model
    with torch.inference_mode():
        states = inner(torch.tensor([ids]), output_hidden_states=True).hidden_states
        return [
            layer.input_layernorm(state)[0].double().numpy()
            for layer, state in zip(inner.model.layers, states[:-1], strict=True)
        ]


def _maps(model: LocalBackend, layer: int) -> list[Array]:
    """W_ov of every head of a layer, (size, size): what a token that is attended to adds."""
    inner: Any = model.engine.model
    attention, size = inner.model.layers[layer].self_attn, model.engine.config.head_dim
    out = attention.o_proj.weight.detach().double().numpy()
    value = attention.v_proj.weight.detach().double().numpy()
    heads = out.shape[1] // size
    group = heads // (value.shape[0] // size)
    return [
        out[:, h * size : (h + 1) * size] @ value[h // group * size : (h // group + 1) * size]
        for h in range(heads)
    ]


def _format_mean(values: Array, sample: Sample) -> str:
    low, high = sample.mean_interval(values)
    return f"{float(mean(values)):.2f} ({low:.2f}–{high:.2f})"


def _number(value: float | None, interval: Sequence[float | None] | None = None) -> str:
    if value is None:
        return "–"
    if interval is None or interval[0] is None:
        return f"{value:.2f}"
    return f"{value:.2f} ({interval[0]:.2f}–{interval[1]:.2f})"


def _set(summary: Record, name: str) -> Record:
    return next(one for one in summary["dimension"]["sets"] if one["set"] == name)


def _by_round(summary: Record, spans: Array, sample: Sample) -> TableParts:
    none, own = summary["controls"][0], _set(summary, "none")
    plain, shuffling = _set(summary, "no persona"), _set(summary, "shuffled")
    few, many = (summary["dimension"]["vectors"][count] for count in ("few", "many"))
    ratios = own["participation"]
    rows = []
    for r in range(summary["rounds"] + 1):
        rows.append(
            (
                str(r),
                f"{own['tokens'][r]:.0f}",
                _number(none["prompt_share"][r], none["prompt_share_interval"][r]),
                _number(none["share_detail"]["dilution"][r]),
                _number(none["stability"][r], none["interval"][r]),
                *(_number(ratios[c]["mean"][r], ratios[c]["interval"][r]) for c in ("all", "few")),
                *(
                    _number(one["participation"]["many"]["mean"][r])
                    for one in (own, plain, shuffling)
                ),
                _number(own["components"]["all"]["mean"][r]),
                _number(own["components"]["many"]["mean"][r]),
                _format_mean(spans[:, r].mean(1), sample),
            )
        )
    header = (
        "round", "vectors", "share", "part of text", "score", "PR, all", f"PR of {few}",
        f"PR of {many}", "no persona", "shuffled", "95%, all", f"95% of {many}", "heads spanned",
    )  # fmt: skip
    return "by-round", header, tuple(rows)


def _by_layer(summary: Record, spans: Array, apart: Array, sample: Sample) -> TableParts:
    ratios = _set(summary, "none")["participation"]
    rows = []
    for layer in range(apart.shape[1]):
        course = [f"{ratios[c]['layers'][0][layer]:.1f} → {ratios[c]['layers'][-1][layer]:.1f}"
                  for c in ("all", "few")]  # fmt: skip
        shares = [float(mean(spans[:, r, layer])) for r in (0, 1, -1)]
        rows.append(
            (
                str(layer + 1),
                *course,
                " → ".join(f"{v:.2f}" for v in shares),
                *(_format_mean(apart[:, layer, i], sample) for i in range(apart.shape[2])),
            )
        )
    few = summary["dimension"]["vectors"]["few"]
    header = (
        "layer", "PR, all", f"PR of {few}", "heads spanned, r = 0, 1, last", "W_ov", "random",
        "replies, first round", "replies, last", "replies without persona",
    )  # fmt: skip
    return "by-layer", header, tuple(rows)


def _bound(summary: Record) -> TableParts:
    """ε^(d2 - d1) for the measured dimensions, beside the share that was measured."""
    none, participation = summary["controls"][0], _set(summary, "none")["participation"]
    ratio = none["prompt_share"][-1] / none["prompt_share"][0]
    rows = []
    for count, name in (("all", "all vectors"), ("few", "an equal number")):
        first, last = participation[count]["mean"][0], participation[count]["mean"][-1]
        powers = (f"{epsilon ** (last - first):.1e}" for epsilon in (0.5, 0.3, 0.1))
        fitting = f"{ratio ** (1 / (last - first)):.2f}" if last > first else "none"
        rows.append((name, f"{first:.1f} → {last:.1f}", *powers, f"{ratio:.2f}", fitting))
    header = ("dimension from", "d1 → d2", "ε = .5", "ε = .3", "ε = .1",
              "share, last / first", "ε that fits")  # fmt: skip
    return "bound", header, tuple(rows)


def _figure(summary: Record) -> None:
    none = summary["controls"][0]
    names = ("none", "no persona", "shuffled")
    every, equal = (
        {name: _set(summary, name)["participation"][count]["mean"] for name in names}
        for count in ("all", "many")
    )
    figures.by_round(
        every,
        equal,
        {
            "share": none["prompt_share"],
            "part of the text": none["share_detail"]["dilution"],
            "score": none["stability"],
        },
    )
