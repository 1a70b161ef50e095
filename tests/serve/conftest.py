"""The live page's tests open it in a browser; replies are watched in line on a slow machine too."""

import pytest

from browsing import browser, chromium
from holdfast.serve.live import traffic

__all__ = ["browser", "chromium"]


@pytest.fixture(autouse=True)
def watched_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no reply wait in the background because the one before was slow to judge here.

    A test that asks a server right after its replies would find the last one missing.
    """
    monkeypatch.setattr(traffic, "IN_LINE", 0.5)
