"""The date in chat templates that write one, so that midnight changes no rendering.

This module knows the text of templates.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from typing import Any

from holdfast.core.errors import ModelError

_CLOCK = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
TODAY = "HOLDFAST_TODAY"  # the environment's date for templates that write one


def with_date(source: Any, today: str | None) -> tuple[str | None, str | None]:
    """Write the date into a template that asks for it.

    Returns the new template and the date, or None and None for a template without one.
    """
    if not isinstance(source, str) or not _CLOCK.search(source):
        return None, None
    text = today or os.environ.get(TODAY)
    try:
        date = datetime.fromisoformat(text) if text else datetime.now()
    except ValueError as error:
        raise ModelError(f"{TODAY} must be a date as in 2026-11-28, not {text!r}.") from error
    result = _CLOCK.sub(lambda call: repr(date.strftime(call[2])), source)
    return result, date.date().isoformat()
