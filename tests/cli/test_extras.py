"""Commands of an installation without extras say which one they need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.core import extras

ARGUMENTS: dict[str, list[str]] = {
    "drift": ["drift"],
    "compare": ["compare", "--controls", "none"],
    "explain": ["explain", "--out", "out"],
    "effect": ["effect", "--out", "out"],
    "robustness": ["robustness", "--out", "out"],
    "fidelity": ["fidelity", "--out", "out"],
    "serve": ["serve", "--port", "0"],
    "a gateway": ["serve", "--upstream", "http://127.0.0.1:9/v1", "--port", "0"],
    "prism": ["prism", "train", "--out", "out"],
    "permix": ["permix", "train", "--out", "out"],
    "a recipe": ["train", "recipe.toml", "--out", "out"],
}
# Importing these fails as if they were not installed.
PROGRAM = f"""
import contextlib, io, json, sys
for name in {sorted(extras.EXTRA)!r}:
    sys.modules[name] = None
from holdfast import cli
endings = {{}}
for name, arguments in {ARGUMENTS!r}.items():
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            cli.main(arguments)
    except SystemExit as exit:
        endings[name] = (exit.code, errors.getvalue())
    except BaseException as error:
        endings[name] = (1, repr(error))
print(json.dumps(endings))
"""
RECIPE = """
title = "one"
method = "permix"
model = "mini"
seeds = [0]
[arms.base]
"""


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    folder = tmp_path_factory.mktemp("bare")
    Path(folder, "recipe.toml").write_text(RECIPE)
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    ends: dict[str, tuple[int, str]] = json.loads(process.stdout.splitlines()[-1])
    return ends


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_command_without_its_packages_names_the_extra_in_one_sentence(
    endings: dict[str, tuple[int, str]], name: str
) -> None:
    code, text = endings[name]
    assert code == 2, text
    assert "pip install" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "bracket"), [("serve", "[serve,local]"), ("a gateway", "[gateway]")]
)
def test_a_server_names_all_it_needs_at_once(
    endings: dict[str, tuple[int, str]], name: str, bracket: str
) -> None:
    assert bracket in endings[name][1]
