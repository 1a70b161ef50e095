"""What a run of conversations will take, from one measured step.

The first conversations are asked their probes at round 0, as the run would ask them. Their replies
say how long replies are and how fast tokens come at that width; the plan says how many replies
there are. Then some conversations are held without a model, which says those replies again, so
that every prompt is there as the run would send it, and its characters are counted. That longer
prompts take longer this does not know: the time is an estimate from below.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any

from holdfast.control.rewrite import rewrite
from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.control import NONE
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import OpenConversation, SelfChat
from holdfast.evals.estimate import RunEstimate, add_costs, cost_of, count_characters
from holdfast.report.words import capitalise

STEP = 8
"""Conversations of the measured step."""
PLAYED = 64
"""Conversations at most that are held without a model; the prompts of more are in proportion."""


def name_uncounted(
    *, rounds: int | None, screen: bool, judge: bool = False, vectors: bool = False
) -> str:
    """What the estimate does not count, in one sentence; empty where it counts all.

    Args:
        rounds: rounds of each conversation; None for those of recorded chats. The prompts of one
            round alone are hardly longer than those measured.
        screen: whether personas are screened first.
        judge: whether a model judges.
        vectors: whether the value vectors are read.
    """
    kinds = (
        ("time for the longer prompts of later rounds", rounds != 1),
        ("a screening", screen),
        ("what a judge reads and says", judge),
        ("the value vectors", vectors),
    )
    names = [name for name, there in kinds if there]
    if not names:
        return ""
    most = ", ".join(names[:-1])
    sentence = f"{most} and {names[-1]}" if most else names[-1]
    verb = "come" if most or vectors else "comes"
    return f"{capitalise(sentence)} {verb} on top."


class StandIn:
    """A model's part in a conversation: it says replies in turn and counts what it is asked.

    Attributes:
        characters: characters of all prompts so far, as the model's control rewrites them.
        replies: replies so far.
    """

    local = False

    def __init__(self, model: Backend, texts: Sequence[str]) -> None:
        self._model, self._texts = model, cycle(texts or ("",))
        self.characters = self.replies = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """Return the next replies, and count the prompts."""
        first = self._model.user_first
        for ask in asks:
            chat = rewrite(ask.chat, ask.control, user_first=first, judge=ask.judge)
            self.characters += count_characters(chat)
        self.replies += len(asks)
        return [Reply(next(self._texts)) for _ in asks]

    def cost(self, per_character: float, per_reply: float) -> float | None:
        """What its tokens cost, by tokens of a character and of a reply; None without a price."""
        return cost_of(self._model, self.characters * per_character, self.replies * per_reply)


def estimate(chat: SelfChat, plan: Sequence[Conversation]) -> RunEstimate:
    """Measure one step of a run and say what the whole will take; nothing is recorded.

    Args:
        chat: the models and what is asked in a round.
        plan: the conversations, under each control; those without one are measured.
    """
    first = [one for one in plan if one.control in (None, NONE)][:STEP]
    start = time.monotonic()
    records = chat.hold([OpenConversation(one) for one in first], 0).records
    seconds = time.monotonic() - start
    answers = [answer for record in records for answer in record.answers]
    texts = [answer.text for answer in answers]
    measured = sum(one.characters for one in _play(chat, first, texts, 0))
    per_character = sum(answer.tokens[0] for answer in answers) / max(1, measured)
    some = random.Random(0).sample([*plan], min(PLAYED, len(plan)))
    played = _play(chat, some, texts, chat.protocol.rounds)
    replies = sum(_replies(chat, one) for one in plan)
    scale = replies / max(1, sum(one.replies for one in played))
    result = RunEstimate.of(
        replies,
        chat.protocol.sampling.max_new_tokens,
        answers=len(answers),
        tokens_drawn=sum(answer.tokens[2] for answer in answers),
        seconds=seconds,
        prompt_tokens=scale * per_character * sum(one.characters for one in played),
    )
    per_reply = result.tokens / max(1, replies)
    cost = add_costs(one.cost(scale * per_character, scale * per_reply) for one in played)
    return replace(result, cost=cost)


def _play(
    chat: SelfChat, plan: Sequence[Conversation], texts: Sequence[str], rounds: int
) -> list[StandIn]:
    """Hold conversations with stand-ins for the models, which say the texts in turn."""
    agent, user = chat.agent, chat.user
    assert agent is not None and user is not None
    stand_ins = [StandIn(model, texts) for model in ((agent, user) if chat.other else (agent,))]
    chat = replace(chat, agent=stand_ins[0], user=stand_ins[-1], likelihood=False)
    chat = replace(chat, protocol=replace(chat.protocol, rounds=rounds, measure=False))
    conversations = [OpenConversation(one) for one in plan]
    for r in range(rounds + 1):
        if going := [one for one in conversations if r <= one.plan.rounds(rounds)]:
            chat.hold(going, r)
    return stand_ins


def _replies(chat: SelfChat, conversation: Conversation) -> int:
    """Replies of one conversation: probes at round 0, then turns, twins, probes and questions."""
    protocol = chat.protocol
    recorded = conversation.script is not None
    rounds = conversation.rounds(protocol.rounds)
    twin, user = protocol.filler and not recorded, protocol.user_persona and not recorded
    first = protocol.runs * (1 + conversation.floor) + 2 * user
    turns = 0 if recorded else 2 * rounds - 1 + twin * rounds
    asked = [q for r in range(rounds + 1) for q in chat.questions.get((conversation.id, r), ())]
    questions = sum(not (chat.likelihood and question.choices) for question in asked)
    probes = rounds * (protocol.runs + user + protocol.history_floor + twin)
    return first + turns + probes + questions
