"""Conversations held batch by batch, recorded, resumed and shared out.

The plan is cut into batches of `protocol.batch` conversations, which its manifest fixes. After
every round of a batch its records are appended to the run. A batch that a kill left unfinished is
run again whole on a local model, whose arithmetic depends on the batch; on an API, or where that
is chosen, it goes on after its last complete round. Conversations under different controls take
turns round by round, so that a slow moment of the machine meets all controls alike.

`rounds` says what is asked in a round, and `core.shards` who does a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from holdfast.core.backend import Backend, tokens_drawn
from holdfast.core.control import NONE, Control
from holdfast.core.errors import ControlError, ModelError
from holdfast.core.progress import Progress
from holdfast.core.run import Run, TurnTime
from holdfast.core.shards import Units, Where, share_out
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import OpenConversation, RoundResult, SelfChat
from holdfast.evals.conversation.settings import Resume
from holdfast.results.conversation import RoundRecord
from holdfast.results.verdict import JudgeVerdict

ConversationRun = Run[RoundRecord, JudgeVerdict]


@dataclass(frozen=True)
class ConversationBatch:
    """Conversations that are held side by side."""

    index: int
    """Position among the batches of the run."""
    conversations: Sequence[Conversation]
    rounds: int
    """Rounds of each, or those of its script where that is shorter."""

    @property
    def steps(self) -> int:
        """Rounds; the probes of the empty history are part of the first, or a step if alone."""
        return max(self.rounds, 1)

    def whole_rounds(self, records: Sequence[RoundRecord]) -> tuple[list[RoundRecord], set[int]]:
        """The records up to the last round that every conversation still going has.

        And the ids of those that have another round to come.
        """
        whole: list[RoundRecord] = []
        last = {c.id: c.rounds(self.rounds) for c in self.conversations}
        going, r = set(last), 0
        while going:
            rows = [one for one in records if one.round == r and one.conversation in going]
            if len(rows) < len(going):
                break
            whole += rows
            going -= {one.conversation for one in rows if one.stopped}
            going -= {id_ for id_ in going if last[id_] == r}
            r += 1
        return whole, going

    def is_done(self, records: Sequence[RoundRecord]) -> bool:
        """Whether the records are all that the batch will have."""
        return not self.whole_rounds(records)[1]


def batches_of(plan: Sequence[Conversation], size: int, rounds: int) -> list[ConversationBatch]:
    """The plan in batches of at most `size` conversations."""
    starts = range(0, len(plan), size)
    return [
        ConversationBatch(i, plan[start : start + size], rounds) for i, start in enumerate(starts)
    ]


def converse(
    chat: SelfChat,
    plan: Sequence[Conversation],
    run: ConversationRun,
    progress: Progress,
    *,
    timed: bool = False,
    where: Where = None,
    stage: str = "",
    skip_refused: bool = False,
    resume: Resume = "batch",
) -> None:
    """Hold all planned conversations and append their records to the run.

    Args:
        chat: the models and what is asked in a round.
        plan: the conversations; `chat.protocol.batch` of them make a batch.
        run: the records; what it has is not done again.
        progress: shows rounds of batches.
        timed: also record how long the agents' turns take.
        where: shares batches out; by default all are done here.
        stage: names what is done, where the progress has another name for the whole.
        skip_refused: end the conversations under a control that the model refuses on the way,
            and go on with the others; by default the error ends the run.
        resume: where an unfinished batch of local models goes on.
    """
    protocol = chat.protocol
    models = [model for model in (chat.agent, chat.other) if model is not None]
    batches = batches_of(plan, protocol.batch, protocol.rounds)
    batch_of = {c.id: batch.index for batch in batches for c in batch.conversations}
    # Models stay where they are: whoever does a batch puts its own in.
    bare = replace(chat, agent=None, user=None)
    units = Units(
        batches,
        unit_of=lambda record: batch_of[record.conversation],
        is_done=ConversationBatch.is_done,
        steps=lambda batch: batch.steps,
        work=partial(_hold_batch, bare, chat.agent is not None, timed, skip_refused, resume),
    )
    steps, here = units.total_steps(where), len(units.done_here(where))
    rounds = f"rounds in {here} batches" if here > 1 else "rounds"
    step = rounds if protocol.rounds else "batches"
    with progress.of(steps, step, stage, lambda: sum(map(tokens_drawn, models))):
        share_out(units, run, models, progress, where)


def _hold_batch(
    chat: SelfChat,
    probed: bool,
    timed: bool,
    skip_refused: bool,
    resume: Resume,
    models: Sequence[Backend],
    batch: ConversationBatch,
    run: ConversationRun,
    progress: Progress,
) -> None:
    """Hold one batch with the models of this process."""
    if models:
        chat = replace(chat, agent=models[0] if probed else None, user=models[-1])
    exact = resume == "batch" and all(model.local for model in models)
    records = _records_to_resume(batch, run, exact=exact)
    for model in models:
        model.forget()
    conversations = _replay(batch, records)
    first = _last_round(records) + 1
    progress.resume(max(first - 1, 0) if batch.rounds else first)
    for r in range(first, batch.rounds + 1):
        step = 1.0 if r or not batch.rounds else 0.0
        going = [c for c in conversations if not c.stopped and r <= c.plan.rounds(batch.rounds)]
        groups = _take_turns(going, r)
        new: list[RoundRecord] = []
        for group in groups:
            result = _hold_or_end(chat, group, r) if skip_refused else chat.hold(group, r)
            if timed and r:
                time = TurnTime(
                    batch=batch.index,
                    round=r,
                    control=str(group[0].plan.control),
                    seconds=round(result.seconds, 6),
                    tokens=result.tokens,
                )
                run.add_times([time])
            progress.advance(step / len(groups), sum(map(_count_generated, result.records)))
            new += result.records
        if not groups:  # all have stopped
            progress.advance(step, 0)
        run.append(new)


def _hold_or_end(chat: SelfChat, group: Sequence[OpenConversation], r: int) -> RoundResult:
    """Hold a round of conversations under one control, or end them if the model refuses it."""
    control = group[0].plan.control
    try:
        return chat.hold(group, r)
    except (ControlError, ModelError) as error:
        if control is None or control == NONE:
            raise
        for c in group:
            c.stopped = True
        return RoundResult(
            [
                RoundRecord(conversation=c.id, round=r, stopped=True, refused=str(error))
                for c in group
            ]
        )


def _records_to_resume(
    batch: ConversationBatch, run: ConversationRun, *, exact: bool
) -> list[RoundRecord]:
    """The batch's records to go on from; others of the batch are dropped from the run.

    To be `exact`, an unfinished batch is run from its beginning.
    """
    ids = {conversation.id for conversation in batch.conversations}
    of_batch = [record for record in run.records if record.conversation in ids]
    whole, going = batch.whole_rounds(of_batch)
    records = [] if exact and going else whole
    if len(records) < len(of_batch):
        run.keep([r for r in run.records if r.conversation not in ids] + records)
    return records


def _replay(batch: ConversationBatch, records: Sequence[RoundRecord]) -> list[OpenConversation]:
    """The batch's conversations as the records left them."""
    conversations = {c.id: OpenConversation(c) for c in batch.conversations}
    for record in records:
        conversation = conversations[record.conversation]
        conversation.stopped = bool(record.stopped)
        if record.user and record.agent:
            conversation.add(record.user)
            conversation.add(record.agent)
        if record.filled:
            conversation.twin_turns.append(record.filled.user)
            conversation.add(record.filled.agent, twin=True)
    return list(conversations.values())


def _take_turns(conversations: Sequence[OpenConversation], r: int) -> list[list[OpenConversation]]:
    """Conversations by control; each round another control goes first, so that none is favoured."""
    groups: dict[Control | None, list[OpenConversation]] = {}
    for conversation in conversations:
        groups.setdefault(conversation.plan.control, []).append(conversation)
    order = list(groups.values())
    first = r % len(order) if order else 0
    return order[first:] + order[:first]


def _last_round(records: Sequence[RoundRecord]) -> int:
    return max((record.round for record in records), default=-1)


def _count_generated(record: RoundRecord) -> int:
    """Replies generated for a record: neither starters nor recorded turns are."""
    answers = [answer for answer in record.answers if answer.arm != "reply"]
    turns = 0
    if record.user and len(answers) == len(record.answers):
        turns = 1 + (record.round > 1) + (record.filled is not None)
    return len(answers) + turns + len(record.questions or ())
