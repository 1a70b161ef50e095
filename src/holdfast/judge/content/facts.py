"""Whether a reply states facts, each about the thing that it belongs to.

Four extensions in a reply are no answer if the library has the workshop's. A fact is a value (with
other ways to write it) and, where it can be mixed up, what it is about:

    { about = ["library"], is = ["209"] }

A reply fails where a value stands beside what another fact is about, where it is denied ("no
longer 209"), taken back ("209, sorry, I mean 210"), somebody else's ("209 belongs to another
guest") or replaced ("Anouk's seat goes to Marek"), where another number of the same form is given
as the answer ("yours is 210"), or where it gives a value that `not` or `only` rules out. Beside
means: the nearest in the same clause; a row of things and a row of values ("glass, paper, food:
violet, orange, white") belong together in their order. With `order` the values must follow one
another as listed. With `own` the facts are the speaker's: "your cat Mia" and "I have no cat" fail
(`holdfast.judge.content.ownership`).

Values are compared without regard to case, accents and hyphens; number words are read as digits
("eighty-three" is 83, "three eight one six" is 3816), and spelled words are put together
(Q-U-I-L-L); see `holdfast.judge.mentions`. The reader of denials knows English only.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from holdfast.judge.content.ownership import alien
from holdfast.judge.content.refusal import REFUSAL
from holdfast.judge.mentions import Mention, find_mentions, normalise
from holdfast.judge.params import Params
from holdfast.judge.pattern import Pattern
from holdfast.judge.score import Judge, Score, quote
from holdfast.judge.stated import is_denied, is_set_aside

_CLAUSE = re.compile(r"[;!?\n]|,(?!\d)|\.(?!\d)|\band\b|\bwhile\b|\bbut\b")
_SENTENCE = re.compile(r"[!?\n]|\.(?=\s|$)")
_NEARBY = 200
_JOINT = re.compile(r"[\s,;/&]*(?:and|then)?\s*(?:the|an?|for|in)?\s*(?:the )?$")
_RESPECTIVELY = re.compile(r"\brespectively\b|\bin (?:that|this) order\b")
_ELSES = r"(?:someone|somebody|anyone|another|a different|the other|an ?other)\b"
# What is another's, or has been put in place of another: "3816 belongs to another guest",
# "since Ravindra's poorly", "Anouk's seat goes to Marek".
_LOST_NEXT = re.compile(
    rf"[ ,'\")-]*(?:belongs? to|is for|was for|went to|goes to|is|was|has been given to) {_ELSES}"
    r"|[ ,'\")-]*(?:is|was|has been|'s) (?:already |now )?(?:taken|occupied|replaced|swapped|"
    r"changed|renamed|retired|benched|suspended|dropped|superseded|withdrawn|scrapped)\b(?! by "
    r"you\b)"
    r"|(?:'s| is| was| has been|'ll be| will be) (?:\w+ )?(?:poorly|ill|sick|unwell|injured|hurt|"
    r"absent|missing|on leave|on holiday|off (?:sick|ill|today)|out (?:sick|ill|today|injured)|"
    r"unavailable|down with|not (?:here|rowing|playing|coming))\b"
    r"|'s (?:seat|place|oar|slot|spot|job|desk|role|turn) (?:goes|went|is going|has gone|is taken|"
    r"was given|passes)\b"
    r"|,? (?:has|had|have) (?:left|retired|quit|gone|moved on|dropped out|been replaced|been "
    r"withdrawn)\b"
    # "Velm was the capital until the fire", "was 760, but they've been moved"
    r"|[ ,'\")-]*(?:was|were|had been) [^.!?;]{0,40}\b(?:until|till|but now|before (?:the|they|"
    r"we|it)\b)"
)
_ONCE = re.compile(r"\b(?:was|were|had been)(?: (?:the|an?|called|named|on|in|at))* $")
_NO_LONGER = re.compile(
    r"[^.!?;]{0,30}(?:\b(?:until|till|up to)\b|\b(?:but|and|though)\b[^.!?;]{0,20}\b(?:now|moved|"
    r"changed|switched|gone|since)\b)"
)
# "You'll hear people say calcite": others' word.
_OTHERS_SAY = re.compile(
    r"\b(?:people|they|others|some|many|most|everyone|everybody|books?|guides?)(?: (?:will|may|"
    r"might|would|often|still|always|keep))* (?:says?|saying|thinks?|believes?|claims?|guess|"
    r"swears?|assumes?|expects?|tells? you|insists?)(?: (?:that|it|it's|is|the|its|an?|on|word))* $"
)
_LOST = re.compile(
    r"\b(?:in place of|in for|instead of|replac(?:es|ed|ing)|st(?:and|ands|ood|anding) in for|"
    r"fill(?:s|ed|ing)? in for|sit(?:s|ting)? in for|row(?:s|ing)? for|cover(?:s|ing)? for|"
    r"takes? over from|took over from|formerly|previously)(?: the| our)? $"
)
# "Yours is 3814", "you're in 3814": a number given as what was asked for.
_GIVES = re.compile(
    r"\b(?:(?:yours|it|that|this|the (?:right |correct |real |actual |new |current )?(?:one|number|"
    r"code))(?: is now| is actually| is really| is|'s now|'s| was|:)|you(?:'re|"
    r" are)(?: now)? (?:in|at|on)|you (?:now )?(?:have|got|want|need)|you've got|use|take|try|now|"
    r"actually|rather|but|(?:moved|changed|switched|transferred) to)(?: (?:number|no\.|locker|room|"
    r"line|extension|version))? (\d[\d.:]*\d)(?=[ ,]*(?:now|today|instead|$|[.,;!?)\n]))"
)
_REFUSES = re.compile(r"(?:\b(?:not|never|no|nor|if)|n't)\b[^.!?;]{0,30}$")
_UNSURE = re.compile(
    r"\b(?:(?:don't|do not|can't|cannot) (?:know|remember|recall|say|tell)|not sure|unsure|no idea|"
    r"forgot|forget) (?:which|what|where|who|exactly which|exactly what)\b"
)
_CORRECTION = re.compile(
    r"\b(?:sorry,? i mean\w*|i mean\w*,? to say|scratch that|correction|no,? wait|"
    # "She answers to Mia, or rather she doesn't" names nothing else.
    r"or rather(?!,? (?:i|he|she|it|they|we) (?!is\b|am\b|was\b|are\b|were\b)\w)|"
    r"wait,? no|i take that back|just kidding|actually,? no)\b"
)
# What was so once, in the sentence of a value: "209, or so it used to be".
_FORMER = re.compile(
    r"\b(?:no longer|(?<!where you )(?<!where we )(?<!what you )(?<!as you )"
    r"used to (?:be|have|live|work))\b"
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


def facts(params: Params) -> Judge:
    """The share of the facts that are stated, all by default, and 0 for a contradiction."""
    tables = params.need("facts", "a list of tables with “is” and perhaps “about”")
    if (
        not isinstance(tables, list)
        or not tables
        or not all(isinstance(x, Mapping) for x in tables)
    ):
        params.fail("parameter “facts” must be a list of tables, as [{ is = [“209”] }, …]")
    all_facts = [_fact(params, entry) for entry in tables]
    ordered = params.flag("order", False)
    own = params.flag("own", False)
    least = params.whole("least", len(all_facts), low=1)
    strict = params.flag("strict", True)
    params.refuse_unknown()
    if own and not all(fact.about for fact in all_facts):
        params.fail("parameter “own” needs “about” in every fact: what is the speaker's")
    if least > len(all_facts):
        params.fail(f"parameter “least” ({least}) must not exceed the {len(all_facts)} facts")
    numbers = [value for fact in all_facts for value in fact.values]

    def judge(text: str) -> Score:
        bare = normalise(text, numbers)
        values = find_mentions(bare, [fact.values for fact in all_facts], reordered=True)
        problem = (
            _contradiction(bare, all_facts, values)
            or (ordered and _disorder(values, len(all_facts)))
            or (own and _of_another(bare, all_facts))
        )
        if problem:
            return Score(0.0, problem)
        stated_facts = {mention.fact for mention in values}
        missing = [quote(f.values[0]) for n, f in enumerate(all_facts) if n not in stated_facts]
        share = min(1.0, len(stated_facts) / least)
        why = f"missing {', '.join(missing)}" if missing else "all facts are stated"
        return Score(float(share == 1.0) if strict else share, why)

    return judge


def _fact(params: Params, entry: Mapping[str, object]) -> Fact:
    inner = Params(params.name, {"name": params.name, **entry})
    about = inner.texts_or_none("about")
    values = inner.texts("is")
    wrong = inner.texts_or_none("not")
    only = inner.pattern("only") if inner.take("only") is not None else None
    inner.refuse_unknown()
    return Fact(
        tuple(map(normalise, about)),
        tuple(map(normalise, values)),
        tuple(map(normalise, wrong)),
        only,
    )


def _contradiction(text: str, all_facts: Sequence[Fact], values: Sequence[Mention]) -> str | None:
    for fact in all_facts:
        for wrong in find_mentions(text, [fact.wrong]):
            if not is_set_aside(text, wrong.start, wrong.end):
                return f"says {quote(text[wrong.start : wrong.end])}"
        if fact.only and (other := _other_value(text, fact)):
            return f"says {quote(other)}"
    if rival := _rival(text, all_facts):
        return f"gives {quote(rival)} as the answer"
    if correction := _CORRECTION.search(text):
        return f"takes something back: {quote(correction.group())}"
    if unsure := _UNSURE.search(text):
        return f"is unsure: {quote(unsure.group())}"
    for mention in values:
        before, after = (
            text[max(0, mention.start - 60) : mention.start],
            text[mention.end : mention.end + 60],
        )
        # "Ravindra's poorly": the match of a name takes its "'s" along.
        after_name = "'s" + after if text[mention.start : mention.end].endswith("'s") else after
        start = max((m.end() for m in _SENTENCE.finditer(before)), default=0)
        before = before[start:]
        sentence = _sentence_of(text, mention)
        if REFUSAL.search(sentence):
            return "refuses in the same breath"
        if former := _FORMER.search(sentence):
            return f"takes something back: {quote(former.group())}"
        value = quote(text[mention.start : mention.end])
        if is_denied(text, mention.start, mention.end):
            return f"denies {value}"
        if _LOST.search(before) or _LOST_NEXT.match(after_name):
            return f"has another in place of {value}"
        if (_ONCE.search(before) and _NO_LONGER.match(after_name)) or _OTHERS_SAY.search(before):
            return f"has {value} for what was, or for what others say"
    return _find_misplaced(text, all_facts, values)


def _of_another(text: str, all_facts: Sequence[Fact]) -> str | None:
    """Why a fact is not the speaker's own."""
    finds = (alien(text, fact.about, fact.values) for fact in all_facts)
    match = next(filter(None, finds), None)
    return f"it is not the speaker's: {quote(match)}" if match else None


def _sentence_of(text: str, mention: Mention) -> str:
    """The sentence that the mention stands in, as far as its neighbourhood goes."""
    near = slice(max(0, mention.start - _NEARBY), mention.end + _NEARBY)
    start = max((m.end() for m in _SENTENCE.finditer(text, near.start, mention.start)), default=0)
    end = _SENTENCE.search(text, mention.end, near.stop)
    return text[max(start, near.start) : end.start() if end else near.stop]


def _other_value(text: str, fact: Fact) -> str | None:
    """A match of `only` that is none of the fact's values."""
    assert fact.only is not None
    for start, end in fact.only.spans(text):
        match = text[start:end]
        if not find_mentions(match, [fact.values]) and not is_set_aside(text, start, end):
            return match
    return None


def _rival(text: str, all_facts: Sequence[Fact]) -> str | None:
    """A number that is given as the answer, of the form of a value and none of the values."""
    values = [value for fact in all_facts for value in fact.values]
    forms = {_form(value) for value in values if sum(map(str.isdigit, value)) > 1}
    for match in _GIVES.finditer(text):
        number, before = match[1], text[max(0, match.start() - 40) : match.start()]
        if _form(number) in forms and number not in values and not _REFUSES.search(before):
            return number
    return None


def _form(number: str) -> str:
    """A number with its digits alike: "9:40" and "8:15" have one form."""
    return re.sub(r"\d", "9", number)


def _find_misplaced(text: str, all_facts: Sequence[Fact], values: Sequence[Mention]) -> str | None:
    """A value in a clause that is about other facts and not about its own.

    A topic with its own value in the clause is taken: "88 black faces out of 1274".
    """
    if _RESPECTIVELY.search(text):
        return None
    topics = find_mentions(text, [fact.about for fact in all_facts])
    values = [mention for mention in values if all_facts[mention.fact].about]
    in_order, problem = _rows(text, topics, values)
    if in_order or problem:
        return problem
    breaks = [match.start() for match in _CLAUSE.finditer(text)]
    topics_of = _by_clause(topics, breaks)
    for clause, mentions in _by_clause(values, breaks).items():
        facts_of_clause = {mention.fact for mention in mentions}
        for mention in mentions:
            near = [
                topic
                for topic in topics_of.get(clause, ())
                if topic.fact == mention.fact or topic.fact not in facts_of_clause
            ]
            nearest = min((_distance(mention, topic) for topic in near), default=0)
            beside = [topic for topic in near if _distance(mention, topic) == nearest]
            if beside and all(topic.fact != mention.fact for topic in beside):
                value = quote(text[mention.start : mention.end])
                return f"gives {value} for {quote(text[beside[0].start : beside[0].end])}"
    return None


def _by_clause(mentions: Sequence[Mention], breaks: Sequence[int]) -> dict[int, list[Mention]]:
    """The mentions by the number of the clause that they stand in, in their order."""
    clauses: dict[int, list[Mention]] = {}
    for mention in mentions:
        clauses.setdefault(bisect_left(breaks, mention.start), []).append(mention)
    return clauses


def _rows(
    text: str, topics: Sequence[Mention], values: Sequence[Mention]
) -> tuple[bool, str | None]:
    """Whether things stand in one row and their values in another, and what is wrong with that.

    True for "glass, paper, food: violet, orange, white", whose clauses tell nothing.
    """
    if len({value.fact for value in values}) < 2 or not topics:
        return False, None
    first, last = values[0].start, values[-1].end
    if _SENTENCE.search(text[min(first, topics[0].start) : max(last, topics[-1].end)]):
        return False, None
    if topics[-1].end > first and last > topics[0].start:
        return False, None
    things, numbers = ([*dict.fromkeys(m.fact for m in row)] for row in (topics, values))
    if sorted(things) != sorted(numbers):
        return False, None
    if things == numbers:
        return True, None
    bare = all(
        _JOINT.match(text[one.end : other.start])
        for row in (topics, values)
        for one, other in pairwise(row)
    )
    return False, "the values are in another order" if bare else None


def _distance(one: Mention, other: Mention) -> int:
    return max(other.start - one.end, one.start - other.end)


def _disorder(values: Sequence[Mention], count: int) -> str | None:
    """Why the values do not follow one another as listed, all in one breath or by first mention."""
    order = [mention.fact for mention in values]
    runs = [order[n : n + count] for n in range(len(order) - count + 1)]
    whole = [row for row in runs if len(set(row)) == count]
    if whole:
        return None if any(row == sorted(row) for row in whole) else "the order is another"
    first = list(dict.fromkeys(mention.fact for mention in values))
    return None if first == sorted(first) else "the order is another"
