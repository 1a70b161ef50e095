"""`holdfast personas import` and `export`: character cards, lorebooks and SillyTavern's chats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.errors import PersonaError
from holdfast.persona.cards.card import parse_card, read_card, write_card
from holdfast.persona.cards.chat import is_role_play, read_role_play
from holdfast.persona.cards.lorebook import read_lorebook
from holdfast.persona.cards.persona import draft_card
from holdfast.persona.draft.toml_file import write_draft
from holdfast.persona.files import write_new
from holdfast.persona.suite import load_suite
from holdfast.report.words import quantity

USER = "User"
"""What `{{user}}` stands for in a card unless a name is given."""


@flatten_options
def import_file(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A character card (JSON, PNG, CHARX), or a chat."),
    ],
    out: Annotated[
        Path, typer.Option(help="The TOML file to write; of a chat, the JSONL file for --history.")
    ],
    lorebook: Annotated[
        Path | None, typer.Option(help="A lorebook (world info) that goes with the card.")
    ] = None,
    user_name: Annotated[str, typer.Option(help="What {{user}} stands for.")] = USER,
    *,
    helpers: options.DraftOptions,
    models: options.ModelOptions,
    as_json: options.AsJson = False,
) -> None:
    """Make personas of a character card, or recorded conversations of a SillyTavern chat."""
    models.require_use(helpers.author_model)
    if is_role_play(file):
        _refuse_options_of_cards(file, lorebook, user_name, helpers)
        _import_chat(file, out, as_json)
        return
    result, character = draft_card(
        read_card(file),
        rubrics=helpers.rubrics,
        author=helpers.author(models),
        user=user_name,
        lore=read_lorebook(lorebook) if lorebook else (),
    )
    write_draft(result, out, character.ignored)
    gaps = result.gaps()
    summary = {
        "name": character.name,
        "personas": [one.id for one in result.suite.personas],
        "starters": list(character.starters),
        "unjudged": list(gaps),
        "ignored": list(character.ignored),
    }
    lines = (
        f"{character.name}: {quantity(len(result.demands), 'persona')}, "
        f"{quantity(len(character.starters), 'starter')}",
        *(f"  not judged: {text}" for text in gaps),
        *(f"  left out: {field}" for field in character.ignored),
        f"{out}: read it and edit it, then holdfast personas check {out}",
    )
    session.print_result(summary, lines, as_json)


def _refuse_options_of_cards(
    file: Path, lorebook: Path | None, user_name: str, helpers: options.DraftOptions
) -> None:
    """Refuse options that nothing reads where a chat is imported."""
    given = {
        "lorebook": lorebook is not None,
        "user-name": user_name != USER,
        "judge-model": helpers.judge_model is not None,
        "author-model": helpers.author_model is not None,
    }
    for name, is_given in given.items():
        if is_given:
            raise PersonaError(f"--{name} is for a card, and {file} is a chat: leave it out.")


def _import_chat(file: Path, out: Path, as_json: bool) -> None:
    chat = read_role_play(file)
    line = json.dumps({"messages": list(chat.messages)}, ensure_ascii=False)
    write_new(out, line + "\n")
    sentence = (
        f"{len(chat.messages)} messages of {chat.character} and {chat.user} ({chat.left_out} lines "
        f"left out) in {out}: holdfast drift --history {out} --card CARD"
    )
    summary = {"messages": len(chat.messages), "left_out": chat.left_out}
    session.print_result(summary, [sentence], as_json)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file that was imported.")],
    out: Annotated[Path, typer.Option(help="The card to write: .json, .png or .charx.")],
    picture: Annotated[
        Path | None, typer.Option(help="The picture of a PNG; by default a grey one.")
    ] = None,
) -> None:
    """Write the character card that a file was imported from, with every field as it came."""
    suite = load_suite(file)
    if suite.card is None:
        raise PersonaError(f"{file} was not imported from a card: it has no field card.")
    write_card(parse_card(suite.card.encode()), out, picture)
    print(out)
