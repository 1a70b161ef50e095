"""Run a coroutine from ordinary code, also where an event loop is running already.

Every call has an event loop on a thread of its own. So it works in a notebook, and an interrupt
reaches the caller, which then cancels the coroutine's tasks and waits for them. This module knows
nothing of what it runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import wait
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_coroutine(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Return the coroutine's result, or raise what it raises."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="holdfast-loop", daemon=True)
    thread.start()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        # In slices: an endless wait cannot be interrupted on Windows.
        while not wait([future], timeout=0.5).done:
            pass
        return future.result()
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_all() -> None:
    """Cancel the tasks that are left; there are none unless the caller was interrupted."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
