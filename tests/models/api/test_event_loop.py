"""A coroutine run from ordinary code."""

from __future__ import annotations

import _thread
import asyncio
import threading

import pytest

from holdfast.models.api.event_loop import run_coroutine


async def _double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def _fail() -> None:
    raise ZeroDivisionError("as asked")


def test_a_coroutine_gives_its_result() -> None:
    assert run_coroutine(_double(4)) == 8


def test_an_error_arrives_where_the_call_was() -> None:
    with pytest.raises(ZeroDivisionError, match="as asked"):
        run_coroutine(_fail())


def test_it_works_inside_a_running_loop() -> None:
    async def notebook_cell() -> int:
        return run_coroutine(_double(5))

    assert asyncio.run(notebook_cell()) == 10


def test_an_interrupt_cancels_what_is_under_way_and_leaves_no_thread() -> None:
    cancellation = threading.Event()

    async def endless() -> None:
        _thread.interrupt_main()
        try:
            await asyncio.Event().wait()
        finally:
            cancellation.set()

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run_coroutine(endless())
    assert cancellation.is_set()
    assert threading.active_count() == before
