"""Where user turns and replies begin in a row of token ids, and by which ids a template shows it.

This module knows token ids and templates. It knows no personas and no models.
"""

from __future__ import annotations

from holdfast.core.chat import message
from holdfast.core.control import Control
from holdfast.models.local.persona_span import Ids, find_occurrences
from holdfast.models.local.template import ASIDE, MARK, Template
from holdfast.models.thinking import CHANNEL, CHANNEL_MARKS


def find_reply_opening(template: Template) -> Ids:
    """Find the ids that close a user message and open an earlier reply to it.

    Blanks at the end are left out, since a tokenizer may join them to the reply. There are none
    where a chat and the prompt of a reply do not open it alike. Templates of thinking models put an
    empty thought before a chat's last reply, which earlier replies are without.
    """
    question, reply = message("user", ASIDE), message("assistant", MARK)
    chat = (question, reply, question)
    before = template.text(chat, prompt=False).partition(MARK)[0].rstrip()
    if ASIDE not in before or not template.text((question,)).startswith(before):
        return ()
    opening = before.partition(ASIDE)[2]
    ids: Ids = tuple(template.tokenizer(opening, add_special_tokens=False)["input_ids"])
    whole = template.tokenizer(before, add_special_tokens=False)["input_ids"]
    return ids if tuple(whole[len(whole) - len(ids) :]) == ids else ()


def find_reply_closing(template: Template) -> frozenset[int]:
    """Find the added token that closes a reply in a chat; none where another thing does.

    A reply ends there, whatever the files call the end: those of many fine-tunes name another
    token, and do not mark this one as special. gpt-oss closes its thoughts by the same.
    """
    tokenizer, question = template.tokenizer, message("user", ASIDE)
    chat = (question, message("assistant", MARK), question)
    after = template.text(chat, prompt=False).rpartition(MARK)[2].lstrip()
    first = frozenset(tokenizer(after, add_special_tokens=False)["input_ids"][:1])
    added = {i: str(token) for i, token in tokenizer.added_tokens_decoder.items()}
    if CHANNEL in added.values():
        return first & {i for i, text in added.items() if text not in CHANNEL_MARKS}
    return first & {*added, *tokenizer.all_special_ids}


def find_turn_columns(control: Control, turn: Ids, reply: Ids, row: list[int]) -> tuple[Ids, Ids]:
    """Where user turns and replies begin in a row, as far as a control needs to know.

    Args:
        control: the control.
        turn: the ids that open a user turn.
        reply: those that open a reply, which begins behind them.
        row: token ids.
    """
    turns = find_occurrences(turn, row) if control.needs_turns else ()
    replies = find_occurrences(reply, row) if control.needs_replies else ()
    return tuple(turns), tuple(at + len(reply) for at in replies)


def turns_refusal(control: Control, template: Template, reply: Ids) -> str | None:
    """Why a chat template does not show what a control must know of turns, or None.

    Args:
        control: the control.
        template: the chat template.
        reply: the ids that open a reply, as `find_reply_opening` finds them.
    """
    if control.needs_turns and (template.moves_system or not template.turn_ids):
        return "its chat template moves the persona, or does not show where turns begin"
    if control.needs_replies and not reply:
        return "its chat template does not show where replies begin (restore:1@from=all needs none)"
    return None
