"""A browser for the tests that open pages: import both fixtures in the folder's conftest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium. Without one the test is skipped, and fails under CI."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    reason = f"there is no browser: install one of {', '.join(BROWSERS)}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                 "--disable-component-update", "--no-first-run"]  # fmt: skip
    api = pytest.importorskip("playwright.sync_api")
    api.expect.set_options(timeout=30_000)  # a busy machine is slow to paint, and no worse
    with api.sync_playwright() as play:
        instance = play.chromium.launch(executable_path=chromium, args=arguments)
        yield instance
        instance.close()
