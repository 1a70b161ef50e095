"""A character card as personas: its prompt, its starters, its note, and what is left out.

The prompt has the parts in the order of SillyTavern's default: the main prompt (the card's own, or
`MAIN`), lore before the character, description, personality, scenario, lore after it, and example
messages. `{{char}}` and `{{user}}` are filled in. What the prompt demands is drafted as for any
prompt (`persona.draft`), and every demand's persona has the whole prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.core.backend import Backend
from holdfast.core.errors import PersonaError
from holdfast.persona.cards.card import Card
from holdfast.persona.cards.lorebook import LoreEntry, find_active, read_entries
from holdfast.persona.draft.drafting import Draft, draft

MAIN = "Write {{char}}'s next reply in a fictional chat between {{char}} and {{user}}."
_MODEL_FIELDS_TEXT = (
    "name nickname description personality scenario first_mes mes_example system_prompt "
    "post_history_instructions alternate_greetings character_book"
)
_MODEL_FIELDS = frozenset(_MODEL_FIELDS_TEXT.split())
_COMMENT = re.compile(r"\{\{//.*?\}\}|\{\{comment:.*?\}\}", re.DOTALL | re.IGNORECASE)
_MACRO = re.compile(r"\{\{[^{}]{1,200}\}\}")


@dataclass(frozen=True)
class Character:
    """What a card says, as Holdfast takes it."""

    name: str
    """What `{{char}}` stands for."""
    prompt: str
    """The system prompt."""
    demands: str
    """The parts of it that may demand something: no examples, and no default."""
    starters: tuple[str, ...]
    """The first message and its alternatives."""
    authors_note: str | None
    """The character's note and the post-history instructions, which the control note:d says."""
    ignored: tuple[str, ...]
    """Fields and macros that have no use here, each with a word on why."""


def read_character(card: Card, user: str = "User", lore: Sequence[LoreEntry] = ()) -> Character:
    """What a card says.

    Args:
        card: the card.
        user: what `{{user}}` stands for.
        lore: entries of a lorebook beside the card's own.
    """
    name = card.text("nickname") or card.text("name")
    main = card.text("system_prompt").replace("{{original}}", MAIN) or MAIN
    personality, scenario = card.text("personality"), card.text("scenario")
    own = (card.text("description"), personality, scenario, card.text("first_mes"))
    entries = [*read_entries(card.data.get("character_book")), *lore]
    own_text = _fill("\n".join(own), name, user)
    active = find_active(sorted(entries, key=lambda one: one.order), own_text)
    parts = [
        *(one.content for one in active if one.before),
        card.text("description"),
        f"{{{{char}}}}'s personality: {personality}" if personality else "",
        f"Scenario: {scenario}" if scenario else "",
        *(one.content for one in active if not one.before),
    ]

    def join(*texts: str) -> str:
        return _fill("\n\n".join(filter(None, texts)), name, user)

    prompt = join(main, *parts, _examples(card.text("mes_example")))
    demands = join(card.text("system_prompt").replace("{{original}}", ""), *parts)
    greetings = [card.text("first_mes"), *card.texts("alternate_greetings")]
    after = card.text("post_history_instructions").replace("{{original}}", "")
    note = join(str(_characters_note(card).get("prompt", "")), after)
    starters = tuple(dict.fromkeys(filter(None, (_fill(one, name, user) for one in greetings))))
    texts = "\n".join((prompt, note, *starters))
    ignored = tuple(_list_ignored(card, len(entries) - len(active), texts))
    return Character(name, prompt, demands, starters, note or None, ignored)


def draft_card(
    card: Card,
    *,
    rubrics: bool = False,
    author: Backend | None = None,
    user: str = "User",
    lore: Sequence[LoreEntry] = (),
) -> tuple[Draft, Character]:
    """Personas for what a card demands, and what was read of it.

    Args:
        card: the card.
        rubrics: as for `draft`.
        author: as for `draft`.
        user: what `{{user}}` stands for.
        lore: entries of a lorebook beside the card's own.
    """
    if not isinstance(card, Card):
        raise PersonaError(f"personas are drafted from holdfast.read_card(FILE), not {card!r}.")
    character = read_character(card, user, lore)
    result = draft(
        character.prompt,
        rubrics=rubrics,
        author=author,
        character=character.name,
        demands_in=character.demands,
    )
    suite = replace(
        result.suite,
        personas=tuple(
            replace(one, authors_note=character.authors_note) for one in result.suite.personas
        ),
        starters=character.starters,
        card=json.dumps(card.raw, ensure_ascii=False),
    )
    return replace(result, suite=suite), character


def _fill(text: str, name: str, user: str) -> str:
    """A text with the names in place of macros."""
    text = _COMMENT.sub("", text)
    for pattern, value in ((r"\{\{char\}\}|<BOT>|<CHAR>", name), (r"\{\{user\}\}|<USER>", user)):
        text = re.sub(pattern, value.replace("\\", r"\\"), text, flags=re.IGNORECASE)
    return text.replace("\0", "").strip()


def _examples(text: str) -> str:
    """Example messages, their blocks under a heading as front ends send them."""
    blocks = [one.strip() for one in re.split(r"<START>", text, flags=re.IGNORECASE)]
    return "\n\n".join(f"Example messages:\n{one}" for one in blocks if one)


def _characters_note(card: Card) -> dict[str, Any]:
    """SillyTavern's note of the character, a prompt and its depth; empty without one."""
    extensions = card.data.get("extensions")
    note = extensions.get("depth_prompt") if isinstance(extensions, dict) else None
    text = note.get("prompt") if isinstance(note, dict) else None
    return note if isinstance(note, dict) and isinstance(text, str) and text.strip() else {}


def _list_ignored(card: Card, entries: int, texts: str) -> list[str]:
    """List fields without a use, lore that waits for its keys, and macros that stay."""
    fields = [name for name, value in card.data.items() if value not in (None, "", [], {})]
    reasons = [f"{name}: not for the model" for name in fields if name not in _MODEL_FIELDS]
    if note := _characters_note(card):
        reasons.remove("extensions: not for the model")
        others = [one for one in card.data["extensions"] if one != "depth_prompt"]
        reasons += [f"extensions, {one}: not for the model" for one in others]
        depth = note.get("depth") if isinstance(note.get("depth"), int) else "d"
        reasons.append(f"extensions, depth_prompt: said under the control note:{depth}")
    if entries:
        reasons.append(f"character_book: entries that are off, or wait for their keys: {entries}")
    return reasons + [f"{macro}: left as it is" for macro in dict.fromkeys(_MACRO.findall(texts))]
