"""Tool calls read out of a reply's text."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.models.local.tool_calls import CallFormat, find_call_format, read_calls


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def test_calls_are_read_and_text_before_them_is_the_content() -> None:
    text = f"Let me look.\n{call('weather', city='Ülm')}\n{call('time')}"
    content, calls = read_calls(text, "hermes")
    assert content == "Let me look."
    functions = [one["function"] for one in calls]
    assert functions == [
        {"name": "weather", "arguments": '{"city": "Ülm"}'},
        {"name": "time", "arguments": "{}"},
    ]
    assert len({one["id"] for one in calls}) == 2
    assert read_calls(call("time"), "hermes")[0] is None


def test_a_call_that_a_stop_string_cut_at_its_closing_tag_is_read() -> None:
    assert read_calls(call("time").removesuffix("</tool_call>"), "hermes")[1]


@pytest.mark.parametrize(
    "text",
    ["<tool_call>", "<tool_call>{}</tool_call>", "<tool_call>[1]</tool_call>", "Hi.", "",
     '<tool_call>{"name": 1}</tool_call>', '<tool_call>{"name": "f", "arguments": "x"}</tool_call>',
     "<tool_call>" + "[" * 100_000],
)  # fmt: skip
def test_what_is_no_call_stays_text(text: str) -> None:
    assert read_calls(text, "hermes") == (text, [])


@given(
    st.text('<tol_cal>/{}":[]nameargu TOL_CS;', max_size=60),
    st.sampled_from(["hermes", "llama", "mistral"]),
)
def test_no_text_breaks_the_reader(text: str, kind: CallFormat) -> None:
    read_calls(text, kind)


@pytest.mark.parametrize(
    ("kind", "text", "content"),
    [
        ("llama", '{"name": "weather", "parameters": {"city": "Ulm"}}', None),
        ("llama", '<|python_tag|>{"type": "function", "name": "weather", "parameters":'
         ' {"city": "Ulm"}}\n', None),
        ("mistral", '[{"name": "weather", "arguments": {"city": "Ulm"}}]', None),
        ("mistral", 'Let me look. [TOOL_CALLS] [{"name": "weather", "arguments":'
         ' {"city": "Ulm"}}]', "Let me look."),
    ],
)  # fmt: skip
def test_llamas_and_mistrals_calls_are_read(
    kind: CallFormat, text: str, content: str | None
) -> None:
    words, (one,) = read_calls(text, kind)
    assert words == content
    assert one["function"] == {"name": "weather", "arguments": '{"city": "Ulm"}'}


def test_several_calls_are_read_and_mistrals_ids_have_nine_letters_and_digits() -> None:
    llama = '{"name": "a", "parameters": {}}; {"name": "b", "parameters": {"x": ";"}}'
    mistral = '[{"name": "a", "arguments": {}}, {"name": "b"}]'
    for kind, text in (("llama", llama), ("mistral", mistral)):
        calls = read_calls(text, kind)[1]  # type: ignore[arg-type]
        assert [one["function"]["name"] for one in calls] == ["a", "b"]
        assert len({one["id"] for one in calls}) == 2
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", one["id"]) for one in calls)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("llama", "The answer is 4."),
        ("llama", '{"name": "weather"}'),
        ("llama", '{"name": "weather", "parameters": {}} is what I would call.'),
        ("llama", '{"name": "weather", "parameters": {}};'),
        ("mistral", "[1, 2, 3]"),
        ("mistral", "[]"),
        ("mistral", '{"name": "weather"}'),
        ("mistral", "[TOOL_CALLS] later"),
    ],
)
def test_a_reply_of_llama_or_mistral_that_is_no_call_stays_text(
    kind: CallFormat, text: str
) -> None:
    assert read_calls(text, kind) == (text, [])


@pytest.mark.parametrize(
    ("template", "kind"),
    [
        ('… <tool_call>\n{"name": …}\n</tool_call>', "hermes"),
        ("<tool_call>\n<function=name>", None),
        ("{{ tools }}", None),
        (
            '{{- \'Respond in the format {"name": function name, "parameters": dictionary of'
            " argument name and its value}.' }}",
            "llama",
        ),
        ('{{- "[AVAILABLE_TOOLS] [" }} … {{- "[TOOL_CALLS] [" }}', "mistral"),
        ('{{- "[TOOL_CALLS]" + name + "[ARGS]" + arguments }}', None),
    ],
)
def test_a_template_shows_the_format_of_its_calls(template: str, kind: CallFormat | None) -> None:
    assert find_call_format(template) == kind
