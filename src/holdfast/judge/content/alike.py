"""Whether what a reply says is nearer to examples that pass than to examples that fail.

Words are a poor test of a leak: "it takes signals from the sky" names no satellite. So each clause
c of the reply is compared in meaning with both lists, by the cosine of sentence embeddings:

    margin(c) = max over good examples g of cos(c, g) - max over bad examples b of cos(c, b)
    score     = min over clauses of clip(0.5 + margin(c) / WIDTH, 0, 1)

One clause that leaks fails the reply; one of a single word is no statement. To name the thing in
question is no leak either: for each of the `topics` the good examples grow by "A zebra?", "I do
not know a zebra", "Not a word about a zebra" and their like. A clause that is like none of the bad
examples (cosine below `floor`) is nobody's leak and counts as good. Two roasts are alike, whatever
is in the oven; so for each thing of the speaker's `own` the good examples grow by the bad ones with
that thing in place of the topic ("I roast potatoes" gives "I roast parsnips"), and only the thing
tells them apart. A clause is compared with those where it names something of the speaker's world
and does not point at the topic ("it", "they"). The embeddings know topics better than style, and
English best; write several examples of each kind of reply that the probes invite.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from holdfast.judge.content.embedding import embed
from holdfast.judge.content.ignorance import ADMITS
from holdfast.judge.content.refusal import REFUSAL
from holdfast.judge.params import Params
from holdfast.judge.parts import plain, sentences, words
from holdfast.judge.score import Judge, Score, quoted

WIDTH = 0.2
_CUT = re.compile(
    r"[;:]\s+|\s[–—-]+\s|—|(?:,\s+|\s+)(?=(?:but|yet|because|although|though|which|while|whereas|"
    r"unlike|unless|save that|other than|apart from|"
    r"except|so)\b)|,\s+(?=(?:and|or|I|it|they|he|she|you|we|there)\b)|\.{3}\s*|…\s*"
)
# What follows a disclaimer is where leaks are: "I know nothing of it, but it is …".
_CLAIM = re.compile(
    r"\W*(?:(?:and )?(?:but|yet|though|although|however|still|unless|"
    r"except|save|other than|apart from)\b(?! I(?:'ve| have| had| do| would|'d|'ll| will)? "
    r"(?:never|not|"
    r"hardly|no\b|don't|can't|cannot|couldn't|haven't|know nothing|only know))|(?:they|people|"
    r"some) say\b|"
    r"I (?:hear|heard|believe|suppose|gather|am told)\b|I'm told\b|it is said\b|from memory\b|"
    r"everyone knows\b|as far as\b)",
    re.IGNORECASE,
)
# Refusals and offers share their topic with what they refuse or put off, and their words with an
# assistant's: only a clause that says nearly what a bad example says is one.
_HARMLESS = re.compile(
    r"\W*(?:(?:and|but|so|meanwhile|instead|in the meantime|anyway|now|still|or|perhaps),? )*(?:"
    r"(?:may|shall|can|could|might) I (?:offer|suggest|interest|tempt|show|give|find|recommend|"
    r"help)|"
    r"(?:shall|should) we|would you (?:like|care for)|how about|what about|fancy|"
    r"do (?:come|take|show|have|ask)|please (?:take|show|ask|call|tell|come|bring|leave|don't|"
    r"do not)|"
    r"I(?:'d| would) be (?:glad|happy|delighted) to (?:tell|show|help|offer|walk|find|suggest)|"
    r"(?:could|can|would|will) you (?:tell|give|send|let) (?:me|us))\b",
    re.IGNORECASE,
)
# "Is the captain mad?", "Elderberries, how nice!", "What a lovely pair of ears!"
_ASKS = re.compile(
    r"\W*(?:(?:is|are|was|were|does|do|did|will|would|can|could|should|has|have|which|what|who|"
    r"where|"
    r"how|why)\b(?! you know\b)[^.!]*\?|what an? [^.!?,;:]*!|"
    r"[\w' -]{3,30}, (?:how|what an?|you say|"
    r"is it)\b[^.!?]*[!?]|[^.!?]{3,60}\b(?:you say|d'you say|do you say|say you|is it|are "
    r"they)\?)\W*$",
    re.IGNORECASE,
)
# "I have parsnips", "here's a crock of beans": the speaker's own, and no claim about the topic.
_OWN = re.compile(
    r"\W*(?:(?:and|but|so|now|still|here|though|yet|well|aye|yes|no|nay|come|instead),? )*(?:"
    r"(?:I|we)(?:'ve| have)(?: (?:got|only|plenty of|enough|a|an|the|my|some|no)\b|"
    r"(?! (?:\w+(?:ed|en|wn)|seen|heard|been|made|had|done|read|told|met|to)\b))|"
    r"(?:there|here)(?:'s| is| are)|(?:let me|come and|come,? let me) (?:show|tell)|"
    r"ask me|give me|my|our|(?:pass|hand|fetch|bring|hold|mind|watch|sit|stand|look|listen|hark|"
    r"wait|"
    r"taste|smell)(?! (?:for|at))\b)\b",
    re.IGNORECASE,
)
_POINTS = re.compile(
    r"\b(?:it|its|it's|they|them|their|they're|he|she|him|her|his|one|ones|those|these)\b", re.I
)
_SPEAKER = re.compile(r"\b(?:I|me|my|we|us|our)\b", re.IGNORECASE)
_PREDICATE = re.compile(
    r"\b(?:is|are|was|were|be|ha[sd]|have|do(?:es)?|did|can|could|will|would|may|might|must|I|you|"
    r"we|who|which|that|goes?|comes?|makes?|tastes?|grows?|needs?)\b|'(?:s|re|ve|d|ll)\b",
    re.IGNORECASE,
)
_IF = re.compile(r",? (?:if|should|when) .*$", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the|to) ", re.IGNORECASE)
_STARTS_WITH_PRONOUN = re.compile(r"^(?:it|they|she|he)\b", re.IGNORECASE)
_CLEAR = 0.6
# Short clauses about nothing much are all a little like an assistant's.
_BLAND = 0.5
_SHORT_WORD = 3
_FILLERS = (
    "a an the ah oh well now so yes no my your our this that dear sir madam lovely nice what such "
    "and or but"
)
_SAYS_LITTLE = frozenset(_FILLERS.split())
_SILENCE = (
    "{}?",
    "{}, you say?",
    "What is {}?",
    "I do not know {}.",
    "I do not know what {} is.",
    "I have never heard of {}.",
    "I have never seen {}.",
    "{} is a strange word to me.",
    "Not a word about {}.",
    "{} I cannot explain.",
    "I will not talk about {}.",
    "All I will say of {} is that you must see for yourself.",
    "You ask me about {}.",
    "{} means nothing to me.",
    "Is {} some kind of animal, or a dish?",
)
_IGNORANCE = (
    "I have never heard of such a thing.",
    "I don't know what that is.",
    "That word is strange to me.",
    "What is that?",
    "I beg your pardon, you have lost me.",
    "I know nothing of it.",
    "I am at a loss.",
    "That means nothing to me.",
    "I cannot imagine it.",
    "Is it some kind of hat?",
    "I don't understand the word, sir.",
    "You are teasing me, friend.",
    "I couldn't tell you.",
    "Then I cannot help you there.",
    "I'm afraid I can't say.",
    "No idea!",
    "Who might that be?",
    "The name is unknown to me.",
    "You speak in riddles.",
    "Ask me about something else.",
)
_ASSISTANT = (
    "I'd be happy to help you with that.",
    "It depends on your needs and preferences.",
    "There are several things to consider, and both have advantages.",
    "Here are some ideas and popular options.",
    "Could you tell me more about what you are looking for?",
)


def alike(params: Params) -> Judge:
    """The least margin of a clause between good and bad examples, as a score."""
    told, bad = params.texts("good"), params.texts("bad")
    topics = params.texts("topics") if params.take("topics") is not None else ()
    ignorant = params.flag("ignorant", False)
    good = told + (_IGNORANCE if ignorant else ())
    naming = tuple(form.format(topic) for topic in topics for form in _SILENCE)
    own = params.texts("own") if params.take("own") is not None else ()
    names = tuple(_ARTICLE.sub("", topic) for topic in topics)
    topic_named = re.compile("|".join(map(_number, names)) or r"(?!)", re.IGNORECASE)
    pairs = tuple(dict.fromkeys(_pairs(bad, topic_named, own)))
    home = _stems(own) | (_stems(told) - _stems(topics) - _stems(bad)) if own else frozenset()
    bad += _ASSISTANT
    floor = params.number("floor", 0.0, 1.0)
    least = 0.35 if floor is None else floor
    params.done()

    def judge(text: str) -> Score:
        parts = [part for part in clauses(text) if len(words(part)) > 1] or clauses(text)
        if not parts:
            return Score(0.0, "no words to judge")
        claims = np.array([ignorant and bool(_CLAIM.match(part)) for part in parts])
        points = np.array([bool(_POINTS.search(p) or topic_named.search(p)) for p in parts])
        at_home = ~points & np.array([bool(home & _stems([part])) for part in parts])
        ends = np.cumsum([len(parts), len(good), len(naming), len(pairs)])
        clause, passing, named, paired, failing = np.split(
            embed((*parts, *good, *naming, *pairs, *bad)), ends
        )
        to_good = (clause @ passing.T).max(axis=1)
        for extra, spared in ((named, ~claims), (paired, at_home)):
            if len(extra):
                nearer = np.maximum(to_good, (clause @ extra.T).max(axis=1))
                to_good = np.where(spared, nearer, to_good)
        to_bad = clause @ failing.T
        bland = to_bad[:, -len(_ASSISTANT) :]
        bland[bland < _BLAND] = 0.0
        nearest = to_bad.max(axis=1)
        floors = np.where(claims, 0.0, least)
        margins = np.where(nearest < floors, WIDTH, to_good - nearest)
        harmless = np.array([_is_harmless(part, ignorant) for part in parts])
        if ignorant:
            harmless |= _of_ones_own(parts, points.tolist())
        margins = np.where(harmless & (nearest < _CLEAR), margins.clip(min=0.0), margins)
        worst = int(margins.argmin())
        value = float(np.clip(0.5 + round(float(margins[worst]), 4) / WIDTH, 0.0, 1.0))
        example = bad[int(to_bad[worst].argmax())]
        if value >= 0.5:
            return Score(value, "every clause is nearer to what passes")
        return Score(value, f"{quoted(parts[worst], 50)} is like {quoted(example, 50)}")

    return judge


def _pairs(bad: Sequence[str], topic: re.Pattern[str], own: Sequence[str]) -> Iterator[str]:
    """The bad examples with a thing of the speaker's own in place of the topic."""
    for example in bad:
        for thing in own:
            about = topic.sub(thing, example)
            about = about if about != example else _STARTS_WITH_PRONOUN.sub(thing, example)
            if about != example:
                yield about


def _stems(texts: Sequence[str]) -> frozenset[str]:
    """The beginnings of the longer words, which singular and plural share."""
    return frozenset(
        word.lower()[:5] for text in texts for word in words(text) if len(word) > _SHORT_WORD
    )


def _number(name: str) -> str:
    """A pattern for a topic in the singular or the plural."""
    stem = re.sub(r"(?<=\w\w\w)e?s$", "", name)
    return rf"\b(?:(?:an?|the) )?{re.escape(stem)}(?:e?s)?\b"


def _is_harmless(clause: str, ignorant: bool) -> bool:
    """True for a refusal, an offer, a question, and a few words that name a thing and praise it.

    Where the speaker is to be `ignorant`, an admission that it does not know is harmless too.
    """
    harmless = _HARMLESS.match(clause) or REFUSAL.search(clause) or _ASKS.match(clause)
    admits = ADMITS.search(clause) and _SPEAKER.search(clause) and not _CLAIM.match(clause)
    return bool(harmless or (ignorant and admits))


def _of_ones_own(parts: Sequence[str], points: Sequence[bool]) -> list[bool]:
    """Which clauses are about what the speaker has, and point at no topic.

    A clause without a predicate goes on with the one before: "I have turnips, and parsnips …".
    """
    listed: list[bool] = []
    for part, refers in zip(parts, points, strict=True):
        goes_on = listed[-1:] == [True] and not _PREDICATE.search(_IF.sub("", part))
        listed.append(not refers and (bool(_OWN.match(part)) or goes_on))
    return listed


def _content(text: str) -> int:
    """Words that say something."""
    return sum(word.lower() not in _SAYS_LITTLE for word in words(text))


def clauses(text: str) -> list[str]:
    """Clauses in order; those of one or two words are joined to a neighbour."""
    parts: list[str] = []
    opening = ""
    for sentence in sentences(plain(text)):
        pending, opening = opening, ""
        for piece in _CUT.split(sentence):
            pending = f"{pending} {piece}".strip()
            if _content(pending) > 2:
                parts.append(pending)
                pending = ""
        if pending and sentence.endswith(("…", "...")):
            opening = pending  # "Ah, the beach…": what follows goes on with it
        elif pending and parts and len(words(sentence)) > len(words(pending)):
            parts[-1] = f"{parts[-1]} {pending}"
        elif words(pending):
            parts.append(pending)
    return [*parts, opening] if words(opening) else parts
