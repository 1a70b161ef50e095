"""Several models as one backend: who is asked what, and a row of its own in a comparison."""

from __future__ import annotations

import pytest

from actors import Actor, suite
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.chat import agent_view
from holdfast.core.control import parse
from holdfast.core.errors import ControlError, HoldfastError
from holdfast.evals.compare.compare import compare
from holdfast.models.model_group import ModelGroup

CHAT = agent_view("The word is amber", [], "Which word?")


def make_actor(name: str) -> Actor:
    return Actor(lambda ask: Reply(f"{name} under {ask.control}", completion_tokens=1), name=name)


def test_each_ask_goes_to_its_model_under_its_own_control_and_comes_back_in_order() -> None:
    first, other = make_actor("first"), make_actor("other")
    both = ModelGroup(first, [other])
    controls = ["none", "also:other", "anchor", "also:other+window:3", "none"]
    asks = [Ask(CHAT, i, parse(control, models=True)) for i, control in enumerate(controls)]
    texts = [reply.text for reply in both.reply(asks, Sampling())]
    assert texts == [
        "first under none",
        "other under none",
        "first under anchor",
        "other under window:3",
        "first under none",
    ]
    assert len(first.calls) == len(other.calls) == 1


def test_it_stands_for_the_first_and_describes_all() -> None:
    both = ModelGroup(
        make_actor("first"), [Actor(name="other", local=False, context=64, user_first=True)]
    )
    assert both.name == "first" and not both.local and both.context == 64 and both.user_first
    assert both.describe() == {"name": "first", "also": {"other": {"name": "other"}}}
    control = parse("also:a/b+anchor+window:3", models=True)
    assert (control.model, control.own) == ("a/b", parse("anchor+window:3"))
    assert parse("anchor").model == "" and parse("anchor").own == parse("anchor")


def test_a_name_that_is_not_there_or_twice_or_cannot_be_written_is_refused() -> None:
    with pytest.raises(ControlError, match="name it with `also`"):
        ModelGroup(make_actor("first"), [make_actor("other")]).refusal(
            parse("also:third", models=True)
        )
    with pytest.raises(ControlError, match="no control 'nonsense'"):
        ModelGroup(make_actor("first"), [make_actor("other")]).refusal(
            parse("also:other+nonsense", models=True)
        )
    with pytest.raises(HoldfastError, match="name each once"):
        ModelGroup(make_actor("first"), [make_actor("other"), make_actor("other")])
    with pytest.raises(HoldfastError, match="without a `\\+`"):
        ModelGroup(make_actor("first"), [make_actor("a+b")])


def test_a_model_that_gives_only_text_refuses_likelihoods_before_the_run() -> None:
    class Scored(Actor):
        def likelihoods(self, *_: object) -> list[list[float]]:
            return []

    class Spoken(Actor):
        def likelihoods(self, *_: object) -> list[list[float]]:
            raise HoldfastError("only text comes back")

    assert ModelGroup(Scored(), [Scored(name="other")]).likelihoods((), ()) == []
    with pytest.raises(HoldfastError, match="only text comes back"):
        ModelGroup(Scored(), [Spoken(name="other")]).likelihoods((), ())


def test_a_checkpoint_is_a_row_of_a_comparison_on_the_same_conversations() -> None:
    def good(ask: Ask) -> Reply:
        return Reply(ask.chat[0]["content"], completion_tokens=3)

    def bad(ask: Ask) -> Reply:
        return Reply("nothing", completion_tokens=3)

    first, other = Actor(bad, name="first"), Actor(good, name="other")
    result = compare(
        first, also=[other], controls=["window:3"], suite=suite(), pairs=4, rounds=2,
        questions="none",
    )  # fmt: skip
    rows = {row.control: row for row in result.rows}
    assert list(rows) == ["none", "window:3", "also:other"]
    assert (rows["none"].stability, rows["also:other"].stability) == (0, 1)
    # The first model speaks for the users of both.
    assert all(ask.chat[0]["content"] != "nothing" for call in other.calls for ask in call)
    assert rows["also:other"].n == rows["none"].n == 4
