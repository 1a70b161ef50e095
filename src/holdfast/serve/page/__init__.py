"""The live page: talk to the persona with the control on and off, from the same history.

The page, its style and its script are served as they are. The script asks `/holdfast` for the
model, the persona and the controls. The content security policy lets the page load and call
nothing but this server, and the script shows replies as text only.

This module knows files and routes. The script keeps the conversations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from holdfast.persona.suite import Persona

FOLDER = Path(__file__).parent
# The controls that the page offers; any other text may be typed.
CONTROLS = (
    "anchor",
    "split-softmax:0.7",
    "boost:4",
    "spotlight:0.2",
    "restore:1",
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
    """Add the page at `/`, and `/holdfast` for its script.

    Args:
        app: the application.
        model: the model's name.
        note: what a reader must know about the model; may be empty.
        persona: the pinned persona.
        control: the default control, as text.
        locked: True if requests need a key.
    """
    for path, (name, kind) in _FILES.items():
        app.add_api_route(path, _file_route(name, kind), include_in_schema=False)
    about = {
        "model": model,
        "note": note,
        "persona": _public_fields(persona) if persona else None,
        "control": control,
        "controls": list(dict.fromkeys([control, *CONTROLS])),
        "locked": locked,
    }

    @app.get("/holdfast", tags=["server"], summary="What the page at / talks to")
    async def page_settings() -> dict[str, Any]:
        return about


def _public_fields(persona: Persona) -> dict[str, Any]:
    return {
        "id": persona.id,
        "category": persona.category,
        "prompt": persona.prompt,
        "probes": persona.probes,
        "judge": persona.judge,
        "judged": not persona.needs_model,
    }


def _file_route(name: str, kind: str) -> Any:
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
