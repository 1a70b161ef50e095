"""A thinking model on this machine: its thought is apart from its reply, under templates that do
what Qwen3's, DeepSeek R1's and gpt-oss's do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from actors import suite
from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import agent_view, user_view
from holdfast.core.control import parse
from holdfast.core.errors import HoldfastError
from holdfast.core.records import as_record
from holdfast.evals.compare.compare import compare
from holdfast.evals.drift import DriftResult, drift
from holdfast.models.engine.request import Continuation, Halt, Request
from holdfast.models.local.backend import LocalBackend
from holdfast.models.thinking import ThoughtDecoder
from tiny_models import QWEN3, model, tokenizer

OPENING = QWEN3.replace(
    "assistant\\n' }}\n{%- if enable", "assistant\\n<think>\\n' }}\n{%- if enable"
)
FEEDS = QWEN3.replace(" and loop.index0 > last.user", "")

Script = Callable[[str], str]


def script_model(
    script: Script, template: str = QWEN3, marks: Sequence[str] = (), **options: Any
) -> LocalBackend:
    """A tiny model whose engine continues a rendered chat with what a function says."""
    own = tokenizer("chatml")
    own.chat_template = template
    if marks:
        own.add_special_tokens({"additional_special_tokens": list(marks)}, False)
    subject = LocalBackend(model("qwen3"), own, "thinker", options=options)

    def generate(
        requests: Sequence[Request], sampling: Sampling, ends: object, halts: Sequence[Halt] = ()
    ) -> list[Continuation]:
        each = halts or [None] * len(requests)
        return [
            continuation(request, sampling, halt)
            for request, halt in zip(requests, each, strict=True)
        ]

    def continuation(request: Request, sampling: Sampling, halt: Halt | None) -> Continuation:
        text = script(own.decode(list(request.ids)))
        ids = own(text, add_special_tokens=False)["input_ids"]
        for n in range(1, len(ids) + 1):
            if halt is not None and halt(ids[:n]):
                return Continuation(tuple(ids[:n]), "stop", n)
        cut = len(ids) > sampling.max_new_tokens
        ids = ids[: sampling.max_new_tokens]
        return Continuation(tuple(ids), "length" if cut else "stop", len(ids))

    subject.engine.generate = generate  # type: ignore[method-assign, assignment]
    return subject


def ask(subject: LocalBackend, **sampling: Any) -> tuple[str | None, str, str]:
    chat = agent_view("The word is amber", ["Which word?"])
    (reply,) = subject.reply([Ask(chat, 0)], Sampling(**sampling))
    return reply.thought, reply.text, reply.stop


def test_a_thought_is_recorded_apart_from_the_reply() -> None:
    assert ask(script_model(lambda chat: "<think>\nHm.\n</think>\n\namber")) == (
        "Hm.",
        "amber",
        "stop",
    )


def test_a_thought_that_the_template_opened_is_split_too() -> None:
    assert ask(script_model(lambda chat: "Hm.\n</think>\n\namber", OPENING)) == (
        "Hm.",
        "amber",
        "stop",
    )


def test_with_thinking_switched_off_the_reply_is_all_there_is() -> None:
    subject = script_model(
        lambda chat: "amber" if chat.endswith("</think>\n\n") else "?", enable_thinking=False
    )
    assert ask(subject) == (None, "amber", "stop")


def test_a_tokenizer_without_channels_keeps_no_mark_of_theirs() -> None:
    own = tokenizer("chatml")
    own.add_special_tokens({"additional_special_tokens": ["<|end|>"]}, False)
    ids = own("amber<|end|>", add_special_tokens=False)["input_ids"]
    assert ThoughtDecoder(own).decode(ids) == "amber"


def test_channels_are_split_although_their_marks_are_special_tokens() -> None:
    marks = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")
    text = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>amber"
    )
    assert ask(script_model(lambda chat: text, marks=marks)) == ("Hm.", "amber", "stop")


@pytest.mark.parametrize(
    ("opener", "closer"),
    [("<|channel>", "<channel|>"), ("<|START_THINKING|>", "<|END_THINKING|>")],
)
def test_tags_that_are_special_tokens_are_kept_until_a_thought_is_split(
    opener: str, closer: str
) -> None:
    name = "thought\n" if opener == "<|channel>" else ""
    text = f"{opener}{name}Hm.{closer}amber"
    assert ask(script_model(lambda chat: text, marks=(opener, closer))) == ("Hm.", "amber", "stop")


@pytest.mark.parametrize("template", [QWEN3, OPENING])
def test_a_stop_string_in_the_thought_ends_nothing(template: str) -> None:
    head = "<think>\n" if template is QWEN3 else ""
    subject = script_model(lambda chat: f"{head}One. Two.\n</think>\n\namber. More.", template)
    assert ask(subject, stop=(".",)) == ("One. Two.", "amber", "stop")


def test_chats_whose_template_opens_a_thought_and_others_end_at_a_stop_string_each() -> None:
    # Some templates open a thought where the system prompt asks for one (Nemotron's "/think").
    template = QWEN3 + "{%- if '/think' in messages[0].content %}{{ '<think>\\n' }}{% endif -%}"
    subject = script_model(
        lambda chat: ("One.</think>" if chat.endswith("<think>\n") else "") + "amber. More.",
        template,
    )
    asks = [Ask(agent_view(prompt, ["Which?"]), 0) for prompt in ("Be Ann. /think", "Be Ann.")]
    (first, second), (third, fourth) = (
        subject.reply(order, Sampling(stop=(".",))) for order in (asks, asks[::-1])
    )
    assert (first.text, first.thought) == ("amber", "One.") and second.text == "amber"
    assert (third, fourth) == (second, first)
    assert second.completion_tokens == len("amber.")


@pytest.mark.parametrize("template", [QWEN3, OPENING])
def test_a_thought_cut_by_the_limit_leaves_an_empty_reply(template: str) -> None:
    head = "<think>" if template is QWEN3 else ""
    subject = script_model(lambda chat: f"{head}I wonder {'and wonder ' * 9}", template)
    thought, text, stop = ask(subject, max_new_tokens=30)
    assert thought and thought.startswith("I wonder") and (text, stop) == ("", "length")


def render(subject: LocalBackend) -> str:
    chat = agent_view("Be", ["one", "two", "three"], thoughts={1: "secret"})
    return str(subject.tokenizer.decode(list(subject.ids(Ask(chat, 0)))))


def test_a_thought_goes_back_only_where_the_template_shows_it() -> None:
    assert "secret" not in render(script_model(lambda chat: ""))
    assert "<think>\nsecret\n</think>" in render(script_model(lambda chat: "", FEEDS))


def test_a_thought_is_never_given_to_the_other_side() -> None:
    thoughts = {0: "the user's", 1: "the agent's"}
    assert "the agent's" not in str(user_view("Be", ["one", "two"], thoughts=thoughts))
    assert "the user's" not in str(agent_view("Be", ["one", "two", "three"], thoughts=thoughts))
    assert "the user's" not in str(user_view("Be", ["one", "two"], thoughts=thoughts, folded=True))


def thinker(chat: str) -> str:
    """Thinks of a wrong word, and says the persona's."""
    _, mark, rest = chat.rpartition("The word is ")
    word = rest.split("<")[0].strip() if mark else "nothing"
    return f"<think>\nPerhaps birch, cedar or amber.\n</think>\n\nword {word}"


def test_a_run_records_thoughts_shows_them_and_judges_none(tmp_path: Path) -> None:
    prompts: list[str] = []

    def script(chat: str) -> str:
        prompts.append(chat)
        return thinker(chat)

    result = drift(
        script_model(script), suite=suite(), pairs=3, rounds=2, measure=False, out=tmp_path
    )
    assert result.stability == [1.0] * 3 and result.summary.curves.floor == 0.0
    lines = (tmp_path / "records.jsonl").read_text("utf-8")
    assert '"thought":"Perhaps birch' in lines.replace(": ", ":")
    assert "Thought, 30 characters" in (tmp_path / "report.html").read_text("utf-8")
    assert not any("Perhaps" in prompt for prompt in prompts)
    assert as_record(result.summary)["failures"] == {
        "empty": 0, "length": 0, "overflow": 0, "error": 0, "thought": 0, "of": 66,
    }  # fmt: skip


def test_thoughts_that_the_limit_cuts_are_counted_as_such(tmp_path: Path) -> None:
    subject = script_model(lambda chat: "<think>" + "I wonder. " * 99)
    result = drift(subject, suite=suite(), pairs=2, rounds=1, measure=False)
    failures = result.summary.costs.failures
    assert failures.thought > 0 and failures.length == failures.empty == 0
    assert any("cut its thought" in record["why"] for record in result.records)
    both = compare(
        subject, suite=suite(), pairs=2, rounds=1, controls=("window:1",), questions="none"
    )
    for note in (result.summary.note, both.summary.note):
        assert re.search(r"cut thinker's thought before \d+% of the replies began", str(note))
        assert "does not hold" not in str(note)
    with pytest.raises(HoldfastError, match=r"cut thinker's thought before 100% of the replies"):
        drift(subject, suite=suite(), pairs=2, rounds=1, screen=True)


def test_a_resumed_conversation_has_its_thoughts_again(tmp_path: Path) -> None:
    def talk(folder: str) -> DriftResult:
        subject = script_model(thinker, FEEDS)
        return drift(
            subject, suite=suite(), pairs=2, rounds=3, measure=False, out=tmp_path / folder
        )

    whole = talk("a")
    talk("b")
    records = tmp_path / "b" / "records.jsonl"
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:3]))
    assert talk("b").records == whole.records
    assert records.read_bytes() == (tmp_path / "a" / "records.jsonl").read_bytes()


def test_the_tiny_model_itself_runs_under_the_template() -> None:
    own = tokenizer("chatml")
    own.chat_template = OPENING
    subject = LocalBackend(model("qwen3", dtype=torch.float64), own, "tiny")
    (reply,) = subject.reply([Ask(agent_view("Be", ["Hello"]), 1)], Sampling(max_new_tokens=8))
    assert reply.text == "" and reply.thought is not None


@pytest.mark.parametrize("template", [QWEN3, OPENING])
@pytest.mark.parametrize("options", [{}, {"enable_thinking": False}])
def test_restore_finds_earlier_replies_whatever_opens_the_last(
    template: str, options: dict[str, Any]
) -> None:
    backend = script_model(lambda _: "", template, **options)
    control, chat = (
        parse("restore:1"),
        agent_view("You are Ann.", ["Hi.", "YES", "Who?", "ANN", "Eh?"]),
    )
    assert backend.refusal(control) is None
    rendered = backend.template.render(chat)
    starts = backend.steering(control, rendered).replies
    texts = [backend.decode(rendered.ids[at : at + 4]).strip() for at in starts]
    assert [text[:3] for text in texts[:2]] == ["YES", "ANN"]


@pytest.mark.parametrize("control", ["none", "anchor", "guidance:1.5"])
def test_options_are_scored_as_the_reply_and_not_in_the_thought_that_the_template_opens(
    control: str,
) -> None:
    chat = agent_view("You are Ann.", ["Is tea warm? A yes, B no"])
    scores = []
    for template, options in ((OPENING, {}), (QWEN3, {"enable_thinking": False}), (QWEN3, {})):
        own = tokenizer("chatml")
        own.chat_template = template
        backend = LocalBackend(model("qwen3"), own, "thinker", options=options)
        scores += backend.likelihoods([Ask(chat, 0, parse(control))], [["A", "B"]])
    assert scores[0] == pytest.approx(scores[1])
    assert scores[0] != pytest.approx(scores[2])
