"""The live page: talk to the persona, with the control on and off from the same history.

Three files, a page, its style and its script, served as they are; `/holdfast` tells the script
what it talks to. The page may load and call nothing but this server (its content security
policy), and sets what models say as text only.

This module knows files and routes. Conversations are the script's, completions the server's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from holdfast.persona.suite import Persona

FOLDER = Path(__file__).parent
# What the page offers; any other text may be typed.
CONTROLS = (
    "anchor",
    "split-softmax:0.7",
    "boost:4",
    "spotlight:0.2",
    "guidance:1.5",
    "reminder:1",
    "window:3",
    "anchor+split-softmax:0.7",
    "none",
)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
}


def add_page(
    app: FastAPI, *, model: str, note: str, persona: Persona | None, control: str, locked: bool
) -> None:
    """Put the page at `/`; `locked` says that requests need a key."""
    for path, (name, kind) in _FILES.items():
        app.add_api_route(path, _sender(name, kind), include_in_schema=False)
    about = {
        "model": model,
        "note": note,
        "persona": _told(persona) if persona else None,
        "control": control,
        "controls": list(dict.fromkeys([control, *CONTROLS])),
        "locked": locked,
    }

    @app.get("/holdfast", tags=["server"], summary="What the page at / talks to")
    async def told() -> dict[str, Any]:
        return about


def _told(persona: Persona) -> dict[str, Any]:
    return {
        "id": persona.id,
        "category": persona.category,
        "prompt": persona.prompt,
        "probes": persona.probes,
        "judge": persona.judge,
        "judged": not persona.needs_model,
    }


def _sender(name: str, kind: str) -> Any:
    content = (FOLDER / name).read_bytes()
    headers = {
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }

    async def send() -> Response:
        return Response(content, media_type=kind, headers=headers)

    return send
