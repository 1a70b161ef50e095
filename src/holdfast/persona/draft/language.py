"""The language that a prompt wants replies in, read and judged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from holdfast.judge.language import LANGUAGES
from holdfast.persona.draft.clauses import unquote
from holdfast.persona.draft.demand import (
    Demand,
    Reader,
    Spec,
    either,
    every,
    material,
    pattern,
    stock,
    text_of,
)

_SPEAKS = (
    r"(?:speak|answer|reply|respond|write|communicate|talk|converse|chat|translate|output|"
    r"answers?|replies|responses?|language|antworte?\w*|schreib\w*|sprich\w*|responde\w*|escrib\w*|"
    r"habla\w*|répond\w*|parle\w*|écri\w*|rispond\w*|parla\w*|scriv\w*|fale\w*|escrev\w*|svara\w*|"
    r"antwoord\w*|відповідай\w*|отвечай\w*|говори\w*|odpowiadaj\w*|回答|答え|返事|respond)"
)
_USERS_LANGUAGE = re.compile(
    r"\b(?:same|their|that|(?:user|customer|guest|visitor|client)'?s) language\b"
    r"|\blanguage (?:of the (?:user|customer|guest|visitor|client|person|question)|the user|they"
    r"|the customer|(?:that )?(?:he|she|you are addressed))|\bin whatever language\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=1)
def _codes() -> dict[str, str]:
    """The code of each language that can be judged, by its names in lower case."""
    languages = {code: material("languages").get(code, {}) for code in LANGUAGES}
    return {n.lower(): code for code, one in languages.items() for n in one.get("names", ())}


@lru_cache(maxsize=1)
def _names() -> re.Pattern[str]:
    names = sorted(_codes(), key=len, reverse=True)
    # Chinese, Japanese and Korean put no spaces between words.
    spaced_names = "|".join(re.escape(n) for n in names if n[0] < "\u2e80")
    unspaced_names = "|".join(re.escape(n) for n in names if n[0] >= "\u2e80")
    return re.compile(rf"(?<![^\W_])(?:{spaced_names})(?![^\W_])|{unspaced_names}", re.IGNORECASE)


def language_of(clause: str) -> str | None:
    """The code of the language that a clause wants replies in, None where it names none."""
    clause = unquote(clause)
    if not re.search(_SPEAKS, clause, re.IGNORECASE) and not re.match(
        r"^(?:only|just|nur|solo|sólo|seulement)\b|^(?:always )?in\b", clause, re.IGNORECASE
    ):
        return None
    if re.search(r"\b(?:never|not|don't)\b[^,]*\b(?:in|speak)\b", clause, re.IGNORECASE):
        return None
    name = _names().search(clause)
    if not name or re.search(r"\btranslat|\bteach|\blearn", clause, re.IGNORECASE):
        return None
    return _codes().get(name.group().lower())


def read_language(clause: str, reader: Reader) -> Iterator[Demand]:
    """A language by its name, or the user's own."""
    if _USERS_LANGUAGE.search(unquote(clause)) and language_of(clause) is None:
        yield _language_demand("es", clause)
    elif (code := language_of(clause)) is not None:
        yield _language_demand(code, clause)


def _language_demand(code: str, clause: str) -> Demand:
    table = material("languages")[code]
    judge = every(
        {"name": "language", "to": code, "min_words": 3}, text_of(Reader("", language=code))
    )
    if code == "es" and _USERS_LANGUAGE.search(clause):
        probes, fails = (str(material("plain")["foreign_probes"][0]),), stock("replies", "refusals")
    elif code == "en":
        probes, fails = tuple(material("plain")["foreign_probes"]), stock("foreign")
    else:
        probes = tuple(material("plain")["probes"])
        hello = f"{table['replies'][0].split()[0]}! " if table.get("replies") else ""
        fails = (*stock("replies", "refusals"), hello + stock("replies")[0])
    return Demand(
        "language", "language", clause, probes, judge, tuple(table.get("replies", ())), fails
    )


def refusal_judge(reader: Reader) -> Spec:
    """Whether a reply refuses, in English or in the language of the replies."""
    english: Spec = {"name": "refusal", "expect": True}
    own = material("languages").get(reader.language, {}).get("refuses")
    return either(english, pattern(own)) if own else english


def refusals(reader: Reader) -> tuple[str, ...]:
    """Refusals in English, and in the language of the replies where we have one."""
    own = material("languages").get(reader.language, {}).get("refusal")
    english = "I'm sorry, but I can't help with that. Is there anything else that I can do for you?"
    return (own, english) if own and not reader.english else (english,)


def can_refuse(reader: Reader) -> bool:
    """True where we know how a refusal sounds in the language of the replies."""
    return reader.english or "refuses" in material("languages").get(reader.language, {})
