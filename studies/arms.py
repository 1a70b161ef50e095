"""What the studies share: arms on the same conversations, and a row of numbers for each.

An arm is a way of answering (a control, an adapter per persona, another training) put on the
same plan of conversations: the same personas, starters and seeds. Its row has the names and
meanings of `holdfast compare --json`; differences are paired with the first arm's, conversation
by conversation. Capability is asked on a branch after the last round.

This module knows backends and scores, not what an arm does to a model.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.control import parse
from holdfast.core.errors import HoldfastError
from holdfast.core.intervals import Sample
from holdfast.core.progress import Progress
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.core.stats import Array, mean, numbers
from holdfast.evals.conversation.batches import ConversationRun, converse
from holdfast.evals.conversation.curves import sample_of
from holdfast.evals.conversation.judging import judge_conversations, scores
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.settings import ConversationProtocol
from holdfast.evals.conversation.setup import default_suite
from holdfast.evals.tasks import answers as capability
from holdfast.evals.tasks.answers import Question
from holdfast.persona.suite import Persona, Suite, load_suite
from holdfast.results.conversation import JudgedConversation, RoundRecord
from holdfast.results.verdict import JudgeVerdict

Row = dict[str, Any]
GREEDY = Sampling(max_new_tokens=80, temperature=0.0)
DEVELOPMENT = 100  # the seed of the conversations and personas that settings are chosen on
# The agent's own probe alone, once at each point.
_OWN = ConversationProtocol(
    runs=1, filler=False, history_floor=False, user_persona=False, measure=False
)
ALLOWANCE = 0.05  # capability that a setting may lose, in the rule of `choose`


@dataclass(frozen=True)
class Arm:
    """One way of answering, on all conversations of a plan.

    `scores` and `length`, the tokens of the chat that the probe ends, are (conversations,
    rounds + 1); `right` is (conversations, kinds) of 0 and 1.
    """

    name: str
    scores: Array
    length: Array
    right: Array
    kinds: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Case:
    """What arms are put on: conversations, their length, and the questions at their end."""

    conversations: tuple[Conversation, ...]
    rounds: int
    seed: int
    questions: tuple[Question, ...] = ()

    @classmethod
    def of(
        cls, suite: Suite, agents: Sequence[Persona], pairs: int, rounds: int, seed: int
    ) -> Case:
        """`pairs` conversations of these agents with users from the whole suite."""
        conversations = plan(agents, suite.personas, suite, pairs=pairs, seed=seed)
        questions = capability.load(suite.name, n=pairs, seed=seed, rounds=rounds)
        return cls(conversations, rounds, seed, questions)

    def hold(self, name: str, agent: Backend, user: Backend, *, control: str = "none") -> Arm:
        """Hold the conversations and ask the questions; says on standard error how long it took."""
        began = time.monotonic()
        run: ConversationRun = Run(None, {}, RoundRecord, JudgeVerdict)
        protocol = replace(_OWN, rounds=self.rounds, seed=self.seed, control=control)
        converse(SelfChat(agent, user, protocol), self.conversations, run, Progress(enabled=False))
        talks = judge_conversations(run, self.conversations, None)
        right = self._right(agent, {talk.id: _turns(talk) for talk in talks}, control)
        seconds = time.monotonic() - began
        print(f"{name}: {len(self.conversations)} conversations, {seconds:.0f} s", file=sys.stderr)
        kinds = tuple(self._by_kind())
        own = scores(talks, "own", self.rounds + 1)
        return Arm(name, own, self._length(run), right, kinds, seconds)

    def _length(self, run: ConversationRun) -> Array:
        """Prompt tokens of every probe, NaN where it was not asked."""
        length = np.full((len(self.conversations), self.rounds + 1), np.nan)
        rows = {conversation.id: row for row, conversation in enumerate(self.conversations)}
        for record in run.records:
            for answer in (a for a in record.answers if a.arm == "own"):
                length[rows[record.conversation], record.round] = answer.tokens[0]
        return length

    def _by_kind(self) -> dict[str, list[Question]]:
        by_kind: dict[str, list[Question]] = {}
        for question in self.questions:
            by_kind.setdefault(question.kind, []).append(question)
        return by_kind

    def _right(self, agent: Backend, turns_of: dict[int, list[str]], control: str) -> Array:
        """Whether each conversation's question of each kind was answered right."""
        asks = []
        for i, conversation in enumerate(self.conversations):
            for kind, of in self._by_kind().items():
                question, seed = of[i % len(of)], seed_of(conversation.seed, "question", kind)
                prompt, turns = conversation.agent.prompt, turns_of[conversation.id]
                chat = capability.chat(question, prompt, turns)
                asks.append((question, Ask(chat, seed, parse(control), keep=False)))
        replies = agent.reply([ask for _, ask in asks], GREEDY)
        answers = [
            capability.right(question, reply.text)
            for (question, _), reply in zip(asks, replies, strict=True)
        ]
        return np.array(answers, float).reshape(len(self.conversations), -1)


def case_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what a study is run on."""
    parser.add_argument("--model", default="mini")
    parser.add_argument("--personas", type=int, default=3, help="personas of each category")
    parser.add_argument("--each", type=int, default=8, help="conversations of each persona")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)


def suite_of(backend: Backend) -> Suite:
    """`mini` speaks its own world; every other model is put on `core`."""
    return load_suite(default_suite(backend))


def _turns(talk: JudgedConversation) -> list[str]:
    return [text for at in talk.rounds for text in (at.user, at.agent) if text is not None]


def late(rounds: int) -> slice:
    """The last quarter of the rounds 1…R, rounded up, as a slice of the points 0…R."""
    return slice(rounds + 1 - -(-rounds // 4), rounds + 1)


def by_conversation(arm: Arm, what: str) -> Array:
    """One number for each conversation: `stability`, `late` or `capability`."""
    if what == "capability":
        return mean(arm.right, axis=1)
    points = slice(1, None) if what == "stability" else late(arm.scores.shape[1] - 1)
    return mean(arm.scores[:, points], axis=1)


_NAMES = {
    "stability": ("stability", "interval", "delta"),
    "late": ("late_stability", "late_interval", "late_delta"),
    "capability": ("capability", "capability_interval", "capability_delta"),
}


def rows(arms: Sequence[Arm], conversations: Sequence[Conversation]) -> list[Row]:
    """A row for each arm; `delta`s are differences from the first arm, paired."""
    sample = sample_of(conversations)
    table = [_row(arm, arms[0], conversations, sample) for arm in arms]
    return [row | {"pareto": not any(_beats(other, row) for other in table)} for row in table]


def _beats(other: Row, row: Row) -> bool:
    """Whether it is at least as good in stability and capability, and better in one."""
    theirs, mine = ((r["stability"] or 0.0, r["capability"] or 0.0) for r in (other, row))
    return theirs[0] >= mine[0] and theirs[1] >= mine[1] and theirs != mine


def _row(arm: Arm, base: Arm, conversations: Sequence[Conversation], sample: Sample) -> Row:
    row: Row = {"control": arm.name, "n": len(conversations)}
    for what, (value, interval, delta) in _NAMES.items():
        own, other = by_conversation(arm, what), by_conversation(base, what)
        row[value] = numbers(mean(own))
        row[interval] = numbers(sample.score_interval(own))
        row[delta] = numbers(mean(own - other))
        row[f"{delta}_interval"] = numbers(sample.difference_interval(own, other))
    categories = np.array([c.agent.category for c in conversations])
    own = by_conversation(arm, "stability")
    row["by_category"] = {
        str(name): numbers(mean(own[categories == name])) for name in dict.fromkeys(categories)
    }
    by_kind = mean(arm.right)
    row["capability_by_kind"] = dict(zip(arm.kinds, numbers(by_kind), strict=True))
    row["curve"] = numbers(mean(arm.scores))
    row["probe_tokens"] = [None if np.isnan(n) else round(float(n)) for n in mean(arm.length)]
    row["seconds"] = round(arm.seconds, 1)
    return row


def choose(rows_of_settings: Iterable[Row], base: Row) -> Row:
    """The setting that development conversations speak for.

    Of the rows whose capability is at most `ALLOWANCE` below the base's, the one with the
    highest stability; where there is none, the one with the highest capability. Ties go to
    the first.
    """
    candidates = list(rows_of_settings)
    if not candidates:
        raise HoldfastError("there is no setting to choose from; name at least one")
    least = (base["capability"] or 0.0) - ALLOWANCE
    able = [row for row in candidates if (row["capability"] or 0.0) >= least]
    if able:
        return max(able, key=lambda row: row["stability"])
    return max(candidates, key=lambda row: row["capability"] or 0.0)


def sample_personas(
    suite: Suite, each: int, seed: int, apart: Sequence[Persona] = ()
) -> list[Persona]:
    """`each` personas of every category, none of those in `apart` or judged by a model."""
    rng = random.Random(seed_of(seed, "personas"))
    other_ids = {persona.id for persona in apart}
    by_category: dict[str, list[Persona]] = {}
    for persona in suite.personas:
        if persona.id not in other_ids and not persona.needs_model:
            by_category.setdefault(persona.category, []).append(persona)
    return [
        persona for of in by_category.values() for persona in rng.sample(of, min(each, len(of)))
    ]


def openers(suite: Suite, most: int = 128) -> tuple[str, ...]:
    """What a persona's own replies are drawn to: the suite's starters and all its probes.

    Where there are more than `most`, that many of them.
    """
    probes = (probe for persona in suite.personas for probe in persona.probes)
    texts = tuple(dict.fromkeys([*suite.starters, *probes]))
    if len(texts) <= most:
        return texts
    return tuple(random.Random(seed_of("openers")).sample(texts, most))


def plain(backend: Backend) -> list[str]:
    """`none`, and `anchor` where the model can be put under it."""
    why = backend.refusal(parse("anchor"))
    if why is not None:
        print(f"anchor is left out: {why}", file=sys.stderr)
    return ["none"] if why is not None else ["none", "anchor"]
