"""What rows begin with alike is computed once, and nobody's tokens depend on it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.control.steering import RowSteering
from holdfast.core.backend import Sampling
from holdfast.core.control import parse
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.forward import Forward
from holdfast.models.engine.prefix_store import count_common
from holdfast.models.engine.request import Continuation, Guide, Request, Row
from holdfast.models.engine.sharing import LEAST, plan_waves
from tiny_models import model


def ids(seed: int, length: int) -> tuple[int, ...]:
    rng = random.Random(seed)
    return tuple(rng.randrange(20, 260) for _ in range(length))


def row(
    *parts: tuple[int, int], state: str = "", reuses: bool = True, cached_tokens: int = 0
) -> Row:
    """A row of parts, each (seed, length)."""
    tokens = tuple(token for part in parts for token in ids(*part))
    ready = torch.tensor(tokens).numpy()
    return Row(
        0,
        Request(tokens, 0, state=state),
        Sampling(4),
        ready,
        4,
        reuses,
        cached_tokens=cached_tokens,
    )


PERSONA = (1, 200)


def test_rows_of_one_persona_wait_for_the_first_of_them() -> None:
    rows = [row(PERSONA, (k, 30)) for k in range(2, 6)]
    first, others = plan_waves([], rows)
    assert len(first) == 1 and first[0].source is None and first[0].cached_tokens == 0
    assert all(one.source is first[0] for one in others)
    assert all(200 <= one.cached_tokens < 204 for one in others)  # by chance a few tokens more


def test_samples_of_one_question_wait_for_the_question() -> None:
    rows = [row(PERSONA, (k, 150)) for k in (2, 2, 2, 3, 3, 3)]
    counts = [sum(one.new for one in wave) for wave in plan_waves([], rows)]
    # The last token of each is fed with the first step.
    assert counts == [350, 2 + 150, 2]


def test_a_row_that_is_there_is_copied_from() -> None:
    there, new = row(PERSONA, (2, 30)), row(PERSONA, (3, 40))
    assert plan_waves([there], [new]) == [[new]]
    assert new.source is there and new.cached_tokens == 200


@pytest.mark.parametrize(
    "others",
    [
        [row(PERSONA, (3, 40), state="anchor")],
        [row(PERSONA, (3, 40), reuses=False)],
        [row((4, 230))],
    ],
    ids=["another state", "keys that cannot be copied", "other tokens"],
)
def test_nothing_is_copied_between_rows_that_differ(others: list[Row]) -> None:
    rows = [row(PERSONA, (2, 30)), *others]
    (wave,) = plan_waves([], rows)
    assert all(one.source is None and one.cached_tokens == 0 for one in wave)


def test_what_is_kept_from_before_is_not_copied_again() -> None:
    there, new = row(PERSONA, (2, 30)), row(PERSONA, (3, 40), cached_tokens=200 - LEAST + 1)
    plan_waves([there], [new])
    assert new.source is None


def test_no_pass_of_its_own_saves_a_few_tokens() -> None:
    rows = [row((1, 40), (k, 30)) for k in range(2, 6)]
    assert len(plan_waves([], rows)) == 1


part = st.tuples(st.integers(1, 3), st.sampled_from([3, 20, 60, 200]))


@settings(deadline=None)
@given(
    st.lists(st.lists(part, min_size=1, max_size=3), max_size=4),
    st.lists(st.lists(part, min_size=1, max_size=3), min_size=1, max_size=8),
)
def test_every_row_copies_what_an_earlier_one_begins_with(
    there: list[list[tuple[int, int]]], joining: list[list[tuple[int, int]]]
) -> None:
    ready, rows = [row(*parts) for parts in there], [row(*parts) for parts in joining]
    waves = plan_waves(ready, rows)
    assert sorted(id(one) for wave in waves for one in wave) == sorted(map(id, rows))
    for wave in waves:
        for one in wave:
            if one.source is not None:
                assert any(one.source is other for other in ready)
                assert LEAST <= one.cached_tokens <= count_common(one.ids[:-1], one.source.ids[:-1])
            else:
                assert one.cached_tokens == 0
        ready += wave


def engine(kind: str = "llama") -> Engine:
    return Engine(model(kind, dtype=torch.float64), batch_size=5, cache_bytes=0)


def asks(control: str) -> list[Request]:
    """Twelve requests of two personas and two questions, in two samples and more."""
    read = parse(control)
    requests = []
    for k in range(12):
        tokens = (*ids(k % 2, 120), *ids(7 + k % 4 // 2, 50), *ids(20 + k // 8, 5))
        row_steering = RowSteering(read, (2, 90), (1, 110), tuple(range(120, len(tokens), 20)))
        guide = Guide(tokens[120:], read.guidance) if read.guidance else None
        steering = row_steering if read.steers else None
        requests.append(Request(tokens, k, state=read.state, steering=steering, guide=guide))
    return requests


def answers(subject: Engine, requests: list[Request]) -> list[Continuation]:
    return [
        replace(one, cached_tokens=0, share=None)
        for one in subject.generate(requests, Sampling(9, 0.8, 0.9))
    ]


CONTROLS = ("none", "anchor", "split-softmax:0.5", "anchor+restore:1", "guidance:1.5")


@pytest.mark.parametrize("control", CONTROLS)
def test_tokens_are_those_of_a_request_alone(control: str) -> None:
    requests = asks(control)
    together = answers(engine(), requests)
    assert together == [answers(engine(), [one])[0] for one in requests]


@pytest.mark.parametrize(
    "cache_bytes", [0, 8 << 20], ids=["from a neighbour", "from an earlier row"]
)
def test_what_opens_a_turn_in_one_row_alone_is_computed_again(cache_bytes: int) -> None:
    # Both chats go on with token 13, which opens a user turn only where 14 follows.
    read, head = parse("anchor"), (*ids(1, 300), 13, 14, *ids(2, 40))
    requests = []
    for opening, turns in ((14, (300, 342)), (17, (300,))):
        steering = RowSteering(read, (2, 299), (1, 300), turns)
        tokens = (*head, 13, opening, *ids(3, 30))
        requests.append(Request(tokens, 0, state=read.state, steering=steering, logprobs=0))
    sampling = Sampling(3, 0)
    expected = [engine().generate([one], sampling)[0] for one in requests]
    subject = Engine(model(dtype=torch.float64), cache_bytes=cache_bytes)
    calls = [[one] for one in requests] if cache_bytes else [requests]
    results = [result for some in calls for result in subject.generate(some, sampling)]
    assert sorted(one.cached_tokens for one in results) == [0, 342]
    for one, other in zip(results, expected, strict=True):
        logs = ([log.value for log in result.logprobs] for result in (one, other))
        assert next(logs) == pytest.approx(next(logs), abs=1e-6)


@pytest.mark.parametrize("kind", ["gemma3", "mistral", "gpt_neox", "qwen3"])
def test_it_holds_for_other_architectures(kind: str) -> None:
    requests = asks("none")
    together = answers(engine(kind), requests)
    assert together == [answers(engine(kind), [one])[0] for one in requests]


def test_a_persona_is_computed_once_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = []
    forward = Forward.__call__

    def count(self: Forward, ids: torch.Tensor, *rest: object) -> torch.Tensor:
        tokens.append(ids.numel())
        return forward(self, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Forward, "__call__", count)
    requests = [Request((*ids(1, 300), *ids(k, 20)), k) for k in range(2, 7)]
    results = engine().generate(requests, Sampling(1))
    assert [one.cached_tokens for one in results].count(300) == 4
    assert sum(tokens) == 319 + 4 * 19 + 5
