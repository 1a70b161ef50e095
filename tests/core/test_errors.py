"""Sentences of errors: what to do in place of what was written."""

from __future__ import annotations

import pytest

from holdfast.core.errors import HoldfastError, suggestion
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
