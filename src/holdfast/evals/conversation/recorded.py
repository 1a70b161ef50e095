"""Recorded chats in place of self-chat: the chats of a log as planned conversations.

A chat's persona is the one that its line names, or the only one there is. Where none is given the
log's own system prompts become personas (`logs.prompts`). Otherwise system messages are left out,
as the persona's prompt replaces them. What the assistant says before the first user message, and a
last user message without a reply, are left out too; consecutive messages of one role are joined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.core.backend import Backend
from holdfast.core.seeds import seed_of
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.settings import ConversationSettings
from holdfast.evals.conversation.setup import Cast, agents_of
from holdfast.evals.logs.chat import RecordedChat, RoleAndText, Unfit
from holdfast.evals.logs.joining import join_chats
from holdfast.evals.logs.prompts import draft_personas
from holdfast.evals.logs.read import LogFile
from holdfast.persona.every_reply import combine, name_judged, name_unjudged
from holdfast.persona.suite import Persona
from holdfast.results.recorded.log import BadLine, LogReading


@dataclass(frozen=True)
class History:
    """Recorded chats, ready to be judged."""

    conversations: tuple[Conversation, ...]
    """A planned conversation for each chat."""
    personas: tuple[Persona, ...]
    """The personas that its chats may have."""
    reading: LogReading
    """What the log was read as, and which of its lines do not fit."""


def cast_history(
    path: Path,
    format: str | None,
    settings: ConversationSettings,
    model: Backend | None,
    *,
    rubrics: bool,
) -> Cast:
    """Who meets whom in the chats of a log: the personas of the settings, or of its own prompts.

    Args:
        path: the log.
        format: its format; by default it is recognised.
        settings: the personas and the seed.
        model: what is probed, if anything.
        rubrics: whether a model judges what no rule can.
    """
    source = settings.persona or settings.suite or settings.agents
    personas, suite = agents_of(settings, model)
    whole = None if settings.agents or suite.every_reply is None else combine(suite)
    history = read_history(
        path,
        personas,
        settings.seed,
        format,
        own_prompts=not source,
        whole=whole,
        rubrics=rubrics,
    )
    reading = history.reading
    if reading.prompts is not None:
        suite = replace(suite, name="the log's system prompts", personas=history.personas)
    if whole and any(one.agent is whole for one in history.conversations):
        reading = replace(reading, judged=name_judged(suite), unjudged=name_unjudged(suite))
    return Cast(history.conversations, suite, suite.fillers, reading=reading)


def read_history(
    path: Path,
    personas: Sequence[Persona],
    seed: int = 0,
    format: str | None = None,
    *,
    own_prompts: bool = False,
    whole: Persona | None = None,
    rubrics: bool = False,
) -> History:
    """The chats of a log as planned conversations.

    Args:
        path: the log, in any format of `logs.formats`.
        personas: the personas that lines may name; they need not name an only one.
        seed: seeds the conversations' probes.
        format: the format; by default it is recognised.
        own_prompts: whether the log's system prompts are the personas, where no line names one.
        whole: the persona of chats whose line names none.
        rubrics: whether a model judges what no rule can.

    Raises:
        HoldfastError: the log cannot be read, or nothing in it fits.
    """
    log = LogFile(path, format)
    chats = join_chats(list(log.chats()))
    drafts = None
    if own_prompts and not any(chat.persona for chat in chats):
        drafts = draft_personas(path, chats, rubrics=rubrics)
    by_id = {persona.id: persona for persona in personas}
    conversations: list[Conversation] = []
    for chat in chats:
        try:
            persona = drafts.of(chat) if drafts else _find_persona(chat, by_id, whole)
        except Unfit as why:
            log.refuse(BadLine(chat.where, str(why)))
            continue
        at, script = len(conversations), _script(chat.turns)
        conversations.append(
            Conversation(at, persona, persona, script[0], seed_of(seed, "conversation", at), script)
        )
    if not conversations:
        raise log.nothing()
    reading = log.reading
    if drafts:
        reading = drafts.note(reading)
    suite_personas = tuple(drafts.by_prompt.values()) if drafts else tuple(personas)
    return History(tuple(conversations), suite_personas, reading)


def _find_persona(
    chat: RecordedChat, by_id: Mapping[str, Persona], whole: Persona | None
) -> Persona:
    if chat.persona is None and whole:
        return whole
    if chat.persona is None and len(by_id) == 1:
        return next(iter(by_id.values()))
    if chat.persona is None:
        raise Unfit('no "persona"; name one in the line, or choose a suite of one')
    if chat.persona not in by_id:
        raise Unfit(f"the persona {chat.persona!r} is not among those chosen")
    return by_id[chat.persona]


def _script(turns: Sequence[RoleAndText]) -> tuple[str, ...]:
    """The turns, user first, each the joined messages of one side."""
    sides: list[RoleAndText] = []
    for role, text in turns:
        if role == "tool" or (role == "assistant" and not sides):
            continue
        if sides and sides[-1][0] == role:
            sides[-1] = (role, f"{sides[-1][1]}\n\n{text}")
        else:
            sides.append((role, text))
    texts = [text for _, text in sides]
    return tuple(texts[: len(texts) // 2 * 2])
