"""`holdfast` and `python -m holdfast`: the command line, which may be interrupted on its way in."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Import the commands, which takes a moment, and run one."""
    if not sys.stderr.isatty():
        # Libraries' bars are for terminals: in a log each step is another piece of a line.
        os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        from holdfast.cli import main as run
    except KeyboardInterrupt:
        print("holdfast: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
