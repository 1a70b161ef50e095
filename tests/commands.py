"""Commands, run in this process as a user runs them."""

from __future__ import annotations

import pytest

from holdfast.cli import main


def run_command(*args: object) -> int:
    """What `holdfast ARGS` ends with."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, args)])
    return int(end.value.code or 0)


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line that was printed, which is on standard error."""
    output = capsys.readouterr()
    assert output.out == "" and "Traceback" not in output.err
    (line,) = output.err.strip().splitlines()
    return line
