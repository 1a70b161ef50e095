"""Traffic: requests and their replies become scored replies of conversations, and those alarms.

A server hands over every reply as it ends, `holdfast watch` every reply of a log: both watch by the
same code. A reply without text, such as a tool call, is passed over.

A conversation that is met in its middle (after a restart, or forgotten meanwhile) is compared with
the first replies in its own chat, so far as the client sends them.

This module knows messages and scores. It knows no HTTP and no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast import judge
from holdfast.core.errors import HoldfastError
from holdfast.evals.watch.conversations import Conversations, Turns, last_replies
from holdfast.evals.watch.watcher import Watcher, WatchSettings
from holdfast.persona.suite import Persona
from holdfast.results.watch import Alarm, ReplyRecord

LONGEST = 20_000
"""Characters of a reply that are judged: more would take longer than a reply may."""


@dataclass(frozen=True)
class Observation:
    """A reply that was taken into account."""

    record: ReplyRecord
    """The reply with its score."""
    alarm: Alarm | None
    """The alarm that it raised."""


class Traffic:
    """The traffic of a deployment under one persona.

    Args:
        persona: the persona; replies are scored here if its judge needs no model.
        settings: what is an alarm.
    """

    def __init__(self, persona: Persona, settings: WatchSettings | None = None) -> None:
        self.persona = persona
        self.watcher = Watcher(persona, settings)
        self._conversations = {True: Conversations(), False: Conversations()}  # by `tested`
        self._judges: dict[str, judge.Judge | None] = {persona.id: persona.build_judge()}

    def observe(
        self,
        turns: Turns,
        reply: str,
        *,
        id: str | None = None,
        round: int | None = None,
        control: str = "none",
        model: str | None = None,
        time: float | None = None,
        score: float | None = None,
        tested: bool = True,
        persona: Persona | None = None,
    ) -> Observation | None:
        """Take a reply into account; None if it has no text or answers no user.

        Args:
            turns: roles and texts of the request's messages.
            reply: the reply's text.
            id: the conversation's id, where the request names one.
            round: the reply's round, where the turns are a whole chat, which needs an id.
            control: the control of the request, as text.
            model: the model.
            time: seconds since 1970.
            score: the reply's score, where it is known already.
            tested: False counts the reply in the scores of its control only, and keeps it apart
                from tested conversations that begin with the same words.
            persona: the conversation's own persona, where it is not the deployment's.
        """
        if not reply.strip() or not any(role == "user" for role, _ in turns):
            return None
        conversations = self._conversations[tested]
        if id is not None and round is not None:
            place = conversations.in_chat(id, round)
        else:
            place = conversations.locate(turns, id)
            conversations.remember(place, turns, reply)
        record = ReplyRecord(
            conversation=place.conversation,
            round=place.round,
            score=self.score(reply, persona) if score is None else score,
            persona=(persona or self.persona).id,
            control=control,
            model=model,
            time=time,
            user=next(text for role, text in reversed(turns) if role == "user"),
            reply=reply,
        )
        earlier = self._first_scores(turns, persona) if place.is_new and place.round > 1 else ()
        return Observation(record, self.watcher.add(record, earlier, tested))

    def take(self, record: ReplyRecord) -> Observation:
        """Take a server's own line into account, judged anew where it has the reply's text.

        Where a model judges a sample of the replies, the others have no score and are not counted.

        Raises:
            HoldfastError: the line has no score and no text, or a number out of range.
        """
        record = replace(record, persona=record.persona or self.persona.id)
        if record.reply is not None and not self.persona.needs_model:
            record = replace(record, score=self.score(record.reply))
        if record.score is None and not self.persona.needs_model:
            raise HoldfastError(
                f"a reply of conversation {record.conversation} has neither a score nor a text"
            )
        score = 0 if record.score is None else record.score
        if not 0 <= score <= 1 or record.round < 1:
            raise HoldfastError(
                f"score {score:g}, round {record.round}: a score is from 0 to 1, a round 1 or more"
            )
        return Observation(record, self.watcher.add(record))

    def score(self, text: str, persona: Persona | None = None) -> float | None:
        """The score of a reply, from 0 to 1; None if only a model can judge it.

        Args:
            text: the reply.
            persona: whose judge scores it; by default the deployment's.
        """
        persona = persona or self.persona
        if persona.id not in self._judges:
            self._judges[persona.id] = persona.build_judge()
        scorer = self._judges[persona.id]
        return None if scorer is None else scorer(text[:LONGEST]).value

    def _first_scores(self, turns: Turns, persona: Persona | None) -> Sequence[float]:
        """Scores of the first replies in a chat, one for each of the first rounds."""
        last = self.watcher.settings.first
        first = [turns[i][1] for number, i in last_replies(turns).items() if number <= last]
        return [score for text in first if (score := self.score(text, persona)) is not None]
