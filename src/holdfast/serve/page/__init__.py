"""The pages: two conversations side by side at `/`, and live traffic at `/live`.

At `/` the same messages go to two conversations, one with a control and one without.

Pages, style and scripts are served as they are. The script of `/` asks `/holdfast` for the
model, the persona and the controls, and `/holdfast/score` for the judge's score of a reply; that
of `/live` asks `/holdfast/traffic`. The content security policy lets the pages load and call
nothing but this server, and the scripts show replies as text only.

This module knows files, personas and routes. The script keeps the conversations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from holdfast.core.control import parse
from holdfast.core.errors import HoldfastError
from holdfast.models.notes import own_source
from holdfast.persona.suite import Persona, Suite, load_suite, select
from holdfast.serve.http_errors import RequestError
from holdfast.serve.json_body import read_object
from holdfast.serve.protocol import invalid_request

FOLDER = Path(__file__).parent
# The controls that the page offers, each with what it does; any other text may be typed.
CONTROLS: Mapping[str, str] = {
    "anchor": "Before every answer the model sees the persona again as if it had just been said.",
    "split-softmax:0.7": "While it writes, the model looks at the persona more than it would.",
    "boost:4": "The model's attention to the persona counts four times as much.",
    "spotlight:0.2": "Where the model looks little at the persona, under a fifth, it looks more.",
    "guidance:1.5": "Each word is moved away from what the model would say without a persona.",
    "reminder:1": "The persona is said again in front of every message.",
    "window:3": "The model sees the persona and the last three messages only.",
    "anchor+split-softmax:0.7": "The first and the second of these at once.",
    "anchor+restore:1": "As anchor; and the model's own replies give back the attention they took.",
    "none": "Nothing is done: the persona is said once, at the beginning.",
}
# Personas that show at a glance, for a server without one of its own.
_EXAMPLES = {"mini": "ending-1", "core": "stadium-announcer"}
_STARTERS = 24
# Rounds that the page plays by itself. mini is quick, and slips after ten or so.
_ROUNDS = {"mini": 18, "core": 6}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/dom.js": ("dom.js", "text/javascript; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/live": ("live.html", "text/html; charset=utf-8"),
    "/page/live.js": ("live.js", "text/javascript; charset=utf-8"),
}


@dataclass(frozen=True)
class PageSettings:
    """What the page shows."""

    model: str | None
    """The model's name; None where the API behind a gateway knows it."""
    persona: Persona | None
    """The pinned persona; without one the page proposes a persona."""
    control: str
    """The default control, as text."""
    note: str = ""
    """What a reader must know about the model; may be empty."""
    keyed: bool = False
    """True if requests need a key."""
    locked: bool = False
    """True if no request may choose another control."""
    weights: bool = True
    """True if the model is here, so that controls of its attention are possible."""
    starters: tuple[str, ...] = field(init=False)
    """Messages that a visitor can send with a click."""
    page_persona: Persona = field(init=False)
    """The pinned persona, or the proposed one."""

    def __post_init__(self) -> None:
        suite = _suite(self._own)
        persona = self.persona or select(suite, [_EXAMPLES[self._own]])[0]
        texts = (*persona.probes, *suite.starters)
        object.__setattr__(self, "page_persona", persona)
        object.__setattr__(self, "starters", tuple(dict.fromkeys(texts))[:_STARTERS])

    @property
    def _own(self) -> str:
        """The suite whose personas the model speaks; of an unknown one the general suite."""
        return own_source(self.model or "")

    def public(self) -> dict[str, Any]:
        """The same for the page's script."""
        names = dict.fromkeys([self.control, *CONTROLS])
        return {
            "model": self.model,
            "note": self.note,
            "persona": _public_fields(self.page_persona),
            "pinned": self.persona is not None,
            "control": self.control,
            "controls": [
                {"text": name, "meaning": CONTROLS.get(name, "")}
                for name in names
                if self.weights or not parse(name).needs_weights
            ],
            "keyed": self.keyed,
            "locked": self.locked,
            "weights": self.weights,
            "starters": self.starters,
            "rounds": _ROUNDS[self._own],
        }


class ScoreRequest(BaseModel):
    """A reply to be judged."""

    model_config = ConfigDict(strict=True, extra="forbid")

    reply: str = Field(max_length=100_000)


def add_page(app: FastAPI, settings: PageSettings) -> None:
    """Add the pages, and `/holdfast` and `/holdfast/score` for its script."""
    for path, (name, kind) in _FILES.items():
        app.add_api_route(path, _file_route(name, kind), include_in_schema=False)
    about = settings.public()
    persona = settings.page_persona
    own = persona.build_judge()

    @app.get("/holdfast", tags=["server"], summary="What the page at / shows")
    async def page_settings() -> dict[str, Any]:
        return about

    @app.post(
        "/holdfast/score",
        tags=["server"],
        summary="The persona's judge on a reply",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": ScoreRequest.model_json_schema()}},
            }
        },
    )
    async def score(request: Request) -> dict[str, float | None]:
        """A score from 0 to 1; null where only a model can judge."""
        try:
            reply = ScoreRequest.model_validate(read_object(await request.body())).reply
        except ValidationError as error:
            raise invalid_request(error.errors()) from error
        try:
            return {"score": (await asyncio.to_thread(own, reply)).value if own else None}
        except HoldfastError as error:
            raise RequestError(400, str(error), param="reply") from error


@lru_cache
def _suite(name: str) -> Suite:
    """A built-in suite, read once: several hundred judges are built for it."""
    return load_suite(name)


def _public_fields(persona: Persona) -> dict[str, Any]:
    return {
        "id": persona.id,
        "name": persona.name or persona.id,
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
