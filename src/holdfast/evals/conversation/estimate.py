"""What a run of conversations will take, from one measured step.

The first conversations are asked their probes at round 0, as the run would ask them. Their replies
say how long replies are and how fast tokens come at that width; the plan says how many replies
there are. Later rounds have longer prompts, which this does not know: it is an estimate from below.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import OpenConversation, SelfChat
from holdfast.evals.estimate import RunEstimate
from holdfast.report.words import capitalise

STEP = 8
"""Conversations of the measured step."""


def name_uncounted(
    *, rounds: int | None, screen: bool, questions: bool = False, vectors: bool = False
) -> str:
    """What the estimate does not count, in one sentence; empty where it counts all.

    Args:
        rounds: rounds of each conversation; None for those of recorded chats. The prompts of one
            round alone are hardly longer than those measured.
        screen: whether personas are screened first.
        questions: whether capability is asked.
        vectors: whether the value vectors are read.
    """
    kinds = (
        ("longer prompts of later rounds", rounds != 1),
        ("capability questions", questions),
        ("a screening", screen),
        ("the value vectors", vectors),
    )
    names = [name for name, there in kinds if there]
    if not names:
        return ""
    most = ", ".join(names[:-1])
    sentence = f"{most} and {names[-1]}" if most else names[-1]
    verb = "comes" if sentence == "a screening" else "come"
    return f"{capitalise(sentence)} {verb} on top."


def estimate(chat: SelfChat, plan: Sequence[Conversation]) -> RunEstimate:
    """Measure one step of a run and say what the whole will take; nothing is recorded.

    Args:
        chat: the models and what is asked in a round.
        plan: the conversations, those under each control counted.
    """
    start = time.monotonic()
    some = [OpenConversation(one) for one in plan[:STEP]]
    answers = [answer for record in chat.hold(some, 0).records for answer in record.answers]
    return RunEstimate.of(
        sum(_replies(chat, one) for one in plan),
        chat.protocol.sampling.max_new_tokens,
        answers=len(answers),
        tokens_drawn=sum(answer.tokens[2] for answer in answers),
        seconds=time.monotonic() - start,
    )


def _replies(chat: SelfChat, conversation: Conversation) -> int:
    """Replies of one conversation: probes at round 0, then turns, twins and probes."""
    protocol = chat.protocol
    recorded = conversation.script is not None
    rounds = conversation.rounds(protocol.rounds)
    twin, user = protocol.filler and not recorded, protocol.user_persona and not recorded
    first = protocol.runs * (1 + conversation.floor) + 2 * user
    turns = 0 if recorded else 2 * rounds - 1 + twin * rounds
    return first + turns + rounds * (protocol.runs + user + protocol.history_floor + twin)
