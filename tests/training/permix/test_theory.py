"""What KL-regularised rewards do to a policy, exactly, and what GRPO's ways change about it.

For one question asked under persona p, right with probability a_p before training, the optimum of
E[r] − β KL(π ‖ π₀) is logit a* = logit a + 1/β. A group of G rollouts is held against its own
mean, each rollout itself included, which scales the expected gradient by 1 − 1/G:

    logit a* = logit a + (1 − 1/G) / β        (rewards not divided by their deviation)

Expectations here are sums over all outcomes of a group: nothing is sampled but where it is said.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from holdfast.core.chat import message
from holdfast.models.local import load as local
from holdfast.training.permix.settings import DataSettings

Array = NDArray[np.float64]
PERSONAS = np.array([0.02, 0.28, 0.55, 0.9])


def logit(a: Array | float) -> Any:
    return np.log(a) - np.log1p(-np.asarray(a))


def binomial(a: float, size: int) -> Array:
    """Chance of k right of `size`, k = 0…size."""
    k = np.arange(size + 1)
    ways = [math.lgamma(size + 1) - math.lgamma(i + 1) - math.lgamma(size - i + 1) for i in k]
    return np.exp(np.array(ways) + k * math.log(a) + (size - k) * math.log1p(-a))


def deviation(right: Array, size: int) -> Array:
    """The unbiased deviation of a group with so many right, as TRL adds 1e-4 to it."""
    mean = right / size
    return np.sqrt(size * mean * (1 - mean) / (size - 1)) + 1e-4


def policy_gradient(a: float, size: int, scale: str) -> float:
    """d/d logit of the expected GRPO objective of a two-outcome policy, without its KL."""
    k = np.arange(size + 1, dtype=float)
    divisor = deviation(k, size) if scale == "group" else np.ones(size + 1)
    right, wrong = (1 - k / size) / divisor, (0 - k / size) / divisor
    each = k / size * right * (1 - a) + (1 - k / size) * wrong * -a
    return float(binomial(a, size) @ each)


def limit_accuracy(
    first: float, beta: float, size: int, scale: str, *, forward: bool = False
) -> float:
    """The accuracy at which gradient ascent on the logit stands still.

    `forward` takes the gradient of the k3 estimate of the KL on the samples alone, as TRL does
    with use_bias_correction_kl=False: it is that of KL(π₀ ‖ π).
    """
    start = theta = float(logit(first))
    for _ in range(5_000):
        a = 1 / (1 + math.exp(-theta))
        kl = a - first if forward else a * (1 - a) * (theta - start)
        change = policy_gradient(a, size, scale) - beta * kl
        theta += change / (a * (1 - a) + 1e-3)
        if abs(change) < 1e-13:
            break
    return 1 / (1 + math.exp(-theta))


@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("size", [2, 8, 64])
def test_every_persona_s_logit_rises_alike_where_rewards_are_not_scaled(
    beta: float, size: int
) -> None:
    after = np.array([limit_accuracy(a, beta, size, "none") for a in PERSONAS])
    assert logit(after) - logit(PERSONAS) == pytest.approx((1 - 1 / size) / beta, abs=1e-4)


def test_in_large_groups_the_optimum_is_that_of_the_theory_and_accuracies_come_together() -> None:
    after = np.array([limit_accuracy(a, 0.5, 1024, "none") for a in (0.28, 0.55)])
    weights = math.exp(2) * np.array([0.28, 0.55])
    assert after == pytest.approx(weights / (weights + 1 - np.array([0.28, 0.55])), abs=2e-3)
    assert after[0] / after[1] > 0.28 / 0.55
    assert limit_accuracy(1e-12, 0.5, 8, "none") < 1e-10  # what is never right is not learned


def test_scaled_by_their_group_s_deviation_logits_rise_further_and_not_alike() -> None:
    shifts = [float(logit(limit_accuracy(a, 1.0, 8, "group")) - logit(a)) for a in PERSONAS]
    assert min(shifts) > 2 * (1 - 1 / 8)
    assert max(shifts) - min(shifts) > 0.4


def test_without_the_correction_of_the_kl_s_gradient_it_is_another_optimum() -> None:
    after, beta = limit_accuracy(0.28, 0.2, 8, "none", forward=True), 0.2
    # Where KL(π₀ ‖ π) balances the reward: (1 − 1/G) a (1 − a) = β (a − a₀).
    assert 7 / 8 * after * (1 - after) == pytest.approx(beta * (after - 0.28), abs=1e-6)
    assert logit(after) - logit(0.28) < 0.7 * (7 / 8 / beta)


def test_trl_s_defaults_are_those_that_the_theory_is_told_for() -> None:
    from trl import GRPOConfig

    defaults = {name: f.default for name, f in GRPOConfig.__dataclass_fields__.items()}
    assert defaults["use_bias_correction_kl"] is True
    assert defaults["scale_rewards"] == "group" and defaults["beta"] == 0.0


def test_styles_lose_weight_by_their_incompetence_alone() -> None:
    styles = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)  # π₀(z | p)
    competence = torch.tensor([0.9, 0.4, 0.0], dtype=torch.float64)  # chance of right, by style
    first = torch.stack([styles * competence, styles * (1 - competence)]).clamp(min=1e-30)
    reward = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    theta = first.log().clone().requires_grad_()
    beta = 0.5
    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=2000,
        tolerance_grad=1e-14,
        tolerance_change=1e-18,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        log = theta.flatten().log_softmax(0).view_as(theta)
        value = (log.exp() * (reward - beta * (log - first.log()))).sum()
        (-value).backward()  # type: ignore[no-untyped-call]
        return -value

    optimiser.step(loss)
    after = theta.detach().flatten().softmax(0).view_as(theta).sum(0)
    weights = styles * (1 + (math.exp(1 / beta) - 1) * competence)
    assert torch.allclose(after, weights / weights.sum(), atol=1e-6)


def mean_advantages(first: float, second: float, each: int) -> tuple[float, float]:
    """Expected advantage of a rollout under either of two personas that share one group."""
    chances = binomial(first, each)[:, None] * binomial(second, each)[None, :]
    counts = np.meshgrid(*[np.arange(each + 1.0)] * 2, indexing="ij")
    all_right = counts[0] + counts[1]
    divisor = deviation(all_right, 2 * each)
    one, two = ((k / each - all_right / (2 * each)) / divisor for k in counts)
    return float((chances * one).sum()), float((chances * two).sum())


def mean_advantage(a: float, size: int) -> float:
    """Expected advantage of a rollout whose group is its persona's own."""
    k = np.arange(size + 1.0)
    gradient = k / size * (1 - k / size) + (1 - k / size) * (0 - k / size)
    return float(binomial(a, size) @ (gradient / deviation(k, size)))


def test_a_shared_baseline_pushes_down_all_that_a_weak_persona_says() -> None:
    strong, weak = mean_advantages(0.9, 0.1, 4)
    assert strong == pytest.approx(0.76, abs=0.01) and weak == pytest.approx(-strong)
    assert mean_advantage(0.9, 8) == pytest.approx(0) == mean_advantage(0.1, 8)


def right(reply: str) -> bool:
    return bool(reply) and reply[0].lower() in "aeioun"


def test_trained_by_trl_a_policy_lands_where_the_theory_says(
    train_small: Any, folder: str, tmp_path: Path
) -> None:
    """One question, replies of one token, sampled: the model is a table of one row."""
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"question": "Say it.", "answer": "a"}) + "\n", encoding="utf-8")

    def chance(name: str) -> float:
        model = local.load(name)
        ids = torch.tensor([model.template.render((message("user", "Say it."),)).ids])
        with torch.no_grad():
            chances = model.engine.model(ids).logits[0, -1].softmax(-1)
        texts = [model.tokenizer.decode([i], skip_special_tokens=True) for i in range(len(chances))]
        return float(sum(p for p, text in zip(chances, texts, strict=True) if right(text)))

    result = train_small(
        tmp_path / "run",
        arm="rlvr",
        data=DataSettings(tasks=str(path), personas="mini"),
        verify=lambda task, reply: float(right(reply)),
        steps=100,
        prompts=1,
        rollouts=32,
        max_new_tokens=1,
        trial=False,
        beta=1.0,
        scale="none",
        learning_rate=5e-3,
        save_every=1000,
    )
    before, after = chance(folder), chance(str(result.checkpoint))
    assert logit(after) - logit(before) == pytest.approx(1 - 1 / 32, abs=0.3)
