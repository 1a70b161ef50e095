"""Does a deployment drift? Scores of replies come in, alarms come out.

Rounds 1 to `first` of a conversation are its own standard. After them its replies fall into buckets

    3, 4, 5, 6, 7, 8, 9-12, 13-16, 17-32, 33-64

At the end of a bucket the conversation adds one value to that bucket's test (`sequential`): the
mean score of its first rounds minus the mean score in the bucket. So the unit of a test is the
conversation, and rounds of one conversation may depend on each other as they like. Half of the
drop that is looked for is tolerated: as long as the mean drop is no larger, all tests together
raise one alarm in `per_false_alarm` conversations on average at most (each of k tests has k times
that threshold). Conversations must not depend on each other. How soon a larger drop is an alarm is
in docs/guide/watch.md.

With `expected`, the first rounds themselves are tested too, against that score.

A single conversation has slipped where replies in a row are so bad that at most one in
`per_false_alarm` unbroken conversations of eight rounds would have such replies. With q, the mean
loss 1 - score of the deployment's first rounds, the loss of every reply is a bet x/q of mean 1:

    Sᵣ = xᵣ/q (Sᵣ₋₁ + 1),  slipped at 8 · per_false_alarm

One good reply takes all back. A lost persona is certain after k rounds where q^k is about
1 / (8 · per_false_alarm): with the default, after two where q is .011 or less, after three up to
.05, after four up to .1. q is estimated, as (losses + 1) / (replies + 2), and rounds of one
conversation are taken to be independent as long as nothing breaks: that is weaker ground than the
tests have.

This module knows rounds and scores. It knows no texts.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import option
from holdfast.evals.watch.conversations import CAPACITY
from holdfast.evals.watch.sequential import DropDetector
from holdfast.persona.suite import Persona
from holdfast.results.watch import Alarm, DropTest, ReplyRecord, RoundScores, Slip, WatchState

ALARMS = 100
"""Alarms that are kept, the newest."""
CONTROLS = 200
"""Controls, by rounds, that are told apart: clients may choose any."""
ROUNDS = ("1", "2", "3-4", "5-8", "9-16", "17-32", "33+")
"""Rounds as metrics and summaries put them together."""
_ROUNDS = 8  # of a conversation, to which the rate of false slips refers
_ENDS = (3, 4, 5, 6, 7, 8, 12, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """What is an alarm."""

    drop: float = option(0.1, "The drop of the score to look for, against the first rounds.")
    """The drop that the test is made for; half of it is tolerated."""
    first: int = option(2, "Rounds that are the standard of their conversation.")
    per_false_alarm: int = option(1000, "Conversations between two false alarms, at least.")
    expected: float | None = option(None, "Score that first rounds should have; tests them too.")
    """Mean score that first rounds should have; None leaves them untested."""

    def __post_init__(self) -> None:
        if not 0 < self.drop < 1:
            raise HoldfastError(f"drop is a difference of scores, between 0 and 1, not {self.drop}")
        if self.first < 1 or self.per_false_alarm < 1:
            raise HoldfastError("first and per_false_alarm must be 1 or more")
        if self.expected is not None and not 0 <= self.expected <= 1:
            raise HoldfastError(f"expected is a score from 0 to 1, not {self.expected}")


def buckets(first: int) -> list[tuple[int, int]]:
    """First and last round of each bucket after the first rounds."""
    ends = [end for end in _ENDS if end > first] or [first + 1]
    starts = [first + 1, *(end + 1 for end in ends[:-1])]
    return list(zip(starts, ends, strict=True))


def round_label(number: int) -> str:
    """The bucket of a round in metrics and summaries."""
    return ROUNDS[bisect.bisect_left((1, 2, 4, 8, 16, 32), number)]


@dataclass
class _Sum:
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def mean(self) -> float:
        return self.total / self.count


@dataclass
class _ConversationState:
    """What is remembered of one conversation."""

    last: int = 0
    """Its last round."""
    bets: float = 0.0
    """S of the test for a slip, and the round since which it has not been 0."""
    since: int = 0
    slipped: bool = False
    first: _Sum = field(default_factory=_Sum)
    """Scores of its first rounds."""
    bucket: int = -1
    """The bucket of its last round after them; -1 is none."""
    in_bucket: _Sum = field(default_factory=_Sum)


class Watcher:
    """The tests of one deployment.

    Args:
        persona: the persona that it should keep.
        settings: what is an alarm.
    """

    def __init__(self, persona: Persona, settings: WatchSettings | None = None) -> None:
        self.persona, self.settings = persona, settings or WatchSettings()
        first = self.settings.first
        self._buckets = buckets(first)
        test_count = len(self._buckets) + (self.settings.expected is not None)
        tolerance, threshold = self.settings.drop / 2, self.settings.per_false_alarm * test_count
        self._tests = [DropDetector(tolerance, threshold) for _ in range(test_count)]
        self._conversations: OrderedDict[str, _ConversationState] = OrderedDict()
        self.conversation_count = 0
        self._first = _Sum()
        self._scores: dict[str, _Sum] = {}
        self._by_control: dict[tuple[str, str], _Sum] = {}
        self._alarms: deque[Alarm] = deque(maxlen=ALARMS)
        self._alarm_count = 0
        self.slips: deque[Slip] = deque(maxlen=CAPACITY)
        self.slip_count = 0
        self._replies = 0
        self._others = 0

    def add(
        self, reply: ReplyRecord, earlier: Sequence[float] = (), tested: bool = True
    ) -> Alarm | None:
        """Take a scored reply into account; returns the alarm that it raises, if it does.

        A reply to a round that was answered already (made again, or on another branch) counts in
        the scores by round, and in no test. One that is not tested, as it is not under the
        deployment's control, counts in the scores of its own control only.

        Args:
            reply: the reply.
            earlier: scores of the first rounds of a conversation that is met in its middle.
            tested: False counts the reply in the scores of its control only.
        """
        if reply.score is None:
            return None
        self._count(reply, reply.score, tested)
        if not tested:
            return None
        conversation = self._conversation(reply.conversation)
        if not conversation.last and earlier:
            conversation.first = _Sum(sum(earlier), len(earlier))
        if reply.round <= conversation.last:
            return None
        conversation.last = reply.round
        if reply.round <= self.settings.first:
            self._first.add(reply.score)
        self._watch_for_slip(conversation, reply, reply.score)
        drops = self._drops(conversation, reply.round, reply.score)
        alarm_tests = [test for test, drop in drops if self._tests[test].add(drop)]
        return self._alarm(alarm_tests[0], reply) if alarm_tests else None

    def _count(self, reply: ReplyRecord, score: float, tested: bool) -> None:
        label = round_label(reply.round)
        if tested:
            self._replies += 1
            self._scores.setdefault(label, _Sum()).add(score)
        else:
            self._others += 1
        key = (label, reply.control)
        if key not in self._by_control and len(self._by_control) >= CONTROLS:
            key = (label, "other")
        self._by_control.setdefault(key, _Sum()).add(score)

    def _conversation(self, name: str) -> _ConversationState:
        conversation = self._conversations.get(name)
        if conversation is None:
            self.conversation_count += 1
            conversation = self._conversations[name] = _ConversationState()
            if len(self._conversations) > CAPACITY:
                self._conversations.popitem(last=False)
        else:
            self._conversations.move_to_end(name)
        return conversation

    def _watch_for_slip(self, one: _ConversationState, reply: ReplyRecord, score: float) -> None:
        first = self._first
        usual = (first.count - first.total + 1) / (first.count + 2)
        if not one.bets:
            one.since = reply.round
        one.bets = (1 - score) / usual * (one.bets + 1)
        if one.bets >= _ROUNDS * self.settings.per_false_alarm and not one.slipped:
            one.slipped = True
            self.slip_count += 1
            slip = Slip(conversation=reply.conversation, since=one.since, round=reply.round)
            self.slips.append(slip)

    def _drops(self, one: _ConversationState, number: int, score: float) -> list[tuple[int, float]]:
        """The values that a reply completes, each with the position of its test."""
        drops: list[tuple[int, float]] = []
        expected = self.settings.expected
        if number <= self.settings.first:
            one.first.add(score)
            if number == self.settings.first and expected is not None:
                drops.append((len(self._buckets), expected - one.first.mean))
            return drops
        if not one.first.count:  # joined later: there is nothing to compare with
            return drops
        bucket = next((i for i, (_, high) in enumerate(self._buckets) if number <= high), -1)
        if bucket != one.bucket:
            drops += self._complete(one)
            one.bucket = bucket
        if bucket < 0:
            return drops
        one.in_bucket.add(score)
        if number == self._buckets[bucket][1]:
            drops += self._complete(one)
        return drops

    @staticmethod
    def _complete(one: _ConversationState) -> list[tuple[int, float]]:
        """The value of the bucket that a conversation leaves."""
        if not one.in_bucket.count:
            return []
        drop = one.first.mean - one.in_bucket.mean
        one.in_bucket = _Sum()
        return [(one.bucket, drop)]

    def _alarm(self, test: int, reply: ReplyRecord) -> Alarm:
        detector = self._tests[test]
        alarm = Alarm(
            rounds=self._name(test),
            drop=round(detector.drop, 4),
            conversation=reply.conversation,
            round=reply.round,
            delay=detector.delay,
            conversations=self.conversation_count,
            replies=self._replies,
            time=reply.time,
        )
        self._alarms.append(alarm)
        self._alarm_count += 1
        for one in self._tests:
            one.restart()
        return alarm

    def _name(self, test: int) -> str:
        if test == len(self._buckets):
            return "first"
        low, high = self._buckets[test]
        return f"{low}" if low == high else f"{low}-{high}"

    def conversations_to_alarm(self) -> int:
        """Conversations after which a drop of `drop` in some rounds is an alarm.

        An even share of them loses the whole score there: of the drops from 0 to 1 with that mean
        it is the one that bets grow slowest on.
        """
        drop, test = self.settings.drop, self._tests[0]
        fresh = DropDetector(test.tolerance, test.threshold)
        while not fresh.add(float(int((fresh.count + 1) * drop) > int(fresh.count * drop))):
            pass
        return fresh.count

    @property
    def evidence(self) -> float:
        """The most that a test has; 1 raises the alarm."""
        return max(test.value / test.threshold for test in self._tests)

    @property
    def state(self) -> WatchState:
        """Where the watch stands."""
        return WatchState(
            persona=self.persona.id,
            judged=not self.persona.needs_model,
            drop=self.settings.drop,
            per_false_alarm=self.settings.per_false_alarm,
            conversations=self.conversation_count,
            replies=self._replies,
            others=self._others,
            first=round(self._first.mean, 4) if self._first.count else None,
            rounds=tuple(self._round_scores()),
            tests=tuple(
                DropTest(
                    rounds=self._name(i),
                    conversations=test.count,
                    drop=None if test.mean is None else round(test.mean, 4),
                    evidence=round(test.value / test.threshold, 6),
                )
                for i, test in enumerate(self._tests)
            ),
            drifts=bool(self._alarms),
            alarms=tuple(self._alarms),
            alarm_count=self._alarm_count,
            slips=self.slip_count,
        )

    def _round_scores(self) -> list[RoundScores]:
        rows = []
        for label in ROUNDS:
            controls = {
                control: round(one.mean, 4)
                for (at, control), one in self._by_control.items()
                if at == label
            }
            if controls:
                own = self._scores.get(label, _Sum())
                mean = round(own.mean, 4) if own.count else None
                row = RoundScores(rounds=label, replies=own.count, score=mean, controls=controls)
                rows.append(row)
        return rows
