"""The same conversations once under each of several controls.

Conversation c of n under the control at position k has the id k·n + c in the records. The
variants of a conversation stand side by side, so that a batch holds its conversations under
every control and the controls can take turns round by round (`rounds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.core.backend import Backend
from holdfast.core.control import Control
from holdfast.core.progress import Progress
from holdfast.core.shards import Where
from holdfast.evals.conversation.batches import ConversationRun, converse
from holdfast.evals.conversation.judging import judge_conversations
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.results.conversation import JudgedConversation

ROWS = 384
"""Conversations of one batch, counted under each control."""


@dataclass(frozen=True)
class ControlledPlan:
    """A plan's conversations, each to be held under every control."""

    conversations: Sequence[Conversation]
    """The plan: conversation i has the id i."""
    controls: Sequence[Control]

    def record_id(self, control: int, conversation: int) -> int:
        """The id in the records of a conversation under the control at a position."""
        return control * len(self.conversations) + conversation

    def record_ids(self, control: int) -> list[int]:
        """The ids in the records of all conversations under the control at a position."""
        return [self.record_id(control, c.id) for c in self.conversations]

    def locate(self, record_id: int) -> tuple[int, int]:
        """The control's position and the conversation of an id in the records."""
        return divmod(record_id, len(self.conversations))

    def variants(self, conversation: Conversation) -> list[Conversation]:
        """One conversation under each control; only the first asks for the floor."""
        return [
            replace(conversation, id=self.record_id(k, conversation.id), control=c, floor=k == 0)
            for k, c in enumerate(self.controls)
        ]

    def variants_of_all(self) -> list[Conversation]:
        """All conversations under all controls, in the order in which they are held."""
        return [variant for c in self.conversations for variant in self.variants(c)]


def default_side_by_side(controls: int) -> int:
    """How many conversations a batch holds, each under every one of so many controls."""
    return max(1, ROWS // controls)


def hold_under_controls(
    chat: SelfChat,
    plan: ControlledPlan,
    run: ConversationRun,
    progress: Progress,
    judge_model: Backend | None,
    *,
    timed: bool = False,
    where: Where = None,
) -> list[JudgedConversation]:
    """Hold every conversation under every control, and score the answers.

    Args:
        chat: the models and the protocol.
        plan: the conversations and the controls.
        run: takes the records; what it holds already is not done again.
        progress: is told of every round.
        judge_model: scores the answers of personas that a rubric judges.
        timed: also record how long the agents' turns take.
        where: what part of the batches is done here.

    Returns:
        The judged conversations, with the ids that the plan gives them in the records.
    """
    variants = plan.variants_of_all()
    converse(chat, variants, run, progress, timed=timed, where=where)
    return judge_conversations(run, variants, judge_model)
