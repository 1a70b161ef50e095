"""Measure how long a language model keeps a persona.

Three lines do what the command line does:

    import holdfast

    result = holdfast.drift(holdfast.load("mini"), pairs=24, rounds=8)

Names below are imported when they are first used, so that `import holdfast` (and
`holdfast --help`) loads neither torch nor transformers.
"""

from __future__ import annotations

__version__ = "0.1.0"
