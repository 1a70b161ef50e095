"""The live page's tests open it in a browser."""

from browsing import browser, chromium

__all__ = ["browser", "chromium"]
