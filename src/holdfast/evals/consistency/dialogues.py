"""The conversations of a log or of a run, with the prompts of both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.core.run import Run
from holdfast.evals.logs.chat import RecordedChat, Turn, Unfit
from holdfast.evals.logs.joining import joined
from holdfast.evals.logs.read import LogFile
from holdfast.results.conversation import RoundRecord
from holdfast.results.recorded.log import BadLine, LogReading
from holdfast.results.verdict import JudgeVerdict


@dataclass(frozen=True)
class Dialogue:
    """A conversation between a simulated user and an agent."""

    where: str
    """The file and the line, or the conversation of a run."""
    turns: tuple[Turn, ...]
    """What was said, tools left out."""
    agent_prompt: str | None = None
    """The agent's system prompt, where known."""
    user_prompt: str | None = None
    """The simulated user's, where known."""

    def lines(self, role: str) -> list[str]:
        """What one side said."""
        return [text for who, text in self.turns if who == role]


def read_dialogues(
    path: Path, format: str | None = None, user_prompt: str | None = None
) -> tuple[list[Dialogue], LogReading | None]:
    """The conversations of a log, or of the folder of a drift or compare run.

    Args:
        path: the log, or the folder.
        format: the log's format; by default it is recognised.
        user_prompt: the user's prompt, where the log does not say it.

    Raises:
        HoldfastError: the log or the folder cannot be read.
    """
    if path.is_dir():
        return list(_of_run(path)), None
    log = LogFile(path, format)
    chats = []
    for entry in log.entries():
        try:
            chats.append(entry if isinstance(entry, RecordedChat) else entry.chat)
        except Unfit as why:
            log.refuse(BadLine(entry.where, str(why)))
    if not chats:
        raise log.nothing()
    dialogues = [
        Dialogue(
            chat.where,
            tuple(turn for turn in chat.turns if turn[0] != "tool"),
            chat.system,
            chat.user_prompt or user_prompt,
        )
        for chat in joined(chats)
    ]
    return dialogues, log.reading


def _of_run(folder: Path) -> Iterator[Dialogue]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HoldfastError(f"{folder} holds no run: name a folder of drift or compare.") from error
    planned = manifest.get("conversations") if isinstance(manifest, dict) else None
    if not planned:
        raise HoldfastError(f"{folder} has no conversations: name a folder of drift or compare.")
    prompts = {id: persona["prompt"] for id, persona in manifest["personas"].items()}
    found: dict[int, Dialogue] = {}
    for record in Run(folder, manifest, RoundRecord, JudgeVerdict).records:
        # Under several controls conversations are numbered on, control by control.
        _, agent, user, *_ = planned[record.conversation % len(planned)]
        where = f"{folder}, conversation {record.conversation}"
        one = found.setdefault(
            record.conversation, Dialogue(where, (), prompts[agent], prompts[user])
        )
        if record.user is not None and record.agent is not None:
            said = (("user", record.user.text), ("assistant", record.agent.text))
            found[record.conversation] = replace(one, turns=(*one.turns, *said))
    yield from (one for one in found.values() if one.turns)
