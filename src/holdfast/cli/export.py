"""`holdfast export`: a run in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.core.errors import HoldfastError
from holdfast.core.extras import extra_of, install


def export(
    run: Annotated[Path, typer.Argument(help="A folder of drift or compare.")],
    inspect: Annotated[
        Path, typer.Option(help="The log to write, for `inspect view`: OUT.eval or OUT.json.")
    ],
) -> None:
    """Write a run's conversations and scores as a log of Inspect."""
    try:
        from holdfast.evals.inspect.export import export
    except ModuleNotFoundError as missing:
        if extra_of(missing) != "inspect":
            raise
        raise HoldfastError(
            f"a log of Inspect needs inspect-ai: {install('inspect')}."
        ) from missing
    print(export(run, inspect))
