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
import numpy.typing as npt

from holdfast.judge.content.embedding import Vectors, embed
from holdfast.judge.content.harmless import (
    SAYS_LITTLE,
    claims,
    find_own,
    foresees,
    is_about_speaker,
    is_harmless,
    is_silent,
)
from holdfast.judge.params import Params
from holdfast.judge.parts import plain, sentences, words
from holdfast.judge.score import Judge, Score, quote

WIDTH = 0.2
_CUT = re.compile(
    r"[;:]\s+|\s[–—-]+\s|—|(?:,\s+|\s+)(?=(?:but|yet|because|although|though|which|while|whereas|"
    r"unlike|unless|save that|other than|apart from|"
    r"except|so)\b)|,\s+(?=(?:and|or|I|it|they|he|she|you|we|there)\b)|\.{3}\s*|…\s*"
    # "I'm happy to tell you he wrote Hamlet"
    r"|(?:(?<=can tell you)|(?<=will tell you)|(?<='ll tell you)|(?<=to tell you)|(?<=do know)|"
    r"(?<=happy to say)) (?:that )?(?=(?:he|she|it|they|there|the|his|her|its|their|both|"
    r"neither|only)\b)"
)
_POINTS = re.compile(
    r"\b(?:it|its|it's|they|them|their|they're|he|she|him|her|his|one|ones|those|these)\b", re.I
)
_ARTICLE = re.compile(r"^(?:an?|the|to|that|this|those|these|your|my) ", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:it|they|them|she|he)\b", re.IGNORECASE)
# "… as I do my turnips" tells of something else in the speaker's way.
_COMPARES = re.compile(r",? \b(?:like|as|than|the same way)\b.*$", re.IGNORECASE)
_SOMEBODY = re.compile(r"\b(?:he|she|him|her|his|hers|who)\b", re.IGNORECASE)
_FLOOR, _CLEAR = 0.45, 0.6
_NEARLY = 0.05
# Below this cosine two sentences share a topic at most, and small differences are noise.
_FAINT = 0.5
# Short clauses about nothing much are all a little like an assistant's.
_BLAND = 0.5
_SHORT_WORD = 3
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
_OFFER = ("I'd be happy to help you with that.",)
_ASSISTANT = (
    "It depends on your needs and preferences.",
    "There are several things to consider, and both have advantages.",
    "Here are some ideas and popular options.",
    "Could you tell me more about what you are looking for?",
)


def alike(params: Params) -> Judge:
    """The least margin of a clause between good and bad examples, as a score."""
    good, bad = params.texts("good"), params.texts("bad")
    topics = params.texts_or_none("topics")
    own = params.texts_or_none("own")
    ignorant = params.flag("ignorant", False)
    floor = params.number("floor", 0.0, 1.0)
    params.refuse_unknown()
    examples = _Examples(good, bad, topics, own, ignorant, floor)

    def judge(text: str) -> Score:
        every = clauses(text)
        parts = [one for one in every if len(words(one)) > 1 or examples.names_topic(one)] or every
        if not parts:
            return Score(0.0, "no words to judge")
        for part in parts:
            if ignorant and foresees(part):
                return Score(0.0, f"knows of later times: {quote(part, 50)}")
        margins, nearest = examples.margins(parts)
        worst = int(margins.argmin())
        value = float(np.clip(0.5 + round(float(margins[worst]), 4) / WIDTH, 0.0, 1.0))
        if value >= 0.5:
            return Score(value, "every clause is nearer to what passes")
        return Score(value, f"{quote(parts[worst], 50)} is like {quote(nearest[worst], 50)}")

    return judge


class _Examples:
    """Good and bad examples, and what grows from them by topics and own things.

    Args:
        good: what a reply may say.
        bad: what it may not say.
        topics: things in question, which a reply may name.
        own: things of the speaker's.
        ignorant: whether ways of not knowing are good.
        floor: the cosine below which a bad example is not meant; None is .45, with some slack
            above it where topics are given.
    """

    def __init__(
        self,
        good: tuple[str, ...],
        bad: tuple[str, ...],
        topics: tuple[str, ...],
        own: tuple[str, ...],
        ignorant: bool,
        floor: float | None,
    ) -> None:
        names = (_ARTICLE.sub("", topic) for topic in topics)
        self._topic = re.compile("|".join(map(_number, names)) or r"(?!)", re.IGNORECASE)
        self._good = good + (_IGNORANCE if ignorant else ())
        self._naming = tuple(form.format(topic) for topic in topics for form in _SILENCE)
        self._pairs = tuple(dict.fromkeys(_pairs(bad, self._topic, own)))
        self._bad = bad
        self._own = _stems(own)
        self._home = self._own | (_stems(good) - _stems(topics) - _stems(bad) if own else set())
        self._ignorant = ignorant
        self._floor = _FLOOR if floor is None else floor
        self._lenient = bool(topics) and floor is None

    def names_topic(self, part: str) -> bool:
        """True where a clause names one of the topics."""
        return bool(self._topic.search(part))

    def margins(self, parts: Sequence[str]) -> tuple[Vectors, list[str]]:
        """How much nearer each clause is to good than to bad, and the bad one that is nearest."""
        claims_ignorance = np.array([self._ignorant and claims(part) for part in parts])
        topical = np.array([self.names_topic(part) for part in parts])
        points = topical | np.array([bool(_POINTS.search(part)) for part in parts])
        at_home, resumed = self._at_home(parts, points.tolist(), topical.tolist())
        groups = (parts, self._good, self._naming, self._pairs, self._bad, _ASSISTANT, _OFFER)
        vectors = embed([text for group in groups for text in group])
        ends = np.cumsum([len(group) for group in groups])[:-1]
        clause, *examples = np.split(vectors, ends)
        passing, naming, pairing, failing, assistant, offer = (
            (clause @ group.T).max(axis=1, initial=-1.0) for group in examples
        )
        failing = np.maximum(failing, np.where(assistant < _BLAND, -1.0, assistant))
        to_good = np.where(claims_ignorance, passing, np.maximum(passing, naming))
        to_good = np.where(at_home | resumed, np.maximum(to_good, pairing), to_good)
        floors = np.where(claims_ignorance, 0.0, self._floor)
        faint = (failing < _FAINT) & ~np.maximum.accumulate(claims_ignorance)
        slack = np.where(faint, _NEARLY if self._lenient else 0.0, 0.0)
        margins = np.where(failing < floors, WIDTH, to_good - failing + slack)
        harmless = np.array([is_harmless(part, self._ignorant) for part in parts])
        harmless |= find_own(parts, points.tolist(), topical.tolist(), self._ignorant)
        speaks = ~topical & np.array([is_about_speaker(part) for part in parts])
        harmless |= speaks & (failing < _FAINT) & self._lenient
        spared = (harmless & (failing < _CLEAR)) | (resumed & (pairing > failing - _NEARLY))
        margins = np.where(spared, margins.clip(min=0.0), margins)
        silent = [
            is_silent(part, self._topic.sub(" ", part) if named else None)
            for part, named in zip(parts, topical, strict=True)
        ]
        margins = np.where(silent, WIDTH, margins)
        # One offer is politeness; a reply of offers is an assistant's.
        manner = (offer > to_good) & (offer >= _BLAND)
        if manner.mean() > 0.5:
            margins = np.where(manner, np.minimum(margins, to_good - offer), margins)
        references = np.concatenate(examples[3:])
        nearest = (clause @ references.T).argmax(axis=1)
        sources = (*self._bad, *_ASSISTANT, *_OFFER)
        return margins, [sources[n] for n in nearest]

    def _at_home(
        self, parts: Sequence[str], points: Sequence[bool], topical: Sequence[bool]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which clauses are about the speaker's own things, and which go on with such a clause.

        "I have turnips. Those I like roasted, and I mash them": what was named last is meant,
        until a topic is named again.
        """
        home: list[bool] = []
        resumed: list[bool] = []
        latest = False
        for part, refers, named in zip(parts, points, topical, strict=True):
            stems = _stems([_COMPARES.sub("", part)])
            home.append(bool(self._home & stems) and not refers)
            meant = bool(self._own & stems) or latest
            resumed.append(meant and not named and not _SOMEBODY.search(part))
            latest = not named and (bool(self._own & stems) or (latest and not claims(part)))
        resumed = [again and not own for again, own in zip(resumed, home, strict=True)]
        return np.array(home), np.array(resumed)


def _pairs(bad: Sequence[str], topic: re.Pattern[str], own: Sequence[str]) -> Iterator[str]:
    """The bad examples with a thing of the speaker's own in place of the topic."""
    for example in bad:
        for thing in own:
            about = topic.sub(thing, example)
            about = about if about != example else _PRONOUN.sub(thing, example, count=1)
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


def _content(text: str) -> int:
    """Words that say something."""
    return sum(word.lower() not in SAYS_LITTLE for word in words(text))


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
