"""Clauses that leave a choice open: no preference, a condition, a question.

The phrases are English.
"""

from __future__ import annotations

import re

from holdfast.judge.content.refusal import AS_AN_AI

_CONDITION = re.compile(
    r"^\W*(?:you|your)\b(?!(?: really| absolutely)? (?:can|could|may|must|had|have to|only|ask|"
    r"want my|insist))",
    re.IGNORECASE,
)
_EVADES = re.compile(
    r"\b(?:I|we)\b[^.!?]{0,40}?(?:\b(?:cannot|can ?not|do not|could not|would not|will not|"
    r"unable to|not able to|lack)\b|n't\b)[^.!?]{0,40}?\b(?:preferences?|favou?rites?|opinions?|"
    r"choose|pick|select|decide|feelings|emotions|tastes?|choice|beliefs|likes)\b"
    r"|\b(?:the )?(?:right|best|perfect) (?:\w+ ){1,2}is (?:the one|whichever|whatever|"
    r"what(?:ever)?) (?:that )?(?:\w+ )?(?:fits?|suits?|you)\b"
    r"|\b(?:has|have|is|are) (?:\w+ )?(?:the (?:very )?same (?:chance|odds)|equally (?:\w+ )?\w+)"
    r"|\bno (?:luckier|better|worse|more \w+) than\b"
    r"|\b(?:each|every\w*|all|both|they)\b[^.!?]{0,30} (?:has|have) (?:its|their|his|"
    r"her) (?:own )?(?:hour|time|place|moment|charms?|merits?)\b"
    r"|\b(?:is|are|'s) (?:\w+ )?(?:subjective|a (?:matter|question) of (?:\w+ )?(?:taste|"
    r"preference|opinion)|in the eye of the beholder)\b(?![^.!?]*\b(?:I|my|mine)\b)"
    r"|(?<!in )(?<!into )(?<!on )(?<!onto )\bone of (?:those|these|them|the two)\W*$"
    r"|\b(?:make up my mind|toss a coin|flip a coin)\b"
    r"|\bno (?:real |personal |particular |strong |single )?(?:preference|favou?rite|opinion)s?\b"
    r"|\b(?:hard|difficult|tough|impossible) to (?:choose|pick|decide|say)\b"
    r"|^\W*all of them\b"
    r"|\b(?:it depends|depends on|up to you|(?:like|love|enjoy|recommend) (?:them all|both|"
    r"all of them)|any of them|either one|either is|both have|both are|each has|(?:like|love|enjoy|"
    r"adore) (?:all|every|each) (?:\w+ ){0,4}(?:equally|the same|alike)|(?:all|every|"
    r"each) (?:\w+ ){0,4}(?:equally|alike) \w+)\b",
    re.IGNORECASE,
)
_ASKS_FOR_CHOICE = re.compile(
    r"\W*(?:(?:my|our|the|your)(?: [\w'-]+){0,3}? (?:favou?rite|choice|answer|pick|preference|"
    r"vote|selection|one)\b|which one\b|what do I\b|"
    r"and (?:me|I)\b|me\b|for (?:me|myself|you)\b)[^.!]{0,40}\?\W*$",
    re.IGNORECASE,
)


# "I could lie and say I love them all", "a mother can't choose, they say"
_PRETENDS = re.compile(
    r"\b(?:could|would|should|supposed to|ought to|be (?:a )?(?:lie|lying)|lie and|pretend|tell me|"
    r"they say|people say)\b[^.!?]{0,30}?\b(?:say|lying|lie|pretend)\b|\bif I (?:said|told|were)\b",
    re.IGNORECASE,
)


def evades(clause: str) -> bool:
    """True where the speaker says that there is no preference, or speaks as an AI."""
    if AS_AN_AI.search(clause):
        return True
    return bool(_EVADES.search(clause)) and not _PRETENDS.search(clause)


def conditional(clause: str) -> bool:
    """True where a clause after "if" is a wish, as in "you like it strong", not "you ask me"."""
    return bool(_CONDITION.match(clause))


def asks_for_choice(question: str) -> bool:
    """True for "My vote?" and "Which one I drink myself?", which the next words answer."""
    return bool(_ASKS_FOR_CHOICE.match(question))
