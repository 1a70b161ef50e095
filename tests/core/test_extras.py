"""The command that installs an extra is one that works where this was installed from."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest

from holdfast.core import extras


class FakeDistribution(metadata.Distribution):
    """A distribution whose only file is what pip wrote of its origin."""

    def __init__(self, origin: object) -> None:
        self.origin = origin

    def read_text(self, filename: str) -> str | None:
        assert filename == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


@pytest.mark.parametrize("origin", [None, {"url": "https://host/holdfast.whl", "archive_info": {}}])
def test_a_package_of_an_index_is_installed_by_its_name(
    monkeypatch: pytest.MonkeyPatch, origin: object
) -> None:
    monkeypatch.setattr(extras, "distribution", lambda _: FakeDistribution(origin))
    assert extras.install("local", "prism") == "pip install 'holdfast[local,prism]'"


@pytest.mark.parametrize(("editable", "flag"), [(True, "-e "), (False, "")])
def test_a_clone_is_installed_from_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, editable: bool, flag: str
) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    origin = {"url": clone.as_uri(), "dir_info": {"editable": editable}}
    monkeypatch.setattr(extras, "distribution", lambda _: FakeDistribution(origin))
    assert extras.install("ray") == "pip install 'holdfast[ray]'"  # a folder that went away
    (clone / "constraints.txt").touch()
    pins = f"-c '{clone / 'constraints.txt'}'"
    assert extras.install("ray") == f"pip install {pins} {flag}'{clone}[ray]'"


def test_every_package_is_of_the_extra_that_names_it() -> None:
    project = metadata.requires("holdfast") or []
    for package, extra in extras.EXTRA.items():
        parts = re.compile(rf"{package.replace('_', '[-_]')}\b.*extra == .{extra}\b")
        lines = [line for line in project if parts.match(line)]
        assert lines or package in {"huggingface_hub", "sklearn", "starlette", "opentelemetry"}
