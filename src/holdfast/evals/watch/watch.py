"""Replay a log of traffic: does the deployment drift, and when would that have been known?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import settle
from holdfast.core.version import __version__
from holdfast.evals.watch.log import replay
from holdfast.evals.watch.traffic import Traffic
from holdfast.evals.watch.watcher import WatchSettings
from holdfast.persona.suite import Persona, load_persona
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
    persona: Persona | Path | str,
    settings: WatchSettings | None = None,
    **changes: Any,
) -> WatchResult:
    """Replay a log; what the command `holdfast watch` does.

    Args:
        log: JSONL of conversations, of requests, or of a server's lines (`evals.watch.log`).
        persona: the persona that was to be kept, or FILE or FILE:ID as text.
        settings: what is an alarm; by default the defaults of `WatchSettings`.
        **changes: fields of `WatchSettings` in place of those in `settings`.

    Raises:
        HoldfastError: something the user can mend.
    """
    settings = settle(settings, WatchSettings, changes)
    persona = persona if isinstance(persona, Persona) else load_persona(str(persona))
    traffic = Traffic(persona, settings)
    replies: list[ReplyRecord] = []
    lines = 0
    for observations in replay(Path(log), traffic):
        lines += 1
        replies += [one.record for one in observations]
    if not lines:
        raise HoldfastError(f"{log} holds no lines: each is a conversation, or a reply of one.")
    state, slips = traffic.watcher.state, tuple(traffic.watcher.slips)
    summary = WatchSummary(
        log=str(log), lines=lines, version=__version__, state=state, slipped=slips
    )
    return WatchResult(summary, replies)
