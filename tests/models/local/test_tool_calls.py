"""Tool calls read out of a reply's text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.models.local.tool_calls import is_readable, read_calls


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def test_calls_are_read_and_text_before_them_is_the_content() -> None:
    text = f"Let me look.\n{call('weather', city='Ülm')}\n{call('time')}"
    content, calls = read_calls(text)
    assert content == "Let me look."
    functions = [one["function"] for one in calls]
    assert functions == [
        {"name": "weather", "arguments": '{"city": "Ülm"}'},
        {"name": "time", "arguments": "{}"},
    ]
    assert len({one["id"] for one in calls}) == 2
    assert read_calls(call("time"))[0] is None


def test_a_call_that_a_stop_string_cut_at_its_closing_tag_is_read() -> None:
    assert read_calls(call("time").removesuffix("</tool_call>"))[1]


@pytest.mark.parametrize(
    "text",
    ["<tool_call>", "<tool_call>{}</tool_call>", "<tool_call>[1]</tool_call>", "Hi.", "",
     '<tool_call>{"name": 1}</tool_call>', '<tool_call>{"name": "f", "arguments": "x"}</tool_call>',
     "<tool_call>" + "[" * 100_000],
)  # fmt: skip
def test_what_is_no_call_stays_text(text: str) -> None:
    assert read_calls(text) == (text, [])


@given(st.text('<tol_cal>/{}":[]nameargu ', max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    read_calls(text)


def test_a_template_is_readable_if_its_calls_are_json_between_tags() -> None:
    assert is_readable('… <tool_call>\n{"name": …}\n</tool_call>')
    assert not is_readable("<tool_call>\n<function=name>")
    assert not is_readable("{{ tools }}")
