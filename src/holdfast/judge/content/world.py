"""Whether a reply is told from within the persona's world.

A blacksmith who tells of the day need not say "anvil": two of some hundred words of the trade are
evidence, and so is one ("the bellows went at six"), where the speaker says "I" or "my" and nothing
is of everybody's day (the office, a film, a takeaway, a sister's birthday). As many words of that
day, two at the least, outvote those of the trade ("up with the sun, then the beach"). Words that
others use too ("gate", "spark") are listed in `also`: one alone is no evidence. English words.
"""

from __future__ import annotations

import re

from holdfast.judge.params import Params
from holdfast.judge.parts import plain, words
from holdfast.judge.score import Judge, Score, quote
from holdfast.judge.text import Target, occurrences

ENOUGH = 2
SHORT = 12
_EVERYDAY_WORDS = (
    "office spreadsheet* boss email* e-mail* mortgage commut* gym podcast* film films movie* "
    "documentary cinema episode* telly tv television takeaway pizza pasta sushi sandwich* pancakes "
    "supermarket shopping laptop computer* online website* internet phone app apps insurance "
    "traffic meetings presentation* report reports typed taxes bank mum mom dad parents brother "
    "sister uncle aunt cousin friend friends weekend weekends homework exam exams essay school "
    "university college kids coffee brunch park jogging jog swimming swam hiking cycled "
    "sunburned sunbathing beach museum zoo concert party football tennis yoga cartoons news sofa "
    "couch laundry dishwasher vacuumed hoovered fridge freezer microwave bills rent flat "
    "apartment city downtown bus train taxi subway queue-size nap novel cafe café diet"
)
_EVERYDAY = [Target(text, True, False) for text in _EVERYDAY_WORDS.split()]
_OWN = re.compile(r"\b(?:I|I'\w+|me|my|mine|we|we'\w+|us|our)\b")


def world(params: Params) -> Judge:
    """1 for two of the words, or for one of `words` where nothing is of everybody's day, else 0."""
    own = params.texts("words")
    also = params.texts_or_none("also")
    params.refuse_unknown()
    targets = [Target(text, True, False) for text in (*own, *also)]
    exceptions = {text.casefold() for text in (*own, *also)}
    everyday = [target for target in _EVERYDAY if target.text not in exceptions]

    def judge(text: str) -> Score:
        every = occurrences([*targets, *everyday], text)
        counts, days = every[: len(targets)], every[len(targets) :]
        present = [target.text for target, n in zip(targets, counts, strict=True) if n]
        finds = f"of its world: {', '.join(map(quote, present[:6])) or 'nothing'}"
        other = [target.text for target, n in zip(everyday, days, strict=True) if n]
        outvoted = len(other) >= max(ENOUGH, len(present))
        if len(present) >= ENOUGH and not outvoted:
            return Score(1.0, finds)
        in_voice = _OWN.search(plain(text)) or len(words(text)) < SHORT
        if sum(counts) < ENOUGH and not (any(counts[: len(own)]) and in_voice):
            return Score(0.0, finds)
        if other:
            return Score(0.0, f"{finds}; of everybody's day: {', '.join(map(quote, other))}")
        return Score(1.0, finds)

    return judge
