"""Options of a chat template as the command line takes them."""

from __future__ import annotations

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.models.template_options import find_unread_options, read_template_option


def test_a_template_option_is_json_where_it_can_be() -> None:
    assert read_template_option("enable_thinking=false") == ("enable_thinking", False)
    assert read_template_option("effort=low") == ("effort", "low")
    assert read_template_option("limit=3") == ("limit", 3)


@pytest.mark.parametrize("text", ["enable_thinking", "=false", "a b=1"])
def test_a_template_option_without_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(HoldfastError, match="is NAME=VALUE"):
        read_template_option(text)


@pytest.mark.parametrize("name", ["messages", "tokenize", "add_generation_prompt"])
def test_what_every_chat_sets_is_no_option(name: str) -> None:
    with pytest.raises(HoldfastError, match=f"may not set {name}"):
        read_template_option(f"{name}=1")


def test_an_option_is_read_where_a_template_names_it_as_a_word() -> None:
    template = "{% if enable_thinking %}…{% endif %}"
    names = ["enable_thinking", "thinking", "split_special_tokens"]
    assert find_unread_options(template, names) == ["thinking"]
