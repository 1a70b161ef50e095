"""JSON and lists."""

from __future__ import annotations

import pytest

from holdfast import judge

from .specs import AI, PLAIN

MOOD = {
    "type": "object",
    "required": ["mood", "energy"],
    "properties": {"mood": {"type": "string"}, "energy": {"$ref": "#/$defs/level"}},
    "additionalProperties": False,
    "$defs": {"level": {"type": "integer", "minimum": 0, "maximum": 10}},
}
GOOD = '{"mood": "calm", "energy": 3}'


def json_score(text: str) -> float:
    return judge.build({"name": "json_schema", "schema": MOOD})(text).value


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"Sure!\n\n```\n{GOOD}\n```\nEnjoy!",
        f"Sure!\r\n```json\r\n{GOOD}\r\n```\r\nEnjoy!",
    ],
)
def test_a_valid_object_passes_bare_or_in_its_only_fence(text: str) -> None:
    assert json_score(text) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        f"Sure! {GOOD}",
        f"```json\n{GOOD}\n```\n```json\n{GOOD}\n```",
        '{"mood": "calm"}',
        '{"mood": "calm", "energy": 11}',
        '{"mood": "calm", "energy": "3"}',
        '{"mood": "calm", "energy": 3, "more": 1}',
        "{'mood': 'calm', 'energy': 3}",
        '{"mood": "calm", "energy": NaN}',
        '{"mood": "calm", "energy": 3',
        "[" * 100_000,
        "9" * 10_000,
        "null",
        PLAIN,
        AI,
    ],
    ids=lambda text: text[:30],
)
def test_all_else_is_no_valid_object(text: str) -> None:
    assert json_score(text) == 0.0


def test_the_reason_says_where_json_goes_wrong() -> None:
    why = judge.build({"name": "json_schema", "schema": MOOD})('{"mood": 1, "energy": 3}').why
    assert "$.mood" in why


def list_score(text: str, style: str, /, **more: object) -> float:
    return judge.build({"name": "list_format", "style": style, **more})(text).value


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("bullets", "- tea\n- rum\n- salt"),
        ("bullets", "* tea\n* **rum**"),
        ("bullets", "• tea\n\n• rum"),
        ("numbers", "1. tea\n2. rum\n3. salt"),
        ("numbers", "1) tea\n2) rum"),
        ("comma", "tea, rum, salt"),
        ("comma", "[tea, rum, salt]"),
        ("comma", "tea, rum, and salt."),
        ("lines", "tea\nrum\nsalt"),
    ],
)
def test_a_list_and_nothing_else_scores_one(style: str, text: str) -> None:
    assert list_score(text, style) == 1.0


@pytest.mark.parametrize("style", ["bullets", "numbers", "comma"])
@pytest.mark.parametrize("text", [PLAIN, AI, "Tea."])
def test_prose_is_no_list(style: str, text: str) -> None:
    assert list_score(text, style) < 0.5


def test_an_introduction_costs_its_share() -> None:
    assert list_score("Here you are:\n- tea\n- rum\n- salt", "bullets") == 0.75


def test_numbers_must_count_up() -> None:
    assert list_score("1. a\n2. b\n3. c", "numbers") == 1.0
    assert list_score("1. a\n1. b\n1. c", "numbers") == 1.0
    assert list_score("7. a\n3. b", "numbers") == 0.0
    assert list_score("- a\n- b", "numbers") == 0.0


def test_too_few_or_too_many_items_cost_by_distance() -> None:
    assert list_score("- a\n- b\n- c\n- d", "bullets", max_items=3) == pytest.approx(2 / 3)
    assert list_score("- a\n- b", "bullets", min_items=4) == 0.5


def test_lines_are_short_and_unmarked() -> None:
    assert list_score("- a\n- b", "lines") == 0.0
    assert list_score("one " * 30 + "\nrum", "lines") < 0.5
