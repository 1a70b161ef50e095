"""What a run will take is counted as the run counts it, whatever is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, suite
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.progress import Progress
from holdfast.evals.effect.effect import effect, estimate_effect
from holdfast.evals.estimate import STEP, RunEstimate, estimate_asks
from holdfast.evals.explain.explain import estimate_explain, explain
from holdfast.evals.fidelity.fidelity import estimate_fidelity, fidelity
from holdfast.evals.fidelity.settings import QuestionnaireSettings
from holdfast.evals.robustness.robustness import estimate_robustness, robustness
from holdfast.models.local.backend import LocalBackend
from tiny_models import model, tokenizer


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    lines = [{"category": "math", "turns": [f"{i} + 1?"], "answers": [str(i + 1)]} for i in (1, 2)]
    lines.append({"category": "math", "turns": ["7 + 1?", "And once more?"], "answers": ["8", "9"]})
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def count_replies(actor: Actor) -> int:
    """The replies that an actor has given, and forgets."""
    count = sum(map(len, actor.calls))
    actor.calls.clear()
    return count


def check(estimate: RunEstimate, actor: Actor, replies: int) -> None:
    assert 0 < count_replies(actor) <= STEP and estimate.replies == replies
    assert estimate.tokens == 3 * replies and estimate.tokens_at_most >= estimate.tokens


def test_effect_counts_every_arm_and_turn_of_every_model(tasks: Path) -> None:
    actor = Actor()
    options: dict[str, Any] = {"tasks": tasks, "personas": "mini", "samples": 2}
    effect(actor, **options)
    replies = count_replies(actor)
    check(estimate_effect(actor, **options), actor, replies)
    two = estimate_effect([actor, Actor(name="other")], **options)
    assert two.replies == 2 * estimate_effect(actor, **options).replies


def test_robustness_counts_every_persona(tmp_path: Path) -> None:
    actor, path = Actor(), tmp_path / "items.jsonl"
    lines = [json.dumps({"question": f"{i} + {4 - i}?", "answer": 4}) for i in (1, 2, 3)]
    path.write_text("\n".join(lines), encoding="utf-8")
    options: dict[str, Any] = {"tasks": path, "personas": "mini", "samples": 1}
    robustness(actor, **options)
    replies = count_replies(actor)
    check(estimate_robustness(actor, **options), actor, replies)


def test_fidelity_counts_the_floor_too() -> None:
    actor = Actor()
    fidelity(actor, suite=suite(), samples=2)
    replies = count_replies(actor)
    check(estimate_fidelity(actor, suite=suite(), samples=2), actor, replies)


def test_questions_that_are_still_to_be_written_are_counted(tmp_path: Path) -> None:
    people = tmp_path / "people.txt"
    people.write_text("a baker\na diver\n", encoding="utf-8")
    actor = Actor()
    estimate = estimate_fidelity(
        actor,
        judges=[Actor(name="judge")],
        questions="generate",
        questionnaire=QuestionnaireSettings(personas=people, questions_per_task=3),
    )
    check(estimate, actor, 2 * 5 * 3)


def test_explain_counts_the_controls_and_the_conversations_without_personas() -> None:
    small = LocalBackend(model("llama"), tokenizer(), "small")
    progress = Progress(enabled=False)
    options: dict[str, Any] = {"suite": suite(), "pairs": 2, "rounds": 2, "controls": ["boost:2"]}
    options["sampling"] = Sampling(max_new_tokens=2)
    explain(small, progress=progress, **options)
    estimate = estimate_explain(small, **options)
    assert progress.replies <= estimate.replies <= progress.replies + 4  # the floor is asked once
    assert 0 < estimate.tokens <= estimate.tokens_at_most == 2 * estimate.replies


def test_the_measured_step_is_spread_over_all_that_is_asked() -> None:
    actor = Actor()
    asks = [Ask(({"role": "user", "content": str(i)},), i) for i in range(2 * STEP)]
    estimate_asks(actor, asks, Sampling(), len(asks))
    assert [ask.seed for ask in actor.calls[0]] == list(range(0, 2 * STEP, 2))
    assert estimate_asks(actor, [], Sampling(), 0).replies == 0


def test_later_turns_count_with_the_replies_before_them(tasks: Path) -> None:
    def answer(ask: Ask) -> Reply:
        prompt = sum(len(one["content"]) + 16 for one in ask.chat)
        return Reply("A long reply. " * 9, prompt_tokens=prompt, completion_tokens=40)

    actor = Actor(answer)
    options: dict[str, Any] = {"tasks": tasks, "personas": "mini", "samples": 1}
    effect(actor, **options)
    total = sum(answer(ask).prompt_tokens for call in actor.calls for ask in call)
    estimate = estimate_effect(Actor(answer), **options)
    assert estimate.prompt_tokens == pytest.approx(total, rel=0.05)


def test_the_price_of_a_model_is_the_price_of_its_estimate() -> None:
    actor = Actor(lambda ask: Reply("4", prompt_tokens=20, completion_tokens=3))
    asks = [Ask(({"role": "user", "content": str(i)},), i) for i in range(4)]
    assert estimate_asks(actor, asks, Sampling(), 10).cost is None
    actor.price = (1.0, 2.0)
    estimate = estimate_asks(actor, asks, Sampling(), 10)
    assert (estimate.prompt_tokens, estimate.tokens) == (200, 30)
    assert estimate.cost == pytest.approx((200 + 60) / 1e6)
    assert "cost about 0.00026;" in estimate.sentence("") and "200 tokens" in estimate.sentence("")
    assert estimate.plus(estimate.times(2)).cost == pytest.approx(3 * 260 / 1e6)


def test_of_two_estimates_the_rate_is_that_of_all_tokens() -> None:
    slow = RunEstimate.of(10, 20, answers=2, tokens_drawn=10, seconds=1.0)
    fast = RunEstimate.of(10, 20, answers=2, tokens_drawn=10, seconds=0.1)
    both = slow.plus(fast)
    assert (both.replies, both.tokens, both.tokens_at_most) == (20, 100, 400)
    assert both.seconds == pytest.approx(5.5) and both.tokens_per_second == pytest.approx(18.2)
    assert "18 tokens/s" in both.sentence("") and both.sentence("More.").endswith("0:00:06. More.")
