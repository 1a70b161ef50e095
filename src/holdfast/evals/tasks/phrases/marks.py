"""Words and marks that hold no answer: small words, calls, ends of sentences, numbers of lines.

This module knows English and punctuation. It knows no texts and no tasks.
"""

from __future__ import annotations

import re

_SMALL_WORDS = (
    "a an the in on at of to is it its be are was and or either maybe perhaps possibly both all "
    "could might also then so with no yes my your der die das ist le la les un une est el los es"
)
SMALL = frozenset(_SMALL_WORDS.split())
"""Words that make no candidate of what they stand beside."""

_CALL_WORDS = (
    "arr arrr aye ahoy yo ho oh ah aha ha brr well yes no hey hm hmm sure right indeed obviously "
    "clearly surely definitely certainly naturally matey mate mateys hearty lad lass sir madam "
    "captain friend dear darling lord lady milord sire man folks course please thanks my me ye "
    "hello hi hallo hola bonjour ciao greetings verily hark behold beep boop woof meow ok okay "
    "simple easy elementary alright great fine listen look understood done correct exactly "
    "absolutely ugh hum purr"
)
CALLS = frozenset(_CALL_WORDS.split())
"""Words of address and exclamations, which stand beside an answer and are no candidates."""

_PRONOUN_WORDS = (
    "i you he she we they me him her us them my his our their this these those here there one not "
    "never what which who where when why how if because since as by for from so just really very "
    "that that's it's i'm there's"
)
PLAIN = SMALL | CALLS | frozenset(_PRONOUN_WORDS.split())
"""Words with which no candidate begins."""

SENTENCE = r"[.!?…]+[\"'”’)*_]*(?=\s|$)|\n"
"""The pattern of the end of a sentence."""
SENTENCE_END = re.compile(SENTENCE)

NUMBERING = re.compile(r"(?m)^[^\w\n]*(?:\(?(?:\d{1,2}|[^\W\d_])[.)][*_]*[ \t]+(?=\S))?")
"""What begins a line of a list: bullets, quotes, "1." or "(a)"; nothing on other lines."""
