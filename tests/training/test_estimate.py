"""What a training will take: counted, measured, and refused where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands import run_command
from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import message
from holdfast.core.errors import HoldfastError
from holdfast.evals.estimate import estimate_asks
from holdfast.models.local.backend import LocalBackend
from holdfast.results.training.recipe import TrainingEstimate
from holdfast.training import estimate
from tiny_models import model, tokenizer

KEYS = {"prompts", "tokens", "memory_gb", "disk_gb", "seconds"}


def backend() -> LocalBackend:
    return LocalBackend(model("llama"), tokenizer(), "small", batch_size=16)


def test_speeds_are_measured() -> None:
    speed = estimate.measure(backend())
    assert speed.pass_seconds > 0
    assert 0 < speed.write_seconds < 60


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"memory_gb": 1e9}, r"of memory and cpu has .*`parts` 4"),
        ({"disk_gb": 1e9}, "of disk and .* has"),
    ],
)
def test_what_does_not_fit_is_refused(
    changes: dict[str, float], sentence: str, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"prompts": 1, "tokens": 1, "seconds": 1.0}
    needs = TrainingEstimate(**values | {"memory_gb": 0.1, "disk_gb": 0.1} | changes)
    with pytest.raises(HoldfastError, match=sentence):
        estimate.check_fits(needs, backend(), tmp_path / "new" / "run")


def test_a_measurement_takes_the_process_and_the_buffers_of_a_whole_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "memory_now", lambda backend: 5_000_000)
    own, asks = backend(), [Ask((message("user", f"Hello {i}."),), i) for i in range(4)]
    run = estimate_asks(own, asks, Sampling(8), 100)
    config, longest = own.engine.config, len(own.ids(asks[0])) + 8
    size = config.hidden_size // config.num_attention_heads
    token = config.num_hidden_layers * 2 * config.num_key_value_heads * size * 4
    needs = estimate.estimate_measurement(own, run)
    assert needs.memory_gb == round((5_000_000 + 16 * longest * token) / 1e9, 4)


@pytest.mark.parametrize("command", ["prism", "permix"])
def test_a_plan_prints_what_the_contract_names_and_writes_nothing(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run_command(command, "train", "--model", "mini", "--out", out, "--plan", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan.keys() == KEYS
    assert all(value > 0 for value in plan.values())
    assert not out.exists()
