"""The built wheel is whole: alone in a clean environment it runs the demo from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import holdfast

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "holdfast"


def run(*command: str | Path, cwd: Path) -> str:
    parts = [str(part) for part in command]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(parts, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    run(*build, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with the wheel installed; its dependencies are lent by this one.

    The path file lends the packages without running this environment's own path files, so
    that the checkout, installed here in editable form, cannot be seen from there.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--quiet"]
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def test_the_wheel_carries_every_file_of_the_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    own_names = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert own_names <= names
    assert {
        "holdfast/py.typed",
        "holdfast/models/mini/weights/config.json",
        "holdfast/models/mini/weights/model.safetensors",
        "holdfast/models/mini/weights/tokenizer.json",
        "holdfast/report/drift/page.html.j2",
    } <= names
    assert any(name.startswith("holdfast/persona/data/suites/") for name in names)


def test_the_wheel_names_its_version_and_carries_its_licence(wheel: Path) -> None:
    info = f"holdfast-{holdfast.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
    assert "Apache License" in licence
    assert "License-Expression: Apache-2.0" in metadata.splitlines()


def test_an_environment_with_the_wheel_sees_the_wheels_copy(
    elsewhere: Path, tmp_path: Path
) -> None:
    where = "import holdfast; print(holdfast.__file__)"
    output = run(elsewhere / "bin" / "python", "-c", where, cwd=tmp_path)
    assert Path(output.strip()).is_relative_to(elsewhere)


def test_the_installed_command_lists_the_personas(elsewhere: Path, tmp_path: Path) -> None:
    assert run(elsewhere / "bin" / "holdfast", "personas", "list", cwd=tmp_path).strip()


def test_the_installed_command_runs_the_demo_from_any_folder(
    elsewhere: Path, tmp_path: Path
) -> None:
    demo = ["drift", "--model", "mini", "--pairs", "2", "--rounds", "1", "--seed", "0"]
    output = run(elsewhere / "bin" / "holdfast", *demo, "--out", "demo", "--json", cwd=tmp_path)
    assert len(json.loads(output)["stability"]) == 2
    for name in ("manifest.json", "records.jsonl", "summary.json", "report.html"):
        assert (tmp_path / "demo" / name).stat().st_size > 0, name
