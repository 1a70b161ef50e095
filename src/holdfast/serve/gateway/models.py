"""The gateway's list of models: the API's own, and the aliases of the tenants' file.

A key of certain aliases sees these alone, for which the API is not asked. Without aliases, what the
API says passes byte for byte.

This module knows lists of models. It knows no chats.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import Request
from starlette.responses import Response

from holdfast.core.control import Control
from holdfast.serve.gateway.upstream import REPLY_BYTES, Proxy
from holdfast.serve.http_errors import RequestError, unknown_model
from holdfast.serve.json_body import Json, read_object
from holdfast.serve.limits import KEY_NAME
from holdfast.serve.protocol import model_card
from holdfast.serve.tenants.config import Alias
from holdfast.serve.tenants.live import LiveTenants

LIST = "models"
_ONE = "models/"


class ModelList:
    """Answers `GET /v1/models` and `GET /v1/models/NAME`.

    Args:
        proxy: asks the API.
        tenants: aliases, and which of them a key may use.
        control: of aliases that name none.
    """

    def __init__(self, proxy: Proxy, tenants: LiveTenants, control: Control) -> None:
        self._proxy, self._tenants, self._control = proxy, tenants, control
        self._created = int(time.time())

    async def answer(self, request: Request, path: str) -> Response | None:
        """Our own answer to a request, or None where the API's passes as it is.

        Args:
            request: the request, one that may pass.
            path: its path below `/v1/`.

        Raises:
            RequestError: the key may not see the model, or the API's list cannot be read.
        """
        key, aliases = request.scope[KEY_NAME], self._tenants.current.aliases
        is_restricted = self._tenants.is_restricted(key)
        cards = {name: self._card(aliases[name]) for name in self._tenants.visible(aliases, key)}
        if path == LIST and is_restricted:
            return Json({"object": "list", "data": list(cards.values())})
        if path == LIST and cards:
            return await self._join_cards(request, cards)
        name = path.removeprefix(_ONE)
        if name == path or (name not in cards and not is_restricted):
            return None
        if name not in cards:
            raise unknown_model(name)
        return Json(cards[name])

    async def _join_cards(self, request: Request, cards: dict[str, dict[str, Any]]) -> Response:
        """The API's list with our cards at its end; an error of the API's as it is."""
        answer = await self._proxy.send(request, LIST, b"")
        if answer.status_code != 200:
            return await self._proxy.pass_error_on(answer, {})
        whole = _read_list(await self._proxy.read(answer, REPLY_BYTES) or b"")
        if whole is None:
            raise self._proxy.unusable_error("sent no list of models that can be read")
        others = [one for one in whole["data"] if str(one.get("id")) not in cards]
        # A list in pages, as Anthropic's, has the aliases on its last one.
        last = not whole.get("has_more")
        return Json({**whole, "data": [*others, *(cards.values() if last else ())]})

    def _card(self, alias: Alias) -> dict[str, Any]:
        control = alias.control or self._control
        return model_card(alias.name, self._created, control, alias.persona)


def _read_list(content: bytes) -> dict[str, Any] | None:
    """A list of models, or None if it is none."""
    try:
        whole = read_object(content)
    except RequestError:
        return None
    models = whole.get("data")
    fits = isinstance(models, list) and all(isinstance(one, dict) for one in models)
    return whole if fits else None
