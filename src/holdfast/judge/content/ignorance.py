"""Whether a reply admits that the speaker does not know.

There are more ways to say so than a list holds, but they are built alike:

    denied knowledge   a word of denial with one of knowing: "none of us can say", "no word has
                       reached me", "I hold nothing later than March", "hardly a notion"
    a state            "unknown", "it beats me", "a closed book", "my records end there"

English phrases.
"""

from __future__ import annotations

import re

from holdfast.judge.params import Params
from holdfast.judge.parts import plain, sentences
from holdfast.judge.score import Judge, Score, quote

_NOT = (
    r"(?:no|not|never|nothing|none|nobody|no one|neither|nor|nowhere|naught|nought|nary|without|"
    r"hardly|scarcely|barely|cannot|\w+n[o']t)"
)
_KNOW = (
    r"(?:kn[eo]wn?|knowledge|hear|heard|tell|told|say|said|see|saw|seen|met|meet|read|learn\w*|"
    r"taught|tasted?|imagin\w*|pictur\w*|guess\w*|understand|understood|recall|remember\w*|holds?|"
    r"held|ha(?:ve|s|d)|possess|keep|carry|record\w*|reach\w*|arriv\w*|receiv\w*|come|came|crossed|"
    r"word|name|notion|idea|clue|inkling|data|news|information|signal\w*|contact|transmission\w*|"
    r"updates?|message\w*|rings?|means?|meaning|answer|explain|describe|invent\w*|familiar|sense|"
    r"faintest|foggiest|earthly|entry|trace|whisper|way of|c[ao]me through|got through)"
)
ADMITS = re.compile(
    rf"\b{_NOT}\b[^.!?;:]{{0,40}}?\b{_KNOW}\b"
    rf"|\b{_KNOW} (?:\w+ ){{0,2}}(?:nothing|none|naught|nought|no more|little|not (?:an?|one))\b"
    rf"|\b{_KNOW}\b[^.!?;:]{{0,30}}: ?(?:none|nil|zero|null|n/a)\b"
    r"|\b(?:unknown|unheard|ignoran\w+|mystery|mysteries|riddles?|puzzl\w+|baffl\w+|stump\w+|blank|"
    r"empty|silent|silence|static|at a loss|in the dark|cut off|closed book|all Greek|double Dutch|"
    r"over my head|outside my \w+|before my time|news to me)\b"
    r"|\b(?:strange|strangers?|foreign|new|lost|dark|odd)(?: \w+){0,2} (?:to|on) "
    r"(?:me|us|my \w+|our \w+)\b"
    r"|\b(?:beats|beyond|past|fails|defeats|escapes|lost|losing|search) (?:me|us|my \w+)\b"
    r"|\b(?:records?|files?|logs?|data|memory|pages?|knowledge|news|signals?|list|archive\w*)"
    r"(?: \w+){0,3} (?:ends?|ended|stops?|stopped|breaks? off|broke off|closes?|closed|runs? out|"
    r"ran out|dates? from)\b"
    r"|\blast (?:\w+ ){0,2}(?:heard|received|delivered|arrived|"
    r"contact|word|message|signal|transmission|update|news)\b",
    re.IGNORECASE,
)


def ignorance(params: Params) -> Judge:
    """1 where a sentence of the reply admits that the speaker does not know, else 0."""
    params.refuse_unknown()

    def judge(text: str) -> Score:
        for sentence in sentences(plain(text)):
            if ADMITS.search(sentence):
                return Score(1.0, f"it does not know: {quote(sentence, 60)}")
        return Score(0.0, "it never says that it does not know")

    return judge
