"""A GGUF file is unpacked once: later loads read the copy, and give the same model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors import SafetensorError

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import agent_view
from holdfast.core.errors import ModelError
from holdfast.models import dense_copy
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.files import find_source, hash_source
from holdfast.models.local.load import load
from tiny_gguf import write_family
from tiny_models import model, tokenizer

ASK = Ask(agent_view("You are Bob.", ["Hi?"]), 0)
GREEDY = Sampling(max_new_tokens=8, temperature=0.0)


def write_gguf(
    path: Path,
    *,
    seed: int = 0,
    leave_out: str = "",
    base: float = 10000.0,
    divisors: Sequence[float] = (),
    scaling: tuple[str, float] | None = None,
) -> Path:
    """A random Llama with the byte-level tokenizer as a GGUF file."""
    llama = model("llama", seed)
    llama.config.rope_parameters["rope_theta"] = base

    def add_frequencies(file: Any) -> None:
        if divisors:
            file.add_tensor("rope_freqs.weight", np.array(divisors, dtype=np.float32))
        if scaling:
            file.add_rope_scaling_type(gguf.RopeScalingType(scaling[0]))
            file.add_rope_scaling_factor(scaling[1])

    return write_family(path, llama, "llama", state=add_frequencies, leave_out=leave_out)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dense"


LOAD = "import sys; from holdfast.models.local.load import load; load(sys.argv[1])"


def copies(cache: Path) -> list[Path]:
    return [one for one in cache.iterdir() if one.is_dir()]


def answer(subject: LocalBackend) -> tuple[tuple[int, ...], str]:
    return subject.ids(ASK), subject.reply([ASK], GREEDY)[0].text


def test_the_second_load_reads_the_copy_and_gives_the_same_model(
    cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    first = load(str(file), dtype="float32")
    assert "is unpacked once, into" in capfd.readouterr().err
    again = load(str(file), dtype="float32")
    assert "unpacked" not in capfd.readouterr().err
    plain = LocalBackend(model("llama"), tokenizer(), "tiny")
    assert answer(first) == answer(again) == answer(plain)
    assert first.describe() == again.describe()
    assert first.digest == hash_source(find_source(str(file)))


def test_a_log_of_the_command_line_has_lines_and_no_bars(cache: Path, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    options = ["--suite", "mini", "--pairs", "1", "--rounds", "1", "--plan"]
    process = subprocess.run(
        [sys.executable, "-m", "holdfast", "drift", "--model", str(file), *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert "unpacked once" in process.stderr and "replies" in process.stdout
    assert "\r" not in process.stderr and "it/s" not in process.stderr


def test_a_copy_gives_in_bfloat16_what_the_file_gives(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    from_copy = load(str(file), dtype="bfloat16")
    monkeypatch.setattr(dense_copy, "LIMIT", 0)
    read = load(str(file), dtype="bfloat16")
    ours, theirs = (one.engine.model.state_dict() for one in (from_copy, read))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_another_file_under_the_same_name_has_another_copy(cache: Path, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    load(str(file))
    write_gguf(file, seed=1)
    other = load(str(file), dtype="float32")
    assert len(copies(cache)) == 2
    assert answer(other) == answer(LocalBackend(model("llama", 1), tokenizer(), "tiny"))


def test_what_a_killed_process_left_half_unpacked_goes_at_the_next_unpacking(
    cache: Path, tmp_path: Path
) -> None:
    (cache / "unpacking-killed" / "part").mkdir(parents=True)
    (cache / "unpacking-killed" / "part" / "model.safetensors").write_bytes(b"half")
    load(str(write_gguf(tmp_path / "tiny.gguf")))
    (copy,) = copies(cache)
    assert not copy.name.startswith("unpacking-")


def test_of_two_first_loads_at_once_one_unpacks_and_the_other_waits_for_its_copy(
    cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", LOAD, str(write_gguf(tmp_path / "tiny.gguf"))]
    cache.mkdir(parents=True)
    with FileLock(cache / "lock"):
        both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for process in both:
            assert process.stderr is not None
            assert "waits for another process" in process.stderr.readline()
    said = "".join(process.communicate()[1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("is unpacked once") == 1 and "cannot be unpacked" not in said
    assert len(copies(cache)) == 1
    again = load(str(tmp_path / "tiny.gguf"), dtype="float32")
    assert answer(again) == answer(LocalBackend(model("llama"), tokenizer(), "tiny"))


def test_where_the_cache_has_no_room_the_file_itself_is_read_and_a_sentence_says_so(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    disk = namedtuple("disk", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk(1 << 10))
    subject = load(str(write_gguf(tmp_path / "tiny.gguf")), dtype="float32")
    assert "name a folder in HOLDFAST_CACHE" in capfd.readouterr().err
    assert answer(subject) == answer(LocalBackend(model("llama"), tokenizer(), "tiny"))
    assert not copies(cache)


def test_a_disk_that_fills_while_a_copy_is_written_leaves_none(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fill(*args: Any, **options: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr("transformers.modeling_utils.safe_save_file", fill)
        subject = load(str(write_gguf(tmp_path / "tiny.gguf")), dtype="float32")
    assert "(No space left on device)" in capfd.readouterr().err
    assert answer(subject) == answer(LocalBackend(model("llama"), tokenizer(), "tiny"))
    assert not copies(cache)
    load(str(tmp_path / "tiny.gguf"))
    assert len(copies(cache)) == 1


def test_an_incomplete_file_leaves_no_copy(cache: Path, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", leave_out="blk.1.ffn_up.weight")
    with pytest.raises(ModelError, match="lack 1 of the model's tensors"):
        load(str(file))
    assert not copies(cache)


@pytest.mark.parametrize("content", [b"GGUF", b"GGUFgarbage", b"no such thing" * 9])
def test_a_damaged_file_is_one_sentence(cache: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"tiny\.gguf cannot be loaded"):
        load(str(file))
    assert not copies(cache)
