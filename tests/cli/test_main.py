"""How the command line begins (without torch) and how it ends (exit codes and sentences)."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated

import pytest
import typer

import holdfast
from commands import one_sentence, run_command
from holdfast import cli
from holdfast.core.errors import RunError


@pytest.fixture
def ending(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[BaseException], tuple[object, str]]:
    """Runs a command that raises the given exception; gives the exit code and standard error."""

    def end(exception: BaseException) -> tuple[object, str]:
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.command()
        def fail(_: str) -> None:
            raise exception

        monkeypatch.setattr(cli, "app", app)
        with pytest.raises(SystemExit) as exit:
            cli.main(["now"])
        return exit.value.code, capsys.readouterr().err

    return end


def test_a_sentence_of_the_library_names_the_options_of_the_command_that_was_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app, group = typer.Typer(pretty_exceptions_enable=False), typer.Typer()

    @group.command()
    def choose(
        log: str, agents: Annotated[str, typer.Option("--agent")] = "", max_new_tokens: int = 1
    ) -> None:
        raise RunError("raise `max_new_tokens` or `rounds`, or choose `agents` for `log`.")

    group.command("other")(lambda: None)
    app.add_typer(group, name="group")
    app.command("alone")(lambda: None)
    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit):
        cli.main(["group", "choose", "group"])
    sentence = "raise --max-new-tokens or `rounds`, or choose --agent for `log`."
    assert capsys.readouterr().err == f"holdfast: {sentence}\n"


@pytest.mark.parametrize(
    "args", [["--control", "measure"], ["--dtype", "seed"], ["--control", "anchor@batch"]]
)
def test_a_value_that_is_named_as_a_setting_stays_what_was_written(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run_command("drift", "--model", "mini", *args)
    sentence = one_sentence(capsys)
    assert f"'{args[1].rpartition('@')[2]}'" in sentence and "--" not in sentence


def test_the_gate_names_the_options_of_the_runs_that_it_compares() -> None:
    sentence = cli._name_options(
        "choose `agents`, a `margin` or a `judge_model`.",
        typer.main.get_command(cli.app),
        ["gate", "--baseline", "runs"],
    )
    assert sentence == "choose --agent, a --margin or a --judge-model."


def test_help_imports_neither_torch_nor_transformers() -> None:
    code = """
import sys
from holdfast.cli import main
for args in ["--help"], ["drift", "--help"], ["personas", "--help"]:
    try:
        main(args)
    except SystemExit as exit:
        assert exit.code == 0, exit.code
    print("loaded:", sorted({"torch", "transformers", "datasets"} & sys.modules.keys()))
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("Usage: holdfast") == 3
    assert process.stdout.count("\nloaded: []\n") == 3


def test_the_version_is_the_packages() -> None:
    command = [sys.executable, "-m", "holdfast", "--version"]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stdout == f"holdfast {holdfast.__version__}\n"


@pytest.mark.parametrize("group", [[], ["personas"], ["prism"]])
def test_without_a_command_it_shows_the_help(
    group: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(*group) == 0
    output = capsys.readouterr().out
    run_command(*group, "--help")
    assert output.strip() == capsys.readouterr().out.strip()
    assert "Commands:" in output


@pytest.mark.parametrize("args", [["nonsense"], ["drift", "--pairs"], ["personas", "show"]])
def test_a_usage_error_is_one_sentence_and_exit_code_2(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(*args) == 2
    assert one_sentence(capsys).startswith("holdfast: ")


def test_a_usage_error_says_where_to_read_on(capsys: pytest.CaptureFixture[str]) -> None:
    run_command("drift", "--nonsense")
    assert "See `holdfast drift --help`." in one_sentence(capsys)


def test_a_misspelt_command_gets_a_suggestion_that_ends_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_command("comparr")
    assert "Did you mean 'compare'? See `holdfast --help`." in one_sentence(capsys)


def test_a_users_mistake_is_its_sentence_and_exit_code_2(ending: Callable[..., object]) -> None:
    assert ending(RunError("that folder is another run's.")) == (
        2,
        "holdfast: that folder is another run's.\n",
    )


def test_an_interrupt_prints_the_line_that_resumes(ending: Callable[..., object]) -> None:
    assert ending(KeyboardInterrupt("go on with holdfast drift --out run")) == (
        130,
        "holdfast: go on with holdfast drift --out run\n",
    )


def test_an_interrupt_that_says_nothing_is_named(ending: Callable[..., object]) -> None:
    assert ending(KeyboardInterrupt()) == (130, "holdfast: interrupted\n")


def test_a_command_may_choose_its_exit_code(ending: Callable[..., object]) -> None:
    assert ending(typer.Exit(130)) == (130, "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_what_to_do(
    ending: Callable[[BaseException], tuple[object, str]], number: int
) -> None:
    code, message = ending(OSError(number, "full", "/run/records.jsonl"))
    assert code == 2
    assert "the disk is full (/run/records.jsonl): free some space" in message
    assert message.count("\n") == 1


def test_a_forbidden_place_is_named(
    ending: Callable[[BaseException], tuple[object, str]],
) -> None:
    code, message = ending(PermissionError(errno.EACCES, "no", "/root/run"))
    assert code == 2
    assert message.startswith("holdfast: Permission denied (/root/run): ")


@pytest.mark.parametrize("bug", [ZeroDivisionError(), OSError(errno.EBADF, "bad file")])
def test_a_bug_keeps_its_traceback(ending: Callable[..., object], bug: Exception) -> None:
    with pytest.raises(type(bug)):
        ending(bug)


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    code = """
import typer
from holdfast import cli

cli.app = typer.Typer()

@cli.app.command()
def talk(_: str):
    while True:
        print("still talking")

cli.main(["now"])
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as talking:
        assert talking.stdout and talking.stderr
        talking.stdout.readline()
        talking.stdout.close()
        assert talking.stderr.read() == b""
    assert talking.returncode == 141


def test_a_character_the_terminal_lacks_is_escaped() -> None:
    code = """
import typer
from holdfast import cli

cli.app = typer.Typer()

@cli.app.command()
def say(_: str):
    print("π")

cli.main(["now"])
"""
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert process.stdout == b"\\u03c0\n"


def test_an_interrupt_while_the_commands_are_imported_is_no_traceback() -> None:
    code = """
import builtins

own = builtins.__import__

def interrupted(name, *rest):
    if name == "holdfast.cli":
        raise KeyboardInterrupt
    return own(name, *rest)

builtins.__import__ = interrupted
from holdfast.__main__ import main

main()
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (130, "holdfast: interrupted\n")
