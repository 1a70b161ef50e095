"""The backend over vLLM, against the local one."""

from __future__ import annotations

import pytest
from tests.models.vllm.conftest import vllm_or_skip, weights

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import message
from holdfast.core.control import parse
from holdfast.core.errors import ControlError, ModelError
from holdfast.models.load import load

vllm_or_skip()
pytestmark = pytest.mark.vllm

OPTIONS = {"enforce_eager": True, "max_model_len": 512, "block_size": 32, "max_num_seqs": 16}
CHAT = (
    message("system", "You always answer in capital letters."),
    message("user", "What is your name?"),
    message("assistant", "ANN."),
    message("user", "Where do you live?"),
)
CONTROLS = ("none", "boost:4", "anchor", "window:1", "reminder:1+anchor+split-softmax:0.7")


def test_replies_and_likelihoods_are_those_of_the_local_backend() -> None:
    ours = load(weights("mini"), dtype="float32")
    theirs = load("vllm:mini", dtype="float32", **OPTIONS)
    asks = [Ask(CHAT, i, parse(text)) for i, text in enumerate(CONTROLS)]
    asks.append(Ask(CHAT[1:], 9, parse("anchor")))  # no persona
    greedy = Sampling(max_new_tokens=24, temperature=0.0)
    want, answers = (model.reply(asks, greedy) for model in (ours, theirs))
    assert [(r.text, r.stop, r.prompt_tokens, r.completion_tokens) for r in answers] == [
        (r.text, r.stop, r.prompt_tokens, r.completion_tokens) for r in want
    ]
    with_stop = Sampling(max_new_tokens=24, temperature=0.0, stop=(want[0].text[2:4],))
    assert theirs.reply(asks[:1], with_stop)[0].text == ours.reply(asks[:1], with_stop)[0].text
    sampling = Sampling(max_new_tokens=12)
    assert [r.text for r in theirs.reply(asks, sampling)] == [
        r.text for r in theirs.reply(asks, sampling)
    ]

    # A prefix from the cache would have no log-probabilities.
    options = [["Rome.", "In a small house by the sea, where nobody lives but me."]] * len(asks)
    for a, b in zip(
        ours.likelihoods(asks, options), theirs.likelihoods(asks, options), strict=True
    ):
        assert a == pytest.approx(b, abs=1e-3)

    long = (message("user", "word " * 900),)
    assert theirs.reply([Ask(long, 0)], greedy)[0].stop == "overflow"
    with pytest.raises(ControlError, match="guidance"):
        theirs.reply([Ask(CHAT, 0, parse("guidance:2"))], greedy)
    theirs.forget()
    assert theirs.reply(asks[1:2], greedy)[0].cached_tokens == 0
    assert theirs.describe()["backend"] == "vllm"


def test_seeded_chats_that_do_not_fit_into_one_step_are_answered() -> None:
    theirs = load("vllm:mini", **OPTIONS, max_num_batched_tokens=512)
    long = [(CHAT[0], message("user", f"{i} " + "Rome and the sea. " * 60)) for i in range(8)]
    replies = theirs.reply([Ask(chat, i) for i, chat in enumerate(long)], Sampling(8))
    assert sum(reply.prompt_tokens for reply in replies) > 2 * 512
    assert {reply.stop for reply in replies} <= {"stop", "length"}


def test_what_vllm_cannot_load_is_one_sentence() -> None:
    with pytest.raises(ModelError, match=r"vLLM cannot load mini: .*HOLDFAST_VLLM_OPTIONS"):
        load("vllm:mini", **{**OPTIONS, "max_model_len": 10**9})


def test_the_prompt_share_is_that_of_the_local_backend() -> None:
    ours = load(weights("mini"), dtype="float32")
    theirs = load("vllm:mini", dtype="float32", **OPTIONS)
    texts = (*CONTROLS, "boost:4@layers=1-3,heads=0-2", "restore:0.8", "spotlight:0.3@span=message")
    longer = (*CHAT, message("assistant", "BY THE SEA."), message("user", "And your name again?"))
    asks = [Ask(chat, 0, parse(t), measure=True) for t in texts for chat in (CHAT, longer)]
    asks += [Ask(CHAT[1:], 0, measure=True), Ask(CHAT, 0)]
    greedy = Sampling(max_new_tokens=24, temperature=0.0)
    for ask, a, b in zip(asks, ours.reply(asks, greedy), theirs.reply(asks, greedy), strict=True):
        assert (a.share is None) == (b.share is None), ask.control.text
        if a.share is None or b.share is None:
            continue
        assert (a.share.span, a.share.length) == (b.share.span, b.share.length)
        assert b.share.tokens == pytest.approx(a.share.tokens, abs=2e-5), ask.control.text
        for name in ("heads", "heads_template", "heads_before"):
            one, other = getattr(a.share, name), getattr(b.share, name)
            assert (one is None) == (other is None), (ask.control.text, name)
            for x, y in zip(one or (), other or (), strict=True):
                assert y == pytest.approx(x, abs=3e-5), (ask.control.text, name)


def test_in_bfloat16_every_control_is_near_our_own_engine_in_float32() -> None:
    ours = load(weights("mini"), dtype="float32")
    theirs = load("vllm:mini", dtype="bfloat16", **OPTIONS)
    texts = (*CONTROLS, "split-softmax:0.5", "spotlight:0.3", "restore:0.8", "anchor+boost:2")
    asks = [Ask(CHAT, i, parse(text)) for i, text in enumerate(texts)]
    options = [["BY THE SEA.", "By the sea, with my cat.", "no"]] * len(asks)
    want, scores = (model.likelihoods(asks, options) for model in (ours, theirs))
    counts = [ours.count(option) for option in options[0]]
    for text, sums, other in zip(texts, want, scores, strict=True):
        for n, a, b in zip(counts, sums, other, strict=True):
            assert a / n == pytest.approx(b / n, abs=0.15), text
