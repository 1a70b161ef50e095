"""The conversations of a log or of a run, with the prompts of both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import RunError
from holdfast.evals.conversation.run_folder import read_run
from holdfast.evals.logs.chat import RoleAndText
from holdfast.evals.logs.joining import join_chats
from holdfast.evals.logs.read import LogFile
from holdfast.results.recorded.log import LogReading

COMMANDS = ("drift", "compare", "explain")
"""Commands whose folders hold conversations of two sides."""


@dataclass(frozen=True)
class Dialogue:
    """A conversation between a simulated user and an agent."""

    where: str
    """The file and the line, or the conversation of a run."""
    turns: tuple[RoleAndText, ...]
    """What was said, tools left out."""
    agent_prompt: str | None = None
    """The agent's system prompt, where known."""
    user_prompt: str | None = None
    """The simulated user's, where known."""
    pair: tuple[str, str] | None = None
    """Ids of the agent's and the user's persona in a run, which meet once under each control; None
    in a log."""

    def lines(self, role: str) -> list[str]:
        """What one side said."""
        return [text for who, text in self.turns if who == role]


def read_dialogues(
    path: Path, format: str | None = None, user_prompt: str | None = None
) -> tuple[list[Dialogue], LogReading | None]:
    """The conversations of a log, or of the folder of a drift, compare or explain run.

    Args:
        path: the log, or the folder.
        format: the log's format; by default it is recognised.
        user_prompt: the user's prompt, where the log does not say it.

    Raises:
        HoldfastError: the log or the folder cannot be read.
    """
    if path.is_dir():
        if not (of_run := list(_of_run(path))):
            raise RunError(f"{path} holds no round of a conversation yet: run its command again.")
        return of_run, None
    log = LogFile(path, format)
    chats = list(log.chats())
    if not chats:
        raise log.nothing()
    dialogues = [
        Dialogue(
            chat.where,
            tuple(turn for turn in chat.turns if turn[0] != "tool"),
            chat.system,
            chat.user_prompt or user_prompt,
        )
        for chat in join_chats(chats)
    ]
    return dialogues, log.reading


def _of_run(folder: Path) -> Iterator[Dialogue]:
    source = read_run(folder, COMMANDS)
    plans = {plan.id: plan for plan in source.plans}
    turns: dict[int, list[RoleAndText]] = {}
    for record in source.run.records:
        exchanges = turns.setdefault(record.conversation, [])
        if record.user is not None and record.agent is not None:
            exchanges += (("user", record.user.text), ("assistant", record.agent.text))
    for number, exchanges in turns.items():
        if exchanges:
            plan = plans[number]
            agent, user = plan.agent, plan.user
            pair = (agent.id, user.id) if plan.script is None else None
            where = f"{folder}, conversation {number}"
            yield Dialogue(where, tuple(exchanges), agent.prompt, user.prompt, pair)
