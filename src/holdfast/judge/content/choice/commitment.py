"""How firmly a clause commits its speaker to something that it names.

    3  the speaker commits ("I'd pick …", "my favourite is …", "… wins", or nothing else said)
    2  the speaker likes it ("I love …"), would act on it ("I'd go there on …"), urges it
       ("Take …", "How about …?"), or answers with it ("…, the jewel of the sky")
    1  it is simply named
    0  it is denied, compared with, offered as one of several, or someone else's
   -1  it is added as another ("… is also good", "or perhaps …"): no choice of its own, but
       a reply with nothing heavier than 2 is then undecided
   -2  it is named as the other possibility ("…, or the tea"): the reply is undecided, however
       firmly it named the first, unless it commits again afterwards

Things named side by side ("tea and coffee") weigh alike; joined by "or", or after
"between", they weigh nothing; advice on a condition ("if you like it strong, take …")
weighs one less. The phrases are English.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from holdfast.judge.content.choice.denials import (
    ASIDE,
    DENIED_NEXT,
    DENIES,
    LESSER,
    LESSER_NEXT,
    PUT_BEFORE,
    SETS,
    UNLIKE,
)
from holdfast.judge.content.choice.phrases import (
    ADDED_NEXT,
    ADDS,
    ANSWERS_NEXT,
    COMMITS,
    COMMITS_NEXT,
    CROWD,
    FILL,
    I_AM,
    IDIOM,
    INSTANCE,
    JOINED,
    LIKES,
    LIKES_ALONE,
    MORE_NEXT,
    OFFERED,
    OFFERS_NEXT,
    OR,
    OR_ELSE,
    ORDERS,
    OTHERS,
    PERSON,
    POINTS,
    PREFER_TO,
    SAME,
    SECOND_NEXT,
    SERVES,
    SUGGESTS,
    TAKEN,
    TO,
    URGES,
    WILL_BE,
)
from holdfast.judge.parts import words


class OptionMention(NamedTuple):
    """Option number `option` at [start, end) of a clause."""

    option: int
    start: int
    end: int


_BY = ("by", "on", "in", "with", "the", "a")  # "By bus, rain or shine." answers "How?"
ADDED = -1
ALTERNATIVE = -2
_REACH = 160


def weigh_question(question: str, mentions: list[OptionMention]) -> list[tuple[int, int]]:
    """(option, weight) of what a question suggests ("How about …?", "Or …?"), mostly nothing."""
    if not mentions or OR.search(question[mentions[0].start : mentions[-1].end]):
        return []
    before = question[: mentions[0].start]
    if len({mention.option for mention in mentions}) > 1:
        return [(m.option, 2) for m in mentions] if SUGGESTS.search(before) else []
    if ADDS.search(before):
        return [(mentions[0].option, ADDED)]
    return [(mentions[0].option, 2)] if SUGGESTS.search(before) else []


def weigh(clause: str, mentions: list[OptionMention]) -> list[tuple[int, int]]:
    """(option, weight) of every mention of a clause; `mentions` are in order, not overlapping."""
    groups = _groups(clause, mentions)
    weights: list[tuple[int, int]] = []
    for n, group in enumerate(groups):
        since = groups[n - 1][-1].end if n else 0
        until = groups[n + 1][0].start if n + 1 < len(groups) else len(clause)
        weight = _weight(clause, group, since, until)
        weights += [(mention.option, weight) for mention in group]
    return weights


def weigh_answer(
    clause: str,
    mentions: list[OptionMention],
    weights: list[tuple[int, int]],
    announced: bool = False,
) -> list[tuple[int, int]]:
    """The weights of a clause after a colon: an option that opens it answers what came before.

    After "my vote is for the one that …:" (`announced`) it may stand anywhere in the clause.
    """
    opens = all(word.lower() in FILL for word in words(clause[: mentions[0].start]))
    one = len({option for option, _ in weights}) == 1
    short = len(words(clause[mentions[-1].end :])) < 4
    if not (one and (announced or (opens and short))) or any(weight < 1 for _, weight in weights):
        return weights
    return [(option, max(weight, 3)) for option, weight in weights]


def _groups(clause: str, mentions: list[OptionMention]) -> list[list[OptionMention]]:
    """Mentions with nothing but a comma, "and" or "or" between them belong together."""
    groups: list[list[OptionMention]] = []
    for mention in mentions:
        if groups and JOINED.match(clause[groups[-1][-1].end : mention.start]):
            groups[-1].append(mention)
        else:
            groups.append([mention])
    return groups


def _weight(clause: str, group: list[OptionMention], since: int, until: int) -> int:
    start, end = group[0].start, group[-1].end
    # What is further back says nothing, and would make a reply full of names slow to weigh.
    before = clause[max(0, start - _REACH) : start]
    gap, after = clause[max(since, start - _REACH) : start], clause[end : min(until, end + _REACH)]
    options = {mention.option for mention in group}
    if len(options) > 1 and (OFFERED.search(before) or OR.search(clause[start:end])):
        return ADDED if OFFERS_NEXT.search(after) and not OFFERED.search(before) else 0
    if UNLIKE.search(gap) or SERVES.search(before):
        return 0
    if IDIOM.search(gap):
        return 3
    if SAME.search(gap) or SECOND_NEXT.search(after):
        return ADDED
    denied = DENIES.search(gap) or DENIED_NEXT.search(after)
    if (
        denied
        or LESSER.search(gap)
        or PUT_BEFORE.search(before)
        or LESSER_NEXT.search(after)
        or (SETS.search(gap) and ASIDE.search(after))
        or (TO.search(gap) and PREFER_TO.search(before))
    ):
        return 0
    commits, likes, others = (p.search(before) for p in (COMMITS, LIKES, OTHERS))
    own = max((m.start() for m in (commits, likes) if m), default=-1)
    if TAKEN.match(after) or (I_AM.search(gap) and PERSON.match(after)):
        return 3
    if (others and others.start() > own) or (own < 0 and CROWD.search(before)):
        return ADDED if ADDS.search(gap) else 0
    if OR_ELSE.search(gap):
        return ALTERNATIVE
    # "… trams get stuck" urges nothing: after another name, only a new phrase may.
    opening = gap if not since else gap[_phrase_end(gap) :]
    if ORDERS.search(opening) or (MORE_NEXT.search(after) and LIKES_ALONE.search(before)):
        return 3
    if commits or POINTS.search(gap) or WILL_BE.search(gap) or COMMITS_NEXT.search(after):
        return 3
    if len(options) == 1 and all(
        word.lower() in FILL for word in words(before) + words(clause[end : end + _REACH])
    ):
        return 3
    if ADDS.search(gap) or ADDED_NEXT.search(after):
        return ADDED
    if INSTANCE.search(gap) and not likes:
        return 0
    return 2 if likes or URGES.search(opening) or _answers(before, after, len(options)) else 1


def _phrase_end(gap: str) -> int:
    """Where the phrase that a name stands in ends."""
    match = re.search(r"[,.;:!?)]", gap)
    return match.start() if match else len(gap)


def _answers(before: str, after: str, options: int) -> bool:
    opens = all(word.lower() in _BY for word in words(before))
    return options == 1 and opens and bool(ANSWERS_NEXT.match(after))
