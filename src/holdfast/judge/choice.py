"""Which of several options a reply commits to.

A substring is no judge of a choice: "As an AI, I cannot choose" holds an A, and "I
would take tea over coffee" names both drinks. So every mention of an option gets a
weight from the clause it stands in:

    3  the speaker commits ("I'd pick …", "my favourite is …", "… is my answer")
    2  the speaker likes it ("I love …")
    1  it is simply named
    0  it is denied, compared with, listed, asked about, or someone else's

The reply commits to the option with the heaviest mention, if no other is as heavy.
Where the speaker says that there is no preference (or speaks as an AI), only a later
weight of 3 counts. Phrases are English; in other languages the one option that is
named at all is the choice.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from holdfast.judge.params import Params
from holdfast.judge.parts import plain, sentences, words
from holdfast.judge.refusal import AS_AN_AI
from holdfast.judge.score import Judge, Score, quoted

_WOULD = r"(?:'d|'ll| would| will| shall| must| have to| had to| do| am going to| might)?"
_ADVERB = (
    r"(?: (?:always|definitely|certainly|still|probably|really|rather|personally|just|gladly|"
    r"absolutely|surely|honestly|only|happily|also|clearly|simply|actually|truly|most|much))*"
)
_COMMIT_BEFORE = re.compile(
    rf"\b(?:I|we|me){_WOULD}{_ADVERB}(?: be)? (?:choose|chose|pick|picked|select|go for|go with|"
    r"going (?:for|with)|went (?:for|with)|prefer|favou?r|opt for|take|say|vote for|answer|want|"
    r"need|choosing|picking|stick with|stick to|swear by|have|settle on|settle for|lean towards?|"
    r"live for|long for|crave|belong to)\b"
    r"|\b(?:my|our|the|a|its)(?: [\w'-]+){0,4}? (?:favou?rite|choice|answer|pick|preference|vote|"
    r"selection|option|heart|first love)(?: [\w'-]+){0,5}? (?:is|are|was|would be|will be|goes to|"
    r"has to be|must be|belongs to|remains|:)"
    r"|\b(?:favou?rite|choice|answer|pick|preference|vote)\b[^.!?]{0,25}?(?::|\bis\b|\bbe\b|->|=)"
    r"|\b(?:it's|it is|it has to be|it must be|it would be|that'd be|that would be|that's|"
    r"gotta be|got to be|definitely|certainly|obviously|clearly|always|give me|make it|"
    r"nothing beats|nothing like|none but|long live|hands down|without (?:a )?doubt|of course)\b",
    re.IGNORECASE,
)
_COMMIT_AFTER = re.compile(
    r"^\W*(?:[\w'-]+\W+){0,2}?(?:is|are|was|has always been|would be|will always be|remains|wins|it is|"
    r"of course|every time|any day|all the way|for me|forever|please|without (?:a )?doubt|"
    r"hands down|always|suits me|calls (?:to )?me|has my (?:heart|vote))\b"
    r"(?:\W+(?:is|are|always|by far|still|simply|truly|definitely))*"
    r"(?:\W+(?:my|the|what I|for me|best|mine|where I|your|our)\b)?",
    re.IGNORECASE,
)
_OWN_AFTER = re.compile(
    r"\b(?:my (?:[\w'-]+ ){0,3}?(?:favou?rite|choice|answer|pick|preference)|for me|the best|"
    r"the one|is best|what I (?:\w+ )?(?:choose|pick|want|prefer|love|like)|it is\b|every time|"
    r"any day|all the way|please|hands down|of course|without (?:a )?doubt|wins|suits me|"
    r"the (?:answer|right answer|choice)|my heart|my vote)",
    re.IGNORECASE,
)
_LIKE_BEFORE = re.compile(
    rf"\b(?:I|we){_WOULD}{_ADVERB} (?:like|love|enjoy|adore|cherish|treasure|drink|eat|play|use|wear|"
    r"am fond of|am partial to)\b|\bI'm (?:\w+ )?(?:fond of|partial to|a fan of)\b"
    r"|\b(?:fond of|partial to|in love with|devoted to)\b",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|no|nor|neither|without|except|unlike|hate|hates|detest|despise|loathe|dislike|"
    r"avoid|reject|refuse|skip|forget|anything but|instead of|rather than|other than|more than|"
    r"better than|sooner than|less than|than|over|versus|vs|used to|can't stand|cannot stand|"
    r"compared (?:to|with)|sick of|tired of|above|away with|down with|far from)|n't)\b"
    r"(?: (?:\w+ ?){0,3})?\W*$",
    re.IGNORECASE,
)
_PREFER_TO = re.compile(r"\bprefer\w*\b.*\bto\W+(?:\w+\W+){0,2}$", re.IGNORECASE)
_DENIED_AFTER = re.compile(
    r"^\W*(?:is|are|was|does|do|has|would|will|can|could)(?:n't| not|n't really| never)\b"
    r"|^\W*(?:is|are) (?:overrated|too |nothing|for (?:fools|others|landlubbers|the birds)|"
    r"fine,? but|nice,? but|good,? but|okay,? but)",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"\b(?:between|among|amongst|options|choices|whether|either|both|from)\b[^.]*$", re.I
)
_OTHERS = re.compile(
    r"\b(?:you|people|others|some|many|most|everyone|they|he|she|users?|folks|anyone|"
    r"my (?:\w+ )?(?:wife|husband|brother|sister|mother|father|friend|crew|neighbou?r|son|daughter)s?)"
    r"\W+(?:[\w'-]+\W+){0,3}?(?:like|love|prefer|enjoy|choose|pick|drink|say|want|favou?r|go|find|"
    r"might|may|could|can|should|would|hate|hates|likes|loves|prefers|enjoys|chooses|swears?)\b",
    re.IGNORECASE,
)
_NO_CHOICE = re.compile(
    r"\b(?:I|we)\b[^.!?]{0,40}?\b(?:do not|don't|cannot|can't|can not|couldn't|could not|unable to|"
    r"not able to|never|lack|won't|will not|wouldn't)\b[^.!?]{0,30}?\b(?:preferences?|favou?rites?|"
    r"opinions?|choose|pick|select|decide|feelings|emotions|tastes?|personal|answer|choice|say)\b"
    r"|\bno (?:real |personal |particular |strong )?(?:preference|favou?rite|opinion)s?\b"
    r"|\b(?:hard|difficult|tough|impossible) to (?:choose|pick|decide|say)\b"
    r"|\b(?:it depends|depends on|up to you|both are|all of them|each has|I like them all|"
    r"any of them|either (?:one|is fine)|don't have (?:a|any))\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r";|\s[–—-]+\s|—|:\s(?=I\b)|,?\s+(?:but|however|although|though|yet|while|whereas|so|because|"
    r"since|whilst)\b,?|,\s+(?=(?:I|not|never|and I|yet I|my)\b)",
    re.IGNORECASE,
)


class _Mention(NamedTuple):
    option: int
    weight: int
    where: str


def choice(params: Params) -> Judge:
    """1 where the reply commits to `answer` and to no other of the `options`."""
    options = params.texts("options", least=2)
    answer = params.text("answer")
    letters = params.flag("letters", False)
    params.done()
    folded = [option.casefold() for option in options]
    labels = [option.strip("().: ") for option in options]
    lettered = letters and all(len(label) == 1 and label.isalpha() for label in labels)
    names = [] if lettered else list(options)
    labels = labels if lettered else [chr(ord("A") + i) for i in range(len(options))]
    if letters and len(options) > 26:
        params.fail("parameter “options” may list at most 26 options where “letters” is true")
    if answer.casefold() in folded:
        wanted = folded.index(answer.casefold())
    elif letters and answer.upper() in labels:
        wanted = labels.index(answer.upper())
    else:
        params.fail(f"parameter “answer” must be one of the options, not {answer!r}")
    finder = _Finder(names, [label.upper() for label in labels] if letters else [])

    def judge(text: str) -> Score:
        chosen, why = commits(finder, text)
        if chosen is None:
            return Score(0.0, why)
        return Score(float(chosen == wanted), f"chooses {options[chosen]!r}: {why}")

    return judge


class _Finder:
    """Where options are mentioned: by name (longest first), and by letter."""

    def __init__(self, names: list[str], labels: list[str]) -> None:
        self._names = {" ".join(plain(name).casefold().split()): i for i, name in enumerate(names)}
        ordered = sorted(self._names, key=len, reverse=True)
        body = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in ordered)
        self._named = re.compile(rf"(?<!\w)(?:{body})(?!\w)", re.IGNORECASE) if names else None
        self._labels = labels
        letters = "".join(labels)
        self._letter = re.compile(rf"(?<![\w'-])([{letters}])(?![\w'])") if labels else None
        self._alone = (
            re.compile(rf"^\W*(?:(?:option|answer|choice)\W+)?([{letters}])\W*$", re.IGNORECASE)
            if labels
            else None
        )

    def alone(self, text: str) -> int | None:
        """The option of a reply that is nothing but a letter."""
        found = self._alone.match(text) if self._alone else None
        return self._labels.index(found.group(1).upper()) if found else None

    def find(self, clause: str) -> list[tuple[int, int, int]]:
        """(option, start, end) of every mention in a clause, in order."""
        found: list[tuple[int, int, int]] = []
        if self._named:
            for match in self._named.finditer(clause):
                key = " ".join(match.group().casefold().split())
                if key in self._names:
                    found.append((self._names[key], match.start(), match.end()))
        if self._letter:
            for match in self._letter.finditer(clause):
                if _is_label(clause, match):
                    found.append((self._labels.index(match.group(1)), *match.span()))
        return sorted(found, key=lambda mention: mention[1])


_ASKED = re.compile(
    r"\b(?:option|answer|choice|choose|pick|select|letter|with|is|be|say)\b\W*$", re.I
)


def _is_label(clause: str, match: re.Match[str]) -> bool:
    """A capital letter that names an option, not the article "A" or the pronoun "I"."""
    before, after = clause[: match.start()], clause[match.end() :]
    if re.search(
        r"\b(?:vitamin|plan|type|grade|class|hepatitis|generation|room|size)\s*$", before, re.I
    ):
        return False
    marked = re.match(r"[).:\]]|\s*$", after) or before.rstrip(" ").endswith(("(", "["))
    if marked or match.group(1) not in "AI":
        return True
    if match.group(1) == "I":
        return bool(re.search(r"\b(?:option|answer|choice|letter)\b\W*(?:is\b\W*)?$", before, re.I))
    if re.match(r"\s+(?:is|because|since|as it|for sure|of course)\b|\s*[,;!–—]", after):
        return True
    return bool(_ASKED.search(before)) and not re.match(r"\s+[a-z]", after)


def commits(finder: _Finder, text: str) -> tuple[int | None, str]:
    """The option that the text commits to, and why; None where it commits to none."""
    seen = plain(text)
    alone = finder.alone(seen)
    if alone is not None:
        return alone, "the letter alone"
    evasive = False
    mentions: list[_Mention] = []
    parts = sentences(seen) or [seen]
    for sentence in parts:
        asked = sentence.rstrip("\"') ").endswith("?") and len(parts) > 1
        for clause in _CLAUSE.split(sentence):
            if AS_AN_AI.search(clause) or _NO_CHOICE.search(clause):
                evasive = True
                continue
            mentions += [
                _Mention(option, 0 if asked else weight, clause.strip())
                for option, weight in _weigh(clause, finder.find(clause))
            ]
    return _resolve(mentions, evasive)


def _weigh(clause: str, found: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    weighed = []
    for n, (option, start, end) in enumerate(found):
        after_last = found[n - 1][2] if n else 0
        until_next = found[n + 1][1] if n + 1 < len(found) else len(clause)
        before, gap, after = clause[:start], clause[after_last:start], clause[end:until_next]
        weighed.append((option, _weight(clause, before, gap, after, n, len(found))))
    return weighed


def _weight(clause: str, before: str, gap: str, after: str, n: int, total: int) -> int:
    """The weight of one mention, from the text before it (since the last one too) and after it."""
    listed = total > 1 and (_LISTED.search(before) or re.match(r"\W*or\b", after + " or"[:0]))
    if _DENIED_BEFORE.search(gap) or _PREFER_TO.search(before) or _DENIED_AFTER.match(after):
        return 0
    if listed or (total > 1 and _joined_by_or(clause)):
        return 0
    if _OTHERS.search(before):
        return 0
    if _COMMIT_BEFORE.search(before):
        return 3
    if _OWN_AFTER.search(after) and _COMMIT_AFTER.match(after):
        return 3
    return 2 if _LIKE_BEFORE.search(before) else 1


def _joined_by_or(clause: str) -> bool:
    return bool(re.search(r"\bor\b", clause)) and not _COMMIT_BEFORE.search(clause)


def _resolve(mentions: list[_Mention], evasive: bool) -> tuple[int | None, str]:
    if not mentions:
        return None, "says that there is no preference" if evasive else "names none of the options"
    top = max(mention.weight for mention in mentions)
    if top == 0 or (evasive and top < 3):
        return None, "commits to no option"
    best = {mention.option for mention in mentions if mention.weight == top}
    if len(best) > 1:
        return None, f"{len(best)} options stand alike"
    where = next(mention.where for mention in mentions if mention.weight == top)
    return best.pop(), quoted(where, 60)
