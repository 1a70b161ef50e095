"""A real browser that opens a run's page and fails the test for what the page asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsing import browser, chromium
from holdfast.report.compare.page import render

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


@cache
def page_of(source: str) -> str:
    """The page of a run, from the JSON of its summary and conversations; of each run once."""
    summary, talks = json.loads(source)
    if "rows" in summary:
        return render(compared.read_summary(summary), compared.read_talks(talks))
    return sample.render(summary, talks)


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a run's page; whatever it logs or asks for beyond itself fails the test."""
    contexts, pages = [], []

    def open_run(
        source: tuple[dict[str, Any], list[Any]] | str, width: int = 1280, at: str = "", **more: Any
    ) -> OpenPage:
        path = tmp_path / "report.html"
        text = source if isinstance(source, str) else page_of(json.dumps(source))
        path.write_text(text, encoding="utf-8", errors="replace")
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
