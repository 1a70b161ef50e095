"""What the project says of itself is true: its pins, its packages and its map."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    return [one for text in texts if (one := Requirement(text)).name != "holdfast"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("requirement", requirements(), ids=lambda one: one.name)
def test_every_requirement_is_pinned_to_a_version_it_allows(requirement: Requirement) -> None:
    version = pins().get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} is missing from constraints.txt"
    assert requirement.specifier.contains(version)


def test_a_pin_holds_for_every_build_of_a_version() -> None:
    assert not [version for version in pins().values() if "+" in version]


def test_the_extra_all_is_every_extra_for_users() -> None:
    extras = PROJECT["optional-dependencies"]
    (whole,) = map(Requirement, extras["all"])
    assert whole.extras == extras.keys() - {"all", "dev", "docs"}


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_git_ignores_what_the_readmes_commands_write() -> None:
    outputs = set(re.findall(r"--out ([\w.]+)", README))
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"run", "choice", "mine.toml"} <= outputs
    assert not [one for one in outputs if not {f"/{one}", f"/{one}/"} & set(lines)]


def test_git_ignores_no_file_of_the_project() -> None:
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this is no checkout of git")
    assert listing.stdout == ""


def find_mapped() -> set[Path]:
    """The paths in the README's tree: every name that ends in `/` or `.py`, under its package."""
    block = re.search(r"^```\n(src/holdfast/\n.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert block
    package = ROOT / "src" / "holdfast"
    room, paths = package, set()
    for line in block[1].splitlines()[1:]:
        if line.startswith("  "):
            name = re.match(r"  (\w+)/", line)
            room = package / name[1] if name else room
        names = re.findall(r"[\w/]+(?:\.py|/)(?=[\s,;:)]|$)", line)
        for name in names:
            places = (room / name, package / name, ROOT / name)
            paths.add(next((place for place in places if place.exists()), places[0]))
    return paths


def test_everything_on_the_readmes_map_exists() -> None:
    assert [str(path) for path in sorted(find_mapped()) if not path.exists()] == []


def test_every_module_is_on_the_readmes_map() -> None:
    package = ROOT / "src" / "holdfast"
    modules = {
        path
        for path in package.iterdir()
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
    }
    modules -= {package / "__init__.py", package / "__main__.py"}
    assert modules <= find_mapped()


def test_scripts_import_only_what_the_package_has() -> None:
    """Most of them run in no test."""
    scripts = [file for place in ("bench", "studies") for file in (ROOT / place).rglob("*.py")]
    for script in scripts:
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("holdfast."):
                module = importlib.import_module(str(node.module))
                missing = [one.name for one in node.names if not has(module, one.name)]
                assert not missing, f"{script}, line {node.lineno}: {missing}"


def has(module: ModuleType, name: str) -> bool:
    """Whether a module has a name, or a package a module of it."""
    package = hasattr(module, "__path__")
    return hasattr(module, name) or (package and find_spec(f"{module.__name__}.{name}") is not None)
