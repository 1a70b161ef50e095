"""The plugin that pytest finds: the fixture `holdfast_persona`.

def test_the_bot_stays_in_character(holdfast_persona):
    holdfast_persona("support.toml").assert_holds(reply, min_stability=0.8, rounds=4)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from holdfast.evals.pytest.persona import PersonaUnderTest


@pytest.fixture
def holdfast_persona(request: pytest.FixtureRequest) -> Callable[..., PersonaUnderTest]:
    """Personas by file, by suite or by prompt; see `PersonaUnderTest.read`.

    Files are looked up beside the test, then from the folder that pytest was started in.
    """
    from holdfast.evals.pytest.persona import PersonaUnderTest

    def read(source: str | Path | None = None, *, prompt: str | None = None) -> PersonaUnderTest:
        return PersonaUnderTest.read(source, prompt=prompt, folder=request.path.parent)

    return read
