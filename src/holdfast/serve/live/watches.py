"""The watches of a server: one over its own persona's traffic, and one over each alias's.

An alias that is read anew with another persona or control is watched anew.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from fastapi import FastAPI

from holdfast.core.control import Control
from holdfast.persona.suite import Persona
from holdfast.serve.live.traffic import Figures, LiveSettings, LiveTraffic
from holdfast.serve.metrics import Metrics
from holdfast.serve.tenants.config import Alias
from holdfast.serve.tenants.live import LiveTenants

LOG = logging.getLogger("holdfast.serve")
PATIENCE = 3.0  # seconds that judges and the webhook may still take when the server stops


class Watches:
    """All watches of a server.

    Args:
        persona: the server's own.
        control: of requests that name none.
        metrics: where replies are counted.
        settings: how traffic is watched.
        tenants: aliases, whose personas are watched too.
    """

    def __init__(
        self,
        persona: Persona | None,
        control: Control,
        metrics: Metrics,
        settings: LiveSettings | None,
        tenants: LiveTenants,
    ) -> None:
        self._control, self._tenants = control, tenants
        self._settings, self._figures = settings or LiveSettings(), Figures(metrics)
        self._lock = threading.Lock()
        self._aliases: dict[str, LiveTraffic] = {}
        self.own = self._watch(persona, control, "") if persona else None
        for alias in tenants.current.aliases.values():
            self.of(alias)

    def of(self, alias: Alias | None) -> LiveTraffic | None:
        """The watch over an alias, or over the server's own persona; None without a persona."""
        if alias is None:
            return self.own
        if alias.persona is None:
            return None
        control = alias.control or self._control
        with self._lock:
            watch = self._aliases.get(alias.name)
            if watch is None or (watch.persona, watch.control) != (alias.persona, control):
                watch = self._aliases[alias.name] = self._watch(alias.persona, control, alias.name)
            return watch

    def over(self, persona: Persona | None) -> LiveTraffic | None:
        """The watch over a persona that a request is under; None for one that is nobody's."""
        if self.own is not None and persona is self.own.persona:
            return self.own
        aliases = self._tenants.current.aliases.values()
        alias = next((one for one in aliases if one.persona is persona), None)
        return None if persona is None or alias is None else self.of(alias)

    def state(self) -> dict[str, Any] | None:
        """Where the watch over the server's own persona stands, and with it those of `aliases`.

        Without a persona of its own the first alias's comes first; None where no persona is.
        """
        aliases = self._tenants.current.aliases
        watches = {name: self.of(alias) for name, alias in aliases.items()}
        states = [
            {**watch.state(), "alias": name}
            for name, watch in [("", self.own), *watches.items()]
            if watch is not None
        ]
        return {**states[0], "aliases": states[1:]} if states else None

    def stop(self) -> None:
        """Finish what is done in the background and send what OpenTelemetry keeps, in seconds."""
        thread = threading.Thread(target=self._wait, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if thread.is_alive():
            LOG.warning("the server stops before all replies were watched and all alarms posted")
        self._figures.telemetry.flush()

    def _wait(self) -> None:
        for watch in (self.own, *self._aliases.values()):
            if watch is not None:
                watch.wait()

    def _watch(self, persona: Persona, control: Control, alias: str) -> LiveTraffic:
        return LiveTraffic(persona, control, self._figures, self._settings, alias)


def add_traffic(app: FastAPI, watches: Watches) -> None:
    """Add `/holdfast/traffic`: where the watches stand, or null where no persona is pinned."""

    @app.get("/holdfast/traffic", tags=["server"], summary="Whether the persona holds in traffic")
    async def traffic() -> dict[str, Any] | None:
        return watches.state()
