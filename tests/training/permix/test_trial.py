"""The trial before training: what it measures, what it chooses, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks.tasks import Task
from holdfast.results.training.permix import PermixTrial, TriedGroup
from holdfast.training.permix import train
from holdfast.training.permix.mixing import PersonaMix
from holdfast.training.permix.settings import PermixSettings
from holdfast.training.permix.trial import (
    EACH,
    LEAST,
    TrialPrompts,
    check,
    middling_categories,
    most_varied_category,
    read_trial,
    warning,
)


def trial(reward: float = 0.5, cut: float = 0.0, **changes: Any) -> PermixTrial:
    values: dict[str, Any] = {
        "n": 24,
        "reward": reward,
        "cut": cut,
        "by_category": {},
        "by_kind": {},
        "prompt_tokens": 9.0,
        "reply_tokens": 4.0,
        "seconds": 1.0,
    }
    return PermixTrial(**values | changes)


def test_every_category_is_tried_and_few_tasks_are_asked_again() -> None:
    tasks = [Task(str(i), f"c{i % 8}", ("?",), answers=("1",)) for i in range(80)]
    rows = TrialPrompts.of(tasks, (), PersonaMix(0)).rows
    assert len(rows) == 8 * EACH
    assert {tasks[row.item].category for row in rows} == {f"c{i}" for i in range(8)}
    assert len(TrialPrompts.of(tasks[:1], (), PersonaMix(0)).rows) == LEAST


def test_only_categories_of_middling_difficulty_are_worth_training_on() -> None:
    groups = {"easy": TriedGroup(6, 1.0, 0), "some": TriedGroup(6, 0.5, 0)}
    result = trial(by_category=groups | {"hard": TriedGroup(6, 0.0, 0)})
    assert middling_categories(result) == ("some",)


def test_where_little_can_be_asked_the_category_of_most_variance_is_trained_on() -> None:
    groups = {name: TriedGroup(16, mean, 0) for name, mean in (("a", 0.9), ("b", 0.3), ("c", 0.1))}
    assert most_varied_category(trial(by_category=groups)) == ("b",)
    assert most_varied_category(
        trial(by_category={"a": groups["a"], "c": TriedGroup(16, 1, 0)})
    ) == ("a",)
    assert most_varied_category(trial(by_category={"c": TriedGroup(16, 1, 0)})) == ()


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (trial(0.0), r"all 24 replies were wrong.*choose easier tasks"),
        (trial(0.0, 1.0), r"all 24 replies were wrong.*100% .*limit of 64 tokens.*max_new_tokens"),
        (trial(1.0), r"all 24 replies were right.*choose harder tasks"),
        (
            trial(0.3, by_kind={"harmful": TriedGroup(8, 0.0, 1.0)}),
            r"100% of 8 replies under harmful personas reached the limit of 64 tokens",
        ),
    ],
)
def test_a_run_that_could_not_learn_is_refused_with_the_figure(
    result: PermixTrial, sentence: str
) -> None:
    with pytest.raises(HoldfastError, match=sentence):
        check(result, 64)


def test_tasks_that_leave_little_to_learn_are_named_with_better_ones() -> None:
    groups = {"easy": TriedGroup(18, 1.0, 0), "some": TriedGroup(6, 0.5, 0)}
    sentence = str(warning(trial(0.9, by_category=groups), 4))
    assert "90% of 24 replies are right" in sentence and "66% of the groups of 4" in sentence
    assert sentence.endswith("harder tasks, or tasks of some.")
    assert str(warning(trial(0.05), 8)).endswith("better are easier tasks.")
    assert warning(trial(0.5), 4) is None


def test_a_run_on_tasks_of_ones_own_that_are_too_easy_says_so(
    train_small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def pay(task: Task, reply: str) -> float:
        return float(task.id != "line-1" or len(reply) % 2)

    train_small(tmp_path / "run", steps=1, trial=True, verify=pay)
    assert "of the groups of 4 rollouts will be paid alike" in capsys.readouterr().err


def test_a_run_that_can_learn_goes_on() -> None:
    check(trial(0.3, by_kind={"harmful": TriedGroup(8, 0.0, 0.5)}), 64)


def test_a_run_keeps_its_trial_and_says_what_came_of_it(train_small: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = train_small(out, steps=1, trial=True).summary
    assert summary.trial == read_trial(out)
    assert summary.trial.n >= LEAST
    assert summary.trial.cut == 1.0  # a random model never ends


def test_a_model_that_is_never_right_is_not_trained(train_small: Any, tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="replies were wrong"):
        train_small(tmp_path / "run", trial=True, verify=lambda task, reply: 0.0)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    # Gold answers teach what the model does not know yet.
    wrong = {"steps": 1, "trial": True, "verify": lambda task, reply: 0.0}
    assert train_small(tmp_path / "sft", arm="sft", **wrong).summary.trial.reward == 0.0


def test_sft_takes_every_exercise_where_the_model_can_do_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nothing: Any = SimpleNamespace(by_category={}, reward=0.0)
    training: Any = SimpleNamespace(chooses="one", data="all of them")
    monkeypatch.setattr(train, "_try", lambda *args: nothing)
    monkeypatch.setattr(train.trials, "most_varied_category", lambda trial: ())
    reward: Any = None
    assert train._select(training, PermixSettings(arm="sft"), reward, tmp_path) == (
        nothing,
        "all of them",
    )
    with pytest.raises(HoldfastError, match="the model solves none"):
        train._select(training, PermixSettings(arm="rft"), reward, tmp_path)
