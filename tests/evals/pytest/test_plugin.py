"""The plugin costs a pytest nothing until a test asks for a persona."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer

from holdfast.cli import app

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "continuous-integration"
PLUGIN = "holdfast.evals.pytest.plugin"
TEST = """
def test_it_holds(holdfast_persona):
    word = holdfast_persona("amber.toml")
    word.assert_holds(lambda messages: messages[0]["content"][-5:], rounds=1, pairs=1)

def test_it_slips(holdfast_persona):
    holdfast_persona("amber.toml").assert_holds(lambda messages: "Hello.", rounds=1, pairs=1)
"""
PERSONA = """
[[persona]]
id = "amber"
category = "memory"
prompt = "The word is amber"
probes = ["Which word?"]
judge = { name = "contains", text = "amber" }
"""


def run_pytest(folder: Path) -> subprocess.CompletedProcess[str]:
    # Once Holdfast is installed with its plugin, pytest finds it by itself, and not twice.
    plugin = entry_points(group="pytest11", name="holdfast")
    options = [] if plugin else ["-p", PLUGIN]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "tests"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_the_project_names_the_plugin_to_pytest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"holdfast": PLUGIN}
    assert hasattr(import_module(PLUGIN), "holdfast_persona")


def test_importing_the_plugin_imports_nothing_else() -> None:
    code = (
        f"import pytest, sys; before = set(sys.modules); import {PLUGIN}; "
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith('holdfast')), "
        "sorted(m for m in sys.modules if m.startswith('holdfast')))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    own = ["holdfast", "holdfast.evals", "holdfast.evals.pytest", PLUGIN]
    assert process.stdout.strip() == f"[] {own}"


def test_a_test_suite_with_the_plugin_shows_what_slipped(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_word.py").write_text(TEST, encoding="utf-8")
    (tmp_path / "tests" / "amber.toml").write_text(PERSONA, encoding="utf-8")
    process = run_pytest(tmp_path)
    assert process.returncode == 1
    assert "1 failed, 1 passed" in process.stdout
    assert "amber did not hold: stability 0.00 over rounds 1 to 1, below 0.80" in process.stdout
    assert "worst conversation (amber" in process.stdout
    assert "callable_model.py" not in process.stdout  # no traceback through Holdfast


def test_the_example_passes_and_its_weakened_prompt_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "ci"
    shutil.copytree(EXAMPLE, folder)
    good = run_pytest(folder)
    assert "2 passed" in good.stdout, good.stdout + good.stderr
    weak = "You talk with people about small things. Write in capital letters if you like."
    (folder / "prompts" / "bot.txt").write_text(weak, encoding="utf-8")
    bad = run_pytest(folder)
    assert "1 failed, 1 passed" in bad.stdout
    assert "mine-capitals did not hold: stability 0.0" in bad.stdout


def test_the_commands_of_the_example_workflow_have_these_options() -> None:
    workflow = (EXAMPLE / "persona.yml").read_text(encoding="utf-8")
    (measure,) = re.findall(r"MEASURE: (.*)", workflow)
    lines = re.findall(r"(?:run: | {10})holdfast (.*)", workflow.replace("$MEASURE", measure))
    assert [line.split()[0] for line in lines] == ["models", "drift", "drift", "gate"]
    commands: Any = typer.main.get_command(app)
    for line in lines:
        name, *words = shlex.split(line)
        options = {
            flag
            for one in commands.commands[name].params
            for flag in (*one.opts, *one.secondary_opts)
        }
        assert {word for word in words if word.startswith("--")} <= options
