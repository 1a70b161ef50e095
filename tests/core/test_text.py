"""Texts on one line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.text import shortened


@given(st.text(), st.integers(1, 30))
def test_a_text_is_shortened_to_one_line_of_so_many_characters(text: str, most: int) -> None:
    line = shortened(text, most)
    assert len(line) <= most and len(line.splitlines()) <= 1
    whole = " ".join(text.split())
    assert line == whole or (line.endswith("…") and whole.startswith(line[:-1]))
