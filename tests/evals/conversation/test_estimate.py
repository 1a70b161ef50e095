"""What a run will take is counted as the run counts it, and times what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, obey, suite
from holdfast.control.rewrite import rewrite
from holdfast.core.backend import Ask, Reply
from holdfast.core.progress import Progress
from holdfast.evals.compare.compare import compare, estimate_compare
from holdfast.evals.drift import drift, estimate_drift

SMALL = suite()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"filler": False},
        {"history_floor": False, "runs": 3},
        {"user_persona": False, "rounds": 1},
    ],
)
def test_the_replies_of_a_plan_are_those_that_the_run_generates(settings: dict[str, Any]) -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 3, "rounds": 3, **settings}
    progress = Progress(enabled=False)
    drift(Actor(), progress=progress, **options)
    estimate = estimate_drift(Actor(), **options)
    assert estimate.replies == progress.replies
    assert (
        estimate.tokens == 3 * estimate.replies
        and estimate.tokens_at_most == 200 * estimate.replies
    )
    assert estimate.seconds == pytest.approx(
        estimate.tokens / estimate.tokens_per_second, rel=0.05, abs=0.2
    )


def test_only_one_step_is_asked_and_nothing_is_written(tmp_path: Path) -> None:
    actor = Actor()
    estimate_drift(actor, suite=SMALL, pairs=12, rounds=8)
    assert len(actor.calls) == 1 and all(len(ask.chat) <= 2 for ask in actor.calls[0])
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_counts_every_control() -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 3, "rounds": 2, "questions": "none"}
    progress = Progress(enabled=False)
    compare(Actor(), controls=["window:1"], progress=progress, **options)
    estimate = estimate_compare(Actor(), controls=["window:1"], **options)
    assert estimate.replies == progress.replies


def test_a_plan_takes_the_controls_of_the_models_beside_the_first() -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 3, "rounds": 2, "questions": "none"}
    options["controls"] = ["also:other+window:1"]
    progress = Progress(enabled=False)
    compare(Actor(), also=[Actor(name="other")], progress=progress, **options)
    estimate = estimate_compare(Actor(), also=[Actor(name="other")], **options)
    assert estimate.replies == progress.replies


class PricedActor(Actor):
    """Counts a third of a prompt's characters as tokens, and prices them."""

    def __init__(self) -> None:
        super().__init__(self._answer, local=False)
        self.prompt_tokens = self.completion_tokens = 0
        self.price = (1.0, 2.0)

    def _answer(self, ask: Ask) -> Reply:
        chat = rewrite(ask.chat, ask.control, user_first=self.user_first)
        prompt = sum(len(one["content"]) + 9 for one in chat) // 3
        self.prompt_tokens += prompt
        self.completion_tokens += 3
        return replace(obey(ask), prompt_tokens=prompt)

    @property
    def cost(self) -> float:
        return (self.prompt_tokens + 2 * self.completion_tokens) / 1e6


@pytest.mark.parametrize("control", ["none", "window:3", "reminder:1"])
def test_a_plan_counts_the_prompts_that_grow_with_the_rounds_and_prices_them(control: str) -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 3, "rounds": 6, "control": control}
    actor = PricedActor()
    drift(actor, **options)
    estimate = estimate_drift(PricedActor(), **options)
    assert estimate.prompt_tokens == pytest.approx(actor.prompt_tokens, rel=0.25)
    assert estimate.cost == pytest.approx(actor.cost, rel=0.25)


def test_a_model_without_a_price_adds_nothing_to_the_cost_of_the_other() -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 3, "rounds": 3}
    both = estimate_drift(PricedActor(), **options).cost
    agent = estimate_drift(PricedActor(), user_model=Actor(name="user"), **options).cost
    assert agent is not None and both is not None and 0 < agent < both
    assert estimate_drift(Actor(), **options).cost is None


def test_the_prompts_of_every_control_and_question_are_counted() -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 3, "rounds": 4, "questions": "mini"}
    options["controls"] = ["reminder:1"]
    actor = PricedActor()
    progress = Progress(enabled=False)
    compare(actor, progress=progress, **options)
    estimate = estimate_compare(PricedActor(), **options)
    assert estimate.replies == progress.replies
    assert estimate.prompt_tokens == pytest.approx(actor.prompt_tokens, rel=0.25)


def test_the_prompts_of_many_conversations_are_in_proportion_to_those_of_some() -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": "all", "rounds": 2}
    exact = estimate_drift(PricedActor(), **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.evals.conversation.estimate.PLAYED", 2)
        some = estimate_drift(PricedActor(), **options)
    assert some.replies == exact.replies
    assert some.prompt_tokens == pytest.approx(exact.prompt_tokens, rel=0.1)
