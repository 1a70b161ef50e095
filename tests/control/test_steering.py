"""Attention under control, in the engine: its laws on small random models of many kinds."""

from __future__ import annotations

import gc
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from holdfast.control import steered_pass
from holdfast.control.rotary import Rotary
from holdfast.control.steered_pass import start_pass
from holdfast.control.steering import RowSteering, Steering
from holdfast.control.switch import EAGER, FUSED, attention_for, use_attention
from holdfast.core.backend import Sampling
from holdfast.core.control import AttentionControl, Control, parse
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.request import Continuation, Guide, Request, Spans
from tiny_models import CONFIGS, GROUPED, ODD_CONFIGS, VOCABULARY, model

GREEDY = Sampling(max_new_tokens=12, temperature=0)
ALL = (*CONFIGS, *ODD_CONFIGS)
SPAN, TURNS, REPLIES = (1, 9), (9, 20, 33), (14, 26, 36)
CONTROLS = (
    "split-softmax:0.4",
    "boost:6",
    "spotlight:0.5",
    "restore:0.9",
    "restore:1@from=all",
    "anchor",
    "anchor+boost:3",
    "anchor+restore:1",
)


def ids(length: int, seed: int = 0) -> tuple[int, ...]:
    rng = random.Random(seed)
    return tuple(rng.randrange(12, VOCABULARY) for _ in range(length))


def steer(text: str, span: tuple[int, int] = SPAN, turns: tuple[int, ...] = TURNS) -> RowSteering:
    return RowSteering(parse(text), span, span, turns, REPLIES)


def off() -> RowSteering:
    """The two parts with the share as it is."""
    return RowSteering(Control("off", share=AttentionControl("boost", 1.0)), SPAN, SPAN, TURNS)


def logits(
    judge: PreTrainedModel,
    rows: list[tuple[int, ...]],
    rows_steering: list[RowSteering | None],
    cuts: tuple[int, ...] = (),
) -> Tensor:
    """Logits of every token, (B, L, V), the rows flush right and encoded in chunks at `cuts`."""
    width = max(map(len, rows))
    pads = [width - len(row) for row in rows]
    tokens = torch.tensor([[0] * pad + list(row) for pad, row in zip(pads, rows, strict=True)])
    mask = torch.arange(width) >= torch.tensor(pads)[:, None]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    row_steerings = [one and _right(one, pad) for one, pad in zip(rows_steering, pads, strict=True)]
    anchored = any(one and one.control.anchor for one in rows_steering)
    plan = Steering(row_steerings, Rotary(judge) if anchored else None)
    past, parts = DynamicCache(config=judge.config), []
    kind, _ = attention_for(judge)
    with torch.inference_mode(), use_attention(judge, kind):
        for start, end in zip((0, *cuts), (*cuts, width), strict=True):
            one_pass = start_pass(plan, start, end - start)
            extra: dict[str, Any] = {"holdfast": one_pass} if one_pass else {}
            out = judge(
                input_ids=tokens[:, start:end],
                attention_mask=mask[:, :end].long(),
                position_ids=positions[:, start:end],
                past_key_values=past,
                use_cache=True,
                **extra,
            )
            parts.append(out.logits)
    return torch.cat(parts, 1)


def _right(one: RowSteering, by: int) -> RowSteering:
    (a, b), turns = one.content, tuple(t + by for t in one.turns)
    replies = tuple(at + by for at in one.replies)
    columns = (a + by, b + by)
    return replace(one, content=columns, message=columns, turns=turns, replies=replies)


def close(a: Tensor, b: Tensor, tolerance: float = 2e-4) -> None:
    assert torch.allclose(a, b, atol=tolerance, rtol=tolerance), (a - b).abs().max()


@pytest.mark.parametrize("kind", ALL)
def test_two_parts_with_the_share_as_it_is_are_plain_attention(kind: str) -> None:
    close(logits(model(kind), [ids(40)], [off()]), logits(model(kind), [ids(40)], [None]))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("text", CONTROLS)
def test_a_control_changes_what_comes_after_the_persona_and_nothing_before(
    kind: str, text: str
) -> None:
    plain, steered = (logits(model(kind), [ids(40)], [h]) for h in (None, steer(text)))
    close(steered[:, : SPAN[1]], plain[:, : SPAN[1]])
    if kind != "mistral":  # whose window has left the persona behind in every layer
        assert (steered - plain)[:, TURNS[1] :].abs().max() > 1e-2


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("text", CONTROLS)
def test_rows_of_one_batch_come_out_as_alone(kind: str, text: str) -> None:
    rows = [ids(40), ids(31, 1), ids(24, 2)]
    spans: list[RowSteering | None] = [steer(text), steer(text, (2, 12), (12, 20)), None]
    together = logits(model(kind), rows, spans)
    for i, row in enumerate(rows):
        alone = logits(model(kind), [row], [spans[i]])
        close(together[i : i + 1, -len(row) :], alone)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("text", CONTROLS)
def test_chunks_and_single_tokens_come_out_as_the_whole(kind: str, text: str) -> None:
    whole = logits(model(kind), [ids(40)], [steer(text)])
    for cuts in [(4, 21), (12, 33, 34, 35, 36)]:
        close(logits(model(kind), [ids(40)], [steer(text)], cuts), whole)


@pytest.mark.parametrize("few_keys", [512, 0])
@pytest.mark.parametrize("text", CONTROLS)
def test_a_chunk_that_ends_before_a_rows_persona_does_comes_out_as_the_whole(
    text: str, few_keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steered_pass, "FEW_KEYS", few_keys)
    rows, spans = [ids(40), ids(40, 1)], [steer(text), steer(text, (14, 24), (24, 30))]
    whole = logits(model(), rows, [*spans])
    for cuts in [(12, 18, 22), tuple(range(1, 40))]:
        close(logits(model(), rows, [*spans], cuts), whole)


def test_rows_under_different_controls_share_a_batch() -> None:
    rows = [ids(40, i) for i in range(len(CONTROLS))]
    rows_steering: list[RowSteering | None] = [steer(text) for text in CONTROLS]
    together = logits(model(), rows, rows_steering)
    for i, row in enumerate(rows):
        close(together[i : i + 1], logits(model(), [row], [rows_steering[i]]))


def test_a_batch_that_has_ended_keeps_no_keys_until_cycles_are_collected() -> None:
    def alive() -> int:
        return sum(type(one) is Steering for one in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()
    try:
        rows = [ids(40), ids(37, 1)]
        logits(model("llama"), rows, [steer("anchor+restore:1")] * 2, cuts=(38, 39))
        assert alive() == before
    finally:
        gc.enable()


def test_layers_and_heads_restrict_a_control() -> None:
    # Only the first layer's attention changes, so that it alone tells: none in layers 5-9.
    plain = logits(model(), [ids(40)], [None])
    close(logits(model(), [ids(40)], [steer("boost:9@layers=5-9")]), plain)
    close(logits(model(), [ids(40)], [steer("anchor@heads=7-9")]), plain)
    one, all_ = (logits(model(), [ids(40)], [steer(f"boost:9{o}")]) for o in ("@layers=1", ""))
    assert (one - plain).abs().max() > 1e-3
    assert (one - all_).abs().max() > 1e-3


def test_bfloat16_is_as_near_to_float32_as_plain_attention_is() -> None:
    judge = LlamaForCausalLM(LlamaConfig(**GROUPED)).eval()
    rows_steering: list[RowSteering | None] = [None, steer("boost:4"), steer("anchor")]
    whole = [logits(judge, [ids(40)], [h]) for h in rows_steering]
    judge.to(torch.bfloat16)
    halves = [logits(judge, [ids(40)], [h]).float() for h in rows_steering]
    off = [float((a - b).norm()) for a, b in zip(whole, halves, strict=True)]
    assert max(off[1:]) < 2 * off[0]


def result(subject: Engine, text: str, length: int = 40, **changes: Any) -> Continuation:
    control = parse(text)
    steers = steer(text) if control.steers else None
    spans = Spans(SPAN, (0, SPAN[1]))
    request = Request(
        ids(length), 0, spans=spans, measure=True, state=control.state, steering=steers
    )
    return subject.generate([replace(request, **changes)], GREEDY)[0]


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "gemma2", "gpt_oss"])
@pytest.mark.parametrize(
    ("text", "w"),
    [
        ("split-softmax:0.4", lambda pi: pi**0.4),
        ("boost:6", lambda pi: 6 * pi / (6 * pi + 1 - pi)),
    ],
)
def test_the_share_after_is_the_function_of_the_share_before(kind: str, text: str, w: Any) -> None:
    # The first layer's keys are the same under any control, so its shares can be compared.
    subject = Engine(model(kind))
    steps = Sampling(max_new_tokens=1, temperature=0)
    shares = []
    for control in ("none", text):
        steers = steer(control) if control != "none" else None
        request = Request(
            ids(40), 0, spans=Spans(SPAN, SPAN), measure=True, state=control, steering=steers
        )
        (outcome,) = subject.generate([request], steps)
        assert outcome.share is not None
        shares.append(torch.tensor(outcome.share.heads[0]))
    expected = torch.tensor([w(float(pi)) for pi in shares[0]])
    if kind == "gpt_oss":  # its first layer's window has left the persona behind
        expected = shares[0]
    close(shares[1], expected, 3e-3)  # shares come rounded to five places


@pytest.mark.parametrize("text", CONTROLS)
def test_kept_keys_and_values_give_what_encoding_again_gives(text: str) -> None:
    subject, fresh = Engine(model()), Engine(model())
    first = result(subject, text, 34)
    longer = (*ids(34), *first.ids, *ids(8, 5))
    turns = (*TURNS, 34 + len(first.ids))
    request = Request(longer, 1, state=parse(text).state, steering=steer(text, turns=turns))
    (reuse,), (anew,) = (e.generate([request], GREEDY) for e in (subject, fresh))
    assert reuse.cached_tokens > 30
    assert anew.cached_tokens == 0
    assert reuse.ids == anew.ids


def test_rows_that_leave_a_batch_take_nothing_from_those_that_stay() -> None:
    def make_requests(count: int) -> list[Request]:
        return [
            Request(ids(30 + i, i), i, state=parse(t).state, steering=steer(t, turns=(9, 20)))
            for i, t in enumerate((CONTROLS * 4)[:count])
        ]

    sampling = Sampling(max_new_tokens=40, temperature=1.5)
    ends = frozenset(range(12, 60))  # so many that rows end at different steps
    together = Engine(model(), batch_size=16).generate(make_requests(16), sampling, ends)
    assert len({r.steps for r in together}) > 3
    alone = [Engine(model()).generate([r], sampling, ends)[0] for r in make_requests(16)]
    assert [r.ids for r in together] == [r.ids for r in alone]


@pytest.mark.parametrize("turns", [(9,), ()], ids=["first turn", "no turn"])
@pytest.mark.parametrize("text", ["anchor", "restore:1", "anchor+restore:1"])
def test_up_to_the_first_turn_anchor_and_restore_are_plain_attention(
    text: str, turns: tuple[int, ...]
) -> None:
    one = steer(text, turns=turns)
    close(logits(model(), [ids(40)], [one]), logits(model(), [ids(40)], [None]))


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "qwen3", "gemma2"])
def test_where_all_before_the_span_moves_too_anchor_is_encoding_at_the_shifted_places(
    kind: str,
) -> None:
    judge, span, turn = model(kind), (0, 9), 20
    kind_, _ = attention_for(judge)
    anchor = steer("anchor", span, (9, turn))
    expected = logits(judge, [ids(26)], [anchor])[:, turn:]
    # By hand: the persona encoded again `shift` places later, in place of its keys and values.
    tokens, shift = torch.tensor([ids(26)]), turn - span[1]
    with torch.inference_mode(), use_attention(judge, kind_):

        def encode(n: int, by: int) -> DynamicCache:
            past = DynamicCache(config=judge.config)
            places = torch.arange(n)[None] + by
            judge(input_ids=tokens[:, :n], position_ids=places, past_key_values=past)
            return past

        past, late = encode(turn, 0), encode(span[1], shift)
        for layer, late_layer in zip(past.layers, late.layers, strict=True):
            if layer.keys.shape[2] == turn:  # a sliding layer has dropped the persona
                layer.keys[:, :, : span[1]] = late_layer.keys
        places = torch.arange(turn, 26)[None]
        out = judge(input_ids=tokens[:, turn:], position_ids=places, past_key_values=past)
    close(out.logits, expected)


def guide_reply(strength: float, seed: int = 0, sampling: Sampling = GREEDY) -> Continuation:
    bare = ids(40)[9:]
    request = Request(ids(40), seed, guide=Guide(bare, strength))
    return Engine(model()).generate([request], sampling)[0]


def test_guidance_is_the_weighted_sum_of_two_log_probabilities() -> None:
    judge, whole, bare, tokens = model(), list(ids(40)), list(ids(40)[9:]), []
    with torch.inference_mode():
        for _ in range(GREEDY.max_new_tokens):
            with_, without = (
                judge(torch.tensor([x + tokens])).logits[0, -1].log_softmax(-1)
                for x in (whole, bare)
            )
            tokens.append(int((without + 2.5 * (with_ - without)).argmax()))
    assert list(guide_reply(2.5).ids) == tokens
    assert list(result(Engine(model()), "none").ids) != tokens


def test_guidance_at_one_is_off() -> None:
    sampling = Sampling(max_new_tokens=12)
    (plain,) = Engine(model()).generate([Request(ids(40), 3)], sampling)
    assert guide_reply(1.0, 3, sampling).ids == plain.ids


def test_guided_rows_come_out_as_alone_whatever_is_beside_them() -> None:
    sampling = Sampling(max_new_tokens=30)
    ends = frozenset(range(12, 40))
    requests = [
        Request(ids(30 + i, i), i, guide=Guide(ids(30 + i, i)[9:], 1.5) if i % 2 else None)
        for i in range(9)
    ]
    together = Engine(model(), batch_size=4).generate(requests, sampling, ends)
    alone = [Engine(model()).generate([r], sampling, ends)[0] for r in requests]
    assert [r.ids for r in together] == [r.ids for r in alone]


def test_the_guide_is_kept_for_the_next_turn() -> None:
    subject = Engine(model())
    first = subject.generate([Request(ids(40), 0, guide=Guide(ids(40)[9:], 2.0))], GREEDY)[0]
    longer = (*ids(40), *first.ids, *ids(5, 9))
    (then,) = subject.generate([Request(longer, 0, guide=Guide(longer[9:], 2.0))], GREEDY)
    assert then.cached_tokens >= 2 * len(longer) - 9 - 2 * 7


@pytest.mark.parametrize("name", [FUSED, EAGER])
def test_a_model_that_does_not_hand_the_control_on_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.core.errors import ControlError

    judge = LlamaForCausalLM(LlamaConfig(**GROUPED)).eval()
    inner = judge.model.forward

    def deaf(*args: Any, holdfast: Any = None, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    monkeypatch.setattr(judge.model, "forward", deaf)
    judge.set_attn_implementation("eager" if name == EAGER else "sdpa")
    with pytest.raises(ControlError, match="cannot be steered"):
        result(Engine(judge), "boost:3")
