"""The house keeps its order: imports run downwards only, without circles, in rooms one can see."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "holdfast"
# What may import everything, and what nothing in the package imports.
TOP = {"__init__", "__main__", "attention"}


def floors() -> list[str]:
    """The packages from the top to the bottom, as README's tree has them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"^src/holdfast/\n((?: .*\n)+)", readme, re.MULTILINE)
    assert tree
    return re.findall(r"^  (\w+)/", tree[1], re.MULTILINE)


def modules() -> dict[str, Path]:
    """Every module of the package by its name, `__init__` left out of packages' names."""
    paths = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


@cache
def tree(path: Path) -> ast.Module:
    """A file's syntax, which all tests of this file look at."""
    return ast.parse(path.read_text(encoding="utf-8"))


def find_imports(path: Path, paths: dict[str, Path]) -> Iterator[str]:
    """The package's own modules that a file imports, anywhere in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in paths)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: name the whole module, not a relative one"
            if not (node.module or "").startswith("holdfast"):
                continue
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in paths else node.module


def floor_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_the_readmes_tree_names_every_package_once() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert sorted(floors()) == sorted(rooms)


def test_imports_run_downwards_only() -> None:
    order, paths = floors(), modules()
    wrong = []
    for module, path in paths.items():
        for target in find_imports(path, paths):
            if floor_of(module) in TOP:
                continue
            here, there = floor_of(module), floor_of(target)
            if there in TOP or order.index(there) < order.index(here):
                wrong.append(f"{module} imports {target}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    paths = modules()
    graph = {name: set(find_imports(path, paths)) - {name} for name, path in paths.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" imports ".join(reversed(circle.args[1])))


def classes_and_types() -> Iterator[tuple[str, str, bool]]:
    """Each name in capitals and small letters at the top of a module, its module, and if a class.

    A leading underscore is no part of the name.
    """
    for module, path in modules().items():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef):
                yield node.name.lstrip("_"), module, True
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id.lstrip("_")
                if re.match("[A-Z].*[a-z]", name):
                    yield name, module, False


def test_a_class_shares_its_name_with_no_other_class_or_type() -> None:
    owners: dict[str, list[str]] = {}
    classes = set()
    for name, module, is_class in classes_and_types():
        owners.setdefault(name, []).append(module)
        classes |= {name} if is_class else set()
    assert {name: owners[name] for name in classes if len(owners[name]) > 1} == {}


def test_rooms_are_few_and_none_is_crowded() -> None:
    rooms = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()]
    files = {
        path.name for path in rooms if path.stem not in ("__pycache__", "__init__", "__main__")
    }
    assert len(files) <= 12
    folders = {path.parent for path in modules().values()}
    assert {str(one): n for one in folders if (n := len(list(one.glob("*.py")))) > 16} == {}


def lengths() -> Iterator[tuple[str, int, str]]:
    """Every function and file of the package: its name, its lines, and its first lines."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        yield str(path.relative_to(PACKAGE)), len(lines), text[:2000]
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                body = "\n".join(lines[node.lineno - 2 : node.end_lineno])
                name = f"{path.relative_to(PACKAGE)}:{node.name}"
                yield name, node.end_lineno - node.lineno + 1, body


def test_functions_and_files_can_be_seen_whole() -> None:
    """60 lines for a function, 350 for a file, or a comment `# Long:` that says why."""
    long = [
        f"{name}: {n} lines"
        for name, n, text in lengths()
        if n > (60 if ":" in name else 350) and "# Long:" not in text
    ]
    assert long == []


def test_the_median_function_has_nine_lines_at_most() -> None:
    sizes = sorted(n for name, n, _ in lengths() if ":" in name)
    assert sizes[len(sizes) // 2] <= 9
