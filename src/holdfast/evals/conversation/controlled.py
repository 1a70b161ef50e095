"""The same conversations once under each of several controls.

Conversation c of n under the control at position k has the id k·n + c in the records. The
variants of a conversation stand side by side, so that a batch holds its conversations under
every control and the controls can take turns round by round (`rounds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.core.backend import Backend
from holdfast.core.control import Control
from holdfast.core.progress import Progress
from holdfast.core.records import Record, as_record
from holdfast.core.shards import Where
from holdfast.evals.conversation.batches import ConversationRun, converse
from holdfast.evals.conversation.judging import judge_conversations, reach_judge_of
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.settings import ConversationSettings, Resume, own_probes
from holdfast.evals.conversation.setup import Cast, Screening, check, draw_cast, manifest, setting
from holdfast.results.conversation import JudgedConversation, RoundRecord, Setting

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

    def refusals(self, records: Sequence[RoundRecord]) -> dict[str, str]:
        """The controls that the model refused on the way, with the reason."""
        reasons: dict[str, str] = {}
        for record in records:
            if record.refused is not None:
                control = self.controls[self.locate(record.conversation)[0]]
                reasons.setdefault(control.text, record.refused)
        return reasons

    def variants_of_all(self) -> list[Conversation]:
        """All conversations under all controls, in the order in which they are held."""
        return [variant for c in self.conversations for variant in self.variants(c)]


@dataclass(frozen=True)
class ControlledSetup:
    """A command's conversations, ready to be held under its controls."""

    chat: SelfChat
    """The models and what is asked in a round."""
    plan: ControlledPlan
    """The conversations and the controls."""
    cast: Cast
    """Who meets whom in them."""
    judge_model: Backend | None
    """Scores the answers of personas that a rubric judges."""

    def manifest(self, command: str, **more: Any) -> Record:
        """What determines the records, as JSON; `more` is what the command adds."""
        controls = self.plan.controls
        cast = replace(self.cast, conversations=self.plan.conversations)
        record: Record = as_record(manifest(command, self.chat, cast, self.judge_model, controls))
        return record | {"controls": [control.text for control in controls], **more}

    def setting(self) -> Setting:
        """What was run, as the summary begins."""
        return setting(self.chat, self.cast)

    def hold(
        self,
        run: ConversationRun,
        progress: Progress,
        *,
        timed: bool = False,
        where: Where = None,
        skip_refused: bool = False,
        resume: Resume = "batch",
    ) -> list[JudgedConversation]:
        """Hold every conversation under every control, and score the answers.

        The arguments are those of `converse`; the judged conversations have the ids that the plan
        gives them in the records.
        """
        variants = self.plan.variants_of_all()
        reach_judge_of(run, variants, self.judge_model)
        converse(
            self.chat,
            variants,
            run,
            progress,
            timed=timed,
            where=where,
            skip_refused=skip_refused,
            resume=resume,
        )
        return judge_conversations(run, variants, self.judge_model)


def prepare(
    model: Backend,
    settings: ConversationSettings,
    controls: Sequence[Control],
    *,
    rounds: int,
    measure: bool,
    screening: Screening | None = None,
    side_by_side: int | None = None,
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
) -> ControlledSetup:
    """Draw who talks to whom, and refuse what would fail half way.

    Only the agents' own probes are asked, and the floor once.

    Args:
        model: the agents' model.
        settings: who talks to whom, and how replies are sampled.
        controls: `none` and the others.
        rounds: rounds of each conversation.
        measure: whether to measure the prompt share.
        screening: the personas that may be agents; by default all.
        side_by_side: conversations of a batch, each under every control; by default so many
            that a batch has `ROWS` rows.
        user_model: speaks for the users; by default `model`.
        judge_model: scores the answers of personas that a rubric judges.

    Raises:
        HoldfastError: something the user can mend.
    """
    if side_by_side is None:
        side_by_side = max(1, ROWS // len(controls))
    protocol = own_probes(settings, rounds, side_by_side * len(controls), measure=measure)
    cast = draw_cast(settings, model, screening)
    check(model, judge_model, cast.conversations, protocol)
    chat = SelfChat(model, user_model or model, protocol)
    plan = ControlledPlan(cast.conversations, controls)
    return ControlledSetup(chat, plan, cast, judge_model)
