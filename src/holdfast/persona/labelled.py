"""How often judges are wrong about replies that people have labelled.

A labelled reply names its persona, says whether the judge should pass it, and what kind of reply it
is. For each category of personas:

    false_fail    = replies labelled pass that score below 0.5 / replies labelled pass
    false_pass    = replies labelled fail that score above 0.5 / replies labelled fail
    stuffed_pass  = the same share among replies of the kind “stuffed with keywords”,
                    which false_pass leaves out

A score of exactly 0.5 is half credit and counts as wrong in neither direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast import judge as judges
from holdfast.core.errors import PersonaError
from holdfast.persona.files import JsonLine, read_json_lines
from holdfast.persona.suite import PASS, Persona, Suite, require_embeddings, scorer, select

STUFFED = "stuffed with keywords"
LABELS = ("pass", "fail")


@dataclass(frozen=True)
class LabelledReply:
    """A reply and how its persona's judge should score it."""

    persona: str
    """Id of the persona in the suite."""
    expected: str
    """`pass` or `fail`."""
    text: str
    kind: str = "unspecified"
    """What sort of reply it is; `STUFFED` is counted apart."""


@dataclass(frozen=True)
class ScoredReply:
    """A labelled reply with its judge's score."""

    reply: LabelledReply
    category: str
    """The persona's category."""
    score: float
    """The judge's score in [0, 1]."""
    why: str
    """The judge's reason."""

    @property
    def wrong(self) -> bool:
        """True where the score is on the other side of 0.5 than the label."""
        return self.score < PASS if self.reply.expected == "pass" else self.score > PASS


@dataclass(frozen=True)
class JudgeErrors:
    """Shares of labelled replies that the judges of a category get wrong."""

    n: int
    """Labelled replies."""
    false_fail: float | None
    """Share of replies labelled pass that score below 0.5; None where there are none."""
    false_pass: float | None
    """Share of replies labelled fail, stuffed ones aside, that score above 0.5."""
    stuffed_pass: float | None
    """Share of stuffed replies labelled fail that score above 0.5."""
    passes: int
    """Replies labelled pass, of which `false_fail` is a share."""
    fails: int
    """Those labelled fail, stuffed ones aside, of which `false_pass` is."""
    stuffed: int
    """Stuffed ones labelled fail, of which `stuffed_pass` is."""


def read_labelled_replies(path: Path) -> list[LabelledReply]:
    """The labelled replies of a JSONL file: an object a line with persona, expected and text.

    Raises `PersonaError`, naming file and line, for whatever is wrong.
    """
    lines = read_json_lines(path, "labelled replies", "name a JSONL file", PersonaError)
    return [_labelled_reply(line) for line in lines]


def _labelled_reply(line: JsonLine) -> LabelledReply:
    for key in ("persona", "expected", "text"):
        if not isinstance(line.fields.get(key), str):
            raise PersonaError(f"{line.where}: “{key}” is missing or not a string.")
    persona, expected, text = (line.fields[key] for key in ("persona", "expected", "text"))
    if expected not in LABELS:
        raise PersonaError(f"{line.where}: “expected” must be “pass” or “fail”, not {expected!r}.")
    kind = line.fields.get("kind", LabelledReply.kind)
    if not isinstance(kind, str):
        raise PersonaError(f"{line.where}: “kind” must be a string.")
    return LabelledReply(persona, expected, text, kind)


def own_examples(suite: Suite) -> list[LabelledReply]:
    """The suite's own `passes` and `fails` as labelled replies."""
    return [
        LabelledReply(persona.id, expected, text, "example")
        for persona in suite.personas
        if not persona.needs_model
        for expected, texts in (("pass", persona.passes), ("fail", persona.fails))
        for text in texts
    ]


def score_replies(suite: Suite, replies: Sequence[LabelledReply]) -> list[ScoredReply]:
    """Every reply scored by its persona's judge.

    Raises `PersonaError` for a persona that the suite does not have or that a model must judge.
    """
    ids = tuple(dict.fromkeys(reply.persona for reply in replies))
    personas = dict(zip(ids, select(suite, ids), strict=True))
    require_embeddings(tuple(personas.values()))
    scorers = {
        identity: _scorer(persona, suite.files.get(identity))
        for identity, persona in personas.items()
    }
    return [
        ScoredReply(reply, personas[reply.persona].category, *scorers[reply.persona](reply.text))
        for reply in replies
    ]


def _scorer(persona: Persona, file: Path | None) -> judges.Judge:
    if persona.needs_model:
        raise PersonaError(
            f"persona “{persona.id}” is judged by a model: leave its replies out of the file"
        )
    return scorer(persona, file)


def judge_errors(replies: Sequence[ScoredReply]) -> dict[str, JudgeErrors]:
    """The shares of wrong scores by category, in the order in which categories occur."""
    categories = dict.fromkeys(one.category for one in replies)
    return {
        category: _errors([one for one in replies if one.category == category])
        for category in categories
    }


def _errors(replies: Sequence[ScoredReply]) -> JudgeErrors:
    passes = [one for one in replies if one.reply.expected == "pass"]
    failing = [one for one in replies if one.reply.expected == "fail"]
    fails = [one for one in failing if one.reply.kind != STUFFED]
    stuffed = [one for one in failing if one.reply.kind == STUFFED]
    return JudgeErrors(
        n=len(replies),
        false_fail=_share_wrong(passes),
        false_pass=_share_wrong(fails),
        stuffed_pass=_share_wrong(stuffed),
        passes=len(passes),
        fails=len(fails),
        stuffed=len(stuffed),
    )


def _share_wrong(replies: Sequence[ScoredReply]) -> float | None:
    return sum(one.wrong for one in replies) / len(replies) if replies else None
