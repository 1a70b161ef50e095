"""Several processes: groups stay whole and prompts come as drawn, whoever has their rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler
from trl.trainer.utils import RepeatSampler

from holdfast.core.errors import HoldfastError
from holdfast.persona import pool
from holdfast.training.permix.metrics import check_group, read_metrics
from holdfast.training.permix.mixing import PersonaMix
from holdfast.training.permix.settings import DataSettings, TrainerSettings

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "accelerate"


@pytest.mark.parametrize("per", ["prompt", "rollout"])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_what_processes_gather_are_whole_groups_under_the_personas_drawn(
    per: str, processes: int
) -> None:
    """The samplers that TRL and accelerate deal rows with, without the processes."""
    prompts, rollouts, steps = 4, 6, 3
    rows = list(PersonaMix(9, 0.25, per).rows(10, prompts * steps, rollouts))
    each = TrainerSettings(prompts=prompts, rollouts=rollouts).rows(processes)
    sampler = (
        RepeatSampler(rows, rollouts, prompts, shuffle=False)
        if per == "prompt"
        else RepeatSampler(rows, 1, prompts * rollouts, shuffle=False)
    )
    shards = [
        list(BatchSamplerShard(BatchSampler(sampler, each, False), processes, rank))
        for rank in range(processes)
    ]
    items: list[int] = []
    for batches in zip(*shards, strict=True):
        batch_items = [i for batch in batches for i in batch]
        for start in range(0, len(batch_items), rollouts):
            check_group([rows[i] for i in batch_items[start : start + rollouts]], per)
        items += batch_items
    # Nothing is left out or doubled: the proportions are those of the draws.
    assert items == [i for i in range(len(rows)) for _ in range(rollouts if per == "prompt" else 1)]


def test_rollouts_that_cannot_be_dealt_evenly_are_refused() -> None:
    with pytest.raises(HoldfastError, match="cannot be dealt evenly to 5 processes"):
        TrainerSettings(prompts=4, rollouts=8).rows(5)


@pytest.mark.parametrize("name", ["fsdp", "deepspeed", "cpu"])
def test_the_example_configurations_are_read_by_accelerate(name: str) -> None:
    config = load_config_from_file(str(EXAMPLES / f"{name}.yaml"))
    TrainerSettings().rows(config.num_processes)
    assert (config.distributed_type.value if name != "cpu" else "MULTI_CPU") in (
        "FSDP",
        "DEEPSPEED",
        "MULTI_CPU",
    )


@pytest.mark.slow
@pytest.mark.parametrize("per", ["prompt", "rollout"])
def test_two_processes_over_gloo_train_as_drawn_and_write_once(
    per: str, folder: str, sources: DataSettings, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(EXAMPLES / "cpu.yaml"), "--main_process_port", "0"]
    command += ["-m", "holdfast", "permix", "train", "--model", folder]
    command += ["--tasks", str(sources.tasks), "--personas", "mini", "--mixing", per]
    command += ["--steps", "3", "--prompts", "4", "--rollouts", "2", "--max-new-tokens", "3"]
    process = subprocess.run(
        [*command, "--out", str(out), "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert json.loads(process.stdout)["checkpoint"] == str(out / "model")
    people = pool.load("mini", split="train")
    rows = list(PersonaMix(len(people), 0.25, per).rows(7, 12, 2))
    lines = read_metrics(out)
    assert [line.step for line in lines] == [1, 2, 3]
    size = 4 if per == "prompt" else 8
    for line in lines:
        assert line.by_persona and line.by_kind
        step_rows = rows[(line.step - 1) * size : line.step * size]
        names = {people[r.persona].id if r.persona >= 0 else "none" for r in step_rows}
        assert set(line.by_persona) == names
        assert sum(one.n for one in line.by_kind.values()) == 8
