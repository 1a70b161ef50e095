"""Checks without the persona: who is asked what, and what becomes of the reply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor
from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.chat import agent_view, message
from holdfast.core.control import NONE, parse
from holdfast.core.errors import HoldfastError
from holdfast.models.fact_check import FactCheckedBackend, read_check

SAMPLING = Sampling()


def factual(ask: Ask) -> Reply:
    """Says 5 until told better; without a persona it knows that 5 is wrong."""
    text = ask.chat[-1]["content"]
    if "draft" in text:
        wrong = ["2 + 2 is 4, not 5"] if '"draft": "It is 5."' in text else []
        return Reply(json.dumps({"wrong": wrong}), prompt_tokens=10, completion_tokens=3)
    answer = "It is 4." if "are wrong" in text else "It is 5." if "2 + 2" in text else "Hello."
    return Reply(answer, prompt_tokens=5, completion_tokens=2)


def test_a_reply_with_an_error_is_written_again_under_the_persona() -> None:
    actor = Actor(factual)
    model = FactCheckedBackend(actor)
    question = Ask(agent_view("You are Ann.", [], "What is 2 + 2?"), 1, parse("reminder:1"))
    (reply,) = model.reply([question], SAMPLING)
    assert reply.text == "It is 4."
    assert reply.prompt_tokens == 5 + 10 + 5 and reply.completion_tokens == 2 + 3 + 2
    _, (check,), (second,) = actor.calls
    assert all(m["role"] != "system" for m in check.chat) and "Ann" not in check.chat[0]["content"]
    assert check.control == NONE
    assert second.chat[0]["content"] == "You are Ann." and second.control.text == "reminder:1"
    assert model.counts == {"checked": 1, "rewritten": 1, "unclear": 0}


def test_what_is_right_or_has_no_persona_stays_as_it_was() -> None:
    actor = Actor(factual)
    model = FactCheckedBackend(actor)
    right = Ask(agent_view("You are Ann.", [], "Hi"), 1)
    bare = Ask((message("user", "What is 2 + 2?"),), 2)
    assert [r.text for r in model.reply([right, bare], SAMPLING)] == ["Hello.", "It is 5."]
    assert len(actor.calls[1]) == 1
    assert model.counts["rewritten"] == 0


def test_a_check_that_cannot_be_read_changes_nothing_and_is_counted() -> None:
    def vague(ask: Ask) -> Reply:
        return Reply("Looks fine to me!" if "draft" in ask.chat[-1]["content"] else "It is 5.")

    model = FactCheckedBackend(Actor(vague))
    (reply,) = model.reply([Ask(agent_view("You are Ann.", [], "2 + 2?"), 1)], SAMPLING)
    assert reply.text == "It is 5." and model.counts["unclear"] == 1
    assert "1 checks or rewrites could not be read" in model.summary


def test_an_empty_or_failed_reply_is_not_checked() -> None:
    for reply in (Reply(""), Reply("", "error", error="gone"), Reply("x", "overflow")):
        actor = Actor(lambda ask, reply=reply: reply)
        model = FactCheckedBackend(actor)
        assert model.reply([Ask(agent_view("You are Ann.", [], "Hi"), 1)], SAMPLING) == [reply]
        assert model.counts["checked"] == 0


def test_a_rewrite_is_asked_as_its_draft_was() -> None:
    actor = Actor(factual)
    chat = agent_view("You are Ann.", [], "What is 2 + 2?")
    judge = {"name": "contains", "text": "Ann"}
    question = Ask(chat, 1, parse("auto:reminder"), measure=True, judge=judge)
    FactCheckedBackend(actor).reply([question], SAMPLING)
    _, (check,), (second,) = actor.calls
    assert (second.control, second.judge, second.measure) == (question.control, judge, True)
    assert not second.keep and second.seed != question.seed
    assert check.control == NONE and not check.measure


@pytest.mark.parametrize(
    "rewrite", [Reply(" "), Reply("", "error", error="gone"), Reply("", "overflow")]
)
def test_a_draft_stays_where_its_rewrite_has_no_text(rewrite: Reply) -> None:
    def broken(ask: Ask) -> Reply:
        return rewrite if "are wrong" in ask.chat[-1]["content"] else factual(ask)

    model = FactCheckedBackend(Actor(broken))
    question = Ask(agent_view("You are Ann.", [], "What is 2 + 2?"), 1)
    (reply,) = model.reply([question], SAMPLING)
    assert (reply.text, reply.stop, reply.error) == ("It is 5.", "stop", None)
    assert model.counts == {"checked": 1, "rewritten": 0, "unclear": 1}


def test_it_stands_for_its_backend_and_in_the_manifest() -> None:
    model: Backend = FactCheckedBackend(Actor(name="ann"))
    assert model.name == "ann" and model.local
    assert model.describe() == {"name": "ann", "verify": "neutral"}
    with pytest.raises(HoldfastError, match="`verify` is neutral"):
        FactCheckedBackend(Actor(), "twice")


@given(st.lists(st.text(min_size=1).filter(str.strip), max_size=4), st.text(alphabet="ab \n"))
def test_named_statements_are_read_from_within_other_words(
    statements: list[str], around: str
) -> None:
    text = f"{around}{json.dumps({'wrong': statements})}{around}"
    assert read_check(text) == [one.strip() for one in statements]


def test_a_check_that_opens_brackets_for_ever_is_unclear() -> None:
    assert read_check(f'{{"wrong": {"[" * 100_000}}}') is None


@given(st.text())
def test_any_text_is_read_or_not_without_an_error(text: str) -> None:
    statements = read_check(text)
    assert statements is None or all(isinstance(one, str) for one in statements)
