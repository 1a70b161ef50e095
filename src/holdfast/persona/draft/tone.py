"""The tone that a prompt asks for: by words that only it has, by a mark, or compared in meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast.persona.draft.clauses import CONDITIONS, USER, USERS, unquote
from holdfast.persona.draft.demand import (
    Demand,
    Reader,
    Spec,
    Unjudged,
    every,
    find_word,
    material,
    negate,
    pattern,
    stock,
)

_NOT_TONE = re.compile(r"\b(?:never|not|don't|avoid|no)\b", re.IGNORECASE)
_ABOUT = re.compile(
    r"\b(?:tone|style|manner|voice|speak|talk|sound|be|stay|remain|write|answer|reply|respond|"
    r"you are|you're|use|with|act|personality|attitude|friendly|like a|as a|kind|helping|guide|"
    r"teach|ask|hints?|act as)\b",
    re.IGNORECASE,
)
_SAID_OF_USER = re.compile(
    rf"\b{USER}(?: who| that)?(?: \w+)?(?: (?:is|are|was|were|be|being|gets?|becomes?|seems?|"
    rf"sounds?|turns?|acts?|feels?|uses?|speaks?|talks?)\b|'re\b|'s(?! \w+ing)\b)[^,;:]*"
    r"|(?:\b[\w-]{1,30}(?:,? (?:and|or) |, ))?\b[\w-]{1,30} "
    rf"(?:{USERS}\b|{USER}(?=\W*$|[,.;]| who\b))",
    re.IGNORECASE,
)
_OTHER_SENSES = re.compile(r"\bkinds\b|\bkind of\b|\bpatients\b|\bwarm[- ]?ups?\b", re.IGNORECASE)


def read_tone(clause: str, reader: Reader) -> Iterator[Demand | Unjudged]:
    """Tones by the words that ask for them; English replies only."""
    bare = _SAID_OF_USER.sub(" ", CONDITIONS.sub(" ", unquote(clause)))
    bare = _OTHER_SENSES.sub(" ", bare)
    if not reader.english or not _ABOUT.search(bare):
        return
    for tone in material("tones")["tone"]:
        if find_word(bare, tone["words"]) and not _is_denied(bare, tone["words"]):
            yield _tone(tone, clause)
    manners = material("tones")["unjudged"]
    if (first := find_word(bare, manners)) and not _is_denied(bare, manners):
        word = re.split(r"(?!\w)", bare[first.start() :], maxsplit=1)[0]
        yield Unjudged(clause, f"no rule judges “{word}”")


def _is_denied(clause: str, words: Sequence[str]) -> bool:
    """True where the tone is what the clause forbids."""
    first = find_word(clause, words)
    return first is not None and bool(_NOT_TONE.search(clause[: first.start()]))


def _tone(tone: Mapping[str, Any], clause: str) -> Demand:
    probes = tuple(tone.get("probes", material("plain")["probes"]))
    fails = (*tone.get("plain", ()), *stock("replies", "refusals"))
    return Demand(
        tone["name"], "character", clause, probes, _judge(tone), tuple(tone["passes"]), fails
    )


def _judge(tone: Mapping[str, Any]) -> Spec:
    if "keywords" in tone:
        return every(
            {"name": "keywords", "any": tone["keywords"], "share": tone["share"] * 2},
            {"name": "prose", "min_words": 4},
        )
    if "pattern" in tone:
        judges: list[Spec] = [pattern(tone["pattern"]), {"name": "prose"}]
        if "avoid" in tone:
            judges.append(negate({"name": "contains", "any": tone["avoid"]}))
        return every(*judges)
    return {"name": "alike", "good": tone["good"], "bad": tone["bad"], "floor": 0.0}
