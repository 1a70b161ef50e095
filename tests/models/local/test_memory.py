"""A device's memory: the host's, within its container's limit, on any system."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
import torch

from holdfast.models.local import memory
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.memory import read_container_limits, total_memory
from tiny_models import model, tokenizer

CPU = torch.device("cpu")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_the_hosts_memory_is_known_without_sysconf_as_on_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sysconf")
    limit = LocalBackend(model("llama"), tokenizer(), "small").engine.store.limit
    assert 0 < limit <= psutil.virtual_memory().total // 4


def test_the_smallest_limit_of_the_groups_around_a_process_counts_in_version_2(
    tmp_path: Path,
) -> None:
    groups, own = tmp_path / "cgroup", tmp_path / "own"
    write(own, "0::/slice/job/step\n")
    write(groups / "slice" / "job" / "step" / "memory.max", "max\n")
    write(groups / "slice" / "job" / "memory.max", "4096\n")
    write(groups / "slice" / "memory.max", "8192\n")
    assert list(read_container_limits(groups, own)) == [4096, 8192]


def test_limits_are_read_in_version_1(tmp_path: Path) -> None:
    groups, own = tmp_path / "cgroup", tmp_path / "own"
    write(own, "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n")
    write(groups / "memory" / "docker" / "1" / "memory.limit_in_bytes", "2048\n")
    assert list(read_container_limits(groups, own)) == [2048]


def test_inside_a_container_the_root_has_the_limit_where_the_path_is_the_hosts(
    tmp_path: Path,
) -> None:
    groups, own = tmp_path / "cgroup", tmp_path / "own"
    write(own, "0::/docker/1234\n")
    write(groups / "memory.max", "1024\n")
    assert list(read_container_limits(groups, own)) == [1024]


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert list(read_container_limits(tmp_path, tmp_path / "nothing")) == []


def test_kept_keys_and_values_fit_the_containers_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "own", "0::/\n")
    write(tmp_path / "memory.max", str(1 << 20))
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN", tmp_path / "own")
    assert total_memory(CPU) == 1 << 20
    assert LocalBackend(model("llama"), tokenizer(), "small").engine.store.limit == 1 << 18
