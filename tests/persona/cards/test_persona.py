"""What becomes of a card's fields, of lorebooks and of a front end's chats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from character_cards import ADA, V1, V2, V3
from holdfast.control.rewrite import rewrite
from holdfast.core.chat import agent_view
from holdfast.core.control import parse
from holdfast.core.errors import PersonaError
from holdfast.persona.cards.card import Card, parse_card
from holdfast.persona.cards.chat import is_role_play, read_role_play
from holdfast.persona.cards.lorebook import find_active, read_entries, read_lorebook
from holdfast.persona.cards.persona import draft_card, read_character


def card(raw: dict[str, Any]) -> Card:
    return parse_card(json.dumps(raw).encode())


def test_every_field_is_used_or_named_as_left_out() -> None:
    character = read_character(card(V2), user="Sam")
    assert "{{char}}" not in character.prompt and "{{user}}" not in character.prompt
    parts = (
        "fictional chat between Ada and Sam. Never break character.",
        "It is 1790.",
        "Ada is a librarian in Porto.",
        "Ada's personality: curious, strict",
        "Scenario: Sam comes to the archive",
        "The archive lies below the river.",
        "Example messages:\nSam: Hello\nAda: Ahoy!",
    )
    places = [character.prompt.index(text) for text in parts]
    assert places == sorted(places)
    assert "dragons" not in character.prompt
    assert character.starters == (
        "*Ada looks up.* Good evening, Sam.",
        "Who is there?",
        "*The lamp goes out.*",
    )
    assert character.authors_note == "Stay a pirate, Ada."
    names = {one.split(":")[0] for one in character.ignored}
    assert names == {
        "creator_notes", "tags", "creator", "character_version", "extensions", "character_book",
    }  # fmt: skip


def test_lore_that_a_name_calls_is_in_use_where_the_card_writes_a_macro() -> None:
    lore = [{"keys": [key], "content": f"Lore of {key}."} for key in ("Ada", "Sam", "Zoe")]
    data = {"name": "Ada", "description": "{{char}} knows {{user}}."}
    raw = {"spec": "chara_card_v2", "data": {**data, "character_book": {"entries": lore}}}
    prompt = read_character(card(raw), user="Sam").prompt
    assert "Lore of Ada." in prompt and "Lore of Sam." in prompt and "Zoe" not in prompt


def test_the_characters_note_is_what_a_note_says() -> None:
    note = {"prompt": "{{char}} hates small talk.", "depth": 4, "role": "system"}
    extensions = {"depth_prompt": note, "fav": True}
    raw = {**V2, "data": {**ADA, "extensions": extensions}}
    character = read_character(card(raw))
    assert character.authors_note == "Ada hates small talk.\n\nStay a pirate, Ada."
    assert "extensions, depth_prompt: said under the control note:4" in character.ignored
    assert "extensions, fav: not for the model" in character.ignored
    for value in ({"prompt": 3}, {"prompt": " "}, "four", {"depth": 2}):
        raw["data"]["extensions"] = {"depth_prompt": value}
        assert read_character(card(raw)).authors_note == "Stay a pirate, Ada."


def test_a_nickname_is_what_char_stands_for() -> None:
    character = read_character(card(V3))
    assert character.name == "Addie" and "Addie is a librarian" in character.prompt
    assert any(one.startswith("assets") for one in character.ignored)


def test_a_macro_that_nobody_fills_is_named() -> None:
    raw = {**V1, "first_mes": "It is {{time}}. {{// a remark}}"}
    character = read_character(card(raw))
    assert character.starters == ("It is {{time}}.",)
    assert "{{time}}: left as it is" in character.ignored


def test_a_cards_demands_become_personas_that_keep_its_note() -> None:
    result, character = draft_card(card(V2))
    names = result.names("deterministic")
    assert {"name", "pirate", "character", "code"} <= set(names)
    assert result.problems() == []
    assert {one.authors_note for one in result.suite.personas} == {character.authors_note}
    assert {one.prompt for one in result.suite.personas} == {character.prompt}
    assert json.loads(result.suite.card or "") == V2
    assert result.whole.id == "ada" and result.whole.prompt == character.prompt


def test_a_card_without_demands_still_has_a_name() -> None:
    result, _ = draft_card(card({"name": "Grim", "description": "The sea was calm."}))
    assert result.names("deterministic") == ["name"]


def test_the_control_note_says_a_cards_own_note() -> None:
    chat = agent_view("You are Ada.", ["Hi", "Ahoy", "Who?"], note="Stay a pirate.")
    messages = rewrite(chat, parse("note:0"))
    assert messages[-1]["content"] == "Who?\n\nStay a pirate."
    assert all("note" not in one for one in (*messages, *rewrite(chat, parse("none"))))


def test_entries_of_three_kinds_of_lorebooks_are_read(tmp_path: Path) -> None:
    world = {"entries": {"0": {"key": ["Tower"], "content": "It leans.", "order": 5, "position": 0,
                               "disable": False, "constant": False}}}  # fmt: skip
    v3 = {"spec": "lorebook_v3", "data": {"entries": ADA["character_book"]["entries"]}}
    (entry,) = read_entries(world)
    assert (
        entry.before and find_active([entry], "the tower!") and not find_active([entry], "towers")
    )
    assert len(read_entries(v3)) == 3
    path = tmp_path / "world.json"
    path.write_text(json.dumps(world), encoding="utf-8")
    lore = read_lorebook(path)
    raw = {**V1, "scenario": "At the tower."}
    assert "It leans." in read_character(card(raw), lore=lore).prompt
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(PersonaError, match="no lorebook"):
        read_lorebook(path)


CHAT = [
    {"user_name": "Sam", "character_name": "Ada", "create_date": "2026-11-1", "chat_metadata": {}},
    {"name": "Ada", "is_user": False, "is_system": False, "send_date": "x", "mes": "Evening."},
    {"name": "System", "is_user": False, "is_system": True, "mes": "Branch created."},
    {"name": "Sam", "is_user": True, "is_system": False, "mes": "The code?"},
    {"name": "Ada", "is_user": False, "mes": "4471.", "swipe_id": 1, "swipes": ["No.", "4471."]},
]


def test_a_chat_of_sillytavern_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ada.jsonl"
    path.write_text("\n".join(map(json.dumps, CHAT)) + "\n", encoding="utf-8")
    assert is_role_play(path)
    chat = read_role_play(path)
    assert [m["role"] for m in chat.messages] == ["assistant", "user", "assistant"]
    assert (chat.character, chat.user, chat.left_out) == ("Ada", "Sam", 1)
    path.write_text(json.dumps(CHAT[0]) + "\n{}", encoding="utf-8")
    with pytest.raises(PersonaError, match="line 2"):
        read_role_play(path)
    path.write_text(json.dumps({"messages": []}), encoding="utf-8")
    assert not is_role_play(path)


def test_entries_whose_order_is_no_number_to_sort_by_come_with_those_that_have_none() -> None:
    entries = [
        {"content": text, "order": order}
        for text, order in (("c", 1), ("a", 10**400), ("b", float("nan")))
    ]
    assert [one.content for one in read_entries({"entries": entries})] == ["a", "b", "c"]


def test_a_card_is_read_before_personas_are_drafted_from_it() -> None:
    with pytest.raises(PersonaError, match=r"from holdfast\.read_card\(FILE\), not 'ada.png'"):
        draft_card("ada.png")  # type: ignore[arg-type]
