"""Replay a log of traffic: does the deployment drift, and when would that have been known?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import settle
from holdfast.core.version import __version__
from holdfast.evals.logs.chat import RecordedChat, ServerLine
from holdfast.evals.logs.prompts import PromptPersonas, draft_personas
from holdfast.evals.logs.read import LogEntry, LogFile
from holdfast.evals.watch.replay import replay
from holdfast.evals.watch.traffic import Traffic
from holdfast.evals.watch.watcher import WatchSettings
from holdfast.persona.every_reply import load_persona, why_no_score
from holdfast.persona.suite import Persona
from holdfast.results.watch import ReplyRecord, WatchSummary


@dataclass(frozen=True)
class WatchResult:
    """What a log showed."""

    summary: WatchSummary
    """The object that `holdfast watch --json` prints."""
    replies: list[ReplyRecord]
    """Every reply with its conversation, round and score."""


def watch(
    log: Path | str,
    persona: Persona | Path | str | None = None,
    settings: WatchSettings | None = None,
    *,
    format: str | None = None,
    **changes: Any,
) -> WatchResult:
    """Replay a log; what the command `holdfast watch` does.

    Args:
        log: conversations, requests with their replies, or a server's lines, in any format of
            `evals.logs.formats`.
        persona: the persona that was to be kept, or FILE or FILE:ID as text; by default what the
            log's own system prompts demand of every reply, or of a server's lines their scores.
        settings: what is an alarm; by default the defaults of `WatchSettings`.
        format: the log's format; by default it is recognised.
        **changes: fields of `WatchSettings` in place of those in `settings`.

    Raises:
        HoldfastError: something the user can mend.
    """
    settings = settle(settings, WatchSettings, changes)
    file = LogFile(Path(log), format)
    entries: Iterable[LogEntry] = file.entries()
    prompts = None
    if persona is None:
        entries = list(entries)
        chats = [one for one in entries if isinstance(one, RecordedChat)]
        lines = [one.record for one in entries if isinstance(one, ServerLine)]
        if not chats and any(line.score is not None for line in lines):
            persona = _as_scored(lines)
        else:
            prompts = draft_personas(file.path, chats)
            persona = _as_one(prompts)
    elif not isinstance(persona, Persona):
        persona = load_persona(str(persona))
    traffic = Traffic(persona, settings)
    replies: list[ReplyRecord] = []
    count = 0
    for observations in replay(file, entries, traffic, prompts):
        count += 1
        replies += [one.record for one in observations]
    if not count:
        raise file.nothing()
    reading = file.reading
    if prompts:
        reading = prompts.note(reading)
    if persona.needs_model and all(one.score is None for one in replies):
        raise HoldfastError(why_no_score(persona))
    state, slips = traffic.watcher.state, tuple(traffic.watcher.slips)
    summary = WatchSummary(
        log=str(log),
        lines=count,
        reading=reading,
        version=__version__,
        state=state,
        slipped=slips,
    )
    return WatchResult(summary, replies)


def _as_one(prompts: PromptPersonas) -> Persona:
    """The persona of the deployment: that of its only prompt, or one that stands for several."""
    first, *others = prompts.by_prompt.values()
    return replace(first, id=f"{len(others) + 1} system prompts" if others else "the log’s persona")


def _as_scored(lines: Sequence[ReplyRecord]) -> Persona:
    """What stands for the personas of a server's lines: a judge that is not here scored them."""
    first, *others = dict.fromkeys(line.persona for line in lines)
    id = f"{len(others) + 1} personas" if others else first or "the log’s persona"
    return Persona(id, "character", "", (), {"name": "rubric", "criteria": "as the server scored"})
