"""Which option a reply commits to, once every mention of one has its weight.

The heaviest mention decides, if no other option has one as heavy. Where options are equally heavy,
the way in which the reply puts them side by side does:

    frame        named first, last and most: "Neptune … Saturn has its rings, but Neptune …"
    turn         what follows the last "but" or "so": "Saturn gets the postcards, but … Neptune"
    last word    what closes a row that was not praised: "Buses wait. Trams stop. Ferries fly."
    praise       the only one that is praised to the skies: "Giraffe: aloof. Okapi: perfect."

A clause that names nothing may point back: "That's the one I drink myself" commits to the option
named last, "but not my vote" takes it back, "and I agree" makes what others say one's own.
English phrases.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.judge.content.choice.commitment import ADDED, ALTERNATIVE
from holdfast.judge.parts import words
from holdfast.judge.score import quote


@dataclass(frozen=True)
class Vote:
    """An option as one clause of the reply has it."""

    option: int
    weight: int
    """How firmly the clause commits to it; see `holdfast.judge.content.choice.commitment`."""
    clause: str
    depends: bool = False
    """Whether the clause hangs on a condition."""
    turns: int = 0
    """How many times the reply has turned ("but", "so") before the clause."""
    sentence: int = 0
    """The number of the sentence that the clause is part of."""


LEAST_ROW, LEAST_TOLD = 3, 3
"""Options in a row that its last part closes, and words in each part."""

LIKED = 2
"""The weight of an option that the speaker likes or urges."""

_THOUGH = re.compile(r"\b(?:though|however|honestly|nowadays|these days|today|now)\b", re.I)
_TURN = re.compile(
    r"\W*(?:but|yet|still|so|then|and then|instead|no,|however|therefore|that leaves|"
    r"which leaves)\b|,?\s*though,",  # "For the stage, though, …"
    re.IGNORECASE,
)
_CONCEDES = re.compile(r"\W*(?:although|though|while|whereas|whilst|even if)\b", re.IGNORECASE)
_COMMITS_BACK = re.compile(
    r"\W*(?:(?:and|but|so|because|yes),? )?(?:(?:that|this|it|he|she)(?:'s| is| was| will be|"
    r"'ll be)(?: \w+)? (?:the one|the answer|the winner|mine\b|(?:my|our|"
    r"your)(?: \w+){0,2} (?:favou?rite|choice|answer|pick|vote|recommendation|dog|ticket|colour|"
    r"color)|yours\b|for (?:you|me)\b|what (?:I|you|we)|where (?:I|you|we)|which (?:is )?what (?:I|"
    r"you|we))"
    r"|which is (?:what|where|why|the one) (?:I|you|we)\b"
    r"|(?:I'd|I would|I'll|I will|I) (?:\w+ )?(?:choose|pick|take|recommend|vote for|go for|"
    r"go with) (?:that one|that|this one|it|him|her)\b"
    r"|(?:that one|it) (?:wins|gets my)\b"
    r"|(?:hop|jump|get|climb) (?:on|onto|in|into|aboard) one of (?:those|these|them)\b"
    r"|I (?:know|can tell you|needn't say|needn't tell you) (?:which|what|where)(?: one)? I\b|"
    r"guess which\b"
    r"|(?:send|take|bring|point|book) (?:\w+ ){1,3}there\b|(?:hop|jump|get) (?:on|in|"
    r"aboard) (?:that|it)\b|(?:take|get|pick|choose|go for|try|have|order|book) (?:that|it|"
    r"that one|this one)\b(?! (?:from|easy|slow|away|off|out|up))|(?:let's )?go there\b"
    # "Take an armful.", "I rest my case."
    r"|(?:take|get|have|order|buy|try) (?:an?|some|one|two|three|plenty|lots)(?: [\w-]+){0,2}\W*$"
    r"|(?:I rest my case|case closed|(?:'?nuff|enough) said|say no more|need I say more)\b"
    r"|(?:my|our) (?:clear |absolute |one )?(?:favou?rite|choice|pick|answer|vote)\b"
    # "My vote is for the one that …" points ahead.
    r"(?! (?:is|goes|would be|will be) (?:for |to |with )?(?:an?|the)\b))",
    re.IGNORECASE,
)
_POINTS_AHEAD = re.compile(
    r"\b(?:my|our) (?:[\w-]+ ){0,2}(?:favou?rite|choice|pick|answer|vote|recommendation|money|"
    r"heart|advice|love)\b|\bthe (?:[\w-]+ ){0,2}(?:one|answer|winner|best)\b|\bonly one\b|"
    r"\bI(?:'d|'ll| would| will| know)? (?:\w+ )?(?:choose|pick|take|send|go|point|recommend|vote|"
    r"say|where|which|what)\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:not|never|no|nobody|people|they|others)\b|n't\b", re.IGNORECASE)
_AGREES = re.compile(
    r"\W*(?:(?:and|so) )?(?:I (?:quite |fully |do |must |have to )?agree|so do I|so would I|"
    r"they(?:'re| are) right|rightly so|and rightly)\b",
    re.IGNORECASE,
)
_TAKES_BACK = re.compile(
    r"\W*(?:(?:and|but|just|though|yet),? )?(?:(?:it's |it is |that's )?not (?:my|for (?:me|you|"
    r"today)|the one|today|this time)|I (?:don't|do not|can't|cannot|won't) (?:\w+ )?(?:like|stand|"
    r"care for|recommend|drink|play|want|choose|pick|take|bear) (?:it|that|him|her|them)\b)",
    re.IGNORECASE,
)
_GRANTS = re.compile(
    r"\W*(?:I (?:grant you|admit|confess|know(?! (?:which|what|where)\b)|give you that)|"
    r"I'll give you that|granted|admittedly|to be fair|fair enough)\b",
    re.IGNORECASE,
)
# "… but it's so much work", after a choice, leaves a liking.
_COMPLAINS = re.compile(
    r"\W*(?:it|he|she|they|that|this)(?:'s| is| are|'re| can be) (?:\w+ )?(?:(?:so|too|such|a lot|"
    r"lots|a bit)\b(?: \w+){0,3} (?:work|trouble|effort|bother|hassle|fuss|nuisance|handful)|"
    r"too (?:much|hard|difficult|slow|far|expensive|dear|bitter|sweet|loud|strong|shy))\b",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"\W*(?:that(?:'s| is) (?!not\b|no\b|too\b|a (?:bad|poor)|what (?:people|they|others))|"
    r"now (?:that|there)|always|every time|what else|who else|any day|yes|of course)\b",
    re.IGNORECASE,
)


_PRAISES = re.compile(
    r"\b(?:perfect|perfection|bliss|heaven|heavenly|magic|magical|sublime|divine|glorious|"
    r"unbeatable|irresistible|makes you (?:forget|smile|sing|happy)|(?:worth|beats) (?:it all|"
    r"the rest)|poetry|paradise|a (?:dream|marvel|miracle|masterpiece|treasure))\b",
    re.IGNORECASE,
)


_LIST_MARK = re.compile(r"\W*(?:[-*•|]|\(?\w[.):])\s")
# What is said of an option that is named beside another, not before it.
_BESIDE = re.compile(
    r"\b(?:too|also|as well|another|either|neither|or|popular|fans|options?|alternatives?|later|"
    r"close[ds]?|second|other|equally|both|few|some|once|sometimes|maybe|perhaps|could|might|would|"
    r"if|used to|came|was|were|though|stains|however|has its)\b|n't\b|\bnot\b|\?",
    re.IGNORECASE,
)
_GOOD = re.compile(
    r"\b(?:best|better|good|great|nice|lovely|wonderful|fine|safe|perfect\w*|ideal\w*|classic|"
    r"fast\w*|quick\w*|suits?|works?|great|fun|charming|warm|bright\w*|beautiful|pretti\w+|"
    r"favou?rites?|popular|choice|option|pick|easy|easi\w+|cheap\w*|friendly|calm|candidate|"
    r"delicious|refreshing|smooth|rich|elegant|lucky|wins?|recommend\w*|suggest\w*|should(?! have)|"
    r"starts?|convenient|reliable|strong|light)\b",
    re.IGNORECASE,
)


def turns(clause: str) -> bool:
    """True where a clause turns from what was said to what is meant."""
    return bool(_TURN.match(clause))


def concedes(clause: str) -> bool:
    """True for "although …": the main clause beside it is what is meant."""
    return bool(_CONCEDES.match(clause)) and not turns(clause)


def points_ahead(clause: str) -> bool:
    """True where a clause before a colon announces a choice: "my vote goes to the one that …:"."""
    return bool(_POINTS_AHEAD.search(clause)) and not _NEGATION.search(clause)


def point_back(clause: str, votes: list[Vote], topic: int | None) -> None:
    """Put into `votes` what a clause that names no option says of the option named last.

    Args:
        clause: the clause.
        votes: the mentions so far, which this changes.
        topic: the option of a question just before it ("The okapi? That's an animal.").
    """
    if topic is not None and (_GOES_ON.match(clause) or _COMMITS_BACK.match(clause)):
        votes.append(Vote(topic, 2, clause.strip(), turns=votes[-1].turns if votes else 0))
    elif not votes:
        return
    elif _PRAISES.search(clause) and len(words(clause)) < 4:
        votes[-1] = replace(votes[-1], clause=f"{votes[-1].clause} {clause.strip()}")
    elif _GRANTS.match(clause):
        votes[-1] = replace(votes[-1], weight=min(votes[-1].weight, 1))
    elif _COMPLAINS.match(clause):
        votes[-1] = replace(votes[-1], weight=min(votes[-1].weight, LIKED))
    elif _TAKES_BACK.match(clause):
        votes[-1] = replace(votes[-1], weight=0)
    elif _AGREES.match(clause):
        _agree(votes)
    elif votes[-1].weight >= 0 and _COMMITS_BACK.match(clause):
        votes.append(replace(votes[-1], weight=3, clause=clause.strip()))


def _agree(votes: list[Vote]) -> None:
    """What the last clause has others say becomes the speaker's own."""
    last = votes[-1].clause
    for n in range(len(votes) - 1, -1, -1):
        if votes[n].clause != last:
            return
        votes[n] = replace(votes[n], weight=3)


def resolve(votes: Sequence[Vote], evasive: bool) -> tuple[int | None, str]:
    """The option that is chosen, None where none is, and why.

    Args:
        votes: the mentions in the order of the reply.
        evasive: whether the reply says that there is no preference; only a plain commitment
            then counts.
    """
    if not votes:
        why = "says that there is no preference" if evasive else "chooses none of the options"
        return None, why
    top = max(one.weight for one in votes)
    if top <= 0 or (evasive and top < 3):
        return None, "commits to none of the options"
    open_until = max((n for n, one in enumerate(votes) if one.weight == ALTERNATIVE), default=-1)
    if open_until >= 0 and all(one.weight < 3 for one in votes[open_until:]):
        return None, "leaves the choice open"
    best = {one.option for one in votes if one.weight in ((top,) if top == 3 else (top, ADDED))}
    option = _only(best)
    if option is None and top < 3 and all(one.weight != ADDED for one in votes):
        option = _decide_between([one for one in votes if one.weight > 0], top)
    if option is None:
        return None, f"{len(best)} options stand alike"
    if _ends_with_another(votes, option):
        return None, "turns to another in the end"
    return option, quote(next(one.clause for one in votes if one.option == option), 60)


def _ends_with_another(votes: Sequence[Vote], option: int) -> bool:
    """True where the reply ends by turning to another option that it likes or urges.

    "Cymbeline's the one I'd read. For the stage, though, give them Macbeth."
    """
    last = votes[-1]
    if last.option == option or last.weight < LIKED or last.depends:
        return False
    before = [one for one in votes if one.option == option]
    turned = last.turns > max(one.turns for one in before)
    return turned or bool(_THOUGH.search(last.clause))


def _decide_between(votes: Sequence[Vote], top: int) -> int | None:
    """Which of several that are as heavy the reply sets apart from the others."""
    if any(one.depends for one in votes):
        return None
    by_frame = _decide_by_frame(votes) if top == 1 else None
    by_last_word = _decide_by_last_word(votes) if top == 1 else None
    ways = (by_frame, _decide_by_turn(votes, top), _decide_by_praise(votes), by_last_word)
    return next((option for option in ways if option is not None), None)


def _decide_by_frame(votes: Sequence[Vote]) -> int | None:
    """The option that is named first, last, and in more clauses than any other."""
    counts = Counter(one.option for one in votes).most_common(2)
    most = counts[0][0] if len(counts) == 1 or counts[0][1] > counts[1][1] else None
    return most if votes[0].option == votes[-1].option == most else None


def _decide_by_last_word(votes: Sequence[Vote]) -> int | None:
    """The option that closes a row of others that were not praised.

    It has the last sentence to itself, or the last part of one that goes through three options or
    more ("The otter has the crowds, the tapir has the shade, and the okapi has the stripes").
    One rival must be put in the same words ("The bus I take with my eyes shut. The tram I take
    with my eyes open."); several make a row that the last one closes.
    """
    option = votes[-1].option
    final = [one for one in votes if one.sentence == votes[-1].sentence]
    rivals = [one for one in votes if one.option != option]
    rows = [one.clause for one in rivals]
    ends = [one.clause for one in final]
    if {one.option for one in final} != {option}:
        finale = [one.option for one in final]
        *row, tail = votes[-1].clause.split(",")
        if len(finale) < LEAST_ROW or len(set(finale)) < len(finale) or len(row) + 1 != len(finale):
            return None
        if any(len(words(part)) < LEAST_TOLD for part in (*row, tail)):
            return None
        rows, ends = [one.clause for one in rivals if one not in final] + row, [tail]
    if any(map(_BESIDE.search, ends)):
        return None
    if any(_GOOD.search(row) or _LIST_MARK.match(row) for row in rows):
        return None
    if len({one.option for one in rivals}) > 1:
        return option
    stems = [{word.lower()[:5] for word in words(one.clause) if len(word) > 2} for one in votes]
    others = [s for s, one in zip(stems, votes, strict=True) if one.option != option]
    common = stems[-1].intersection(*others)
    return option if common - {"the", "and"} else None


def _decide_by_turn(votes: Sequence[Vote], top: int) -> int | None:
    """The only option after the reply's last turn."""
    last = max(one.turns for one in votes)
    after = {one.option for one in votes if one.turns == last and one.weight == top}
    return _only(after) if last else None


def _decide_by_praise(votes: Sequence[Vote]) -> int | None:
    """The only option that is praised to the skies."""
    return _only({one.option for one in votes if _PRAISES.search(one.clause)})


def _only(options: set[int]) -> int | None:
    """The option where there is one alone."""
    return min(options) if len(options) == 1 else None
