"""The files of deploy/ fit the server."""

from __future__ import annotations

import re
from pathlib import Path

from holdfast.serve.access import OPEN

SITE = Path(__file__).parents[2] / "deploy" / "nginx.conf"
INSIDE = {"/health", "/ready"}  # are for those behind the proxy
CALLED = {"/holdfast", "/holdfast/score", "/holdfast/traffic", "/v1/chat/completions"}


def test_the_proxy_lets_the_pages_and_what_they_call_through() -> None:
    places = re.findall(r"location (=?) ?(/\S*) \{(?! return)", SITE.read_text())
    exact = {path for sign, path in places if sign}
    begins = tuple(path for sign, path in places if not sign)
    through = {path for path in OPEN | CALLED if path in exact or path.startswith(begins)}
    assert (OPEN | CALLED) - through == INSIDE
