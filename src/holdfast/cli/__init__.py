"""The command line: what all commands share, which is how they end.

    0    done
    2    the user's mistake, said in one sentence on standard error
    130  interrupted
    1, 3 of `holdfast gate`, whose 2 is a verdict (`cli.gate`)
    141  the reader of standard output went away (128 + SIGPIPE, as a shell reports it)

Anything else is a bug of ours and shows its traceback. Commands live in modules
of their own and import torch, if they need it, only once they run.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from holdfast.cli import (
    compare,
    drift,
    effect,
    explain,
    export,
    fidelity,
    gate,
    models,
    permix,
    personas,
    prism,
    robustness,
    serve,
    train,
    watch,
)
from holdfast.core.errors import HoldfastError
from holdfast.core.extras import extra_of, install
from holdfast.core.folder import FULL
from holdfast.core.version import __version__

app = typer.Typer(
    name="holdfast",
    help="Measure how long a language model keeps a persona, and hold it.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(personas.app, name="personas")
app.add_typer(models.app, name="models")
app.add_typer(prism.app, name="prism")
app.add_typer(permix.app, name="permix")
app.command()(drift.drift)
app.command()(compare.compare)
app.command()(explain.explain)
app.command()(effect.effect)
app.command()(serve.serve)
app.command()(watch.watch)
app.command()(robustness.robustness)
app.command()(fidelity.fidelity)
app.command()(gate.gate)
app.command()(export.export)
app.command()(train.train)

# What the machine refuses and the user can mend. Other OSErrors are bugs and keep their traceback.
_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_VERDICT = 3
"""The gate's 0, 1 and 2 are verdicts, and Python's own code of a bug is 1."""


def _version(show: bool) -> None:
    if show:
        print(f"holdfast {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command that `args` (the process's own by default) name, and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Replies may hold what the terminal's encoding does not.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(sys.argv[1:] if args is None else list(args))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes standard output once more on its way out: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)


def _run(args: list[str]) -> int:
    """The exit code of a command; the gate's is 3 even where a bug of ours ends it."""
    if args[:1] != ["gate"]:
        return _end(args, 2)
    try:
        return _end(args, _NO_VERDICT)
    except BrokenPipeError:
        raise
    except Exception:
        traceback.print_exc()
        return _NO_VERDICT


def _end(args: list[str], mistake: int) -> int:
    """Run a command; `mistake` is the code of the user's mistakes."""
    command = typer.main.get_command(app)
    try:
        # The two halves of typer's own main, which would swallow what an interrupt has to say.
        with command.make_context("holdfast", args or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as exit:
        return exit.exit_code
    except typer.TyperException as error:
        if error.format_message().startswith("Usage: "):  # a group without its command
            print(error.format_message())
            return 0
        return _refuse(_usage(error), mistake)
    except HoldfastError as error:
        return _refuse(_name_options(str(error), command, args), mistake)
    except ModuleNotFoundError as missing:
        if (extra := extra_of(missing)) is None:
            raise
        return _refuse(f"this needs {missing.name}: {install(extra)}.", mistake)
    except KeyboardInterrupt as interrupt:
        print(
            f"holdfast: {interrupt.args[0] if interrupt.args else 'interrupted'}", file=sys.stderr
        )
        return 130
    except OSError as error:
        if error.errno not in FULL | _REFUSALS:
            raise
        return _refuse(_sentence(error), mistake)
    return 0


def _name_options(sentence: str, command: Any, args: Sequence[str]) -> str:
    """The library's sentence with the command's options for settings, which it has in backticks.

    The gate's sentences have those of drift, too, whose runs it compares.
    """
    params = [*command.commands["drift"].params] if args[:1] == ["gate"] else []
    for word in args:
        command = getattr(command, "commands", {}).get(word, command)
    params += command.params
    options = {one.name: one.opts[0] for one in params if one.opts[0].startswith("--")}
    return re.sub(r"`(\w+)`", lambda name: options.get(name[1], name[0]), sentence)


def _refuse(sentence: str, code: int) -> int:
    print(f"holdfast: {sentence}", file=sys.stderr)
    return code


def _usage(error: typer.TyperException) -> str:
    """Typer's sentence, and where to read on."""
    context = getattr(error, "ctx", None)
    hint = f" See `{context.command_path} --help`." if context else ""
    sentence = error.format_message()
    return (sentence if sentence.endswith(("?", ".")) else sentence + ".") + hint


def _sentence(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in FULL:
        return (
            f"the disk is full{where}: free some space and run the same command again, "
            "what was recorded is kept."
        )
    return f"{os.strerror(error.errno or 0)}{where}: choose a place that can be read and written."
