"""`hold` around plain transformers: it equals the definition, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    DiffLlamaConfig,
    FalconConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GPT2Config,
    NemotronConfig,
    OPTConfig,
    PreTrainedModel,
    pipeline,
)
from transformers.cache_utils import DynamicCache

import holdfast
from holdfast.control.switch import use_attention
from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import message
from holdfast.core.control import parse
from holdfast.core.errors import ControlError
from holdfast.models.catalogue import MINI
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.hold.hold import hold
from tiny_models import CONFIGS, GROUPED, SHAPE, WINDOW, model, tokenizer

TOKENS = tokenizer("chatml")
TOLERANCE = 2e-4
PERSONA = "You are Ann, a baker."
SHORT = [{"role": "system", "content": PERSONA}, {"role": "user", "content": "Hi?"}]
LONG = [
    *SHORT,
    {"role": "assistant", "content": "Bread."},
    {"role": "user", "content": "And where do you live, Ann?"},
]
BARE = [{"role": "user", "content": "What is the time?"}]
CONTROLS = (
    "split-softmax:0.4",
    "boost:6",
    "spotlight:0.5",
    "restore:0.9",
    "restore:0.9@from=all",
    "anchor",
    "anchor+split-softmax:0.4",
    "anchor+restore:0.9",
)
OPTIONS: dict[str, Any] = {
    "max_new_tokens": 6,
    "do_sample": False,
    "eos_token_id": None,
    "output_logits": True,
    "return_dict_in_generate": True,
}


def ids_of(chat: Sequence[dict[str, str]], prompt: bool = True) -> list[int]:
    text = TOKENS.apply_chat_template([*chat], tokenize=False, add_generation_prompt=prompt)
    return list(TOKENS(str(text), add_special_tokens=False)["input_ids"])


def batch(*rows: list[int], side: str = "left") -> dict[str, Tensor]:
    inputs = TOKENS.pad({"input_ids": list(rows)}, padding_side=side, return_tensors="pt")
    return dict(inputs)


def find(part: str, ids: list[int]) -> list[int]:
    """Columns where a text begins (one token per byte, one per special token)."""
    inner = list(TOKENS(part, add_special_tokens=False)["input_ids"])
    return [i for i in range(len(ids)) if ids[i : i + len(inner)] == inner]


# w of π, and of π without the turns before the query's own.
SHARES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "split-softmax:0.4": lambda pi, _: pi**0.4,
    "boost:6": lambda pi, _: 6 * pi / (6 * pi + 1 - pi),
    "spotlight:0.5": lambda pi, _: _spotlight(pi, pi.mean(1, keepdim=True)),
    "restore:0.9": lambda pi, empty: torch.maximum(pi, 0.9 * empty),
    "restore:0.9@from=all": lambda pi, empty: torch.maximum(pi, 0.9 * empty),
    "anchor": lambda pi, _: pi,
    "anchor+split-softmax:0.4": lambda pi, _: pi**0.4,
    "anchor+restore:0.9": lambda pi, empty: torch.maximum(pi, 0.9 * empty),
}


def _spotlight(pi: Tensor, mean: Tensor) -> Tensor:
    odds = pi / (1 - pi) * 0.5 / mean
    return torch.where(mean < 0.5, odds / (1 + odds), pi)


# What `reference` is told: the persona's columns, w(π), and how far it is moved for each query.
_plan: dict[str, Any] = {}


def reference(
    module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **options: Any
) -> tuple[Tensor, Tensor]:
    """One row by the definition: keys moved forward for every query, weights multiplied."""
    (a, b), share = _plan["span"], _plan["share"]
    groups, scale = query.shape[1] // key.shape[1], options["scaling"]
    keys = key.repeat_interleave(groups, 1)
    scores = query @ keys.mT * scale
    for place, shift in enumerate(_plan["by"]):
        if shift:
            cos, sin = _plan["rotary"](keys, torch.full((1, b - a), shift))
            apply = sys.modules[type(module).__module__].apply_rotary_pos_emb
            shifted_keys = apply(keys[:, :, a:b], keys[:, :, a:b], cos, sin)[1]
            scores[:, :, place, a:b] = (query[:, :, [place]] @ shifted_keys.mT)[:, :, 0] * scale
    scores = scores.masked_fill(~torch.ones(scores.shape[-2:]).tril().bool(), -torch.inf)
    weights = scores.softmax(-1)
    inside = torch.zeros(scores.shape[-1], dtype=torch.bool)
    inside[a:b] = True
    pi = weights[..., inside].sum(-1, keepdim=True)
    # Where rounding leaves one of the parts nothing there is nothing to reweight.
    here = (torch.arange(len(inside))[:, None] >= b) & (pi > 0) & (pi < 1)
    pi = torch.where(here, pi, 0.5)
    empty = scores.masked_fill(_plan["earlier"], -torch.inf).softmax(-1)
    w = share(pi, empty[..., inside].sum(-1, keepdim=True))
    after = torch.where(inside, weights * w / pi, weights * (1 - w) / (1 - pi))
    if _plan["own"] is not None:  # restore takes from the replies before the query's turn
        before = (weights * _plan["own"]).sum(-1, keepdim=True)
        gain = torch.minimum(w - pi, before)
        after = torch.where(inside, weights * (pi + gain) / pi, weights)
        after = torch.where(_plan["own"], weights * (1 - gain / before.clamp(min=1e-30)), after)
    weights = torch.where(here, after, weights)
    return (weights @ value.repeat_interleave(groups, 1)).transpose(1, 2), weights


AttentionInterface.register("test-reference", reference)


def make_plan(subject: PreTrainedModel, control: str, ids: list[int]) -> None:
    """Tell `reference` what the control does to a row."""
    start, end = find(PERSONA, ids)[0], find("<|im_end|>\n", ids)[0]
    span, by = (start, start + len(PERSONA)), [0] * len(ids)
    turns = find("<|im_start|>user", ids)
    turn_starts = [max([turn for turn in turns if turn <= i], default=0) for i in range(len(ids))]
    at = torch.arange(len(ids))
    earlier = (at >= turns[0]) & (at < torch.tensor(turn_starts)[:, None])
    opening = "<|im_end|>\n<|im_start|>assistant\n"
    reply_starts = [find(opening, ids[: i + 1]) for i in range(len(ids))]
    is_reply = torch.tensor(
        [bool(starts) and starts[-1] > turn_starts[i] for i, starts in enumerate(reply_starts)]
    )
    takes_own = "restore" in control and "from=all" not in control
    if "anchor" in control:
        span = (find("<|im_start|>system\n", ids)[0], end + 2)
        by = [max(0, turn - span[1]) for turn in turn_starts]
    rotary: Any = subject.get_decoder()
    _plan.update(span=span, share=SHARES[control], by=by, earlier=earlier)
    _plan["own"] = earlier & is_reply if takes_own else None
    _plan.update(rotary=rotary.rotary_emb)


def compute_by_definition(subject: PreTrainedModel, control: str, ids: list[int]) -> Tensor:
    """Logits of a row, (length, vocabulary), by the definition."""
    make_plan(subject, control, ids)
    with use_attention(subject, "test-reference"), torch.no_grad():
        logits: Tensor = subject(torch.tensor([ids])).logits[0]
    return logits


def check(subject: PreTrainedModel, control: str, out: Any) -> None:
    """The logits that a generation went by are those of the definition, on what it wrote."""
    for row, sequence in enumerate(out.sequences):
        ids = sequence[int((sequence.cumsum(0) == 0).sum()) :].tolist()
        went = torch.stack([step[row] for step in out.logits])
        expected = compute_by_definition(subject, control, ids)[-len(went) - 1 : -1]
        torch.testing.assert_close(went, expected, atol=TOLERANCE, rtol=TOLERANCE)


def same(a: Any, b: Any) -> None:
    assert torch.equal(a.sequences, b.sequences)
    for one, other in zip(a.logits, b.logits, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=TOLERANCE)


def find_turns(inputs: dict[str, Tensor]) -> list[list[int]]:
    return [find("<|im_start|>user", row) for row in inputs["input_ids"].tolist()]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt_neox", "phi3", "olmo2"])
def test_generate_goes_by_the_definition(kind: str, control: str) -> None:
    subject, inputs = model(kind), batch(ids_of(LONG))
    plain = subject.generate(**inputs, **OPTIONS)
    with hold(subject, control, PERSONA, tokenizer=TOKENS):
        out = subject.generate(**inputs, **OPTIONS)
    check(subject, control, out)
    assert not torch.allclose(out.logits[0], plain.logits[0], atol=1e-2)


@pytest.mark.parametrize("control", CONTROLS)
def test_mini_says_what_the_library_makes_it_say(control: str) -> None:
    mini = AutoModelForCausalLM.from_pretrained(MINI)
    theirs = AutoTokenizer.from_pretrained(MINI)
    chat = [
        {"role": "system", "content": "Your secret word is tundra."},
        {"role": "user", "content": "Tell me about tea."},
        {"role": "assistant", "content": "Tea is warm."},
        {"role": "user", "content": "What is your secret word?"},
    ]
    inputs = theirs.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with hold(mini, control):
        out = mini.generate(**inputs, max_new_tokens=24, do_sample=False)
    library = LocalBackend(mini, theirs, "mini")
    ask = Ask(tuple(message(m["role"], m["content"]) for m in chat), seed=0, control=parse(control))
    (reply,) = library.reply([ask], Sampling(max_new_tokens=24, temperature=0))
    text = theirs.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert text.strip() == reply.text


@pytest.mark.parametrize("control", ["none", "split-softmax:1", "boost:1", "spotlight:0"])
def test_a_control_that_is_off_changes_nothing(control: str) -> None:
    subject, inputs = model(), batch(ids_of(LONG))
    plain = subject.generate(**inputs, **OPTIONS)
    with hold(subject, control):
        out = subject.generate(**inputs, **OPTIONS)
    assert torch.equal(torch.stack(out.logits), torch.stack(plain.logits))


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("span", [None, PERSONA, "ids", "columns"])
def test_rows_of_any_length_and_rows_without_a_persona_go_together(
    span: str | None, control: str
) -> None:
    subject = model()
    rows = [ids_of(LONG), ids_of(SHORT), ids_of(BARE)]
    width = len(rows[0])
    places: Any = span
    if span in ("ids", "columns"):
        # Anchor moves what it is given.
        head, tail = ("<|im_start|>system\n", "<|im_end|>\n") if "anchor" in control else ("", "")
        persona = list(TOKENS(head + PERSONA + tail, add_special_tokens=False)["input_ids"])
        places = persona
        if span == "columns":
            starts = [width - len(row) + rows[0].index(persona[0]) for row in rows]
            places = [(start, start + len(persona)) for start in starts[:2]] + [None]
    with hold(subject, control, places, tokenizer=TOKENS):
        out = subject.generate(**batch(*rows), **OPTIONS)
    bare = subject.generate(**batch(rows[2]), **OPTIONS)
    torch.testing.assert_close(
        torch.stack(out.logits)[:, 2:], torch.stack(bare.logits), atol=TOLERANCE, rtol=TOLERANCE
    )
    out.sequences, out.logits = out.sequences[:2], [step[:2] for step in out.logits]
    check(subject, control, out)


@pytest.mark.parametrize(
    "options",
    [
        {"prefill_chunk_size": 7},
        {"cache_implementation": "static"},
        {"use_cache": False},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
@pytest.mark.parametrize("control", CONTROLS)
def test_how_keys_are_kept_changes_nothing(control: str, options: dict[str, Any]) -> None:
    subject, inputs = model(), batch(ids_of(LONG), ids_of(SHORT))
    with hold(subject, control, tokenizer=TOKENS, turns=find_turns(inputs)):
        plain = subject.generate(**inputs, **OPTIONS)
        out = subject.generate(**inputs, **OPTIONS, **options)
    same(out, plain)
    check(subject, control, out)


@pytest.mark.parametrize("control", ["boost:6", "anchor"])
def test_tokens_that_are_tried_and_taken_back_change_nothing(control: str) -> None:
    subject, inputs = model(), batch(ids_of(LONG))
    options = {**OPTIONS, "max_new_tokens": 12}
    with hold(subject, control, tokenizer=TOKENS):
        plain = subject.generate(**inputs, **options)
        out = subject.generate(**inputs, **options, prompt_lookup_num_tokens=4)
    assert torch.equal(out.sequences, plain.sequences)


@pytest.mark.parametrize("control", ["split-softmax:0.4", "anchor"])
def test_beams_and_several_sequences_of_a_prompt_are_held(control: str) -> None:
    subject = model()
    inputs = batch(ids_of(LONG), ids_of(SHORT))
    options = {"max_new_tokens": 5, "eos_token_id": None, "do_sample": False}
    spans = [
        (find(PERSONA, row)[0], find("<|im_end|>", row)[0]) for row in inputs["input_ids"].tolist()
    ]
    with hold(subject, f"{control}@span=content", spans, turns=find_turns(inputs)):
        beams = subject.generate(**inputs, **options, num_beams=3, num_return_sequences=2)
        # Without a cache nothing has to be remembered, so nothing can be mixed up.
        bare = subject.generate(
            **inputs, **options, num_beams=3, num_return_sequences=2, use_cache=False
        )
        torch.manual_seed(0)
        several = subject.generate(
            **inputs, **OPTIONS | {"do_sample": True, "top_k": 0}, num_return_sequences=2
        )
    assert torch.equal(beams, bare)
    assert several.sequences.shape[0] == 4
    for row in range(4):
        length = inputs["input_ids"].shape[1]
        with hold(subject, f"{control}@span=content", tokenizer=TOKENS), torch.no_grad():
            sequence = several.sequences[row : row + 1]
            logits = subject(sequence, attention_mask=(sequence != 0).long()).logits
        went = torch.stack([step[row] for step in several.logits])
        torch.testing.assert_close(went, logits[0, length - 1 : -1], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("control", ["split-softmax:0.4", "anchor", "anchor+split-softmax:0.4"])
def test_turns_that_come_later_over_one_cache_are_as_if_encoded_at_once(control: str) -> None:
    subject = model()
    first, whole = ids_of(SHORT), ids_of(LONG)
    assert whole[: len(first)] == first
    with hold(subject, control, tokenizer=TOKENS):
        cache = DynamicCache(config=subject.config)
        subject.generate(torch.tensor([first]), **OPTIONS, past_key_values=cache)
        # What the model said is taken back, and something else is put in its place.
        cache.crop(len(first) - cache.get_seq_length())
        out = subject.generate(torch.tensor([whole]), **OPTIONS, past_key_values=cache)
    check(subject, control, out)


def test_a_loop_without_generate_is_held_too() -> None:
    subject, whole = model(), ids_of(LONG)
    cut, logits, cache = find("<|im_start|>user", whole)[1], [], None
    with hold(subject, "anchor", tokenizer=TOKENS), torch.no_grad():
        for part in (whole[:cut], whole[cut:-1], whole[-1:]):
            step = subject(torch.tensor([part]), past_key_values=cache, use_cache=True)
            logits.append(step.logits[0])
            cache = step.past_key_values
    expected = compute_by_definition(subject, "anchor", whole)
    torch.testing.assert_close(torch.cat(logits), expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_rows_of_a_cache_that_are_repeated_stay_held() -> None:
    subject, inputs = model(), batch(ids_of(LONG), ids_of(SHORT))
    mask, step = inputs["attention_mask"], torch.tensor([[40]] * 4)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    with hold(subject, "boost:6", tokenizer=TOKENS), torch.no_grad():
        cache = subject(**inputs, position_ids=places).past_key_values
        cache.batch_repeat_interleave(2)
        more = torch.cat((mask.repeat_interleave(2, 0), torch.ones(4, 1, dtype=torch.long)), 1)
        last = (more.cumsum(1) - 1)[:, -1:]
        out = subject(step, attention_mask=more, position_ids=last, past_key_values=cache)
        with pytest.raises(ControlError, match="rows of a cache were taken out"):
            subject(step[:3], attention_mask=more[:3], past_key_values=cache)
    for row, chat in enumerate((LONG, LONG, SHORT, SHORT)):
        expected = compute_by_definition(subject, "boost:6", [*ids_of(chat), 40])[-1]
        torch.testing.assert_close(out.logits[row, 0], expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_a_pipeline_needs_nothing_but_a_control() -> None:
    subject = model()
    speaks = pipeline("text-generation", model=subject, tokenizer=TOKENS)
    options = {"max_new_tokens": 8, "do_sample": False}
    with hold(speaks, "boost:6"):
        several = speaks([LONG, SHORT], batch_size=2, **options)
        alone = [speaks(chat, **options) for chat in (LONG, SHORT)]
    assert [one[0]["generated_text"] for one in several] == [
        one[0]["generated_text"] for one in alone
    ]
    with hold(subject, "boost:6", tokenizer=TOKENS):
        inputs = torch.tensor([ids_of(LONG)])
        out = subject.generate(inputs, **options)[0, inputs.shape[1] :]
    text = TOKENS.decode(out, skip_special_tokens=True)
    assert alone[0][0]["generated_text"][-1]["content"] == text


def make_peft_model(seed: int = 0) -> Any:
    """A LoRA of which every weight is random, so that it matters."""
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    base = deepcopy(model())
    torch.manual_seed(seed)
    return get_peft_model(base, config)


def test_an_adapter_is_held_as_the_model_that_it_makes() -> None:
    subject = make_peft_model()
    inputs = batch(ids_of(LONG), ids_of(SHORT))
    merged_model = deepcopy(subject).merge_and_unload()
    with hold(subject, "anchor+split-softmax:0.4", tokenizer=TOKENS):
        out = subject.generate(**inputs, **OPTIONS)
    check(merged_model, "anchor+split-softmax:0.4", out)


def test_what_a_model_is_wrapped_in_and_what_holds_its_tokenizer_do_not_matter() -> None:
    subject, inputs = model(), torch.tensor([ids_of(LONG)])
    spread = nn.DataParallel(subject)
    trainer = SimpleNamespace(model=spread, processing_class=TOKENS)
    with hold(trainer, "boost:6"), torch.no_grad():
        logits = spread(inputs).logits[0]
    expected = compute_by_definition(subject, "boost:6", ids_of(LONG))
    torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=TOLERANCE)


def loss_of(subject: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of all tokens but padding."""
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    loss: Tensor = subject(**inputs, labels=labels).loss
    return loss


def gradients(subject: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in subject.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("control", ["split-softmax:0.4", "boost:6", "anchor+split-softmax:0.4"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_under_a_control_has_the_gradients_of_the_plain_attention(
    control: str, checkpointing: bool
) -> None:
    inputs = batch(ids_of(LONG), ids_of(BARE), ids_of(SHORT), side="right")
    results = []
    for kind in ("sdpa", "eager"):
        subject = make_peft_model().train()
        subject.get_base_model().set_attn_implementation(kind)
        if checkpointing and kind == "sdpa":
            subject.gradient_checkpointing_enable()
            subject.enable_input_require_grads()
        with hold(subject, control, tokenizer=TOKENS):
            loss_of(subject, inputs).backward()
        results.append(gradients(subject))
    assert results[0].keys() == results[1].keys() and results[0]
    for name, gradient in results[0].items():
        torch.testing.assert_close(gradient, results[1][name], atol=1e-4, rtol=1e-3)
        assert gradient.abs().sum() > 0
    bare = make_peft_model().train()
    loss_of(bare, inputs).backward()
    assert any(not torch.allclose(results[0][n], g, atol=1e-3) for n, g in gradients(bare).items())


@pytest.mark.parametrize("control", ["split-softmax:0.4", "restore:0.9", "restore:0.9@from=all"])
def test_the_gradients_are_those_of_the_definition(control: str) -> None:
    subject, ids = deepcopy(model()), ids_of(LONG)
    inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids)).long()}
    with hold(subject, control, tokenizer=TOKENS):
        loss_of(subject, inputs).backward()
    ours = gradients(subject)
    subject.zero_grad()
    make_plan(subject, control, ids)
    with use_attention(subject, "test-reference"):
        loss_of(subject, inputs).backward()
    for name, gradient in gradients(subject).items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-4, rtol=1e-3)


def test_a_backward_pass_that_would_compute_attention_without_the_control_is_refused() -> None:
    subject = deepcopy(model()).train()
    subject.gradient_checkpointing_enable()
    inputs = batch(ids_of(LONG))
    with hold(subject, "boost:6", tokenizer=TOKENS):
        loss = loss_of(subject, inputs)
    with pytest.raises(ControlError, match=r"call backward\(\) inside the block"):
        loss.backward()
    subject.gradient_checkpointing_disable()
    with hold(subject, "boost:6", tokenizer=TOKENS):
        loss = loss_of(subject, inputs)
    loss.backward()


def test_a_block_does_not_end_in_another_threads_pass() -> None:
    held = deepcopy(model())
    inside, leave = threading.Event(), threading.Event()

    def wait(*_: Any) -> None:
        inside.set()
        leave.wait(20)

    held.model.layers[0].register_forward_pre_hook(wait)
    thread = threading.Thread(target=held, args=(torch.tensor([[5, 6, 7, 8]]),))
    with (
        pytest.raises(ControlError, match=r"another thread is generating.*join it inside"),
        hold(held, "boost:2", span=[(0, 2)]),
    ):
        thread.start()
        inside.wait(20)
    leave.set()
    thread.join()
    assert not held.model._forward_pre_hooks


def test_two_models_in_two_threads_have_two_controls() -> None:
    jobs = [("llama", "boost:6"), ("qwen3", "anchor"), ("phi3", "split-softmax:0.4")]
    inputs = batch(ids_of(LONG), ids_of(SHORT))
    begin, outputs = threading.Barrier(len(jobs)), {}

    def run(kind: str, control: str) -> None:
        begin.wait()
        for _ in range(3):
            with hold(model(kind), control, tokenizer=TOKENS):
                outputs[kind] = model(kind).generate(**inputs, **OPTIONS)

    threads = [threading.Thread(target=run, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for kind, control in jobs:
        check(model(kind), control, outputs[kind])


def state(subject: PreTrainedModel) -> list[Any]:
    """What a block might leave behind."""
    parts = [(type(p), len(p._forward_pre_hooks), len(p._forward_hooks)) for p in subject.modules()]
    modes = [part.training for part in subject.modules()]
    kinds = [p.config._attn_implementation for p in subject.modules() if hasattr(p, "config")]
    return [parts, modes, kinds, sorted(vars(subject))]


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt_oss"])
def test_a_model_is_given_back_as_it_was_also_after_an_exception(kind: str) -> None:
    subject, inputs = model(kind), batch(ids_of(LONG))
    before = state(subject)
    plain = subject.generate(**inputs, **OPTIONS)
    with hold(subject, "boost:6", tokenizer=TOKENS):
        subject.generate(**inputs, **OPTIONS)
        assert state(subject) != before
    assert state(subject) == before
    with pytest.raises(ZeroDivisionError), hold(subject, "boost:6", tokenizer=TOKENS):
        subject.generate(**inputs, **OPTIONS, stopping_criteria=[lambda *_, **__: 1 / 0])
    assert state(subject) == before
    after = subject.generate(**inputs, **OPTIONS)
    assert torch.equal(torch.stack(after.logits), torch.stack(plain.logits))


def test_after_a_pass_that_ctrl_c_cut_off_the_next_is_held_and_the_block_ends() -> None:
    subject, inputs = deepcopy(model("llama")), batch(ids_of(LONG))

    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    with hold(subject, "boost:6", tokenizer=TOKENS):
        expected = subject.generate(**inputs, **OPTIONS)
        key = subject.model.layers[1].register_forward_pre_hook(press)
        with pytest.raises(KeyboardInterrupt):
            subject.generate(**inputs, **OPTIONS)
        key.remove()
        again = subject.generate(**inputs, **OPTIONS)
        assert torch.equal(torch.stack(again.logits), torch.stack(expected.logits))
        subject.model.layers[1].register_forward_pre_hook(press)
        with pytest.raises(KeyboardInterrupt):
            subject.generate(**inputs, **OPTIONS)


def test_a_model_of_several_parts_gets_every_parts_attention_back() -> None:
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 8, "patch_size": 4}
    text = CONFIGS["gemma3"].to_dict()
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    torch.manual_seed(0)
    subject = Gemma3ForConditionalGeneration._from_config(
        config, attn_implementation={"text_config": "sdpa", "vision_config": "eager"}
    ).eval()
    before = state(subject)
    kinds = [config.text_config._attn_implementation, config.vision_config._attn_implementation]
    assert kinds == ["sdpa", "eager"]
    inputs = batch(ids_of(LONG), ids_of(SHORT))
    plain = subject.generate(**inputs, **OPTIONS)
    with hold(subject, "anchor+boost:6", tokenizer=TOKENS):
        out = subject.generate(**inputs, **OPTIONS)
    assert state(subject) == before
    assert not torch.allclose(out.logits[0], plain.logits[0], atol=1e-2)


def test_a_model_is_held_once_at_a_time() -> None:
    subject = deepcopy(model())
    other = type(subject)(subject.config)
    with hold(subject, "boost:6", tokenizer=TOKENS):
        for one in (subject, other):
            with (
                pytest.raises(ControlError, match=r"^LlamaModel is held already"),
                hold(one, "anchor", tokenizer=TOKENS),
            ):
                pass
    with hold(other, "anchor", tokenizer=TOKENS):
        pass


@pytest.mark.parametrize(
    ("control", "why"),
    [
        ("window:3", "rewrites the chat"),
        ("reminder:0.5+boost:2", "rewrites the chat"),
        ("guidance:1.5", "guidance_scale"),
        ("boost:2@layers=1-2", r"cannot be put on this model: it has the layers 0 to 1\."),
        ("boost:2@heads=4", r"cannot be put on this model: it has the heads 0 to 3\."),
        ("bost:2", "there is no control 'bost'"),
    ],
)
def test_controls_that_a_block_cannot_put_in_place_are_refused(control: str, why: str) -> None:
    with pytest.raises(ControlError, match=why), hold(model(), control, tokenizer=TOKENS):
        pass


def test_models_that_cannot_be_steered_are_refused() -> None:
    falcon = AutoModelForCausalLM.from_config(FalconConfig(**SHAPE))
    with (
        pytest.raises(ControlError, match="does not let its attention be observed"),
        hold(falcon, "boost:2", tokenizer=TOKENS),
    ):
        pass
    gpt2 = AutoModelForCausalLM.from_config(
        GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4)
    )
    with pytest.raises(ControlError, match="rotary"), hold(gpt2, "anchor", tokenizer=TOKENS):
        pass
    for wrong in (nn.Linear(2, 2), "mini", None):
        sentence = "has no transformers model inside: give one that AutoModelForCausalLM"
        with pytest.raises(ControlError, match=sentence), hold(wrong, "boost:2"):
            pass


def test_a_model_that_does_not_hand_the_control_on_is_refused() -> None:
    subject = deepcopy(model())
    for layer in subject.get_decoder().layers:
        layer.self_attn.register_forward_pre_hook(
            lambda _, args, kwargs: (args, {k: v for k, v in kwargs.items() if k != "holdfast"}),
            with_kwargs=True,
        )
    with (
        pytest.raises(ControlError, match="does not hand arguments on to its attention"),
        hold(subject, "boost:6", tokenizer=TOKENS),
    ):
        subject.generate(**batch(ids_of(LONG)), **OPTIONS)


def test_models_that_compute_attention_in_ways_of_their_own_are_refused_in_the_first_pass() -> None:
    differential = AutoModelForCausalLM.from_config(DiffLlamaConfig(**GROUPED))
    nemotron = AutoModelForCausalLM.from_config(NemotronConfig(**GROUPED))
    for subject, why in (
        (differential, "computes several attentions in a layer"),
        (nemotron, "does not hand arguments on to its attention"),
    ):
        before = state(subject)
        for _ in range(2):
            with (
                pytest.raises(ControlError, match=why),
                hold(subject, "boost:6", tokenizer=TOKENS),
            ):
                subject.generate(**batch(ids_of(LONG)), **OPTIONS)
        assert state(subject) == before


def test_a_model_with_an_encoder_is_refused() -> None:
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 16, "vocab_size": 300}
    subject = AutoModelForSeq2SeqLM.from_config(BartConfig(**sizes))
    with (
        pytest.raises(ControlError, match="reads the persona in an encoder"),
        hold(subject, "boost:6", tokenizer=TOKENS),
    ):
        pass


def test_a_model_that_calls_its_decoder_past_its_body_is_held() -> None:
    sizes = SHAPE | {"ffn_dim": 32, "word_embed_proj_dim": 32, "init_std": 0.4}
    torch.manual_seed(0)
    subject = AutoModelForCausalLM.from_config(OPTConfig(**sizes)).eval()
    inputs = batch(ids_of(LONG), ids_of(SHORT))
    plain = subject.generate(**inputs, **OPTIONS)
    with hold(subject, "boost:6", tokenizer=TOKENS):
        out = subject.generate(**inputs, **OPTIONS)
        same(out, subject.generate(**inputs, **OPTIONS, use_cache=False))
    assert not torch.allclose(out.logits[0], plain.logits[0], atol=1e-2)


def test_a_model_whose_parts_are_called_one_by_one_is_refused() -> None:
    subject = deepcopy(model())
    decoder = subject.get_decoder()
    decoder.__class__ = type("Aside", (type(decoder),), {"__call__": type(decoder).forward})
    with (
        hold(subject, "boost:6", tokenizer=TOKENS),
        pytest.raises(ControlError, match="does not hand arguments on to its attention"),
    ):
        subject(**batch(ids_of(LONG)))


def test_a_cache_that_was_filled_outside_of_the_block_is_refused_unless_columns_are_given() -> None:
    subject, ids = model(), ids_of(LONG)
    start = find(PERSONA, ids)[0]
    with torch.no_grad():
        cache = subject(torch.tensor([ids[:-1]])).past_key_values
    with (
        hold(subject, "boost:6", tokenizer=TOKENS),
        pytest.raises(ControlError, match="filled outside the block"),
    ):
        subject(torch.tensor([ids[-1:]]), past_key_values=cache)
    with hold(subject, "boost:6", [(start, start + len(PERSONA))]), torch.no_grad():
        out = subject(torch.tensor([ids[-1:]]), past_key_values=cache)
    assert out.logits.isfinite().all()


def test_embeddings_alone_are_refused_unless_columns_are_given() -> None:
    subject, ids = model(), ids_of(LONG)
    embeddings = subject.get_input_embeddings()(torch.tensor([ids]))
    start = find(PERSONA, ids)[0]
    with (
        hold(subject, "boost:6", tokenizer=TOKENS),
        pytest.raises(ControlError, match="embeddings only"),
    ):
        subject(inputs_embeds=embeddings)
    with hold(subject, "boost:6", [(start, start + len(PERSONA))]), torch.no_grad():
        out = subject(inputs_embeds=embeddings)
    expected = compute_by_definition(subject, "boost:6", ids)
    torch.testing.assert_close(out.logits[0], expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_packed_rows_are_refused_and_padded_ones_are_not() -> None:
    subject, ids = model(), ids_of(LONG)
    positions = torch.cat((torch.arange(10), torch.arange(len(ids) - 10)))[None]
    padded = batch(ids, ids_of(SHORT))
    places = (padded["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with hold(subject, "anchor", tokenizer=TOKENS), torch.no_grad():
        with pytest.raises(ControlError, match="turn packing off"):
            subject(torch.tensor([ids]), position_ids=positions)
        subject(**padded, position_ids=places)
        subject(**padded, position_ids=places + 3)
        holes = padded["attention_mask"].clone()
        holes[:, 40:45] = 0
        with pytest.raises(ControlError, match="without gaps"):
            subject(
                padded["input_ids"],
                attention_mask=holes,
                position_ids=(holes.cumsum(1) - 1).clamp(min=0),
            )


def test_a_turns_opening_that_is_cut_in_two_is_refused() -> None:
    subject, ids = model(), ids_of(LONG)
    cut = find("<|im_start|>user", ids)[1] + 2
    with hold(subject, "anchor", tokenizer=TOKENS), torch.no_grad():
        cache = subject(torch.tensor([ids[:cut]])).past_key_values
        with pytest.raises(ControlError, match="cut in two"):
            subject(torch.tensor([ids[cut:]]), past_key_values=cache)


def test_a_block_in_which_no_row_has_the_persona_says_so() -> None:
    subject = model()
    with (
        pytest.warns(UserWarning, match=r"^`boost:6` did nothing: no row had") as caught,
        hold(subject, "boost:6", "You are Bob.", tokenizer=TOKENS),
    ):
        subject.generate(**batch(ids_of(LONG)), **OPTIONS)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with hold(subject, "boost:6", "You are Bob.", tokenizer=TOKENS):
            pass
        with hold(subject, "boost:6", tokenizer=TOKENS):
            subject.generate(**batch(ids_of(BARE), ids_of(SHORT)), **OPTIONS)


def test_a_block_that_nobody_enters_says_so() -> None:
    with pytest.warns(UserWarning, match=r"^`hold` did nothing: .* `with holdfast") as caught:
        hold(model(), "anchor", tokenizer=TOKENS)
    assert caught[0].filename == __file__


def test_a_block_may_be_entered_later_and_again_and_be_a_decorator() -> None:
    subject, inputs = model(), batch(ids_of(SHORT))
    with torch.no_grad():
        plain = subject(**inputs).logits
        block = hold(subject, "boost:6", tokenizer=TOKENS)
        for _ in range(2):
            with block:
                held = subject(**inputs).logits
            assert torch.equal(subject(**inputs).logits, plain) and not torch.equal(held, plain)
        assert torch.equal(block(subject)(**inputs).logits, held)


def test_the_tokenizer_is_found_by_the_models_name_or_asked_for() -> None:
    with (
        pytest.raises(ControlError, match="give `tokenizer`"),
        hold(deepcopy(model()), "boost:6"),
    ):
        pass
    with hold(deepcopy(model()), "boost:6", [7, 8, 9]):
        pass
    with (
        pytest.raises(ControlError, match="no chat template to tell `span` by"),
        hold(model(), "boost:6", tokenizer=tokenizer(None)),
    ):
        pass


def test_columns_for_other_rows_than_there_are_are_refused() -> None:
    with (
        hold(model(), "boost:6", [(0, 3), (0, 3)]),
        pytest.raises(ControlError, match="`span` is for 2 rows, and a pass has 3"),
    ):
        model()(torch.full((3, 5), 40))


def test_two_controls_on_one_pass_are_refused() -> None:
    library = LocalBackend(model(), TOKENS, "llama")
    ask = Ask(
        tuple(message(m["role"], m["content"]) for m in LONG), seed=0, control=parse("boost:2")
    )
    with (
        hold(model(), "boost:6", tokenizer=TOKENS),
        pytest.raises(ControlError, match="inside a hold block"),
    ):
        library.reply([ask], Sampling(max_new_tokens=2))


def test_the_functions_name_is_not_hidden_by_its_module() -> None:
    assert holdfast.hold is hold and "hold" in dir(holdfast)


def test_dropout_in_attention_is_refused_in_training_alone() -> None:
    config = deepcopy(CONFIGS["llama"])
    config.attention_dropout = 0.1
    subject, inputs = AutoModelForCausalLM.from_config(config), batch(ids_of(LONG))
    for kind in ("sdpa", "eager"):
        subject.set_attn_implementation(kind)
        with hold(subject, "boost:6", tokenizer=TOKENS):
            subject.eval()(**inputs)
            with pytest.raises(ControlError, match="LlamaAttention adds dropout"):
                subject.train()(**inputs)


@pytest.mark.filterwarnings("ignore:.*did nothing")
@pytest.mark.parametrize("length", [1, 9])
def test_rows_without_a_persona_keep_their_dropout_in_training(length: int) -> None:
    config = deepcopy(CONFIGS["llama"])
    config.attention_dropout = 0.5
    subject = AutoModelForCausalLM.from_config(config).train()
    ids = torch.full((1, length), 20)

    def logits() -> torch.Tensor:
        torch.manual_seed(0)
        result: torch.Tensor = subject(ids, use_cache=False).logits
        return result

    expected = logits()
    with hold(subject, "boost:6", tokenizer=TOKENS):
        assert torch.equal(logits(), expected)


def test_the_documentations_examples_run() -> None:
    page = (Path(__file__).parents[4] / "docs" / "guide" / "hold.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    for block in blocks:
        exec(block.replace("Qwen/Qwen3-0.6B", str(MINI)), names)
    assert len(blocks) == 3
    text = names["tokenizer"].decode(names["tokens"][0]).rpartition("<|assistant|>")[2]
    assert "lopur" in text.lower()
    assert names["replies"].shape[0] == 4
    assert len(names["chat"]) == 6


def test_the_documentations_batch_is_padded_on_the_left_where_the_tokenizer_pads_right(
    tmp_path: Path,
) -> None:
    for file in MINI.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(settings.read_text("utf-8").replace('"left"', '"right"'), "utf-8")
    page = (Path(__file__).parents[4] / "docs" / "guide" / "hold.md").read_text("utf-8")
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:2]
    names: dict[str, Any] = {}
    exec(first.replace("Qwen/Qwen3-0.6B", str(tmp_path)), names)
    assert names["tokenizer"].padding_side == "right"
    exec(second, names)
    mask = names["inputs"]["attention_mask"]
    assert mask[:, -1].all() and not mask.all()


def test_a_model_that_reads_in_both_directions_is_refused() -> None:
    sizes = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}
    subject = AutoModelForMaskedLM.from_config(BertConfig(num_attention_heads=2, **sizes))
    with (
        pytest.raises(ControlError, match="reads a text in both directions"),
        hold(subject, "boost:6", tokenizer=TOKENS),
    ):
        pass


def test_a_cache_that_does_not_count_its_tokens_is_refused_and_not_left_alone() -> None:
    class Uncounted(DynamicCache):
        def get_seq_length(self, layer_idx: int = 0) -> int:
            return 0

    inputs = batch(ids_of(SHORT))
    with hold(model(), "boost:6", tokenizer=TOKENS), torch.no_grad():
        model()(**inputs, use_cache=False)
        with pytest.raises(ControlError, match="does not count its tokens"):
            model()(**inputs, past_key_values=Uncounted(config=model().config))


def test_a_trainers_reference_model_is_held_with_its_model() -> None:
    own, reference = model(), deepcopy(model())
    trainer = SimpleNamespace(model=own, ref_model=reference, processing_class=TOKENS)
    inputs = batch(ids_of(SHORT))
    with torch.no_grad():
        plain = reference(**inputs).logits
        with hold(trainer, "boost:6"):
            logits, beside = own(**inputs).logits, reference(**inputs).logits
        assert torch.equal(reference(**inputs).logits, plain)
    assert torch.allclose(beside, logits, atol=1e-5)
    assert not torch.allclose(beside, plain, atol=1e-2)


def test_columns_past_the_last_token_are_said_to_have_done_nothing() -> None:
    with (
        pytest.warns(UserWarning, match="did nothing"),
        hold(model(), "boost:6", [(5, 3000)], tokenizer=TOKENS),
        torch.no_grad(),
    ):
        model()(**batch(ids_of(SHORT)))


def test_anchor_is_refused_in_a_block_once_the_window_has_passed_the_persona() -> None:
    subject, inputs = model("mistral"), batch(ids_of(SHORT))
    with torch.no_grad(), hold(subject, "anchor", [(1, 5)], turns=[[6]], tokenizer=TOKENS):
        subject(inputs["input_ids"][:, : WINDOW + 4])
        with pytest.raises(ControlError, match=f"see the last {WINDOW} only"):
            subject(inputs["input_ids"][:, : WINDOW + 5])


def test_a_template_that_moves_the_persona_is_refused_where_turns_matter() -> None:
    with (
        pytest.raises(ControlError, match="moves the persona into the last user message"),
        hold(model(), "anchor", PERSONA, tokenizer=tokenizer("mistral")),
    ):
        pass


def test_a_script_that_loads_no_backend_can_hold_its_model() -> None:
    script = """
import torch, tiny_models, holdfast
held, tokens = tiny_models.model(), tiny_models.tokenizer()
chat = [{"role": "system", "content": "You are Bob."}, {"role": "user", "content": "Hi"}]
text = tokens.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
ids = torch.tensor([tokens(text, add_special_tokens=False)["input_ids"]])
plain = held(ids).logits
with holdfast.hold(held, "boost:9", tokenizer=tokens):
    print(bool((held(ids).logits != plain).any()))
"""
    tests = Path(__file__).parents[3]
    path = os.pathsep.join([str(tests), str(tests.parent / "src")])
    environment = os.environ | {"PYTHONPATH": path}
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert process.stdout.strip() == "True", process.stderr[-2000:]
