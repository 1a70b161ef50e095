"""`holdfast personas`: lists and checks on standard output, mistakes in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from holdfast.cli.personas import app
from holdfast.core.errors import HoldfastError, PersonaError

GOOD = """
starters = ["Hi!"]
[[persona]]
id = "captain"
category = "pattern"
prompt = "Speak in [bold]capitals[/bold]."
probes = ["Who are you?"]
judge = { name = "case", to = "upper" }
passes = ["AYE!"]
fails = ["Aye.\\nNo?"]
[[persona]]
id = "owl"
category = "memory"
prompt = "Your word is moss."
probes = ["Your word?"]
judge = { name = "contains", text = "moss" }
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_list_shows_every_persona_as_written(mine: Path) -> None:
    result = run("list", "--suite", mine)
    assert result.exit_code == 0
    assert "captain" in result.stdout and "[bold]capitals[/bold]" in result.stdout
    assert "2 personas: pattern 1, memory 1" in result.stdout


def test_list_filters_by_category_and_prints_json(mine: Path) -> None:
    result = run("list", "--suite", mine, "--category", "memory", "--json")
    (owl,) = json.loads(result.stdout)
    assert owl == {
        "id": "owl",
        "category": "memory",
        "prompt": "Your word is moss.",
        "probes": ["Your word?"],
        "judge": {"name": "contains", "text": "moss"},
        "passes": [],
        "fails": [],
    }


def test_an_unknown_category_says_which_there_are(mine: Path) -> None:
    result = run("list", "--suite", mine, "--category", "memori")
    assert isinstance(result.exception, PersonaError)
    assert "it has pattern, memory" in str(result.exception)


def test_show_prints_prompt_probes_judge_and_examples(mine: Path) -> None:
    result = run("show", "captain", "--suite", mine)
    for piece in ("Speak in [bold]", "Who are you?", '"to": "upper"', "AYE!", "  - Aye.\n    No?"):
        assert piece in result.stdout
    assert json.loads(run("show", "owl", "--suite", mine, "--json").stdout)["id"] == "owl"


def test_show_suggests_the_id_that_was_meant(mine: Path) -> None:
    result = run("show", "captan", "--suite", mine)
    assert isinstance(result.exception, HoldfastError)
    assert "did you mean captain?" in str(result.exception)


def test_check_says_how_many_examples_are_right(mine: Path) -> None:
    result = run("check", mine)
    assert result.exit_code == 0
    assert "2 examples of 2 personas are scored as they should be" in result.stdout
    assert "Without passes or fails to check: owl." in result.stdout


def test_check_lists_what_is_wrong_and_exits_with_2(mine: Path) -> None:
    mine.write_text(GOOD.replace('passes = ["AYE!"]', 'passes = ["AYE!", "aye\\nme"]'))
    result = run("check", mine)
    assert result.exit_code == 2
    assert 'captain: scores 0.00 but should pass: "aye me" (0% of letters' in result.stdout
    assert "1 of 3 examples" in result.stdout


def test_check_says_what_only_a_model_can_judge(mine: Path) -> None:
    mine.write_text(GOOD.replace('{ name = "contains", text = "moss" }',
                                 '{ name = "rubric", criteria = "It is mossy." }'))  # fmt: skip
    result = run("check", mine)
    assert result.exit_code == 0
    assert "Judged by a model, so not checked here: owl." in result.stdout


def test_check_of_a_broken_file_is_a_persona_error(mine: Path) -> None:
    mine.write_text("[[persona]\n")
    assert isinstance(run("check", mine).exception, PersonaError)


def test_the_built_in_suite_is_listed_without_options() -> None:
    result = run("list", "--json")
    assert result.exit_code == 0 and len(json.loads(result.stdout)) > 10
