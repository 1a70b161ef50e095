"""The page of a training run: every arm's figures, and texts that stay texts."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.records import read_record
from holdfast.report.permix import render
from holdfast.results.training.permix import PermixSummary, StepMetrics
from holdfast.training.permix.metrics import learning_means

KIND = {"n": 8, "accuracy": 0.5, "groups": 1, "zero_variance": 0.0}


def line(step: int, **values: Any) -> StepMetrics:
    sample = {"persona": None, "asked": "Who?", "reply": "<script>x</script>", "reward": 1.0}
    fields = {"reward": 0.5, "zero_variance": 0.0, "kl": 0.01 * step, "loss": 0.1}
    fields |= {"by_kind": {"harmful": KIND}, "by_persona": {"imp": KIND}, "samples": [sample]}
    return read_record(StepMetrics, {"step": step, **fields, **values})


def summary(**values: Any) -> PermixSummary:
    base = {
        "arm": "permix",
        "model": "m",
        "steps": 30,
        "reward_first": 0.5,
        "reward_last": 0.75,
        "cut_last": 0.0,
        "categories": ["extraction"],
        "trial": None,
    }
    base |= {"beta": 0.04, "mixing": "prompt", "bare": 0.25, "tasks": 9, "personas": 3, "seed": 0}
    base |= {"held_out": 2, "window": 10, "tokens": 1000, "seconds": 9.0, "checkpoint": "run/model"}
    base |= {"zero_variance_first": 0.0, "zero_variance_last": 0.0, "kl_last": 0.0}
    base |= {"loss_last": 0.1, "verifier_errors": 0, "report": "run/report.html"}
    return read_record(PermixSummary, {**base, "command": None, **values})


def test_the_page_shows_rewards_zero_variance_and_kl_and_escapes_replies() -> None:
    page = render(summary(rollouts=160), [line(step) for step in range(1, 31)])
    assert "from 0.50 to 0.75 in 30 steps</h1>" in page
    assert "the mean reward of the first 10 steps, the second of the last." in page
    assert "Each is over 160 rollouts. Their prompts differ" in page
    for key in ("accuracy", "zero-variance", "kl"):
        assert f'id="figure-{key}"' in page
    assert "<script>x" not in page and "&lt;script&gt;x" in page
    assert "imp" in page and page.count("Each point is the mean of 3 steps.") == 3
    assert "harmful: 0.50, n = 24" in page and "<td>0.50, n = 24</td>" in page


def test_a_mean_reward_says_of_how_many_rollouts_it_is() -> None:
    means = learning_means([line(step) for step in range(1, 31)])
    assert (means.window, means.rollouts) == (5, 5 * 8)
    assert learning_means([line(1, by_kind=None)]).rollouts is None


@pytest.mark.parametrize(
    ("values", "there", "missing"),
    [
        ({"arm": "rlvr", "beta": 0.0, "mixing": None}, "Without personas", 'id="figure-kl"'),
        ({"arm": "sft", "beta": None}, 'id="figure-loss"', 'id="figure-accuracy"'),
        ({"arm": "rft", "beta": None}, "that the untrained model wrote", 'id="figure-accuracy"'),
        ({"mixing": "rollout"}, "a persona of its own", "share its persona"),
    ],
)
def test_an_arm_shows_what_it_has(values: dict[str, Any], there: str, missing: str) -> None:
    page = render(summary(**values), [line(step) for step in (1, 2, 3)])
    assert there in page and missing not in page


def test_checks_of_mathematics_that_failed_are_said() -> None:
    page = render(summary(verifier_errors=2), [line(1)])
    assert "2 checks of mathematics failed or took too long, and paid nothing." in page
    assert "checks of mathematics" not in render(summary(), [line(1)])


def test_a_small_kl_is_labelled_with_a_digit_more_than_its_axis_has() -> None:
    page = render(summary(), [line(step, kl=kl) for step, kl in ((1, 0.000808), (2, 0.000562))])
    assert ">0.00056</text>" in page and "It ends at 0.00056." in page
    assert "to step 2: 0.000562" in page


def test_the_page_says_what_to_know_of_the_model() -> None:
    page = render(summary(note="It is a toy."), [line(1)])
    assert '<p class="note" role="note">It is a toy.</p>' in page
    assert 'role="note"' not in render(summary(), [line(1)])


def test_rewards_of_an_arm_that_imitates_are_of_before_and_after_training() -> None:
    page = render(summary(arm="sft", beta=None), [line(1)])
    assert "The first is the mean reward before training, the second after it." in page


def test_a_run_of_one_step_has_a_page() -> None:
    page = render(summary(steps=1), [line(1)])
    assert "in 1 step<" in page
    assert page.count("Each point is one step.") == 3 and "mean of 1 step" not in page
