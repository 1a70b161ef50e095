"""A log of traffic, replayed: chats, requests with their replies, or a server's own lines.

A server's line is judged again where it has the reply's text and the persona is given, and keeps
its score otherwise. The last text of each user turn counts in a chat, and the last text alone in a
request: what an assistant says before it calls a tool is no reply of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.evals.logs.chat import RecordedChat, ServerLine, Unfit
from holdfast.evals.logs.prompts import PromptPersonas
from holdfast.evals.logs.read import LogEntry, LogFile
from holdfast.evals.watch.conversations import last_replies
from holdfast.evals.watch.traffic import Observation, Traffic
from holdfast.persona.suite import Persona
from holdfast.results.recorded.log import BadLine


def replay(
    log: LogFile,
    entries: Iterable[LogEntry],
    traffic: Traffic,
    prompts: PromptPersonas | None = None,
) -> Iterator[list[Observation]]:
    """The replies of each entry of a log, in its order, taken into account.

    Args:
        log: the log, which counts entries that do not fit.
        entries: its entries.
        traffic: takes the replies.
        prompts: the personas of the log's system prompts, where no other is given.
    """
    for entry in entries:
        try:
            if isinstance(entry, ServerLine):
                yield [_line(traffic, entry)]
            else:
                persona = prompts.of(entry) if prompts else None
                yield _chat(traffic, entry, persona)
        except Unfit as why:
            log.refuse(BadLine(entry.where, str(why)))


def _line(traffic: Traffic, line: ServerLine) -> Observation:
    try:
        return traffic.take(line.record)
    except HoldfastError as error:
        raise Unfit(str(error)) from error


def _chat(traffic: Traffic, chat: RecordedChat, persona: Persona | None) -> list[Observation]:
    turns = chat.turns
    about: dict[str, Any] = {
        "control": chat.control,
        "time": chat.time,
        "model": chat.model,
        "persona": persona,
    }
    if not chat.complete:
        one = traffic.observe(turns[:-1], turns[-1][1], id=chat.id, **about)
        return [one] if one else []
    id = chat.id or f"the conversation of {chat.where}"
    replies = [
        traffic.observe(turns[:i], turns[i][1], id=id, round=round, **about)
        for round, i in last_replies(turns).items()
    ]
    return [one for one in replies if one]
