"""Options that say how a model is loaded reach the loader as values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import holdfast
from commands import one_sentence, run_command
from holdfast.cli import app
from holdfast.cli.options import LocalOptions, ModelOptions
from holdfast.cli.session import own_command
from holdfast.core.errors import HoldfastError, ModelError
from holdfast.core.settings import settle
from holdfast.evals.compare.settings import CompareSettings
from holdfast.models import load as models

SOURCE = Path(holdfast.__file__).parent


def test_base_and_template_options_reach_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(models, "load", lambda name, **options: calls.append(options))
    LocalOptions(base="mini", template_option=("enable_thinking=false",)).open("adapter")
    ModelOptions().open("mini")
    assert calls[0]["base"] == "mini" and calls[0]["options"] == {"enable_thinking": False}
    assert set(calls[1]) == {"dtype", "device"}
    ModelOptions(template_option=("enable_thinking=false",)).open("api:some")
    assert calls[2]["template_options"] == {"enable_thinking": False}


def leaves(command: Any, name: str = "holdfast") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its whole name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from leaves(inner, f"{name} {word}")


def test_every_command_that_loads_a_model_takes_a_base_and_template_options() -> None:
    loading = {}
    for name, command in leaves(typer.main.get_command(app)):
        options = {one.name for one in command.params}
        if options & {"model", "dtype", "judge_model"}:
            # An export names a model and loads none.
            where = set() if name == "holdfast permix export" else {"dtype", "device"}
            loading[name] = {"base", "template_option", *where} <= options
    assert len(loading) > 10 and all(loading.values()), loading


def test_the_help_of_an_option_names_what_it_sets() -> None:
    helps = [
        (name, one.opts[0], one.help)
        for name, command in leaves(typer.main.get_command(app))
        for one in command.params
        if getattr(one, "help", None)
    ]
    assert helps
    fragments = ("Of ", "So many", "At most so many")
    assert [one for one in helps if one[2].startswith(fragments)] == []


def test_every_command_that_trains_takes_plan() -> None:
    commands = dict(leaves(typer.main.get_command(app)))
    trainings = ("train", "permix train", "prism train", "prism eval")
    for command in (commands[f"holdfast {name}"] for name in trainings):
        assert "plan" in {one.name for one in command.params}


def test_a_training_loads_an_adapter_onto_the_base_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def load(name: str, **options: Any) -> None:
        calls.append(options)
        raise ModelError("as far as this goes")

    monkeypatch.setattr("holdfast.models.local.load.load", load)
    run_command("permix", "train", "--model", "mini", "--base", "other", "--out", tmp_path)
    assert calls[0]["base"] == "other"


def test_a_model_whose_template_lacks_an_option_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = SimpleNamespace(chat_template="{{ messages }}{{ enable_thinking }}")
    backend = SimpleNamespace(tokenizer=tokenizer, format_line="")
    monkeypatch.setattr(models, "load", lambda name, **options: backend)
    LocalOptions(template_option=("enable_thinking=false", "thinkin=1")).open("some")
    assert (
        capsys.readouterr().err == "some: the chat template has no thinkin, which is left out\n\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["drift", "--control", "ancor"],
        ["drift", "--rounds", "0"],
        ["drift", "--suite", "nowhere"],
        ["drift", "--persona", "nowhere.toml"],
        ["compare", "--controls", "none,ancor"],
        ["compare", "--rounds", "0"],
        ["compare", "--scoring", "guess"],
        ["explain", "--controls", "window"],
        ["explain", "--pairs", "0"],
    ],
)
def test_what_cannot_be_run_is_refused_before_a_model_is_loaded(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "load", lambda name, **options: pytest.fail("a model was loaded"))
    assert run_command(*arguments, "--model", "mini") == 2
    assert one_sentence(capsys)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["drift", "--price", "nan", "1"], "--price is a finite number, not nan."),
        (["drift", "--temperature", "inf"], "--temperature is a finite number, not inf."),
        (["permix", "train", "--vllm-memory", "nan"], "--vllm-memory is a finite number, not nan."),
        (["permix", "train", "--beta", "nan"], "--beta is a finite number, not nan."),
        (
            ["serve", "--upstream", "http://127.0.0.1:9", "--upstream-timeout", "inf"],
            "--upstream-timeout is a finite number, not inf.",
        ),
    ],
)
def test_an_option_is_a_finite_number(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(*arguments) == 2
    assert one_sentence(capsys) == f"holdfast: {sentence}"


LOADING = [("--dtype", "float32"), ("--device", "cpu"), ("--base", "mini")]
API = [("--base-url", "http://127.0.0.1:9"), ("--api-key", "x"), ("--concurrency", "2")]
API_MODEL, HERE = ["--model", "api:x"], ["--model", "mini"]
UNREAD = [
    *((["drift", *API_MODEL], *option) for option in LOADING),
    *((["drift", *HERE], *option) for option in [*API, ("--context", "9")]),
    *((["drift", "--history", "log.jsonl"], *option) for option in [*LOADING, *API]),
    (["drift", "--model", "ollama:x"], "--base", "mini"),
    (["drift", "--model", "vllm:x"], "--base", "mini"),
    (["compare", *API_MODEL, "--judge-model", "api:y"], "--dtype", "float32"),
    (["compare", *HERE], "--context", "9"),
    (["effect", *API_MODEL, "--model", "lmstudio:y"], "--device", "cpu"),
    (["effect"], "--base-url", "http://127.0.0.1:9"),
    (["robustness", *API_MODEL], "--dtype", "float32"),
    (["fidelity", *API_MODEL], "--dtype", "float32"),
    (["fidelity", "--calibrate", "x.csv", "--judge-model", "api:y"], "--dtype", "float32"),
    (["prism", "train", *HERE], "--base-url", "http://127.0.0.1:9"),
    (["prism", "eval", *HERE, "--adapter", "x"], "--concurrency", "2"),
    (["personas", "consistency", "log.jsonl"], "--dtype", "float32"),
    (["personas", "draft", "Be kind."], "--template-option", "calm=true"),
    (["personas", "import", "card.json", "--out", "x"], "--base-url", "http://127.0.0.1:9"),
]


@pytest.mark.parametrize(("command", "option", "value"), UNREAD)
def test_an_option_that_no_model_of_a_command_reads_is_refused(
    command: list[str],
    option: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "card.json").write_text("{}")
    monkeypatch.setattr(models, "load", lambda name, **options: pytest.fail("a model was loaded"))
    assert run_command(*command, option, value) == 2
    assert one_sentence(capsys).startswith(f"holdfast: {option} is for models ")


def test_an_option_that_one_of_the_models_reads_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(models, "load", lambda name, **options: calls.update({name: options}))
    options = ModelOptions(dtype="float32", base="mini", base_url="http://127.0.0.1:9")
    options.require_use("mini", None, "api:judge", context=9)
    for name in ("mini", "api:judge", "ollama:judge"):
        options.open(name)
    assert calls["mini"] == {"dtype": "float32", "device": "auto", "base": "mini"}
    assert not {"dtype", "device", "base"} & calls["api:judge"].keys()
    assert "base" not in calls["ollama:judge"] and calls["ollama:judge"]["dtype"] == "float32"


def test_a_judge_behind_an_api_is_reached_beside_an_adapter_and_template_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(models, "load", lambda name, **options: calls.append(options))
    LocalOptions(base="mini", template_option=("calm=true",)).open("api:judge")
    assert calls == [{"template_options": {"calm": True}}]


def test_controls_are_a_list_or_their_text() -> None:
    assert CompareSettings(controls="none,anchor").controls == ("none", "anchor")
    with pytest.raises(HoldfastError, match="at least one control"):
        CompareSettings(controls=[])


def test_a_misspelt_setting_gets_the_nearest_name() -> None:
    with pytest.raises(TypeError, match="did you mean pairs"):
        settle(None, CompareSettings, {"pair": 3})


def test_a_command_is_kept_without_key_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "drift",
        "--base-url",
        "https://me:se@sesame@host/v1",
        "--api-key=sesame",
        "--out",
        "a@b",
    ]
    monkeypatch.setattr("sys.argv", ["holdfast", *arguments])
    command = own_command()
    assert "sesame" not in command and "@host/v1" in command and command.endswith("a@b")


def test_no_error_of_the_library_names_an_option_of_the_command_line() -> None:
    commands = dict(leaves(typer.main.get_command(app))).values()
    options = {flag for one in commands for param in one.params for flag in param.opts}
    for path in SOURCE.rglob("*.py"):
        # The server's refusals are read by clients, and its operator knows options alone.
        if path.relative_to(SOURCE).parts[0] in ("cli", "serve"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and "Error(" in (text := ast.unparse(node)):
                named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) & options
                assert not named, f"{path}, line {node.lineno}: {named}"
