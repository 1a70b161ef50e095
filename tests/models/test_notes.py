"""What the name of a model tells."""

from __future__ import annotations

import pytest

from actors import Actor
from holdfast.evals.conversation.setup import default_suite
from holdfast.models.notes import NOTES, own_source


@pytest.mark.parametrize(
    ("name", "source"),
    [("mini", "mini"), ("vllm:mini", "mini"), ("smollm2", "core"), ("vllm:smollm2", "core")],
)
def test_mini_has_its_own_suite_and_note_in_vllm_too(name: str, source: str) -> None:
    assert own_source(name) == source
    assert default_suite(Actor(name=name)) == source
    assert (name in NOTES) == (source == "mini")
