"""Rounds of self-chat: turns, twins with a neutral user, and probes on branches.

One round of several conversations is three calls of the backend: the users' turns, the agents'
replies (with those of the twins, whose user says neutral filler), and every probe at once; where
there are capability questions after this round, a fourth. The turns of a recorded chat (`script`)
take the place of the first two.

This module asks and records. It judges nothing, knows no files, and a record holds no times, so
that a run can be resumed byte for byte (`batches`).
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import NamedTuple, TypeVar

from holdfast.core.backend import Ask, Backend, Reply, Sampling, seconds_of
from holdfast.core.chat import Chat, agent_view, user_view
from holdfast.core.control import Control, parse
from holdfast.core.seeds import seed_of
from holdfast.evals.conversation.plan import Conversation, filler
from holdfast.evals.conversation.reply_records import probe_answer, turn_of
from holdfast.evals.conversation.settings import ConversationProtocol
from holdfast.evals.tasks import answers as capability
from holdfast.evals.tasks.answers import LETTERS, Question
from holdfast.results.conversation import Arm, FillerTurn, ProbeAnswer, RoundRecord, Turn

K = TypeVar("K", bound=Hashable)


@dataclass
class OpenConversation:
    """A conversation that is being held."""

    plan: Conversation
    """Who talks, and how it opens."""
    turns: list[str] = field(default_factory=list)
    """Its turns so far, the user's first."""
    twin_turns: list[str] = field(default_factory=list)
    """The turns of its twin with a neutral user."""
    thoughts: dict[int, str] = field(default_factory=dict)
    """What was thought before a turn, by its place."""
    twin_thoughts: dict[int, str] = field(default_factory=dict)
    """The same of its twin."""
    stopped: bool = False
    """Whether a turn did not fit the context."""
    next_user: Reply | None = None
    """The user's next turn, where it was generated together with the probes."""

    @property
    def id(self) -> int:
        """Id of the conversation in the records."""
        return self.plan.id

    def add(self, turn: Reply | Turn, *, twin: bool = False) -> None:
        """Add a turn to the conversation or its twin, and keep the thought before it."""
        turns = self.twin_turns if twin else self.turns
        if turn.thought:
            (self.twin_thoughts if twin else self.thoughts)[len(turns)] = turn.thought
        turns.append(turn.text)

    def view(
        self, question: str | None = None, *, prompted: bool = True, twin: bool = False
    ) -> Chat:
        """What the agent sees, or its twin, with its system prompt or without."""
        turns = self.twin_turns if twin else self.turns
        thoughts = self.twin_thoughts if twin else self.thoughts
        prompt = self.plan.agent.prompt if prompted else None
        return agent_view(prompt, turns, question, thoughts, self.plan.agent.authors_note)


class Probe(NamedTuple):
    """One question asked on a branch of a conversation."""

    arm: Arm
    run: int
    question: str
    chat: Chat


class AgentTurns(NamedTuple):
    """The agents' replies of a round, by conversation, and what they cost."""

    replies: dict[int, Reply]
    twins: dict[int, Reply]
    """Replies to the twins' neutral users."""
    seconds: float
    tokens: int


class RoundResult(NamedTuple):
    """What one round of several conversations gave."""

    records: list[RoundRecord]
    seconds: float = 0.0
    """Seconds that the agents' turns took."""
    tokens: int = 0
    """Tokens of the agents' turns."""


@dataclass(frozen=True)
class SelfChat:
    """Two models in conversation: everything that a round needs."""

    agent: Backend | None
    """The agent's model; None where recorded chats are judged without one."""
    user: Backend | None
    """The user's model."""
    protocol: ConversationProtocol
    """What is asked in a round."""
    fillers: Sequence[str] = ()
    """Neutral messages for the twins' users."""
    questions: Mapping[tuple[int, int], Sequence[Question]] = field(default_factory=dict)
    """Capability questions, by conversation and the round that they follow."""
    likelihood: bool = False
    """Answer multiple choice with the likeliest letter rather than with generated text."""

    @property
    def other(self) -> Backend | None:
        """The user's model, where it is not the agent's."""
        return self.user if self.user is not self.agent else None

    def hold(self, conversations: Sequence[OpenConversation], r: int) -> RoundResult:
        """Round r of conversations that all go on: turns, then probes; only probes at round 0."""
        if r == 0:
            answers = self._probe(conversations, 0)
            return RoundResult(
                [
                    RoundRecord(conversation=c.id, round=0, answers=answers[c.id])
                    for c in conversations
                ]
            )
        users = self._user_turns(conversations, r)
        for c in conversations:
            c.add(users[c.id])
            if self._has_twin(c):
                c.twin_turns.append(self._neutral(c, users[c.id].text, r))
        agents = self._agent_turns(conversations, r)
        for c in conversations:
            turns = [users[c.id], agents.replies[c.id]]
            c.add(turns[1])
            if c.id in agents.twins:
                turns.append(agents.twins[c.id])
                c.add(turns[2], twin=True)
            c.stopped = any(turn.stop == "overflow" for turn in turns)
        going = [c for c in conversations if not c.stopped]
        answers, questions = self._probe(going, r), self._question(going, r)
        records = [
            RoundRecord(
                conversation=c.id,
                round=r,
                user=turn_of(users[c.id]),
                agent=turn_of(agents.replies[c.id]),
                filled=self._filler_turn(c, users[c.id], agents.twins.get(c.id)),
                answers=answers.get(c.id, ()),
                stopped=True if c.stopped else None,
                questions=questions.get(c.id),
            )
            for c in conversations
        ]
        return RoundResult(records, agents.seconds, agents.tokens)

    def _reply(
        self, backend: Backend | None, asks: Mapping[K, Ask], sampling: Sampling | None = None
    ) -> dict[K, Reply]:
        """The replies by the keys of their asks, in one call; no call where there are no asks."""
        if backend is None or not asks:
            return {}
        replies = backend.reply(list(asks.values()), sampling or self.protocol.sampling)
        if self.protocol.reference:
            replies = [replace(one, text=" ".join(one.text.splitlines())) for one in replies]
        return dict(zip(asks, replies, strict=True))

    @cached_property
    def control(self) -> Control:
        """The agents' control, where a conversation has none of its own."""
        return parse(self.protocol.control)

    def _ask(self, c: OpenConversation, chat: Chat, seed: int, **hints: bool) -> Ask:
        """What the agent is asked, under the conversation's control and its persona's judge."""
        own = c.plan.control or self.control
        return Ask(chat, seed, own, judge=c.plan.agent.judge, **hints)

    def _has_twin(self, c: OpenConversation) -> bool:
        return self.protocol.filler and c.plan.script is None

    def _user_turns(self, conversations: Sequence[OpenConversation], r: int) -> dict[int, Reply]:
        ready: dict[int, Reply] = {}
        for c in conversations:
            if c.plan.script is not None:
                ready[c.id] = Reply(c.plan.script[2 * r - 2])
            elif r == 1:
                ready[c.id] = Reply(c.plan.starter)
            elif c.next_user is not None:
                ready[c.id], c.next_user = c.next_user, None
        asks = {c.id: self._user_ask(c, r) for c in conversations if c.id not in ready}
        return ready | self._reply(self.user, asks)

    def _user_ask(self, c: OpenConversation, r: int) -> Ask:
        folded = self.user is not None and self.user.user_first
        view = user_view(c.plan.user.prompt, c.turns, folded=folded, thoughts=c.thoughts)
        return Ask(view, seed_of(c.plan.seed, "user", r))

    def _neutral(self, c: OpenConversation, text: str, r: int) -> str:
        """Neutral text as long as `text`, in the agent's tokens."""
        assert self.agent is not None
        seed = seed_of(c.plan.seed, "filler", r)
        return filler(self.fillers, max(1, self.agent.count(text)), seed, self.agent.count)

    def _agent_turns(self, conversations: Sequence[OpenConversation], r: int) -> AgentTurns:
        """The agents' replies and those of the twins, in one call."""
        measure = self.protocol.measure
        script_replies: dict[int, Reply] = {}
        asks: dict[tuple[str, int], Ask] = {}
        for c in conversations:
            seed = seed_of(c.plan.seed, "agent", r)
            if c.plan.script is not None:
                script_replies[c.id] = Reply(c.plan.script[2 * r - 1])
            else:
                asks["agent", c.id] = self._ask(c, c.view(), seed, measure=measure)
        for c in filter(self._has_twin, conversations):
            asks["twin", c.id] = self._ask(c, c.view(twin=True), seed_of(c.plan.seed, "filled", r))
        clock = seconds_of(self.agent) if self.agent else time.perf_counter
        start = clock()
        replies = self._reply(self.agent, asks)
        seconds = clock() - start
        return AgentTurns(
            script_replies
            | {id_: reply for (side, id_), reply in replies.items() if side == "agent"},
            {id_: reply for (side, id_), reply in replies.items() if side == "twin"},
            seconds,
            sum(reply.completion_tokens for reply in replies.values()),
        )

    def _filler_turn(
        self, c: OpenConversation, user: Reply, twin: Reply | None
    ) -> FillerTurn | None:
        if twin is None or self.agent is None:
            return None
        neutral, count = c.twin_turns[-2], self.agent.count
        return FillerTurn(neutral, (count(user.text), count(neutral)), turn_of(twin))

    def _probe(
        self, conversations: Sequence[OpenConversation], r: int
    ) -> dict[int, tuple[ProbeAnswer, ...]]:
        """The answers to all probes after r rounds, in one call: a branch each, never followed.

        Where one model plays both sides, the users' next turns are asked in that call too, which
        keeps its rows, or an API's connections, busy.
        """
        probes = {(c.id, p.arm, p.run): (c, p) for c in conversations for p in self._probes(c, r)}
        asks: dict[tuple[int, str, int], Ask] = {
            key: self._ask(
                c,
                p.chat,
                seed_of(c.plan.seed, "probe", r, p.arm, p.run),
                # Two chains start here: the history without a prompt, and the agent's prompt.
                keep=p.arm == "history_floor" or (r == p.run == 0 and p.arm == "own"),
                measure=self.protocol.measure and p.arm == "own" and p.run == 0,
            )
            for key, (c, p) in probes.items()
        }
        if 0 < r < self.protocol.rounds and self.other is None:
            for c in conversations:
                if c.plan.script is None:
                    asks[c.id, "next user", 0] = self._user_ask(c, r + 1)
        replies = self._reply(self.agent, asks)
        answers: dict[int, list[ProbeAnswer]] = {c.id: [] for c in conversations}
        for c in conversations:
            c.next_user = replies.get((c.id, "next user", 0))
            if r and c.plan.script is not None:
                reply = Reply(c.turns[-1])
                answers[c.id].append(probe_answer("reply", 0, c.turns[-2], reply))
        for key, (c, p) in probes.items():
            answers[c.id].append(probe_answer(p.arm, p.run, p.question, replies[key]))
        return {id_: tuple(texts) for id_, texts in answers.items()}

    def _probes(self, c: OpenConversation, r: int) -> Iterator[Probe]:
        """Every probe of a conversation after r rounds."""
        if self.agent is None:
            return
        protocol, question = self.protocol, c.plan.probe(0)
        for run in range(protocol.runs):
            probe = c.plan.probe(run)
            yield Probe("own", run, probe, c.view(probe))
            if r == 0 and c.plan.floor:
                yield Probe("floor", run, probe, agent_view(None, (), probe))
        if protocol.user_persona and c.plan.script is None:
            theirs = c.plan.user_probe
            yield Probe("user", 0, theirs, c.view(theirs))
            if r == 0:
                yield Probe("user_floor", 0, theirs, agent_view(None, (), theirs))
        if r and protocol.history_floor:
            yield Probe("history_floor", 0, question, c.view(question, prompted=False))
        if r and self._has_twin(c):
            yield Probe("filler", 0, question, c.view(question, twin=True))

    def _question(
        self, conversations: Sequence[OpenConversation], r: int
    ) -> dict[int, tuple[Turn, ...]]:
        """The answers to the capability questions after a round, greedy, by conversation."""
        if self.agent is None:
            return {}
        asks: dict[tuple[int, int], Ask] = {}
        letters: dict[tuple[int, int], str] = {}
        for c in conversations:
            for i, question in enumerate(self.questions.get((c.id, r), ())):
                if self.likelihood and question.choices:
                    letters[c.id, i] = LETTERS[: len(question.choices)]
                agent, seed = c.plan.agent, seed_of(c.plan.seed, "question", r, len(asks))
                chat = capability.chat(
                    question, agent.prompt, c.turns, c.thoughts, agent.authors_note
                )
                asks[c.id, i] = self._ask(c, chat, seed, keep=False)
        greedy = replace(self.protocol.sampling, temperature=0.0)
        texts = {key: ask for key, ask in asks.items() if key not in letters}
        replies = self._choose_letters(asks, letters) | self._reply(self.agent, texts, greedy)
        answers: dict[int, list[Turn]] = {}
        for key in asks:
            answers.setdefault(key[0], []).append(turn_of(replies[key]))
        return {id_: tuple(several) for id_, several in answers.items()}

    def _choose_letters(self, asks: Mapping[K, Ask], options: Mapping[K, str]) -> dict[K, Reply]:
        """The likeliest option as the reply to each ask that has options."""
        if self.agent is None or not options:
            return {}
        scores = self.agent.likelihoods([asks[key] for key in options], list(options.values()))
        return {
            key: _likeliest(of_options, options[key])
            for key, of_options in zip(options, scores, strict=True)
        }


def _likeliest(scores: Sequence[float], options: Sequence[str]) -> Reply:
    """The option with the highest score as a reply; none where the chat did not fit."""
    best = max(scores)
    if best == -inf:
        return Reply("", "overflow")
    return Reply(options[scores.index(best)])
