"""The studies are scripts beside each other: their folder goes where Python looks for modules."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))

import pytest
import routed

from holdfast.core.backend import Sampling


@pytest.fixture(autouse=True, scope="session")
def short_replies() -> None:
    """Random models hardly ever end a reply."""
    routed.SAMPLING = Sampling(max_new_tokens=8)
