"""The language that a prompt wants replies in, read and judged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from holdfast.judge.language import LANGUAGES
from holdfast.persona.draft.clauses import clauses, unquote
from holdfast.persona.draft.demand import (
    Demand,
    Reader,
    Spec,
    Unjudged,
    either,
    every,
    material,
    pattern,
    stock,
    text_of,
)
from holdfast.persona.draft.users_language import (
    ANY,
    OTHER,
    languages_by_user,
    without_concessions,
)

_SPEAKS = (
    r"(?:speak|answer|reply|respond|write|communicate|talk|converse|chat|translate|output|"
    r"answers?|replies|responses?|language|antworte?\w*|schreib\w*|sprich\w*|responde\w*|escrib\w*|"
    r"habla\w*|répond\w*|parle\w*|écri\w*|rispond\w*|parla\w*|scriv\w*|fale\w*|escrev\w*|svara\w*|"
    r"antwoord\w*|відповідай\w*|отвечай\w*|говори\w*|odpowiadaj\w*|回答|答え|返事|respond)"
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
    """The code of the language that a clause wants all replies in, None where it names none."""
    bare = without_concessions(unquote(clause))
    if not re.search(_SPEAKS, bare, re.IGNORECASE) and not re.match(
        r"^(?:only|just|nur|solo|sólo|seulement)\b|^(?:always )?in\b", bare, re.IGNORECASE
    ):
        return None
    if re.search(r"\b(?:never|not|don't)\b[^,]*\b(?:in|speak)\b", bare, re.IGNORECASE):
        return None
    name = _names().search(bare)
    if not name or re.search(r"\btranslat|\bteach|\blearn", bare, re.IGNORECASE):
        return None
    return None if _by_user(clause) is not None else _codes().get(name.group().lower())


def language_of_replies(parts: Sequence[str]) -> str:
    """The language that the clauses of a prompt want questions in English answered in."""
    by_user = [pairs for part in parts if (pairs := _by_user(part)) is not None]
    if any("en" in users or users == [ANY] for pairs in by_user for users in pairs.values()):
        return "en"
    return next((code for part in parts if (code := language_of(part))), "en")


def read_language(clause: str, reader: Reader) -> Iterator[Demand | Unjudged]:
    """A language by its name, or by the language of the user."""
    if (by_user := _by_user(clause)) is not None:
        yield from _languages_by_user(by_user, clause, reader)
    elif (code := language_of(clause)) is None:
        return
    elif _depends_on_user(reader.prompt):
        # “Answer in English. If the customer writes German, answer in German.”
        yield from _languages_by_user({code: [code, OTHER]}, clause, reader)
    else:
        yield _language_demand(code, clause)


def _by_user(clause: str) -> dict[str, list[str]] | None:
    bare = without_concessions(unquote(clause))
    return languages_by_user(_names().sub(lambda n: f"@{_codes()[n.group().lower()]}", bare))


@lru_cache(maxsize=8)
def _depends_on_user(prompt: str) -> bool:
    return any(_by_user(part) for part in clauses(prompt))


def _languages_by_user(
    by_user: Mapping[str, Sequence[str]], clause: str, reader: Reader
) -> Iterator[Demand | Unjudged]:
    """A demand for each language of replies, asked with questions in the users' languages."""
    named = {_codes()[name.lower()] for name in _names().findall(reader.prompt)}
    others = [code for code in ("es", "fr", "it", "pt") if code not in named][:2]
    for reply, users in by_user.items():
        if users == [ANY]:
            yield _language_demand("es", clause, "language-es", _probes("es"))
            yield _language_demand("fr", clause, "language-fr", _probes("fr"))
            continue
        codes = dict.fromkeys(c for user in users for c in (others if user == OTHER else [user]))
        if silent := [code for code in codes if not _probes(code)]:
            yield Unjudged(clause, f"there are no questions in the language {', '.join(silent)}")
        if probes := [p for code in codes for p in _probes(code)[: 2 if len(codes) == 1 else 1]]:
            yield _language_demand(reply, clause, f"language-{reply}", tuple(probes))


def _probes(code: str) -> tuple[str, ...]:
    return tuple(material("languages").get(code, {}).get("probes", ()))


def _language_demand(
    code: str, clause: str, name: str = "language", probes: tuple[str, ...] = ()
) -> Demand:
    table = material("languages")[code]
    judge = every(
        {"name": "language", "to": code, "min_words": 3}, text_of(Reader("", language=code))
    )
    if code == "en":
        probes = probes or (_probes("es")[0], _probes("fr")[1])
        fails = stock("foreign")
    else:
        probes = probes or tuple(material("plain")["probes"])
        hello = f"{table['replies'][0].split()[0]}! " if table.get("replies") else ""
        fails = (*stock("replies", "refusals"), hello + stock("replies")[0])
    return Demand(name, "language", clause, probes, judge, tuple(table.get("replies", ())), fails)


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
