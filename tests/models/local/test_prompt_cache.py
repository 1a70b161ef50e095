"""What is kept about prompts while several threads read requests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.models.local.prompt_cache import PromptCache


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_that_share_a_cache_leave_its_size_what_its_values_cost() -> None:
    limit = 12_000
    cache = PromptCache[int](limit)

    def read_prompts() -> None:
        for i in range(50_000):
            prompt = f"prompt {i * 7 % 60}"
            if cache.get(prompt) is None:
                cache.put(prompt, i, 100)

    with ThreadPoolExecutor(4) as pool:
        for work in [pool.submit(read_prompts) for _ in range(4)]:
            work.result()
    assert cache.size == sum(cost for _, cost in cache._values.values()) <= limit
