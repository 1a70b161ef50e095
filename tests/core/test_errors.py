"""Sentences of errors: what to do in place of what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import HoldfastError, shorten, suggestion
from holdfast.core.settings import require_name


def test_a_name_that_is_close_is_suggested_and_else_all_are_listed() -> None:
    assert suggestion("ancor", ["none", "anchor"]) == "did you mean anchor?"
    assert suggestion("x", ["none", "anchor"]) == "use none, anchor."


def test_of_very_many_names_the_first_are_listed() -> None:
    assert suggestion("x", map(str, range(100))).endswith(", 18, 19, ….")


@pytest.mark.parametrize("name", [None, 3])
def test_what_is_no_text_is_refused_as_a_name_is(name: object) -> None:
    with pytest.raises(HoldfastError, match=rf"^there is no arm {name}: use sft, permix\.$"):
        require_name("arm", name, ["sft", "permix"])


@given(st.text(), st.integers(1, 30))
def test_a_text_is_shortened_to_one_line_of_so_many_characters(text: str, most: int) -> None:
    line = shorten(text, most)
    assert len(line) <= most and len(line.splitlines()) <= 1
    whole = " ".join(text.split())
    assert line == whole or (line.endswith("…") and whole.startswith(line[:-1]))
