"""A real browser that opens a run's page and fails the test for what the page asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsing import browser, chromium
from holdfast.report import write_compare

from .compare import compared
from .drift import sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser", "chromium"]

WATCH = """
document.addEventListener("securitypolicyviolation", (event) => {
  window.refused = (window.refused || []).concat(event.violatedDirective);
});
"""


@dataclass
class OpenPage:
    """A page in the browser, with what it complained of and what it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Open = Callable[..., OpenPage]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a run's page; whatever it logs or asks for beyond itself fails the test."""
    contexts, pages = [], []

    def open_run(
        source: tuple[dict[str, Any], list[Any]] | str, width: int = 1280, at: str = "", **more: Any
    ) -> OpenPage:
        path = tmp_path / "report.html"
        if isinstance(source, str):
            path.write_text(source, encoding="utf-8")
        else:
            if "rows" in source[0]:
                write_compare(
                    compared.read_summary(source[0]), compared.read_talks(source[1]), path
                )
            else:
                sample.write(*source, path)
        context = browser.new_context(viewport={"width": width, "height": 900}, **more)
        contexts.append(context)
        one = OpenPage(context.new_page())
        one.page.add_init_script(WATCH)
        one.page.on("console", lambda message: one.complaints.append(message.text))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.goto(path.as_uri() + at)
        pages.append((one, path.as_uri()))
        return one

    yield open_run
    for one, address in pages:
        assert one.requests == [address]
    for context in contexts:
        context.close()
