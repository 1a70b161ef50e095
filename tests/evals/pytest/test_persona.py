"""A test that asserts a persona passes where it holds, and else shows curve and transcript."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.actors import Actor, obey, persona, suite

from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError, ModelError, ServiceError
from holdfast.evals.pytest.persona import PersonaUnderTest

Messages = list[dict[str, str]]
AMBER = PersonaUnderTest.read(persona("amber"))
TOML = """
[[persona]]
id = "amber"
category = "memory"
prompt = "The word is amber"
probes = ["Which word?"]
judge = { name = "contains", text = "amber" }
"""


def faithful(messages: Messages) -> str:
    return messages[0]["content"].split()[-1]


def forgets(messages: Messages) -> str:
    return faithful(messages) if len(messages) < 5 else "I am a plain assistant."


def test_a_function_that_keeps_the_persona_passes() -> None:
    result = AMBER.assert_holds(faithful, min_stability=1.0, rounds=2, pairs=3)
    assert result.stability == [1.0, 1.0, 1.0]
    assert result.summary.setting.user_model == "neutral users"


def test_a_function_that_forgets_fails_with_the_curve_and_the_worst_transcript() -> None:
    with pytest.raises(AssertionError) as failure:
        AMBER.assert_holds(forgets, rounds=3, pairs=3)
    lines = str(failure.value).splitlines()
    assert lines[0] == (
        "memory-amber did not hold: stability 0.33 over rounds 1 to 3, below 0.80 "
        "(3 conversations with forgets)"
    )
    assert lines[2].startswith("  round  1  1.00 [") and lines[2].endswith("█" * 20)
    assert lines[3].startswith("  round  2  0.00 [") and lines[3].endswith("]  ")
    assert "worst conversation (memory-amber, stability 0.33):" in lines
    assert "  system: The word is amber" in lines
    assert any("→ I am a plain assistant. scores 0.00" in line for line in lines)


def test_the_worst_conversation_is_the_one_that_is_shown() -> None:
    def moody(messages: Messages) -> str:
        return "No." if messages[0]["content"].endswith("birch") else faithful(messages)

    two = PersonaUnderTest.read(suite(2))
    with pytest.raises(AssertionError, match=r"worst conversation \(pattern-birch, stability 0.00"):
        two.assert_holds(moody, min_stability=0.9, rounds=1, pairs=4)


def test_the_function_sees_messages_as_an_api_has_them() -> None:
    calls: list[Messages] = []

    def ask(messages: Messages) -> str:
        calls.append(messages)
        return "amber"

    AMBER.assert_holds(ask, rounds=2, pairs=1, runs=1)
    assert all(set(one) == {"role", "content"} for chat in calls for one in chat)
    longest = max(calls, key=len)
    roles = [one["role"] for one in longest]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]


def test_a_coroutine_function_is_awaited_and_calls_may_run_at_once() -> None:
    async def ask(messages: Messages) -> str:
        return faithful(messages)

    for concurrency in (1, 4):
        result = AMBER.assert_holds(ask, rounds=1, pairs=3, concurrency=concurrency)
        assert result.stability == [1.0, 1.0]


def test_coroutines_share_one_loop_and_work_within_a_test_that_is_a_coroutine() -> None:
    """A client of an API, which an application makes once, breaks in a second loop."""
    loops = set()

    async def ask(messages: Messages) -> str:
        loops.add(asyncio.get_running_loop())
        return faithful(messages)

    async def test_of_the_user() -> None:
        AMBER.assert_holds(ask, rounds=1, pairs=3, concurrency=4)

    asyncio.run(test_of_the_user())
    AMBER.assert_holds(ask, rounds=1, pairs=3)
    assert len(loops) == 1


def test_a_model_speaks_for_its_users_unless_another_does() -> None:
    model, users = Actor(), Actor(lambda ask: Reply("hm"), name="users")
    AMBER.assert_holds(model, rounds=2, pairs=2)  # type: ignore[arg-type]
    alone = sum(map(len, model.calls))
    model.calls.clear()
    AMBER.assert_holds(model, rounds=2, pairs=2, user_model=users)  # type: ignore[arg-type]
    assert sum(map(len, model.calls)) < alone and users.calls


def test_a_model_is_named_as_on_the_command_line() -> None:
    subject = PersonaUnderTest.read("mini:upper-1")
    result = subject.assert_holds("mini", min_stability=0.1, rounds=1, pairs=2)
    assert result.summary.setting.model == "mini" and result.summary.setting.suite == "mini"


def test_what_the_function_raises_is_the_tests_error() -> None:
    def broken(messages: Messages) -> str:
        raise KeyError("choices")

    with pytest.raises(KeyError, match="choices"):
        AMBER.assert_holds(broken, rounds=1, pairs=1)


def test_a_function_that_returns_no_text_is_an_error_and_no_failure() -> None:
    answer: Any = lambda messages: {"content": "amber"}  # noqa: E731
    with pytest.raises(ModelError, match="returned dict: return the text"):
        AMBER.assert_holds(answer, rounds=1, pairs=1)


def test_an_unreachable_service_is_an_error_and_no_failure() -> None:
    def fail(ask: Ask) -> Reply:
        return Reply("", "error", error="503 from the server") if ask.seed % 3 else obey(ask)

    with pytest.raises(ServiceError, match=r"could not be had.*503"):
        AMBER.assert_holds(Actor(fail), rounds=1, pairs=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("least", [0.0, 1.1])
def test_a_threshold_is_a_score(least: float) -> None:
    with pytest.raises(HoldfastError, match="min_stability"):
        AMBER.assert_holds(faithful, min_stability=least)


def test_no_call_at_once_is_refused() -> None:
    with pytest.raises(HoldfastError, match="concurrency is 1 or more, not 0"):
        AMBER.assert_holds(faithful, concurrency=0)


def test_a_prompt_of_the_application_takes_the_place_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "amber.toml").write_text(TOML, encoding="utf-8")
    (tmp_path / "prompt.txt").write_text("Say something.\n", encoding="utf-8")
    subject = PersonaUnderTest.read("amber.toml", folder=tmp_path)
    subject.assert_holds(faithful, rounds=1, pairs=1)
    weak = PersonaUnderTest.read("amber.toml:amber", prompt="@prompt.txt", folder=tmp_path)
    assert weak.suite.personas[0].prompt == "Say something."
    with pytest.raises(AssertionError, match="did not hold"):
        weak.assert_holds(faithful, rounds=1, pairs=1)


def test_a_long_prompt_that_begins_with_an_at_sign_is_no_file_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="name a file after @"):
        PersonaUnderTest.read(prompt=f"@everyone {'Say amber. ' * 40}", folder=tmp_path)


def test_a_prompt_alone_is_drafted_into_personas() -> None:
    subject = PersonaUnderTest.read(prompt="You always answer in capital letters.")
    subject.assert_holds(lambda messages: "ALL IS WELL.", rounds=1, pairs=1)
    with pytest.raises(AssertionError):
        subject.assert_holds(lambda messages: "All is well.", rounds=1, pairs=1)


def test_nothing_to_test_is_refused() -> None:
    with pytest.raises(HoldfastError, match="name personas"):
        PersonaUnderTest.read()
    with pytest.raises(HoldfastError, match="check the path"):
        PersonaUnderTest.read("nowhere.toml")
