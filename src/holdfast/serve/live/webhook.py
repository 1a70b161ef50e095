"""A webhook: alarms as JSON, posted to a URL of the operator's."""

from __future__ import annotations

import logging
import time
from urllib.parse import urlsplit

import httpx

from holdfast.core.errors import ServiceError
from holdfast.core.records import Record, dumps

LOG = logging.getLogger("holdfast.serve")
TRIES = 3
_TIMEOUT = 10.0  # seconds
_PAUSE = 1.0  # seconds before the second try, and twice as long before the next


def check_url(url: str) -> None:
    """Raise `ServiceError` for what is no http or https URL."""
    try:
        parts = urlsplit(url)
        httpx.URL(url)  # which is stricter, and posts
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        is_url = False
    if not is_url:
        raise ServiceError("`webhook` is the URL that alarms are posted to: https://…")


def post(url: str, content: Record, pause: float = _PAUSE) -> bool:
    """Post an object as JSON; True if it arrived. A failure is tried again twice, and logged.

    Args:
        url: where to.
        content: the object.
        pause: seconds before the second try.
    """
    for attempt in range(TRIES):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            answer = httpx.post(
                url,
                content=dumps(content).encode(),
                headers={"content-type": "application/json"},
                timeout=_TIMEOUT,
            )
            if answer.is_success:
                return True
            problem = f"status {answer.status_code}"
        except httpx.HTTPError as error:
            problem = type(error).__name__
        # Without the URL: its path is a secret with many services.
        LOG.warning("the webhook did not take an alarm: %s", problem)
    return False
