"""A coroutine run to its end from ordinary code, whatever the caller's thread is doing.

Every call has an event loop on a thread of its own. So it works where a loop is running
already (a notebook), and an interrupt reaches the caller, who then cancels what is
under way and waits for that. This module knows nothing of what it runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import wait
from typing import Any, TypeVar

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """The coroutine's result; whatever it raises is raised here."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="holdfast-loop", daemon=True)
    thread.start()
    try:
        ended = asyncio.run_coroutine_threadsafe(work, loop)
        # In slices: an endless wait cannot be interrupted on Windows.
        while not wait([ended], timeout=0.5).done:
            pass
        return ended.result()
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_all() -> None:
    """Cancel whatever is left (nothing, unless the caller was interrupted)."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
