"""Conversations under way: turns, twins, probes on branches, and what is recorded of them.

One round of a batch is three calls of the backend: the users' turns, the agents'
replies (with those of the twins whose user says neutral filler), and every probe at
once; where there are capability questions after this round, a fourth. A recorded chat
(`script`) takes the place of the first two. Conversations under different controls take
turns round by round. Nothing is judged here, and a record holds no times, so that a run
can be resumed byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from math import inf
from typing import Any

from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.chat import Chat, agent_view, user_view
from holdfast.core.clock import seconds_of
from holdfast.core.control import Control, parse
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import Run, TurnTime
from holdfast.core.seeds import seed_of
from holdfast.core.shards import Where, spread
from holdfast.evals.conversation.plan import Conversation, filler
from holdfast.evals.tasks import answers as capability
from holdfast.evals.tasks.answers import LETTERS, Question


@dataclass(frozen=True)
class Protocol:
    """What a drift run does, apart from who takes part in it.

    `runs` probe answers are drawn at each point. `measure` records the prompt share
    (local models only). `reference` follows the paper's code, which turns the newlines
    of a reply into spaces before judging it and before feeding it back.
    """

    rounds: int = 8
    seed: int = 0
    runs: int = 2
    control: str = "none"
    sampling: Sampling = field(default_factory=Sampling)
    filler: bool = True
    history_floor: bool = True
    user_persona: bool = True
    measure: bool = True
    reference: bool = False
    batch: int = 64

    def __post_init__(self) -> None:
        for name in ("rounds", "runs", "batch"):
            if getattr(self, name) < 1:
                raise HoldfastError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass
class Talk:
    """A conversation under way: its turns, its twin's, and whether it had to stop.

    `ahead` is the user's next turn where it was asked for together with the probes.
    """

    plan: Conversation
    turns: list[str] = field(default_factory=list)
    filled: list[str] = field(default_factory=list)
    stopped: bool = False
    ahead: Reply | None = None


# Told of the agents' turns: the talks, the round, the seconds it took, and the replies.
Watch = Callable[[Sequence[Talk], int, float, Sequence[Reply]], None]
Timing = Callable[[Sequence[Talk], int, float, Sequence[Reply]], TurnTime]


@dataclass(frozen=True)
class Stage:
    """Everything that a batch needs: the models, the protocol, and the neutral messages.

    `agent` is None where recorded talks are judged without a model to probe. `questions`
    are asked of a conversation after a round, by (conversation, round), and those with
    choices answered by the likelier letter where `likelihood`; `watch` is told
    how long the agents' turns took.
    """

    agent: Backend | None
    user: Backend | None
    protocol: Protocol
    fillers: Sequence[str] = ()
    questions: Mapping[tuple[int, int], Sequence[Question]] = field(default_factory=dict)
    likelihood: bool = False
    watch: Watch | None = None

    @property
    def other(self) -> Backend | None:
        """The user's model, where it is not the agent's."""
        return self.user if self.user is not self.agent else None

    def ask(self, backend: Backend | None, asks: Sequence[Ask]) -> list[Reply]:
        """The replies; no backend is asked nothing."""
        replies = backend.reply(asks, self.protocol.sampling) if backend and asks else []
        if not self.protocol.reference:
            return replies
        return [replace(reply, text=" ".join(reply.text.splitlines())) for reply in replies]

    def open(self, talks: Sequence[Talk]) -> list[Record]:
        """Round 0: the probes on the empty history, and the floors."""
        return self._probe(talks, 0)

    def round(self, talks: Sequence[Talk], number: int) -> list[Record]:
        """One round of every conversation still going, then its probes."""
        users = self._user_turns(talks, number)
        for talk, user in zip(talks, users, strict=True):
            talk.turns.append(user.text)
            if self._fills(talk):
                talk.filled.append(self._neutral(talk, user.text, number))
        agents, twins = self._agent_turns(talks, number)
        for talk, user, agent, twin in zip(talks, users, agents, twins, strict=True):
            talk.turns.append(agent.text)
            if twin is not None:
                talk.filled.append(twin.text)
            talk.stopped = "overflow" in (user.stop, agent.stop, twin.stop if twin else "")
        going = [talk for talk in talks if not talk.stopped]
        probed = {record["conversation"]: record for record in self._probe(going, number)}
        for id_, asked in self._examine(going, number).items():
            probed[id_]["questions"] = asked
        return [
            self._record(talk, number, user, agent, twin)
            | probed.get(talk.plan.id, {"answers": [], "stopped": True})
            for talk, user, agent, twin in zip(talks, users, agents, twins, strict=True)
        ]

    @cached_property
    def control(self) -> Control:
        """The agent's control, where a conversation has none of its own."""
        return parse(self.protocol.control)

    def _control(self, talk: Talk) -> Control:
        return talk.plan.control or self.control

    def _examine(self, talks: Sequence[Talk], number: int) -> dict[int, list[Record]]:
        """The answers to the questions after a round, greedy, by conversation."""
        planned = [
            (talk, question)
            for talk in talks
            for question in self.questions.get((talk.plan.id, number), ())
        ]
        if not planned or self.agent is None:
            return {}
        asks = [
            Ask(
                capability.chat(question, talk.plan.agent.prompt, talk.turns),
                seed_of(talk.plan.seed, "question", number, i),
                self._control(talk),
                keep=False,
            )
            for i, (talk, question) in enumerate(planned)
        ]
        replies = self._chosen(asks, [question for _, question in planned])
        found: dict[int, list[Record]] = {}
        for (talk, _), reply in zip(planned, replies, strict=True):
            found.setdefault(talk.plan.id, []).append(_reply_record(reply))
        return found

    def _chosen(self, asks: Sequence[Ask], questions: Sequence[Question]) -> list[Reply]:
        """Greedy replies; to multiple choices the likeliest letter, where that is wanted."""
        assert self.agent is not None
        scored = [i for i, q in enumerate(questions) if self.likelihood and q.choices]
        letters = [LETTERS[: len(questions[i].choices)] for i in scored]
        likely = self.agent.likelihoods([asks[i] for i in scored], letters) if scored else []
        picked = {
            i: _likeliest(scores, options)
            for i, scores, options in zip(scored, likely, letters, strict=True)
        }
        rest = [ask for i, ask in enumerate(asks) if i not in picked]
        greedy = replace(self.protocol.sampling, temperature=0.0)
        answered = iter(self.agent.reply(rest, greedy) if rest else [])
        return [picked[i] if i in picked else next(answered) for i in range(len(asks))]

    def _fills(self, talk: Talk) -> bool:
        return self.protocol.filler and talk.plan.script is None

    def _record(
        self, talk: Talk, number: int, user: Reply, agent: Reply, twin: Reply | None
    ) -> Record:
        """What is kept of a round; of the reply's share, its course within the turn."""
        record: Record = {
            "conversation": talk.plan.id,
            "round": number,
            "user": _reply_record(user),
            "agent": _reply_record(agent),
        }
        if share := record["agent"].get("share"):
            record["agent"]["share"] = {k: share[k] for k in ("tokens", "span", "length")}
        if twin is not None:
            assert self.agent is not None
            neutral, count = talk.filled[-2], self.agent.count
            record["filled"] = {
                "user": neutral,
                "tokens": [count(user.text), count(neutral)],
                "agent": _reply_record(twin),
            }
        return record

    def _user_turns(self, talks: Sequence[Talk], number: int) -> list[Reply]:
        said: list[Reply | Ask] = []
        for talk in talks:
            if talk.plan.script is not None:
                said.append(Reply(talk.plan.script[2 * number - 2]))
            elif number == 1:
                said.append(Reply(talk.plan.starter))
            else:
                said.append(talk.ahead or self._user_ask(talk, number))
                talk.ahead = None
        return self._answered(self.user, said)

    def _user_ask(self, talk: Talk, number: int) -> Ask:
        folded = self.user is not None and self.user.user_first
        view = user_view(talk.plan.user.prompt, talk.turns, folded=folded)
        return Ask(view, seed_of(talk.plan.seed, "user", number))

    def _neutral(self, talk: Talk, text: str, number: int) -> str:
        """Neutral text as long as `text`, in the agent's tokens."""
        assert self.agent is not None
        seed = seed_of(talk.plan.seed, "filler", number)
        return filler(self.fillers, max(1, self.agent.count(text)), seed, self.agent.count)

    def _agent_turns(
        self, talks: Sequence[Talk], number: int
    ) -> tuple[list[Reply], list[Reply | None]]:
        """The agent's replies, and those of the twins with neutral users (None without)."""
        p = self.protocol
        said: list[Reply | Ask] = []
        twins: list[Ask] = []
        for talk in talks:
            prompt, seed = talk.plan.agent.prompt, talk.plan.seed
            if talk.plan.script is not None:
                said.append(Reply(talk.plan.script[2 * number - 1]))
                continue
            view = agent_view(prompt, talk.turns)
            control = self._control(talk)
            said.append(Ask(view, seed_of(seed, "agent", number), control, measure=p.measure))
            if p.filler:
                view = agent_view(prompt, talk.filled)
                twins.append(Ask(view, seed_of(seed, "filled", number), control))
        seconds = seconds_of(self.agent) if self.agent else time.perf_counter
        began = seconds()
        replies = self._answered(self.agent, [*said, *twins])
        if self.watch is not None:
            self.watch(talks, number, seconds() - began, replies)
        rest = iter(replies[len(said) :])
        return replies[: len(said)], [next(rest) if self._fills(t) else None for t in talks]

    def _answered(self, backend: Backend | None, said: Sequence[Reply | Ask]) -> list[Reply]:
        """Replies in order: those already there, and answers to the asks, in one call."""
        answers = iter(self.ask(backend, [one for one in said if isinstance(one, Ask)]))
        return [next(answers) if isinstance(one, Ask) else one for one in said]

    def _probe(self, talks: Sequence[Talk], number: int) -> list[Record]:
        """All probes after `number` rounds, in one call: a branch each, never followed.

        Where one model plays both sides, the users' next turns are asked in that call too,
        which keeps its rows, or an API's connections, busy.
        """
        planned = [(talk, *probe) for talk in talks for probe in self._probes(talk, number)]
        asks = [
            Ask(
                view,
                seed_of(talk.plan.seed, "probe", number, arm, run),
                self._control(talk),
                # Two chains start here: the history without a prompt, and the agent's prompt.
                keep=arm == "history_floor" or (number == run == 0 and arm == "own"),
                measure=self.protocol.measure and arm == "own" and run == 0,
            )
            for talk, arm, run, _, view in planned
        ]
        both = 0 < number < self.protocol.rounds and self.other is None
        users = [talk for talk in talks if both and talk.plan.script is None]
        asks += [self._user_ask(talk, number + 1) for talk in users]
        replies = self.ask(self.agent, asks)
        for talk, reply in zip(users, replies[len(planned) :], strict=True):
            talk.ahead = reply
        records: dict[int, Record] = {
            talk.plan.id: {"conversation": talk.plan.id, "round": number, "answers": []}
            for talk in talks
        }
        for talk in talks if number else ():
            if talk.plan.script is not None:
                said = Reply(talk.turns[-1])
                recorded = {"arm": "reply", "run": 0, "probe": talk.turns[-2]}
                records[talk.plan.id]["answers"].append(recorded | _reply_record(said))
        for (talk, arm, run, probe, _), reply in zip(planned, replies, strict=False):
            answer = {"arm": arm, "run": run, "probe": probe, **_reply_record(reply)}
            records[talk.plan.id]["answers"].append(answer)
        return list(records.values())

    def _probes(self, talk: Talk, number: int) -> Iterator[tuple[str, int, str, Chat]]:
        """(arm, run, probe, chat to ask) of every probe after `number` rounds."""
        if self.agent is None:
            return
        p, planned = self.protocol, talk.plan
        prompt, turns = planned.agent.prompt, talk.turns
        for run in range(p.runs):
            probe = planned.probe(run)
            yield "own", run, probe, agent_view(prompt, turns, probe)
            if number == 0 and planned.floor:
                yield "floor", run, probe, agent_view(None, (), probe)
        if p.user_persona and planned.script is None:
            probe = planned.user_probe
            yield "user", 0, probe, agent_view(prompt, turns, probe)
            if number == 0:
                yield "user_floor", 0, probe, agent_view(None, (), probe)
        if number and p.history_floor:
            probe = planned.probe(0)
            yield "history_floor", 0, probe, agent_view(None, turns, probe)
        if number and self._fills(talk):
            probe = planned.probe(0)
            yield "filler", 0, probe, agent_view(prompt, talk.filled, probe)


def _likeliest(scores: Sequence[float], options: Sequence[str]) -> Reply:
    """The option with the highest score as a reply; none where the chat did not fit."""
    best = max(scores)
    if best == -inf:
        return Reply("", "overflow")
    return Reply(options[scores.index(best)])


def _reply_record(reply: Reply) -> Record:
    record: Record = {"text": reply.text, "stop": reply.stop, "tokens": _tokens(reply)}
    if reply.error:
        record["error"] = reply.error
    if reply.share:
        record["share"] = asdict(reply.share)
    return record


def _tokens(reply: Reply) -> list[int]:
    """Prompt tokens, those of them that were cached, and completion tokens."""
    return [reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens]


def converse(
    stage: Stage,
    plan: Sequence[Conversation],
    run: Run,
    progress: Progress,
    *,
    timing: Timing | None = None,
    where: Where = None,
) -> None:
    """Hold all planned conversations, batch by batch, and append their records to the run.

    A batch left unfinished is run again whole on a local model, whose arithmetic
    depends on the batch; on an API it goes on after its last complete round. Batches are the
    units that `where` shares out; `timing` makes a record of how long the agents' turns took.
    """
    p = stage.protocol
    models = [backend for backend in (stage.agent, stage.other) if backend is not None]
    units = [plan[start : start + p.batch] for start in range(0, len(plan), p.batch)]
    unit_of = {c.id: i for i, unit in enumerate(units) for c in unit}
    # Models stay where they are: a unit's work takes those of the process that does it.
    alone = replace(stage, agent=None, user=None)
    spread(
        run,
        units,
        lambda record: unit_of[record["conversation"]],
        partial(_finished, p.rounds),
        partial(_hold, alone, stage.agent is None, timing),
        models,
        progress,
        steps=lambda _: p.rounds + 1,
        where=where,
    )


def _finished(rounds: int, batch: Sequence[Conversation], records: Sequence[Record]) -> bool:
    """Whether the records of a batch are all that it will have."""
    recorded = _whole_rounds(records, batch, rounds)
    last = max(_rounds(c, rounds) for c in batch)
    return _last(recorded) >= last or _all_stopped(recorded, batch)


def _hold(
    stage: Stage,
    unprobed: bool,
    timing: Timing | None,
    models: Sequence[Backend],
    batch: Sequence[Conversation],
    run: Run,
    progress: Progress,
) -> None:
    """Hold one batch with the models of this process."""
    p = stage.protocol
    if models:
        agent, user = (None if unprobed else models[0]), models[-1]
        stage = replace(stage, agent=agent, user=user)
    if timing is not None:
        stage = replace(stage, watch=lambda *seen: run.add_times([timing(*seen)]))
    exact = all(model.local for model in models)
    ids = {conversation.id for conversation in batch}
    found = [record for record in run.records if record["conversation"] in ids]
    recorded = _whole_rounds(found, batch, p.rounds)
    if exact and not _finished(p.rounds, batch, found):
        recorded = []
    if len(recorded) < len(found):
        run.keep([r for r in run.records if r["conversation"] not in ids] + recorded)
    for model in models:
        model.forget()
    talks = _replayed(recorded, batch)
    progress.advance(_last(recorded) + 1, 0)
    for number in range(_last(recorded) + 1, p.rounds + 1):
        going = [t for t in talks if not t.stopped and number <= _rounds(t.plan, p.rounds)]
        lanes = _lanes(going, number)
        new: list[Record] = []
        for lane in lanes:
            made = stage.round(lane, number) if number else stage.open(lane)
            progress.advance(1 / len(lanes), sum(map(_replies, made)))
            new += made
        if not lanes:  # all have stopped
            progress.advance(1, 0)
        run.append(new)


def _lanes(talks: Sequence[Talk], number: int) -> list[list[Talk]]:
    """Talks by their control; each round another control goes first, so that none is favoured."""
    lanes: dict[Control | None, list[Talk]] = {}
    for talk in talks:
        lanes.setdefault(talk.plan.control, []).append(talk)
    order = list(lanes.values())
    first = number % len(order) if order else 0
    return order[first:] + order[:first]


def batches(plan: Sequence[Conversation], protocol: Protocol) -> int:
    """How many batches the plan makes."""
    return -(-len(plan) // protocol.batch)


def _rounds(conversation: Conversation, rounds: int) -> int:
    """Rounds that a conversation has: the protocol's, or its script's where that is shorter."""
    return rounds if conversation.script is None else min(rounds, len(conversation.script) // 2)


def _last(records: Sequence[Record]) -> int:
    return max((int(record["round"]) for record in records), default=-1)


def _all_stopped(records: Sequence[Record], batch: Sequence[Conversation]) -> bool:
    return sum(bool(record.get("stopped")) for record in records) == len(batch)


def _whole_rounds(
    records: Sequence[Record], batch: Sequence[Conversation], rounds: int
) -> list[Record]:
    """The records up to the last round that every conversation still going has."""
    kept: list[Record] = []
    lasts = {c.id: _rounds(c, rounds) for c in batch}
    going, number = set(lasts), 0
    while going:
        rows = [r for r in records if r["round"] == number and r["conversation"] in going]
        if len(rows) < len(going):
            break
        kept += rows
        going -= {r["conversation"] for r in rows if r.get("stopped")}
        going -= {id_ for id_ in going if lasts[id_] == number}
        number += 1
    return kept


def _replayed(records: Sequence[Record], batch: Sequence[Conversation]) -> list[Talk]:
    """The batch's conversations as the records left them."""
    talks = {conversation.id: Talk(conversation) for conversation in batch}
    for record in records:
        talk = talks[record["conversation"]]
        talk.stopped = bool(record.get("stopped"))
        if "user" in record:
            talk.turns += [record["user"]["text"], record["agent"]["text"]]
        if "filled" in record:
            talk.filled += [record["filled"]["user"], record["filled"]["agent"]["text"]]
    return list(talks.values())


def _replies(record: Mapping[str, Any]) -> int:
    """Replies generated for a record: neither starters nor recorded turns are."""
    generated = [answer for answer in record["answers"] if answer["arm"] != "reply"]
    turns = 0
    if "user" in record and len(generated) == len(record["answers"]):
        turns = 1 + (record["round"] > 1) + ("filled" in record)
    return len(generated) + turns + len(record.get("questions", ()))
