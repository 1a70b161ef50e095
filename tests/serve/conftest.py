"""What the tests of servers run under: time, and replies that are watched in line.

The live page's tests open it in a browser.
"""

import httpx
import pytest

from browsing import browser, chromium
from holdfast.serve.live import traffic
from serve.running import DEADLINE

__all__ = ["browser", "chromium"]

# httpx gives up after five seconds where a call names no time: a busy machine may take longer.
_DEFAULTS = httpx.get.__kwdefaults__["timeout"]
_DEFAULTS.connect = _DEFAULTS.read = _DEFAULTS.write = _DEFAULTS.pool = DEADLINE


@pytest.fixture(autouse=True)
def watched_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no reply wait in the background because the one before was slow to judge here.

    A test that asks a server right after its replies would find the last one missing.
    """
    monkeypatch.setattr(traffic, "IN_LINE", 0.5)
