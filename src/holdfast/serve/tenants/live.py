"""The file of aliases, routes and keys as it is now: read again on SIGHUP and when it changes.

A file that is wrong leaves things as they are, and the log says why. This module knows files and
signals. It knows no HTTP.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from holdfast.core.control import Control
from holdfast.core.errors import HoldfastError, ServiceError
from holdfast.serve.access import Keys
from holdfast.serve.http_errors import RequestError
from holdfast.serve.tenants.config import Alias, KeyRule, Tenants, read_tenants
from holdfast.serve.tenants.quotas import Quotas

LOG = logging.getLogger("holdfast.serve")
LOOK = 2.0  # seconds between two looks at the file


class LiveTenants:
    """Aliases, routes and keys of a running server.

    Args:
        path: the file; None is a server without one.

    Raises:
        ServiceError: the file is wrong.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._check: Callable[[Alias], None] = _accept_alias
        self.quotas = Quotas()
        self.keys: Keys | None = None
        self._stop_event = threading.Event()
        self._stamp = _stamp(path)
        self.current = read_tenants(path) if path else Tenants()

    def serve(self, keys: Keys, check: Callable[[Alias], None]) -> None:
        """Give the server the keys, and check the aliases. Raises `HoldfastError`."""
        self._check = check
        for alias in self.current.aliases.values():
            check(alias)
        self.keys = keys
        keys.name({rule.digest: rule.name for rule in self.current.keys})

    def watch(self) -> None:
        """Begin to read the file again, on SIGHUP (in the main thread) and when it changes."""
        if self.path is None:
            return
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: self._reload_safely())
        threading.Thread(target=self._look, name="holdfast-tenants", daemon=True).start()

    def stop(self) -> None:
        """End the watching."""
        self._stop_event.set()

    def reload(self) -> bool:
        """Read the file again. False, and a line in the log, if it is wrong."""
        assert self.path is not None
        try:
            tenants = read_tenants(self.path)
            for alias in tenants.aliases.values():
                self._check(alias)
            if self.keys is not None and self.keys and not (tenants.keys or self.keys.own):
                raise ServiceError("it has no key any more, so that anybody could call this server")
        except HoldfastError as error:
            LOG.error("%s is not taken, and what was read before stays: %s", self.path, error)
            return False
        self.current = tenants
        if self.keys is not None:
            self.keys.name({rule.digest: rule.name for rule in tenants.keys})
        LOG.info(
            "%s is read: %d aliases, %d keys", self.path, len(tenants.aliases), len(tenants.keys)
        )
        return True

    def rule(self, name: str) -> KeyRule | None:
        """The rule of a key, by its name; None for a key without a name, which is not the file's.

        Raises:
            RequestError: the file had the key when its request came, and has it no more.
        """
        if not name:
            return None
        for rule in self.current.keys:
            if rule.name == name:
                return rule
        raise RequestError(401, f"the key {name} is gone: use another.", code="invalid_api_key")

    def is_restricted(self, key: str) -> bool:
        """Whether a key, by its name, may use certain aliases only."""
        rule = self.rule(key)
        return rule is not None and bool(rule.only)

    def pick(self, model: object, route: str | None, key: str) -> Alias | None:
        """The alias of a request; None is the server's own persona.

        Args:
            model: the model that the request names.
            route: the alias of its route.
            key: the name of its key; may be empty.

        Raises:
            RequestError: the key may not use it.
        """
        rule, aliases = self.rule(key), self.current.aliases
        names = (route, model if isinstance(model, str) else None, rule.alias if rule else None)
        name = next((one for one in names if one is not None and one in aliases), None)
        if rule and rule.only and name not in rule.only:
            raise _model_error(rule)
        return aliases[name] if name is not None else None

    def check_own_model(self, key: str) -> None:
        """Refuse a model of the client's own choice to a key of certain aliases.

        Raises:
            RequestError: the key is one.
        """
        if (rule := self.rule(key)) and rule.only:
            raise _model_error(rule)

    def visible(self, names: Iterable[str], key: str) -> list[str]:
        """Those of the models and aliases that a key may use."""
        rule = self.rule(key)
        return [one for one in names if not rule or not rule.only or one in rule.only]

    def judges(self, own: Control) -> bool:
        """True if requests that name no control are under one that judges the chat's replies.

        Args:
            own: the server's control.
        """
        controls = [own, *(one.control or own for one in self.current.aliases.values())]
        return any(one.auto is not None for one in controls)

    def _look(self) -> None:
        while not self._stop_event.wait(LOOK):
            stamp = _stamp(self.path)
            if stamp != self._stamp and stamp is not None:
                self._stamp = stamp
                self._reload_safely()

    def _reload_safely(self) -> None:
        """Read the file again whatever is in it: a bug ends neither the watching nor the server."""
        try:
            self.reload()
        except Exception:
            LOG.exception("%s could not be read", self.path)


def _model_error(rule: KeyRule) -> RequestError:
    """The error of a key that asks for another model than its own."""
    return RequestError(
        403,
        f"the key {rule.name} may use the models {', '.join(rule.only)} only.",
        code="model_not_allowed",
        param="model",
    )


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What changes with a file."""
    try:
        about = path.stat() if path else None
    except OSError:
        return None
    return None if about is None else (about.st_mtime_ns, about.st_size, about.st_ino)


def _accept_alias(alias: Alias) -> None:
    """Every alias is fine until the server says otherwise."""
