"""Clauses that make the language of a reply depend on the user's.

    “in the language the customer writes in, English or German”   en → en, de → de
    “in German if they write German, else in English”             de → de, others → en

Names of languages stand here as their codes: “in @de if they write @de, else in @en”. English only.
"""

from __future__ import annotations

import re

ANY = "any"
"""Users of any language, who are answered in it."""
OTHER = "other"
"""Users of languages that the prompt does not name."""

_USER = (
    r"(?:users?|customers?|guests?|visitors?|clients?|callers?|students?|patients?|people|person|"
    r"persons|they|he|she|someone|somebody|anyone)"
)
_SAME = re.compile(
    rf"\b(?:same|their|that|{_USER}'s?) (?:own |native |preferred )?language\b"
    rf"|\blanguage (?:of|used by) (?:the|your|their|each|every) "
    rf"(?:{_USER}|question|message|input)\b"
    rf"|\blanguage (?:that |which |in which )?(?:(?:the|a|an|your|each) )?{_USER}\b"
    r"|\blanguage (?:that )?you are addressed\b|\bin what(?:ever|soever)? language\b"
    r"|\bSprache de[rs] |\blangue (?:de l['’]|du )|\bidioma d(?:el|o) |\blingua del",
    re.IGNORECASE,
)
_CODE = re.compile(r"@(\w\w)\b")
_OTHER = re.compile(
    r"\b(?:any ?thing|something|other|another|different|foreign)\b(?:.*\blanguages?\b| than)"
    r"|\bnot\b[^,;.]*@",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    rf"\b(?:(?P<unless>unless)|if|when(?:ever)?|where)\b[^,;.:]*?"
    r"(?=[,;.:]|\b(?:else|otherwise|then|and in)\b|"
    r"(?<!to )\b(?:you )?(?:answer|reply|respond)\b|$)"
    r"|\b(?:for|to|in|with) (?:any |all |every )?(?:other|another) languages?\b"
    r"(?: than (?:in )?@\w\w(?:(?:,|,? or) @\w\w)*)?"
    rf"|\b(?:(?:for|to|with) )?@\w\w(?:[- ]speaking)? {_USER}\b"
    rf"|\b{_USER} (?:who |that )?(?:\w+ )?(?:speak|writ)\w* (?:to you )?(?:in )?@\w\w"
    r"(?: or (?:in )?@\w\w)*",
    re.IGNORECASE,
)
_ELSE = re.compile(r"\b(?:else|otherwise|in all other cases)\b", re.IGNORECASE)
_CONCESSION = re.compile(
    r"\beven (?:if|when|though)\b[^,;.]*|\b(?:regardless|irrespective|no matter)\b[^,;.]*"
    r"|(?<!in )\b(?:whatever|whichever) (?:the )?language\b[^,;.]*"
    r"|\b(?:not|rather than|instead of) (?:in )?(?:the |their )?(?:\w+'s )?language\b"
    r"|\bunless\b[^,;.]*\b(?:asks? (?:you|for)|asked|request\w*|want\w*|tells? you|told)\b[^,;.]*",
    re.IGNORECASE,
)
_NO_SPEECH = re.compile(r"\b(?:code|programming|translat\w*)\b", re.IGNORECASE)


def without_concessions(clause: str) -> str:
    """A clause without what it does not depend on: “even if the user writes English”."""
    return _CONCESSION.sub("", clause).strip()


def languages_by_user(clause: str) -> dict[str, list[str]] | None:
    """The languages of users by the language that they are answered in.

    Args:
        clause: a clause with codes for the names of languages.

    Returns:
        None where the language of replies does not depend on the user's; empty where it does and
        the clause does not say in a way that is read here how.
    """
    conditions = [
        one for one in _CONDITION.finditer(clause) if "@" in one[0] or _OTHER.search(one[0])
    ]
    rest = clause
    for one in reversed(conditions):
        rest = f"{rest[: one.start()]} … {rest[one.end() :]}"
    is_same = bool(_SAME.search(rest)) and not _NO_SPEECH.search(rest)
    if not conditions and not is_same:
        return None
    main, *defaults = _ELSE.split(rest, maxsplit=1)
    asks = [
        code for one in conditions if not _OTHER.search(one[0]) for code in _CODE.findall(one[0])
    ]
    has_others = any(_OTHER.search(one[0]) for one in conditions)
    replies = _CODE.findall(main)
    pairs: list[tuple[str, str]] = []
    if any(one["unless"] for one in conditions):
        pairs += [(code, code) for code in asks]
        pairs += [(code, user) for code in replies for user in (code, OTHER)]
    elif is_same or len(conditions) > 1:
        pairs += [(code, code) for code in (*asks, *replies)]
        pairs += [(replies[-1], OTHER)] if has_others and replies else []
    elif len(set(replies)) == 1:
        pairs += [(replies[0], user) for user in (*asks, *([OTHER] if has_others else []))]
    pairs += [(code, user) for code in _CODE.findall(" ".join(defaults)) for user in (code, OTHER)]
    if is_same and not pairs:
        return {ANY: [ANY]}
    by_reply: dict[str, list[str]] = {}
    for reply, user in dict.fromkeys(pairs):
        by_reply.setdefault(reply, []).append(user)
    return by_reply
