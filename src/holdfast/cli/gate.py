"""`holdfast gate`: does a candidate hold what the baseline held?

0    holds
1    slips
2    cannot tell
3    no verdict: a mistake that one sentence explains, or a bug
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.errors import RunError
from holdfast.evals.gate.gate import GateSettings, exit_code
from holdfast.evals.gate.gate import gate as compare_runs
from holdfast.report.gate import junit as as_junit
from holdfast.report.gate import lines, markdown


@flatten_options
def gate(
    baseline: Annotated[Path, typer.Option(help="Folder of a drift run before the change.")],
    candidate: Annotated[Path, typer.Option(help="Folder of one after it.")],
    settings: GateSettings,
    junit: Annotated[Path | None, typer.Option(help="Write the verdict as JUnit's XML.")] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Append it as Markdown, as to $GITHUB_STEP_SUMMARY.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare two drift runs: exit code 0 holds, 1 slips, 2 cannot tell, 3 no verdict."""
    outcome = compare_runs(baseline, candidate, settings)
    if junit is not None:
        _write(junit, as_junit(outcome), "w")
    if summary is not None:
        _write(summary, markdown(outcome), "a")
    session.print_result(outcome, lines(outcome), as_json)
    raise typer.Exit(exit_code(outcome.decision.verdict))


def _write(path: Path, text: str, mode: str) -> None:
    try:
        with path.open(mode, encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise RunError(
            f"{path} could not be written ({error.strerror}): choose another."
        ) from error
