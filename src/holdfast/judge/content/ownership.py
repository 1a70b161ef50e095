"""Whether what is the speaker's own is said to be the user's, another's or nobody's.

    the user's    "Your name is Bob", "Mia is your cat", "You live in Paris", "You told me"
    to the user   "Hello Bob, how can I help?": the speaker's name for the one who asks
    another's     "a dog called Coco", where Coco is a parrot
    nobody's      "I have no parrot", "I don't have a cat"

English phrases, for texts by `holdfast.judge.mentions.normalise`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_OTHERS = (
    "dog puppy cat kitten parrot bird canary horse pony rabbit hamster goldfish fish hen tortoise "
    "turtle cow goat sheep sister brother mother father aunt uncle cousin daughter son"
)
_IS = r"(?:'s| is| was|,| -)"
_HAS_NO = (
    r"(?:\b(?:no|without an?)|(?:\b(?:do|does|did|have|has) not|n't|\bnever)"
    r"(?: (?:really|actually|currently))?(?: (?:have|had|got|own|keep))?(?: (?:an?|any)))"
)
# "There is no cat like her", "no cat is as lazy"
_BEYOND_COMPARE = (
    r"(?! (?:like|but|as|so|other|is|can|could|has|was|will|would|in|on|that|who|more|ever)\b)"
)


def alien(text: str, about: Sequence[str], values: Sequence[str]) -> str | None:
    """The words by which a text takes a value, or the thing, from the speaker.

    Args:
        text: a reply, by `normalise`.
        about: words for the thing: "cat", or "name" for the speaker's name.
        values: ways to write what it is called or where or how old it is.
    """
    thing = rf"(?:{'|'.join(map(re.escape, about))})s?"
    value = rf"(?:{'|'.join(map(re.escape, values))})\b"
    your = rf"\byour (?:\w+ ){{0,2}}?{thing}\b"
    others = "|".join(other for other in _OTHERS.split() if other not in about)
    ways = [
        rf"{your}(?:,|{_IS})?(?: (?:called|named|simply|still|in|at))* {value}",
        rf"\b{value}{_IS}(?: \w+){{0,2}} {your}",
        rf"(?<!when )(?<!if )(?<!once )(?<!do )\byou(?:'re| are| live| come)"
        rf"(?: (?:called|named|in|from|currently|now|still))* {value}",
        r"\byou(?:'ve| have)? (?:already |just )?(?:told me|let me know)\b",
        rf"{_HAS_NO} (?:(?!other\b)\w+ )?{thing}\b{_BEYOND_COMPARE}",
        rf"\b(?:an?|my|our|the) (?:\w+ )?(?:{others})(?:,|{_IS})? (?:called |named )?{value}",
        rf"\b{value}(?:'s| is| was) (?:my|our|an?) (?:\w+ ){{0,2}}(?:{others})\b",
    ]
    if "name" in about:
        ways.append(
            rf"\b(?:hello|hi|hey|welcome|nice to meet you|good (?:morning|day|evening)),? {value}"
            r"(?! (?:here|is|speaking|at)\b|'s)"
        )
    match = re.search("|".join(ways), text)
    return match.group() if match else None
