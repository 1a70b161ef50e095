"""What is written of every step, and what a group is held against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.core.records import as_record
from holdfast.results.robustness import PoolPersona
from holdfast.results.training.permix import GroupMetrics
from holdfast.training.permix.metrics import NAME, PATIENCE, MetricsLog, read_metrics
from holdfast.training.permix.mixing import NOBODY, PromptRow

PEOPLE = (
    PoolPersona("imp", "harmful", "train", "Lie."),
    PoolPersona("sage", "helpful", "train", "Think."),
)
ROWS = [PromptRow(0, 0, 0), PromptRow(0, 1, 1), PromptRow(0, 2, NOBODY), PromptRow(0, 3, 0)]


def open_log(
    folder: Path | None = None, rows: list[PromptRow] = ROWS, **options: object
) -> MetricsLog:
    settings = {"rollouts": 2, "per": "prompt", **options}
    return MetricsLog(folder, rows, PEOPLE, **settings)  # type: ignore[arg-type]


def test_accuracy_and_zero_variance_are_told_by_persona_and_by_kind() -> None:
    log = open_log()
    log.add_rewards([0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 0, 1, 1, 0, 1])
    line = log.end_step(1, {"loss": 0.1, "kl": 0.02, "num_tokens": 9.0, "lr": 1})
    assert line.reward == 0.5 and line.zero_variance == 0.5
    assert line.by_persona and line.by_kind
    assert line.by_persona["imp"] == GroupMetrics(n=4, accuracy=0.25, groups=2, zero_variance=0.5)
    assert line.by_kind["none"].zero_variance == 1.0
    assert line.by_kind["helpful"].accuracy == 0.5
    assert (line.loss, line.kl, line.tokens) == (0.1, 0.02, 9.0) and "lr" not in as_record(line)


def test_a_group_of_two_items_or_per_prompt_of_two_personas_is_refused() -> None:
    other = [PromptRow(0, 0, 0), PromptRow(0, 0, 1), PromptRow(0, 1, 0)]
    with pytest.raises(HoldfastError, match="mixes personas"):
        open_log(rows=other).add_rewards([0, 1], [0, 1])
    with pytest.raises(HoldfastError, match="mixes personas"):
        open_log(rows=other, per="rollout").add_rewards([0, 2], [0, 1])
    log = open_log(rows=other, per="rollout")
    log.add_rewards([0, 1], [0, 1])
    line = log.end_step(1, {})
    # The group is without variance for neither of its two personas.
    assert line.by_persona
    assert line.by_persona["imp"].zero_variance == 0.0
    assert line.by_persona["sage"].accuracy == 1.0


def test_a_run_in_which_no_group_has_any_variance_is_stopped_with_a_sentence() -> None:
    hopeless = open_log()
    with pytest.raises(HoldfastError, match="every group of rollouts had one reward"):
        for step in range(PATIENCE):
            hopeless.add_rewards([0, 0], [0, 0])
            hopeless.end_step(step + 1, {})
    assert len(hopeless.steps) == PATIENCE
    sometimes = open_log()
    for step in range(3 * PATIENCE):
        sometimes.add_rewards([0, 0], [0, 1] if step == PATIENCE - 1 else [1, 1])
        sometimes.end_step(step + 1, {})


def test_a_process_without_the_first_steps_does_not_stop_a_run_by_later_ones() -> None:
    reader = open_log(None, steps=PATIENCE)
    for step in range(PATIENCE, 3 * PATIENCE):
        reader.add_rewards([0, 0], [1, 1])
        reader.end_step(step + 1, {})


@pytest.mark.parametrize("name", ["loss", "kl", "grad_norm"])
def test_a_training_that_diverges_is_stopped_with_a_sentence(name: str, tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.add_rewards([0, 0], [0, 1])
    with pytest.raises(HoldfastError, match=r"diverged: .* at step 3, so lower the learning rate"):
        log.end_step(3, {"loss": 1.0, "grad_norm": 2.0, name: float("nan")})
    assert read_metrics(tmp_path) == []


def test_lines_beyond_the_checkpoint_and_a_torn_one_are_written_again(tmp_path: Path) -> None:
    first = open_log(tmp_path)
    for step in (1, 2, 3):
        first.add_rewards([0, 0], [0, 1])
        first.end_step(step, {"loss": step})
    path = tmp_path / NAME
    path.write_text(path.read_text() + '{"step": 4, "lo')
    again = open_log(tmp_path, steps=2)
    again.add_rewards([0, 0], [1, 1])
    again.end_step(3, {"loss": 7})
    assert [line.loss for line in read_metrics(tmp_path)] == [1, 2, 7]
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]
