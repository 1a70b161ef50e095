"""The engine against transformers' own `generate`, token for token."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    FalconConfig,
    Lfm2Config,
    LlamaConfig,
    MambaConfig,
    MiniMaxConfig,
    PreTrainedModel,
    SmolLM3Config,
)

from holdfast.core.backend import Sampling
from holdfast.core.errors import ControlError, ModelError
from holdfast.models.engine.batch import Batch
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.request import Continuation, Guide, Request, Row
from holdfast.models.local.hold.hold import hold
from tiny_models import CONFIGS, GROUPED, ODD_CONFIGS, SHAPE, VOCABULARY, WINDOW, model

END = frozenset([2])
GREEDY = Sampling(max_new_tokens=16, temperature=0)
SAMPLING = Sampling(max_new_tokens=16, temperature=1.0, top_p=0.9)
NARROW = {"max_position_embeddings": 64}
Prompt = tuple[int, ...]


def prompts(count: int, seed: int = 0, longest: int = 40) -> list[Prompt]:
    """Prompts of different lengths, all longer than the sliding windows' smallest."""
    rng = random.Random(seed)
    lengths = [rng.randrange(3, longest) for _ in range(count)]
    return [tuple(rng.randrange(12, VOCABULARY) for _ in range(n)) for n in lengths]


def reference(judge: PreTrainedModel, prompt: Prompt, steps: int = 16) -> list[int]:
    """What transformers' `generate` continues a prompt with, the end token included."""
    ids = torch.tensor([prompt])
    out = judge.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=steps,
        do_sample=False,
        eos_token_id=2,
        pad_token_id=0,
    )
    return list(out[0, len(prompt) :].tolist())


def whole(result: Continuation) -> list[int]:
    return [*result.ids, 2] if result.stop == "stop" else list(result.ids)


def requests(texts: Sequence[Prompt], keep: bool = True) -> list[Request]:
    return [Request(ids, seed=i, keep=keep) for i, ids in enumerate(texts)]


def engine(kind: str = "llama", batch_size: int = 4, **options: int) -> Engine:
    return Engine(model(kind), name=f"tiny {kind}", batch_size=batch_size, **options)


@pytest.mark.parametrize("kind", [*CONFIGS, *ODD_CONFIGS])
def test_greedy_batches_and_forks_equal_generate(kind: str) -> None:
    subject = engine(kind)
    first = prompts(6)
    expected = [reference(model(kind), ids) for ids in first]
    results = subject.generate(requests(first), GREEDY, END)
    assert [whole(r) for r in results] == expected
    assert all(r.cached_tokens == 0 for r in results)

    # Two branches from each row: both start from keys and values that are already there.
    forks = [
        (*ids, *r.ids, *tail)
        for ids, r in zip(first, results, strict=True)
        for tail in [(50, 60, 70), (80, 90, 100, 110, 120)]
    ]
    branches = subject.generate(requests(forks, keep=False), GREEDY, END)
    assert [whole(r) for r in branches] == [reference(model(kind), ids) for ids in forks]
    assert all(r.cached_tokens > 0 for r in branches)
    fresh = engine(kind).generate(requests(forks), GREEDY, END)
    assert [r.ids for r in fresh] == [r.ids for r in branches]


@pytest.mark.parametrize("kind", CONFIGS)
def test_one_row_at_a_time_equals_generate(kind: str) -> None:
    subject = engine(kind, batch_size=1)
    for ids in prompts(3, seed=5):
        (result,) = subject.generate([Request(ids, seed=0)], GREEDY, END)
        assert whole(result) == reference(model(kind), ids)


@pytest.mark.parametrize("kind", CONFIGS)
def test_sampled_rows_do_not_depend_on_the_batch(kind: str) -> None:
    texts = prompts(9, seed=1)
    alone = engine(kind, batch_size=1).generate(requests(texts), SAMPLING, END)
    together = engine(kind, batch_size=9).generate(requests(texts), SAMPLING, END)
    some = engine(kind, batch_size=3).generate(requests(texts)[::-1], SAMPLING, END)[::-1]
    assert [r.ids for r in alone] == [r.ids for r in together] == [r.ids for r in some]


def test_waiting_requests_take_the_places_of_rows_that_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beside: list[int] = []
    join = Batch.join

    def record(batch: Batch, rows: Sequence[Row]) -> None:
        beside.append(batch.running)
        join(batch, rows)

    monkeypatch.setattr(Batch, "join", record)
    texts = prompts(12, seed=6, longest=60)
    ends = frozenset(range(0, VOCABULARY, 9))
    results = engine(batch_size=4).generate(requests(texts), SAMPLING, ends)
    assert len({len(r.ids) for r in results}) > 1  # they do not end together
    assert len(beside) > 3 and any(beside) and max(beside) < 4
    alone = engine(batch_size=1).generate(requests(texts), SAMPLING, ends)
    assert [r.ids for r in results] == [r.ids for r in alone]


def test_a_seed_gives_one_reply_and_another_seed_another() -> None:
    (ids,) = prompts(1)
    batch = [Request(ids, seed) for seed in (7, 8, 7, -1)]
    a, b, c, d = engine().generate(batch, SAMPLING, END)
    assert a == c
    assert len({a.ids, b.ids, d.ids}) == 3


def test_a_long_prefill_in_small_pieces_changes_nothing() -> None:
    texts = prompts(5, seed=2, longest=90)
    for kind in ("llama", "gemma3"):
        small = engine(kind, prefill_tokens=7).generate(requests(texts), GREEDY, END)
        assert [r.ids for r in small] == [
            r.ids for r in engine(kind).generate(requests(texts), GREEDY, END)
        ]


def test_rows_with_much_and_little_that_is_new_share_a_batch() -> None:
    subject = engine(batch_size=8)
    base = prompts(4, seed=3, longest=300)
    grown = [
        (*ids, *r.ids, 40, 41)
        for ids, r in zip(base, subject.generate(requests(base), GREEDY), strict=True)
    ]
    texts = [*grown, *prompts(4, seed=4, longest=300)]
    results = subject.generate(requests(texts), GREEDY, END)
    assert [whole(r) for r in results] == [reference(model("llama"), ids) for ids in texts]


def test_rows_that_end_early_leave_and_are_kept_right() -> None:
    subject = engine(batch_size=8)
    texts = prompts(8, seed=6)
    free = subject.generate(requests(texts), SAMPLING)
    # Tokens that some of these replies contain now end them, at different steps.
    ends = frozenset(r.ids[i] for i, r in enumerate(free))
    subject.forget()
    cut = subject.generate(requests(texts), SAMPLING, ends)
    assert len({r.steps for r in cut}) > 2
    for short, long in zip(cut, free, strict=True):
        assert short.ids == long.ids[: len(short.ids)]
    follow = [(*ids, *r.ids, 33, 34) for ids, r in zip(texts, cut, strict=True)]
    results = subject.generate(requests(follow), GREEDY, END)
    assert [whole(r) for r in results] == [reference(model("llama"), ids) for ids in follow]
    # All but the two new tokens was there (and, in a group, a few were computed again).
    assert sum(r.cached_tokens for r in results) > 0


def test_a_turn_costs_its_new_tokens_only() -> None:
    subject = engine(batch_size=1)
    (ids,) = prompts(1, longest=40)
    (first,) = subject.generate([Request(ids, 0)], SAMPLING)
    turn = (*ids, *first.ids, 99, 98, 97)
    (second,) = subject.generate([Request(turn, 0)], SAMPLING)
    # The last token of the first reply was drawn but never fed.
    assert second.cached_tokens == len(turn) - 4


def test_a_probe_is_not_kept() -> None:
    subject = engine()
    subject.generate(requests(prompts(3), keep=False), GREEDY)
    assert len(subject.store) == 0


def test_rows_of_another_state_are_not_reused() -> None:
    subject = engine()
    (ids,) = prompts(1)
    subject.generate([Request(ids, 0, state="none")], GREEDY)
    (other,) = subject.generate([Request(ids, 0, state="anchor")], GREEDY)
    (same,) = subject.generate([Request(ids, 0, state="none")], GREEDY)
    assert (other.cached_tokens, same.cached_tokens) == (0, len(ids) - 1)


def test_forgetting_starts_over() -> None:
    subject = engine()
    subject.generate(requests(prompts(3)), GREEDY)
    subject.forget()
    assert all(r.cached_tokens == 0 for r in subject.generate(requests(prompts(3)), GREEDY))


def bytes_of(subject: Engine, tokens: int) -> int:
    """Bytes of the keys and values of so many tokens."""
    config = subject.config
    size = config.hidden_size // config.num_attention_heads
    return tokens * config.num_hidden_layers * 2 * config.num_key_value_heads * size * 4


def test_branches_of_a_conversation_cost_the_store_their_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.models.engine.cache.PAGE", 8)
    subject = engine(batch_size=3)
    (chat,) = prompts(1, longest=41)
    branches = 0
    for turn in range(6):  # each turn with two branches that nothing follows
        ends = prompts(3, seed=turn + 1, longest=12)
        results = subject.generate(requests([chat + end for end in ends]), GREEDY)
        branches += sum(len(end) + len(r.ids) for end, r in zip(ends, results, strict=True))
        chat = chat + ends[0] + results[0].ids
    rows = len(subject.store)
    assert rows == 13
    # The first three, which nothing was kept for, each have the beginning.
    assert subject.store.size <= bytes_of(subject, 3 * 40 + branches + 8 * rows)
    assert subject.store.size < bytes_of(subject, len(chat) * rows) / 3


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
@pytest.mark.parametrize("size", [1, 5, 16])
def test_pages_of_any_size_change_nothing(
    kind: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conversation() -> list[Continuation]:
        subject, results, chats = engine(kind), [], prompts(6)
        for turn in range(3):
            texts = [(*chat, *end) for chat in chats for end in prompts(2, seed=turn, longest=9)]
            results += subject.generate(requests(texts), SAMPLING, END)
            chats = [chat + r.ids for chat, r in zip(texts[::2], results[-12::2], strict=True)]
        return results

    expected = conversation()
    monkeypatch.setattr("holdfast.models.engine.cache.PAGE", size)
    assert conversation() == expected
    assert sum(one.cached_tokens for one in expected) > 600


def test_pages_that_the_store_drops_while_a_row_goes_on_from_them_are_kept_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.models.engine.cache.PAGE", 4)
    subject, (ids,) = engine(), prompts(1)
    (first,) = subject.generate(requests([ids]), GREEDY)
    chat = (*ids, *first.ids, 50)
    (expected,) = engine().generate(requests([chat]), GREEDY)
    halt = lambda reply: bool(subject.store.clear())  # noqa: E731
    (second,) = subject.generate(requests([chat]), GREEDY, halts=[halt])
    assert (second.ids, second.cached_tokens) == (expected.ids, len(chat) - 2)
    (again,) = subject.generate(requests([chat]), GREEDY)
    assert (again.ids, again.cached_tokens) == (expected.ids, len(chat) - 1)


def test_a_tiny_bound_on_memory_changes_only_the_time() -> None:
    texts = prompts(6)
    bound = 20_000
    subject = engine(cache_bytes=bound)
    first = subject.generate(requests(texts), GREEDY, END)
    assert 0 < subject.store.size <= bound
    assert len(subject.store) < len(texts)
    again = subject.generate(requests(texts), GREEDY, END)
    assert [r.ids for r in again] == [r.ids for r in first]


def test_a_reply_ends_at_the_edge_of_the_context() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(**(GROUPED | {"max_position_embeddings": 20}))
    subject = Engine(AutoModelForCausalLM.from_config(config))
    fits, edge, full, over = (tuple(range(12, 12 + n)) for n in (4, 15, 20, 25))
    results = subject.generate(requests([fits, edge, full, over]), GREEDY)
    assert [r.stop for r in results] == ["length", "overflow", "overflow", "overflow"]
    assert [r.steps for r in results] == [16, 5, 0, 0]


def test_a_predicate_can_end_a_reply() -> None:
    (ids,) = prompts(1)
    (result,) = engine().generate([Request(ids, 0)], GREEDY, halts=[lambda reply: len(reply) == 3])
    assert (result.stop, len(result.ids)) == ("stop", 3)


def test_a_devices_full_memory_is_one_sentence_and_the_engine_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = Engine(model("llama"), batch_size=2)
    asks = [Request((20, 21, 22), seed) for seed in range(3)]

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as patch:
        patch.setattr(subject, "_decode", full)
        with pytest.raises(ModelError, match=r"memory of cpu is full.* 2 rows of up to 7 tok"):
            subject.generate(asks, Sampling(max_new_tokens=4))
    assert len(subject.generate(asks, Sampling(max_new_tokens=4))) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLING])
def test_logits_that_are_not_finite_are_an_error_that_names_the_model(
    value: float, sampling: Sampling
) -> None:
    torch.manual_seed(0)
    broken = AutoModelForCausalLM.from_config(CONFIGS["llama"])
    with torch.no_grad():
        broken.lm_head.weight[5] = value
    with pytest.raises(ModelError, match=r"my-model gives logits that are not finite"):
        Engine(broken, name="my-model").generate(requests(prompts(2)), sampling)


def test_an_error_leaves_nothing_behind_for_the_next_batch() -> None:
    torch.manual_seed(0)
    judge = AutoModelForCausalLM.from_config(CONFIGS["llama"]).eval()
    subject = Engine(judge)
    texts = prompts(4)
    expected = subject.generate(requests(texts, keep=False), GREEDY)
    weight = judge.model.layers[0].self_attn.v_proj.weight.detach().clone()
    with torch.no_grad():
        judge.model.layers[0].self_attn.v_proj.weight.fill_(float("nan"))
    with pytest.raises(ModelError):
        subject.generate(requests(texts), GREEDY)
    with torch.no_grad():
        judge.model.layers[0].self_attn.v_proj.weight.copy_(weight)
    assert subject.generate(requests(texts, keep=False), GREEDY) == expected


def test_the_model_gets_its_own_attention_back() -> None:
    judge = model("llama")
    before = judge.config._attn_implementation
    engine().generate(requests(prompts(1)), GREEDY)
    assert judge.config._attn_implementation == before


def test_a_model_with_a_state_of_its_own_runs_without_reuse() -> None:
    torch.manual_seed(0)
    judge = AutoModelForCausalLM.from_config(
        Lfm2Config(**GROUPED, layer_types=["conv", "full_attention"])
    ).eval()
    subject = Engine(judge, batch_size=4)
    texts = [*prompts(4), *prompts(4, seed=8)]
    results = subject.generate(requests(texts), GREEDY, END)
    assert [whole(r) for r in results] == [reference(judge, ids) for ids in texts]
    assert not subject.reuses
    assert len(subject.store) == 0


def test_a_model_without_an_attention_interface_is_decoded_all_the_same() -> None:
    torch.manual_seed(0)
    config = FalconConfig(**(SHAPE | {"alibi": True}))
    judge = AutoModelForCausalLM.from_config(config).eval()
    subject = Engine(judge)
    texts = prompts(4)
    results = subject.generate(requests(texts), GREEDY, END)
    assert [whole(r) for r in results] == [reference(judge, ids) for ids in texts]
    assert subject.no_share == "FalconForCausalLM does not let its attention be observed"


def test_a_model_without_keys_and_values_is_refused() -> None:
    config = MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1)
    with pytest.raises(ModelError, match="keeps no keys and values"):
        Engine(AutoModelForCausalLM.from_config(config))


def test_a_model_inside_a_hold_block_is_refused_and_later_replies_are_plain() -> None:
    subject, fresh = engine(), engine()
    asks = requests([tuple(range(20, 50))])
    expected = fresh.generate(asks, GREEDY)
    with hold(subject.model, "boost:9", span=(2, 9)), pytest.raises(ControlError, match="block"):
        subject.generate(asks, GREEDY)
    assert subject.generate(asks, GREEDY) == expected


def test_a_model_that_reads_in_both_directions_is_refused() -> None:
    config = BertConfig(**SHAPE, is_decoder=False)
    with pytest.raises(ModelError, match="reads a text in both directions"):
        Engine(AutoModelForCausalLM.from_config(config))


def test_a_model_with_a_cache_of_its_own_is_refused_in_a_sentence() -> None:
    config = MiniMaxConfig(**GROUPED, num_local_experts=2, layer_types=["full_attention"] * 2)
    with pytest.raises(ModelError, match="a cache of its own"):
        Engine(AutoModelForCausalLM.from_config(config))


def test_an_id_beyond_the_embeddings_is_said_to_be_another_models() -> None:
    with pytest.raises(ModelError, match="the tokenizer belongs to another model"):
        Engine(model("llama")).generate([Request((5, 100_000), 0)], Sampling(max_new_tokens=2))


def test_anchor_is_refused_once_every_rotary_layers_window_has_passed_the_persona() -> None:
    Engine(model("mistral")).check_anchor(4, WINDOW + 3)
    with pytest.raises(ControlError, match=f"see the last {WINDOW} only"):
        Engine(model("mistral")).check_anchor(4, WINDOW + 4)
    Engine(model("gemma3")).check_anchor(4, WINDOW + 4)  # some of its layers see all
    Engine(model("llama")).check_anchor(4, 2 * WINDOW)
    Engine(model("gemma3")).check_anchor(4, WINDOW + 4, (1, 1))
    with pytest.raises(ControlError, match="all of the layers 0-0 those"):
        Engine(model("gemma3")).check_anchor(4, WINDOW + 4, (0, 0))


def test_anchor_is_refused_in_layers_without_rotary_positions() -> None:
    config = SmolLM3Config(**GROUPED, no_rope_layers=[1, 0], use_sliding_window=False)
    engine = Engine(AutoModelForCausalLM.from_config(config))
    engine.check_anchor(4, 20, (0, 1))
    with pytest.raises(ControlError, match="have no rotary positions"):
        engine.check_anchor(4, 20, (1, 1))


@pytest.mark.parametrize(("longer", "tokens"), [(60, 4), (64, 0), (70, 0)])
def test_a_reply_under_guidance_ends_where_the_chat_without_the_persona_fills_the_context(
    longer: int, tokens: int
) -> None:
    """A template may put a system prompt of its own where there is none."""
    subject = Engine(AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE | NARROW)))
    request = Request(tuple(range(12, 52)), 0, guide=Guide(tuple([12] * longer), 2.0))
    (result,) = subject.generate([request], GREEDY)
    assert (result.stop, len(result.ids)) == ("overflow", tokens)


def test_tokens_drawn_are_those_of_replies() -> None:
    """A shadow of guidance is no reply, and does not double the tokens per second."""
    subject = engine()
    asks = [Request((5, 6, 7, 8), 0, guide=Guide((7, 8), 1.5)), Request((9, 10), 0)]
    results = subject.generate(asks, GREEDY)
    assert subject.tokens_drawn == sum(result.steps for result in results)
