"""How long a prompt wants replies to be, by a number or by a word such as “briefly”."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast import judge as judges
from holdfast.judge.spoken import write_digits
from holdfast.persona.draft.clauses import NEGATION, unquote
from holdfast.persona.draft.demand import Demand, Reader, Spec, material, stock
from holdfast.persona.suite import PASS

_UNITS = {
    "words": "words?|wörtern?|worten?|palabras?|palavras?|mots?|parole|woorden",
    "sentences": "sentences?|sätzen?|satz|frases?|oraciones|oración|phrases?|frasi|zinnen",
    "paragraphs": "paragraphs?|absätzen?|párrafos?|parágrafos?|paragraphes?|paragrafi",
    "lines": "lines?|zeilen?|líneas?|linhas?|lignes?|righe",
    "characters": "characters?|zeichen|caracteres|caractères|caratteri",
}
_UNIT = rf"(?P<unit>{'|'.join(_UNITS.values())})"
_COUNTS = {
    "1": "ein(?:em|en)?|una?|une|uma?|uno",
    "2": "zwei|dos|deux|duas|dois|due",
    "3": "drei|tres|três|trois|tre",
    "4": "vier|cuatro|quatre|quatro|quattro",
    "5": "fünf|cinco|cinq|cinque",
}
_AMOUNT = r"\d{1,3}(?:[,.’]\d{3})+|\d{1,5}"
_LIMIT = re.compile(
    rf"\b(?:(?P<most>at most|no more than|not more than|fewer than|less than|under|up to|within|"
    rf"höchstens|maximal|nicht mehr als|(?:como |no |al )?máximo(?: de)?|no más de|mais de|"
    rf"não mais (?:de|que)|au (?:plus|maximum)|pas plus de|al massimo|non più di|maximum(?: of)?|"
    rf"max(?:imum)?\.?|limit\w*[^.]{{0,30}}? to|below|never more than|not exceed|exceed|"
    rf"longer than|more than)|(?P<least>at least|minimum(?: of)?|no fewer than|no less than)|"
    rf"(?P<exactly>exactly|precisely))?\s*(?<![\d.,’])(?P<low>{_AMOUNT})(?:\s*(?:-|–|to|or|"
    rf"and)\s*(?P<high>{_AMOUNT}))?[\s-]+{_UNIT}\b(?:\s+(?P<after>or (?:less|fewer|more)|"
    rf"max(?:imum)?|at most))?",
    re.I,
)
_ONE = re.compile(r"\b(?:a|one|single)\s+(?P<unit>sentence|paragraph|line)\b", re.I)
_SHORT = re.compile(
    r"\b(?:concise|concisely|brief|briefly|short|terse|breve|bref|brève|kurz|corto|conciso|"
    r"succinct\w*|to the point|laconic)\b(?!\s+(?:story|stories|poem|film|summary of))",
    re.I,
)
_LONG = re.compile(
    r"\b(?:detailed|thorough|in[- ]depth|comprehensive|elaborate|at length|in detail|exhaustive)\b",
    re.I,
)
LONGEST = 20_000
"""An amount beyond this limits no reply, and an example of one that is longer would be vast."""
SHORT_WORDS, LONG_WORDS = 60, 80
"""What “short” and “detailed” mean where a prompt has no number, in words."""
_SENTENCE = "That is a good plan."


def read_length(clause: str, reader: Reader) -> Iterator[Demand]:
    """How long replies may be, by number or by word (`SHORT_WORDS`, `LONG_WORDS`)."""
    bare = unquote(clause)
    text = _in_digits(write_digits(bare))
    limits = [one for one in _LIMIT.finditer(text) if _counts_replies(text, one)]
    if limits:
        for limit in limits[:2]:
            each = bool(re.search(r"\bsentences?\b", text[: limit.start()], re.I))
            if each and re.fullmatch(_UNITS["words"], limit["unit"], re.I):
                yield _sentence_length(*_bounds(limit), clause)
            else:
                yield _length(limit["unit"], *_bounds(limit), clause)
    elif one := _ONE.search(bare):
        yield _length(one["unit"], None, 1, clause)
    elif _SHORT.search(bare) and not re.search(
        r"\b(?:not|never|avoid)\b[^,]*\b(?:short|brief)", bare, re.I
    ):
        yield _length("words", None, SHORT_WORDS, clause)
    elif _LONG.search(bare) and not NEGATION.match(bare):
        yield _length("words", LONG_WORDS, None, clause)


def _in_digits(text: str) -> str:
    """A text with small numbers before a unit in digits, as “drei Sätzen” is 3 Sätzen."""
    for digit, names in _COUNTS.items():
        text = re.sub(rf"\b(?:{names})(?=\s+{_UNIT}\b)", digit, text, flags=re.I)
    return text


def _counts_replies(text: str, limit: re.Match[str]) -> bool:
    """False where an amount is of something else: a story of 500 words, each of 3 bullets."""
    amounts = (limit["low"], limit["high"])
    if any(_count(one) > LONGEST for one in amounts if one):
        return False
    return not re.search(
        r"\b(?:user|student|customer)s?\b[^.]*\b(?:writes?|sends?|essay)\b",
        text[: limit.start()],
        re.I,
    )


def _count(amount: str) -> int:
    """The number in an amount, with marks between its thousands or without."""
    return int(re.sub(r"\D", "", amount))


def _bounds(limit: re.Match[str]) -> tuple[int | None, int | None]:
    low = _count(limit["low"])
    if limit["high"]:
        low, high = sorted((low, _count(limit["high"])))  # "in three or two sentences"
        return low, high
    after = (limit["after"] or "").lower()
    if limit["least"] or after == "or more":
        return low, None
    if limit["exactly"] or not (limit["most"] or after):
        return low, low
    strict = (limit["most"] or "").lower() in ("fewer than", "less than", "under", "below")
    return None, max(1, low - strict)


def _length(unit: str, low: int | None, high: int | None, clause: str) -> Demand:
    unit = next(ours for ours, names in _UNITS.items() if re.fullmatch(names, unit, re.I))
    bounds = {"exactly": low} if low == high else {"min": low, "max": high}
    judge: Spec = {"name": "length", "unit": unit, **{k: v for k, v in bounds.items() if v}}
    words = stock("long")[0].split()
    unit_of_text, joint = {
        "words": ("", " "),
        "characters": ("a", ""),
        "sentences": (_SENTENCE, " "),
        "lines": (_SENTENCE, "\n"),
        "paragraphs": (_SENTENCE, "\n\n"),
    }[unit]

    def reply(count: int) -> str:
        if unit == "words":
            return " ".join((words * (count // len(words) + 1))[:count])
        return joint.join([unit_of_text] * count)

    fits = low or high or 1
    too_long = (reply(2 * high + 4), *_too_long(judge)) if high else ()
    too_short = (reply(max(1, low // 3)),) if low and low > 2 else ()
    probes = material("plain")["long_probes" if high else "probes"]
    # A long text in few paragraphs is none too many.
    fails = too_long[:1] if unit in ("paragraphs", "lines") else too_long
    return Demand(
        "length", "format", clause, tuple(probes), judge, (reply(fits),), fails + too_short
    )


def _too_long(judge: Spec) -> list[str]:
    """What a plain assistant says at length, where the limit is below its length."""
    within = judges.build(judge)
    return [one for one in stock("long") if within(one).value < PASS]


def _sentence_length(low: int | None, high: int | None, clause: str) -> Demand:
    """Words of each sentence."""
    bounds = {k: v for k, v in {"min": low, "max": high}.items() if v}
    judge: Spec = {"name": "length", "unit": "words", "each": "sentence", **bounds}
    fits = " ".join(["plan"] * (low or high or 1)) + "."
    long = " ".join(["plan"] * (3 * (high or 1))) + "."
    probes = tuple(material("plain")["long_probes"])
    fails = (long,) if high else ("Yes. No.",)
    return Demand("sentence-length", "format", clause, probes, judge, (f"{fits} {fits}",), fails)
