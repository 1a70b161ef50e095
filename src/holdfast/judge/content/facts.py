"""Whether a reply states facts, each about the thing that it belongs to.

Four extensions in a reply are no answer if the library has the workshop's. A fact is a value (with
other ways to write it) and, where it can be mixed up, what it is about:

    { about = ["library"], is = ["209"] }

A reply fails where a value stands beside what another fact is about, where it is denied ("no
longer 209") or taken back ("209, sorry, I mean 210"), or where it gives a value that `not` or
`only` rules out. Beside means: the nearest in the same clause. With `order` the values must follow
one another as listed.

Values are compared without regard to case, accents and hyphens; number words are read as digits
("eighty-three" is 83, "three eight one six" is 3816), and spelled words are put together
(Q-U-I-L-L). The reader of denials knows English only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.judge.number import with_digits
from holdfast.judge.params import Params
from holdfast.judge.parts import plain
from holdfast.judge.pattern import Pattern
from holdfast.judge.score import Judge, Score, quoted

_SPELLED = re.compile(r"(?<![\w-])\w(?:[- .]\w){3,}(?![\w-])")
_POINT = re.compile(r"(?<=\d) (?:point|dot) (?=\d)")
_CLAUSE = re.compile(r"[;!?\n]|,(?!\d)|\.(?!\d)|\band\b|\bwhile\b|\bbut\b")
_SENTENCE = re.compile(r"[!?\n]|\.(?=\s|$)")
_RESPECTIVELY = re.compile(r"\brespectively\b|\bin (?:that|this) order\b")
_DENIED = re.compile(
    r"(?:\b(?:not|never|no longer|neither|nor|isn't|wasn't|aren't|instead of|rather than|wrong|"
    r"except|"
    r"unlike|forget|ignore|no need (?:to|for))|n't)"
    r"(?: (?:be|come|go|visit|is|was|called|named|say|use|take|at|in|on|to|the|a|an|"
    r"from|with|about))* ?$"
)
_DENIED_NEXT = re.compile(
    r"[ ,'\")-]*(?:is|are|was|were|would be|has been|have been)? ?(?:not (?!only|just)|isn't|"
    r"wasn't|aren't|doesn't|does not|don't|do not|didn't|won't|will not|"
    r"no longer|wrong|incorrect|outdated|invalid|out of date|cancelled|a lie|a joke|fake|false)\b"
    r"|[ ,'\")-]*(?:is|are|was|were|has been) closed\b"
)
_UNSURE = re.compile(
    r"\b(?:(?:don't|do not|can't|cannot) (?:know|remember|recall|say|tell)|not sure|unsure|no idea|"
    r"forgot|forget) (?:which|what|where|who|exactly which|exactly what)\b"
)
_CORRECTION = re.compile(
    r"\b(?:sorry,? i mean\w*|i mean\w*,? to say|scratch that|correction|or rather|no,? wait|"
    r"wait,? no|"
    r"no longer|(?<!where you )(?<!where we )(?<!what you )(?<!as you )"
    r"used to (?:be|have|live|work)|"
    r"i take that back|just kidding|actually,? no)\b"
)


@dataclass(frozen=True)
class Fact:
    """A value and what it is about."""

    about: tuple[str, ...]
    """Words for the thing; empty where nothing else could have the value."""
    values: tuple[str, ...]
    """Ways to write the value."""
    wrong: tuple[str, ...] = ()
    """Values that contradict it."""
    only: Pattern | None = None
    """Matches every value of this sort; all of its matches must be among `values`."""


@dataclass(frozen=True)
class Mention:
    """Something found at [start, end) of a text, and the number of the fact it belongs to."""

    fact: int
    start: int
    end: int


def facts(params: Params) -> Judge:
    """The share of the facts that are stated, all by default, and 0 for a contradiction."""
    listed = params.need("facts", "a list of tables with “is” and perhaps “about”")
    if (
        not isinstance(listed, list)
        or not listed
        or not all(isinstance(x, Mapping) for x in listed)
    ):
        params.fail("parameter “facts” must be a list of tables, as [{ is = [“209”] }, …]")
    known = [_fact(params, entry) for entry in listed]
    ordered = params.flag("order", False)
    least = params.whole("least", len(known), low=1) or len(known)
    strict = params.flag("strict", True)
    params.done()
    if least > len(known):
        params.fail(f"parameter “least” ({least}) must not exceed the {len(known)} facts")

    def judge(text: str) -> Score:
        seen = readable(text)
        values = _mentions(seen, [fact.values for fact in known])
        problem = _contradiction(seen, known, values) or (ordered and _disorder(values, len(known)))
        if problem:
            return Score(0.0, problem)
        stated = {mention.fact for mention in values}
        missing = [quoted(f.values[0]) for n, f in enumerate(known) if n not in stated]
        share = min(1.0, len(stated) / least)
        why = f"missing {', '.join(missing)}" if missing else "all facts are stated"
        return Score(float(share == 1.0) if strict else share, why)

    return judge


def _fact(params: Params, entry: Mapping[str, object]) -> Fact:
    inner = Params(params.name, {"name": params.name, **entry})
    about = inner.texts("about") if inner.take("about") is not None else ()
    values = inner.texts("is")
    wrong = inner.texts("not") if inner.take("not") is not None else ()
    only = inner.text("only") if inner.take("only") is not None else None
    inner.done()
    return Fact(
        tuple(map(readable, about)),
        tuple(map(readable, values)),
        tuple(map(readable, wrong)),
        Pattern(only, "i") if only else None,
    )


def readable(text: str) -> str:
    """A text in lower case, without accents and markup, with spelled words and digits."""
    bare = unicodedata.normalize("NFKD", plain(text).replace("‑", "-").replace("’", "'"))
    bare = "".join(c for c in bare if not unicodedata.combining(c)).lower()
    joined = _SPELLED.sub(_join, re.sub(r"\bv(?=\d+\.\d)", "", bare))
    return _POINT.sub(".", with_digits(joined))


def _join(match: re.Match[str]) -> str:
    return re.sub(r"[- .]", "", match.group())


def _mentions(text: str, wanted: Sequence[Sequence[str]]) -> list[Mention]:
    """Where texts occur as whole words, longest first, in the order of the reply."""
    mentions: list[Mention] = []
    for number, texts in enumerate(wanted):
        if texts:
            body = "|".join(_loose(t) for t in sorted(texts, key=len, reverse=True))
            pattern = rf"(?<!\w)(?<!\d[.,:])(?:{body})(?!\w)(?![.,:]\d)"
            mentions += [Mention(number, *match.span()) for match in re.finditer(pattern, text)]
    return sorted(mentions, key=lambda mention: mention.start)


def _loose(text: str) -> str:
    """A text whose words may be joined by spaces or hyphens, in the singular or the plural."""
    body = r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", text)))
    return body + (r"(?:e?s|'s)?" if text[-1:].isalpha() and len(text) > 3 else "")


def _contradiction(text: str, known: Sequence[Fact], values: Sequence[Mention]) -> str | None:
    for fact in known:
        for wrong in _mentions(text, [fact.wrong]):
            return f"says {quoted(text[wrong.start : wrong.end])}"
        if fact.only and (other := _other_value(text, fact)):
            return f"says {quoted(other)}"
    if correction := _CORRECTION.search(text):
        return f"takes something back: {quoted(correction.group())}"
    if unsure := _UNSURE.search(text):
        return f"is unsure: {quoted(unsure.group())}"
    for mention in values:
        before, after = text[max(0, mention.start - 60) : mention.start], text[mention.end :][:60]
        start = max((m.end() for m in _SENTENCE.finditer(before)), default=0)
        if _DENIED.search(before[start:]) or _DENIED_NEXT.match(after):
            return f"denies {quoted(text[mention.start : mention.end])}"
    return _misplaced(text, known, values)


def _other_value(text: str, fact: Fact) -> str | None:
    """A match of `only` that is none of the fact's values."""
    assert fact.only is not None
    for match in fact.only.findall(text):
        if not _mentions(match, [fact.values]):
            return match
    return None


def _misplaced(text: str, known: Sequence[Fact], values: Sequence[Mention]) -> str | None:
    """A value in a clause that is about other facts and not about its own.

    A topic with its own value in the clause is taken: "88 black faces out of 1274".
    """
    if _RESPECTIVELY.search(text):
        return None
    topics = _mentions(text, [fact.about for fact in known])
    breaks = [match.start() for match in _CLAUSE.finditer(text)]
    clause = [sum(at < mention.start for at in breaks) for mention in values]
    clause_of_topic = [sum(at < topic.start for at in breaks) for topic in topics]
    for mention, n in zip(values, clause, strict=True):
        if not known[mention.fact].about:
            continue
        facts_of_clause = {value.fact for value, m in zip(values, clause, strict=True) if m == n}
        near = [
            topic
            for topic, m in zip(topics, clause_of_topic, strict=True)
            if m == n and (topic.fact == mention.fact or topic.fact not in facts_of_clause)
        ]
        if not near:
            continue
        nearest = min(_distance(mention, topic) for topic in near)
        beside = [topic for topic in near if _distance(mention, topic) == nearest]
        if all(topic.fact != mention.fact for topic in beside):
            value = quoted(text[mention.start : mention.end])
            return f"gives {value} for {quoted(text[beside[0].start : beside[0].end])}"
    return None


def _distance(one: Mention, other: Mention) -> int:
    return max(other.start - one.end, one.start - other.end)


def _disorder(values: Sequence[Mention], count: int) -> str | None:
    """Why the first mentions do not follow one another as listed."""
    first = list(dict.fromkeys(mention.fact for mention in values))
    return None if first == sorted(first) else "the order is another"
