"""The local backend from chat to reply, and what it says where it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import accelerate
import pytest
import torch
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, DiffLlamaConfig, GPT2Config, NemotronConfig

from holdfast.control.router import Router
from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.chat import Chat, agent_view, message, user_view
from holdfast.core.control import parse
from holdfast.core.errors import ControlError, ModelError
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load, outline
from holdfast.models.local.template import Template
from holdfast.models.local.turns import find_reply_closing
from tiny_models import CONFIGS, GROUPED, SHAPE, TEMPLATES, model, tokenizer

SHORT = Sampling(max_new_tokens=10)
GREEDY = Sampling(max_new_tokens=10, temperature=0)
PROMPT = "Speak like a pirate."


def backend(style: str = "chatml", kind: str = "llama", batch_size: int = 8) -> LocalBackend:
    exact = model(kind, dtype=torch.float64)
    return LocalBackend(exact, tokenizer(style), f"tiny-{kind}", batch_size=batch_size)


def converse(
    subject: Backend, rounds: int, conversations: int = 3, control: str = "none"
) -> list[list[str]]:
    """Self-chats with a probe before each round, as the benchmark holds them."""
    chats = [[f"Hello, I am number {i}."] for i in range(conversations)]
    probes: list[str] = []
    for r in range(rounds):
        views = [agent_view(PROMPT, c[: 2 * r], "Who are you?") for c in chats]
        asks = [Ask(view, r, parse(control), keep=False) for view in views]
        probes += [reply.text for reply in subject.reply(asks, SHORT)]
        if r:
            views = [user_view("Be curt.", c, folded=subject.user_first) for c in chats]
            for chat, reply in zip(chats, ask_all(subject, views, 100 + r), strict=True):
                chat.append(reply.text)
        views = [agent_view(PROMPT, c) for c in chats]
        for chat, reply in zip(chats, ask_all(subject, views, 200 + r, control), strict=True):
            chat.append(reply.text)
    return [*chats, probes]


def ask_all(
    subject: Backend, views: Sequence[Chat], seed: int, control: str = "none"
) -> list[Reply]:
    return subject.reply(
        [Ask(view, seed + i, parse(control)) for i, view in enumerate(views)], SHORT
    )


@pytest.mark.parametrize("style", TEMPLATES)
def test_transcripts_do_not_depend_on_the_batch_size(style: str) -> None:
    assert converse(backend(style, batch_size=1), 3) == converse(backend(style, batch_size=8), 3)


@pytest.mark.parametrize("kind", CONFIGS)
def test_transcripts_do_not_depend_on_what_is_kept(kind: str) -> None:
    keeping = backend("forgetful", kind)
    exact = model(kind, dtype=torch.float64)
    forgetting = LocalBackend(exact, tokenizer("forgetful"), "tiny", cache_bytes=0)
    assert converse(keeping, 3) == converse(forgetting, 3)
    assert len(forgetting.engine.store) == 0


@pytest.mark.parametrize("style", TEMPLATES)
def test_a_greedy_reply_is_generates_own(style: str) -> None:
    subject = backend(style)
    chat = agent_view(PROMPT, ["Hi", "Arr", "How are you?"])
    (reply,) = subject.reply([Ask(chat, 0)], GREEDY)
    ids = torch.tensor([subject.template.render(chat).ids])
    out = model("llama").generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=10,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=sorted(subject.ends),
    )
    text = subject.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    assert reply.text == text
    assert reply.prompt_tokens == ids.shape[1]


def test_a_probe_costs_its_own_tokens() -> None:
    subject = backend(batch_size=1)
    turns = ["Hello", subject.reply([Ask(agent_view(PROMPT, ["Hello"]), 0)], SHORT)[0].text]
    plain = subject.prompt_tokens(Ask(agent_view(PROMPT, ["Hello"]), 0))
    (probe,) = subject.reply([Ask(agent_view(PROMPT, turns, "Who?"), 1, keep=False)], SHORT)
    assert plain <= probe.cached_tokens < probe.prompt_tokens
    (again,) = subject.reply([Ask(agent_view(PROMPT, turns, "Who?"), 1, keep=False)], SHORT)
    assert again == probe


def test_forgetting_repeats_the_past_exactly() -> None:
    subject = backend()
    first = converse(subject, 2)
    subject.forget()
    assert converse(subject, 2) == first


def test_stop_strings_end_a_reply_and_are_cut() -> None:
    subject = backend()
    ask = Ask(agent_view(PROMPT, ["Hi"]), 0)
    (free,) = subject.reply([ask], Sampling(max_new_tokens=40))
    mark = free.text[3:5]
    (cut,) = subject.reply([ask], Sampling(max_new_tokens=40, stop=("never!", mark)))
    assert cut.text == free.text[: free.text.index(mark)]
    assert cut.stop == "stop"
    assert cut.completion_tokens < free.completion_tokens


def test_bytes_that_are_not_text_become_text() -> None:
    replies = backend().reply(
        [Ask(agent_view(PROMPT, [f"{i}"]), i) for i in range(8)], Sampling(max_new_tokens=30)
    )
    text = "".join(reply.text for reply in replies)
    assert "\N{REPLACEMENT CHARACTER}" in text
    assert text.encode().decode() == text


def test_an_empty_reply_is_a_reply() -> None:
    subject = backend()
    subject.ends = frozenset(range(SHAPE["vocab_size"]))
    (reply,) = subject.reply([Ask(agent_view(PROMPT, ["Hi"]), 0, measure=True)], SHORT)
    assert (reply.text, reply.stop, reply.completion_tokens) == ("", "stop", 1)
    assert reply.share is not None and len(reply.share.tokens) == 1


def test_a_chat_beyond_the_context_overflows_without_a_token() -> None:
    subject = backend()
    asks = [Ask(agent_view(PROMPT, ["x" * 1100]), 0), Ask(agent_view(PROMPT, ["x"]), 0)]
    long, short = subject.reply(asks, SHORT)
    assert (long.text, long.stop, long.completion_tokens) == ("", "overflow", 0)
    assert long.prompt_tokens > 1024 == subject.context
    assert short.stop == "length"


def test_share_counts_the_prompts_tokens() -> None:
    subject = backend("llama3")
    with_share, plain, bare = subject.reply(
        [
            Ask(agent_view(PROMPT, ["Hi"]), 0, measure=True),
            Ask(agent_view(PROMPT, ["Hi"]), 0),
            Ask(agent_view(None, ["Hi"]), 0, measure=True),
        ],
        SHORT,
    )
    assert with_share.share is not None
    assert with_share.share.span == len(PROMPT) == subject.count(PROMPT)
    assert with_share.share.length == with_share.prompt_tokens
    assert (plain.share, bare.share) == (None, None)
    assert with_share.text == plain.text


CONTROLS = ("window:3+reminder:0.5", "guidance:2", "boost:4", "anchor", "anchor+reminder:1")


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("style", ["chatml", "llama2", "gemma", "forgetful"])
def test_controlled_transcripts_depend_neither_on_batches_nor_on_what_is_kept(
    style: str, control: str
) -> None:
    one = converse(backend(style, batch_size=1), 3, 2, control)
    assert converse(backend(style, batch_size=8), 3, 2, control) == one
    exact = model(dtype=torch.float64)
    forgetting = LocalBackend(exact, tokenizer(style), "tiny", cache_bytes=0)
    assert converse(forgetting, 3, 2, control) == one


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_change_transcripts(control: str) -> None:
    assert converse(backend(), 3, control=control) != converse(backend(), 3)


def test_controls_at_the_strength_that_is_off_change_nothing() -> None:
    plain = converse(backend(), 2)
    for control in ("split-softmax:1", "boost:1", "spotlight:0", "guidance:1", "reminder:0"):
        assert converse(backend(), 2, control=control) == plain


def test_asks_under_different_controls_share_a_call() -> None:
    view = agent_view(PROMPT, ["Hi", "Ho", "Hum"])
    asks = [Ask(view, 5, parse(control)) for control in ("none", *CONTROLS)]
    alone = [backend().reply([ask], SHORT)[0].text for ask in asks]
    assert [reply.text for reply in backend().reply(asks, SHORT)] == alone
    assert len(set(alone)) > 3


def test_a_chat_without_a_persona_is_answered_as_without_control() -> None:
    view = agent_view(None, ["Hi", "Ho", "Hum"])
    (plain,) = backend().reply([Ask(view, 5)], SHORT)
    for control in ("guidance:3", "boost:4", "anchor", "reminder:1"):
        assert backend().reply([Ask(view, 5, parse(control))], SHORT)[0].text == plain.text


def test_the_persona_moves_with_its_system_message_and_leaves_bos() -> None:
    subject = backend("llama3")
    request = subject.request(Ask(agent_view(PROMPT, ["Hi", "Ho", "Hum"]), 0, parse("anchor")))
    assert request.steering is not None
    text = subject.tokenizer.decode(request.ids[slice(*request.steering.message)])
    head = "<|start_header_id|>system<|end_header_id|>\n\n"
    assert text == f"{head}{PROMPT}<|eot_id|>"
    assert request.ids[request.steering.message[0] - 1] == subject.tokenizer.bos_token_id
    openings = [
        subject.tokenizer.decode(request.ids[turn:])[:28] for turn in request.steering.turns
    ]
    assert openings == ["<|start_header_id|>user<|end"] * 2


@pytest.mark.parametrize("control", ["boost:2", "anchor", "restore:1", "guidance:2"])
@pytest.mark.parametrize("style", ["chatml", "defaulting", "gemma"])
def test_a_prompt_that_is_blank_or_dropped_leaves_nothing_to_hold(
    style: str, control: str, tmp_path: Path
) -> None:
    """A router may drop the persona from a turn, and a client may send an empty one."""
    Router({}, bias=-9.0, slope=1.0, shift=0.0, auc=0.5).save(tmp_path)
    subject = LocalBackend(model("llama"), tokenizer(style), "tiny")
    plain = subject.reply([Ask(agent_view(None, ["Hi"]), 1)], SHORT)[0]
    blank = (message("system", " \n"), *agent_view(None, ["Hi"]))
    route = f"route:{tmp_path}+{control}"
    for chat, text in ((blank, control), (agent_view("Be Ann.", ["Hi"]), route)):
        (reply,) = subject.reply([Ask(chat, 1, parse(text), measure=True)], SHORT)
        assert (reply.text, reply.prompt_tokens) == (plain.text, plain.prompt_tokens)
        assert reply.share is None


def test_half_a_surrogate_pair_is_read_as_a_replacement_character() -> None:
    subject = LocalBackend(model("llama"), tokenizer(), "tiny")
    assert subject.count("a\ud83d") == subject.count("a\ufffd") == 4
    first, second = ([Ask(agent_view("Sing.", [text]), 1)] for text in ("a\ud83d", "a\ufffd"))
    texts = [subject.reply(asks, SHORT)[0].text for asks in (first, second)]
    assert texts[0] == texts[1]
    options = subject.likelihoods(first, [["x\ud83d"]]), subject.likelihoods(second, [["x\ufffd"]])
    assert options[0] == options[1]


def test_a_guide_counts_among_the_tokens_of_the_prompt() -> None:
    view = agent_view(PROMPT, ["Hi"])
    (plain,), (with_guide,) = (
        backend().reply([Ask(view, 5, parse(c))], SHORT) for c in ("none", "guidance:2")
    )
    (bare,) = backend().reply([Ask(view[1:], 5)], SHORT)
    assert with_guide.prompt_tokens == plain.prompt_tokens + bare.prompt_tokens


def test_what_cannot_be_steered_is_refused_by_name() -> None:
    gpt2 = AutoModelForCausalLM.from_config(
        GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2)
    )
    subject = LocalBackend(gpt2, tokenizer(), "tiny-gpt2")
    assert subject.refusal(parse("boost:4")) is None
    assert "rotary" in str(subject.refusal(parse("anchor")))
    with pytest.raises(ControlError, match="rotary"):
        subject.reply([Ask(agent_view(PROMPT, ["Hi"]), 0, parse("anchor"))], SHORT)


def test_heads_and_layers_that_a_model_does_not_have_are_refused() -> None:
    assert "the heads 0 to 3" in str(backend().refusal(parse("boost:4@heads=50-60")))
    sentence = backend().refusal(parse("boost:4@layers=1-2"))
    assert str(sentence).endswith("boost:4@layers=1-2`: it has the layers 0 to 1.")
    assert backend().refusal(parse("boost:4@heads=0-3,layers=0-1")) is None


def test_a_model_that_cannot_be_steered_is_refused_before_the_first_ask() -> None:
    nemotron = AutoModelForCausalLM.from_config(NemotronConfig(**GROUPED))
    subject = LocalBackend(nemotron, tokenizer(), "tiny")
    assert "does not hand arguments on" in str(subject.refusal(parse("boost:4")))
    differential = AutoModelForCausalLM.from_config(DiffLlamaConfig(**GROUPED))
    subject = LocalBackend(differential, tokenizer(), "tiny")
    assert "several attentions in a layer" in str(subject.refusal(parse("split-softmax:0.7")))
    assert subject.refusal(parse("window:3")) is None


def test_a_persona_that_moves_into_the_last_user_message_is_found_in_every_turn() -> None:
    subject = backend("mistral")
    for turns in (["Hi"], ["Hi", "Ahoy!", "Bye"]):
        view = agent_view(PROMPT, turns)
        asks = [Ask(view, 0, parse(c), measure=True) for c in ("none", "boost:50")]
        plain, with_boost = subject.reply(asks, SHORT)
        assert plain.share is not None and with_boost.share is not None
        assert plain.share.span == subject.count(PROMPT)
        assert float(torch.tensor(with_boost.share.heads).mean()) > 1.5 * float(
            torch.tensor(plain.share.heads).mean()
        )
    for control in ("anchor", "restore:1"):
        assert "moves the persona" in str(subject.refusal(parse(control)))


def test_rows_that_are_kept_under_one_persona_are_not_anothers_with_the_same_ids() -> None:
    # A template without a system role folds both into the same text.
    one, other = agent_view("A\n\nB", ["C and so on"]), agent_view("A", ["B\n\nC and so on"])
    asks = [Ask(view, 0, parse("boost:50")) for view in (one, other)]
    subject = backend("gemma")
    assert subject.ids(asks[0]) == subject.ids(asks[1])
    (expected,) = subject.likelihoods(asks[1:], [["yes", "no"]])
    subject.forget()
    subject.reply(asks[:1], SHORT)
    assert subject.reply(asks[1:], SHORT)[0].cached_tokens == 0
    assert subject.likelihoods(asks[1:], [["yes", "no"]])[0] == pytest.approx(expected)


@pytest.mark.parametrize("control", ["none", "boost:4", "anchor", "guidance:2"])
def test_weights_that_are_offloaded_answer_as_those_that_are_not(control: str) -> None:
    subject = model("llama")
    away = accelerate.cpu_offload(deepcopy(subject), execution_device=torch.device("cpu"))
    asks = [Ask(agent_view(PROMPT, ["Hi", "Ahoy!", "Bye"]), 0, parse(control))]
    here, there = (
        LocalBackend(one, tokenizer(), "tiny", digest="same").reply(asks, GREEDY)
        for one in (subject, away)
    )
    assert here[0].text == there[0].text
    with pytest.raises(ModelError, match="has its weights offloaded"):
        LocalBackend(away, tokenizer(), "tiny").describe()


def test_an_unknown_control_is_refused() -> None:
    with pytest.raises(ControlError, match="no control 'shout'"):
        backend().reply([Ask(agent_view(PROMPT, ["Hi"]), 0, control=parse("shout:3"))], SHORT)


def test_the_description_is_json_and_tells_weights_apart() -> None:
    one = json.loads(json.dumps(backend().describe()))
    other = LocalBackend(model(seed=1), tokenizer(), "tiny-llama", batch_size=8)
    assert one["weights"] != other.describe()["weights"]
    assert one["dtype"] == "float64"
    assert {"torch", "transformers", "batch_size", "device", "template"} <= set(one)


def test_the_description_tells_settings_in_a_models_folder_apart(tmp_path: Path) -> None:
    """As the length that a model's page says how to raise, in config.json."""
    model().save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)

    def describe(place: Path = tmp_path) -> dict[str, object]:
        return dict(load(str(place)).describe()) | {"name": "it"}

    def change(name: str, **values: object) -> set[str]:
        before, file = describe(), tmp_path / name
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | values), "utf-8")
        after = describe()
        return {key for key in before if before[key] != after[key]}

    moved = tmp_path / "moved"
    shutil.copytree(tmp_path, moved)
    assert describe(moved) == describe()
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
    assert change("config.json", rope_parameters=yarn | {"rope_theta": 1e4}) == {"configuration"}
    assert change("generation_config.json", eos_token_id=[2, 9]) == {"configuration"}
    assert change("tokenizer.json", normalizer={"type": "Lowercase"}) == {"tokenizer"}


def test_a_model_without_its_weights_tells_settings_apart_as_one_with_them(tmp_path: Path) -> None:
    """A manifest of vLLM has them from there."""
    model().save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    before = outline(str(tmp_path)).settings
    assert before == load(str(tmp_path)).settings
    (tmp_path / "chat_template.jinja").write_text(TEMPLATES["llama3"], encoding="utf-8")
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps(json.loads(file.read_text("utf-8")) | {"rms_norm_eps": 0.1}), "utf-8"
    )
    after = outline(str(tmp_path)).settings
    assert {name for name in before if before[name] != after[name]} == {"configuration", "template"}


def test_end_tokens_come_from_generation_config_and_tokenizer() -> None:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=SHAPE["vocab_size"],
        n_embd=32,
        n_layer=1,
        n_head=4,
        bos_token_id=1,
        eos_token_id=9,
    )
    subject = AutoModelForCausalLM.from_config(config)
    subject.generation_config.eos_token_id = [7, 9]
    assert LocalBackend(subject, tokenizer("llama2"), "tiny").ends == {2, 7, 9}


@pytest.mark.parametrize(
    ("style", "token"), [("chatml", "<|im_end|>"), ("gemma", "<end_of_turn>"), ("llama2", "</s>")]
)
def test_a_reply_ends_where_the_template_closes_it(style: str, token: str) -> None:
    subject = backend(style)
    assert subject.ends == {2, subject.tokenizer.convert_tokens_to_ids(token)}
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    plain = tokenizer()
    plain.chat_template = template
    assert find_reply_closing(Template(plain)) == frozenset()


def test_a_reply_ends_at_a_token_of_the_template_that_is_not_marked_as_special() -> None:
    marked = tokenizer()
    marked.add_tokens([AddedToken("<|done|>", normalized=False)])
    marked.chat_template = TEMPLATES["chatml"].replace("<|im_end|>", "<|done|>")
    assert find_reply_closing(Template(marked)) == {marked.convert_tokens_to_ids("<|done|>")}


def test_a_token_that_closes_thoughts_too_ends_no_reply() -> None:
    channels = tokenizer()
    marks = ["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>"]
    channels.add_special_tokens({"additional_special_tokens": marks}, False)
    channels.chat_template = """
{%- for m in messages -%}
{{ '<|start|>' + m.role }}{% if m.role == 'assistant' %}{{ '<|channel|>final' }}{% endif -%}
{{ '<|message|>' + m.content + '<|end|>' }}
{%- endfor -%}"""
    assert find_reply_closing(Template(channels)) == frozenset()
