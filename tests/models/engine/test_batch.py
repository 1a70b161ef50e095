"""Rows that join and leave a batch under way: nobody's tokens depend on who else is there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.control.steering import RowSteering
from holdfast.core.backend import Sampling
from holdfast.core.control import parse
from holdfast.core.errors import ModelError
from holdfast.models.engine.batch import Batch
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.forward import Forward
from holdfast.models.engine.request import Continuation, Guide, Request, Row, Spans, result_of
from tiny_models import model

CONTROLS = ("none", "anchor", "boost:4", "split-softmax:0.5", "guidance:1.5")


def engine(kind: str = "llama") -> Engine:
    return Engine(model(kind, dtype=torch.float64), cache_bytes=4 << 20)


def request(length: int, seed: int, control: str = "none") -> Request:
    """Token ids with a persona of three tokens at their head, and turns after it."""
    rng = random.Random(seed)
    ids = tuple(rng.randrange(20, 260) for _ in range(max(8, length)))
    read = parse(control)
    steering = None
    if read.steers:
        steering = RowSteering(read, (2, 5), (1, 6), tuple(range(6, len(ids), 7)))
    guide = Guide(ids[6:], read.guidance) if read.guidance else None
    spans = Spans((2, 5), (1, 6))
    return Request(
        ids, seed, spans=spans, measure=True, state=read.state, steering=steering, guide=guide
    )


def decode(
    subject: Engine, arrivals: Sequence[tuple[int, Request, Sampling]]
) -> list[Continuation]:
    """Every request joins before the step that it names."""
    rows: list[Row] = []
    waiting = sorted(enumerate(arrivals), key=lambda one: one[1][0])
    place: dict[int, Row] = {}
    batch, step = Batch(subject), 0
    with subject.decoding():
        while waiting or batch.rows:
            joining: list[Row] = []
            while waiting and waiting[0][1][0] <= step:
                i, (_, ask, sampling) = waiting.pop(0)
                place[i] = subject.row(ask, sampling)
                joining += [row for row in (place[i], place[i].shadow) if row]
            if joining:
                batch.join(sorted(joining, key=lambda row: (row.new, len(row.ids))))
                rows += joining
            if batch.advance():
                batch.pick()
            step += 1
    return [result_of(place[i]) for i in range(len(arrivals))]


def alone(ask: Request, sampling: Sampling, kind: str = "llama") -> Continuation:
    return engine(kind).generate([ask], sampling)[0]


def plain(result: Continuation) -> Continuation:
    """Without what depends on what was kept, and π to a few digits."""
    return replace(result, cached_tokens=0, share=None)


arrival = st.tuples(
    st.integers(0, 30),  # step
    st.integers(8, 60),  # length
    st.integers(0, 10**6),  # seed
    st.sampled_from(CONTROLS),
    st.sampled_from([0.0, 0.7, 1.0]),
    st.integers(1, 30),  # tokens
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(arrival, min_size=1, max_size=6))
def test_a_row_has_its_tokens_whoever_joins_and_leaves(
    arrivals: list[tuple[int, int, int, str, float, int]],
) -> None:
    joins = [
        (step, request(length, seed, control), Sampling(tokens, temperature, 0.9))
        for step, length, seed, control, temperature, tokens in arrivals
    ]
    together = decode(engine(), joins)
    for (_, one, sampling), result in zip(joins, together, strict=True):
        expected = alone(one, sampling)
        assert plain(result) == plain(expected)
        assert result.share is not None and expected.share is not None
        assert result.share.tokens == pytest.approx(expected.share.tokens, abs=2e-5)


@pytest.mark.parametrize("kind", ["gemma3", "mistral", "gpt_neox", "qwen3"])
def test_it_holds_for_other_architectures(kind: str) -> None:
    joins = [(7 * i, request(10 + 9 * i, i), Sampling(25, 0.8)) for i in range(5)]
    together = decode(engine(kind), joins)
    expected = [alone(one, sampling, kind) for _, one, sampling in joins]
    assert [plain(result) for result in together] == [plain(result) for result in expected]


def test_a_prompt_longer_than_all_that_is_there_moves_the_others() -> None:
    joins = [
        (0, request(10, 1), Sampling(60, 0.9)),
        (5, request(400, 2), Sampling(20, 0.9)),
        (9, request(12, 3), Sampling(60, 0.9)),
    ]
    together = decode(engine(), joins)
    assert [plain(r) for r in together] == [plain(alone(one, s)) for _, one, s in joins]


def test_columns_that_nobody_uses_are_given_back() -> None:
    subject = engine()
    batch = Batch(subject)
    expected = [alone(request(300, 0), Sampling(4)), alone(request(10, 1), Sampling(80))]
    with subject.decoding():
        rows = [subject.row(request(n, i), Sampling(k)) for i, n, k in ((1, 10, 80), (0, 300, 4))]
        batch.join(rows)
        while batch.advance():
            batch.pick()
            if len(batch.rows) == 1:
                assert batch.cache is not None and batch.cache.region.column < 120
    assert [plain(result_of(row)) for row in rows] == [plain(one) for one in expected[::-1]]


def test_a_row_that_is_ended_early_leaves_the_others_alone() -> None:
    subject = engine()
    batch = Batch(subject)
    asks = [request(20, i, "guidance:2" if i == 1 else "anchor") for i in range(3)]
    with subject.decoding():
        rows = [subject.row(one, Sampling(30)) for one in asks]
        shadows = [row.shadow for row in rows if row.shadow]
        batch.join(sorted([*rows, *shadows], key=lambda row: (row.new, len(row.ids))))
        for step in range(30):
            if step == 6:
                rows[1].end()
            batch.advance()
            batch.pick()
        assert not batch.advance()
    assert not batch.rows
    assert len(rows[1].reply) == 6
    for i in (0, 2):
        assert tuple(rows[i].reply) == alone(asks[i], Sampling(30)).ids


def test_a_row_whose_logits_are_no_numbers_ends_alone_and_leaves_nothing() -> None:
    subject = engine()
    batch = Batch(subject)
    asks = [request(20, i) for i in range(3)]
    with subject.decoding():
        rows = [subject.row(one, Sampling(20)) for one in asks]
        batch.join(rows)
        for step in range(20):
            if step == 5:
                assert batch.logits is not None and batch.cache is not None
                batch.logits[1] = float("nan")
                for layer in batch.cache.buffers:
                    assert layer.keys is not None and layer.values is not None
                    layer.keys[1], layer.values[1] = float("nan"), float("nan")
            if step == 9:
                rows.append(subject.row(request(30, 9), Sampling(11)))
                batch.join(rows[3:])
            if batch.advance():
                batch.pick()
    assert rows[1].stop == "error"
    for i in (0, 2):
        assert tuple(rows[i].reply) == alone(asks[i], Sampling(20)).ids
    assert tuple(rows[3].reply) == alone(request(30, 9), Sampling(11)).ids


def test_generate_still_refuses_logits_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = engine()
    forward = Forward.__call__
    monkeypatch.setattr(Forward, "__call__", lambda *args: forward(*args) * float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        subject.generate([request(10, 0)], Sampling(3))


def test_a_prefill_that_fails_leaves_the_batch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = engine()
    batch = Batch(subject)
    ask = request(20, 4, "anchor")
    with subject.decoding():
        row = subject.row(ask, Sampling(20))
        batch.join([row])
        batch.advance()
        batch.pick()
        with monkeypatch.context() as patch:
            patch.setattr(Batch, "_prefill", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                batch.join([subject.row(request(90, 5), Sampling(9))])
        assert batch.rows == [row]
        while batch.advance():
            batch.pick()
    assert tuple(row.reply) == alone(ask, Sampling(20)).ids


def test_logprobs_are_those_of_the_model_under_its_control() -> None:
    ask = replace(request(20, 6), logprobs=4)
    (result,) = engine().generate([ask], Sampling(6, 0.5, 0.9))
    ids = torch.tensor([[*ask.ids, *result.ids]])
    with torch.inference_mode():
        logs = model("llama", dtype=torch.float64)(ids).logits[0].float().log_softmax(-1)
    for i, one in enumerate(result.logprobs):
        at = logs[len(ask.ids) - 1 + i]
        assert one.token == result.ids[i]
        assert one.value == pytest.approx(float(at[one.token]), abs=1e-4)
        values, ids_ = at.topk(4)
        assert [token for token, _ in one.top] == ids_.tolist()
        assert [value for _, value in one.top] == pytest.approx(values.tolist(), abs=1e-4)
