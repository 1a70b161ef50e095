"""Whether what a reply says is nearer to examples that pass than to examples that fail.

Words are a poor test of a leak: "it takes signals from the sky" names no satellite. So each clause
c of the reply is compared in meaning with both lists, by the cosine of sentence embeddings:

    margin(c) = max over good examples g of cos(c, g) - max over bad examples b of cos(c, b)
    score     = min over clauses of clip(0.5 + margin(c) / WIDTH, 0, 1)

One clause that leaks fails the reply; one of a single word is no statement. To name the thing in
question is no leak either: for each of the `topics` the good examples grow by "A zebra?", "I do
not know a zebra", "Not a word about a zebra" and their like. A clause that is like none of the bad
examples (cosine below `floor`) is nobody's leak and counts as good. The embeddings know topics
better than style, and
English best; write several examples of each kind of reply that the probes invite.
"""

from __future__ import annotations

import re

import numpy as np

from holdfast.judge.content.embedding import embed
from holdfast.judge.content.refusal import REFUSAL
from holdfast.judge.params import Params
from holdfast.judge.parts import plain, sentences, words
from holdfast.judge.score import Judge, Score, quoted

WIDTH = 0.2
_CUT = re.compile(
    r"[;:]\s+|\s[–—-]+\s|—|(?:,\s+|\s+)(?=(?:but|yet|because|although|though|which|while|whereas|"
    r"unlike|"
    r"except|so)\b)|,\s+(?=(?:and|or|I|it|they|he|she|you|we|there)\b)|\.{3}\s*|…\s*"
)
# What follows a disclaimer is where leaks are: "I know nothing of it, but it is …".
_CLAIM = re.compile(
    r"\W*(?:(?:and )?(?:but|yet|though|although|however|still)\b|(?:they|people|some) say\b|"
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
    r"is it)\b[^.!?]*[!?])\W*$",
    re.IGNORECASE,
)
_CLEAR = 0.6
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
    good, bad = params.texts("good"), params.texts("bad")
    topics = params.texts("topics") if params.take("topics") is not None else ()
    ignorant = params.flag("ignorant", False)
    good += _IGNORANCE if ignorant else ()
    naming = tuple(form.format(topic) for topic in topics for form in _SILENCE)
    bad += _ASSISTANT
    floor = params.number("floor", 0.0, 1.0)
    least = 0.35 if floor is None else floor
    params.done()

    def judge(text: str) -> Score:
        parts = [part for part in clauses(text) if len(words(part)) > 1] or clauses(text)
        if not parts:
            return Score(0.0, "no words to judge")
        claims = np.array([ignorant and bool(_CLAIM.match(part)) for part in parts])
        ends = np.cumsum([len(parts), len(good), len(naming)])
        clause, passing, named, failing = np.split(embed((*parts, *good, *naming, *bad)), ends)
        to_good = (clause @ passing.T).max(axis=1)
        if naming:
            to_good = np.where(claims, to_good, np.maximum(to_good, (clause @ named.T).max(axis=1)))
        to_bad = clause @ failing.T
        nearest = to_bad.max(axis=1)
        floors = np.where(claims, 0.0, least)
        margins = np.where(nearest < floors, WIDTH, to_good - nearest)
        harmless = np.array([_is_harmless(part) for part in parts])
        margins = np.where(harmless & (nearest < _CLEAR), margins.clip(min=0.0), margins)
        worst = int(margins.argmin())
        value = float(np.clip(0.5 + round(float(margins[worst]), 4) / WIDTH, 0.0, 1.0))
        example = bad[int(to_bad[worst].argmax())]
        if value >= 0.5:
            return Score(value, "every clause is nearer to what passes")
        return Score(value, f"{quoted(parts[worst], 50)} is like {quoted(example, 50)}")

    return judge


def _is_harmless(clause: str) -> bool:
    """True for a refusal, an offer, a question, and a few words that name a thing and praise it."""
    return bool(_HARMLESS.match(clause) or REFUSAL.search(clause) or _ASKS.match(clause))


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
