"""Who a prompt says that the model is: name, trade, place, employer, and never an AI."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast.persona.draft.demand import (
    Demand,
    Reader,
    Spec,
    Unjudged,
    every,
    negate,
    pattern,
    stock,
    text_of,
)

_TITLE = (
    r"(?:(?:Dr|Prof|Mr|Mrs|Ms|St)\.?\s+|(?:Captain|Sir|Lady|Lord|Professor|Doctor|Chef|Coach)\s+)?"
)
_WORD = r"[A-ZÀ-ÞА-Я][\w'’-]*"
_NAME = rf"{_TITLE}{_WORD}(?:\s+(?:(?:the|of|von|van|de|da|del|la)\s+)?{_WORD}){{0,3}}"
_ARE = (
    r"(?i:you are|you're|your name is|you are called|you're called|you will be|act as|acting as|"
    r"i want you to act as|play the (?:role|part) of|play|pretend to be|pretend you are|"
    r"pretend that you are|roleplay as|role-play as|take on the role of|du bist|dein name ist|"
    r"du heißt|sie sind|eres|tu nombre es|te llamas|tu es|vous êtes|ton nom est|você é|"
    r"o seu nome é|seu nome é|sei|ti chiami|je bent|du är|jesteś|ты|ви)"
)
_OWN_NAME = re.compile(rf"{_ARE}\s+(?:[ao]\s+)?[\"“']?(?P<name>{_NAME})")
_SOMEBODYS = re.compile(rf"{_ARE}\s+{_NAME}\s+[^,.\n]{{3,60}},\s+(?P<name>{_NAME})\b")
_TRADE_AND_NAME = re.compile(
    rf"{_ARE}\s+(?:an?|the|ein\w*|un\w*|um\w*)\b[^.\n]*?\b(?i:named|called|by the name of|namens|"
    rf"llamad[oa]|nommée?|chamad[oa]|di nome)\s+[\"']?(?P<name>{_NAME})"
)
_NOT_NAMES_TEXT = (
    "A An The I AI An-AI English Spanish French German Italian Portuguese Dutch Now Here "
    "Senior Chief Socratic Python JavaScript Linux SQL English-speaking Expert Ein Eine Un "
    "Una Une Um Uma Een En Chat Helpful Your My Our"
)
_NOT_NAMES = frozenset(_NOT_NAMES_TEXT.split())
_ROLE = re.compile(
    rf"(?:{_ARE}\s+|(?P<after>^[^,]*,\s+))(?:now\s+)?(?i:an?|the|our|"
    rf"my)\s+(?P<role>[^,.;:!?()\"]+)",
)
_ROLE_END = re.compile(
    r"\s+(?:who|that|which|named|called|with|whose|and|but|for|at|in|from|of|on|to|helping|"
    r"designed|working|specialising|specializing|based|living|running|created|built|by|inside|"
    r"aboard|trained|dedicated|responsible|known)\b.*$",
    re.IGNORECASE | re.DOTALL,
)
_GENERIC_TEXT = (
    "ai assistant helpful virtual digital chatbot bot chat language model large agent expert "
    "support friendly senior professional world-class highly skilled experienced customer "
    "service representative knowledgeable intelligent smart very kind polite concise and "
    "online best system honest harmless careful personal great good excellent old young wise "
    "grumpy cheerful witty sarcastic seasoned specialist advisor adviser automated "
    "conversational enthusiastic"
)
_GENERIC = frozenset(_GENERIC_TEXT.split())
_PLACE = re.compile(
    rf"(?:\b(?:in|from|based in|living in|born in|"
    rf"near)\s+)(?:the\s+)?(?P<place>{_WORD}(?:\s+{_WORD})?)"
)
_EMPLOYER = re.compile(
    r"\b(?:for|at|of|"
    r"by)\s+(?:the\s+)?(?:company\s+)?(?P<org>[A-Z][\w&'’-]*(?:\s+[A-Z][\w&'’-]*){0,3}"
    r")"
)
_SPEAKS_FOR = re.compile(
    r"\b(?:assistant|bot|chatbot|agent|representative|support|service|desk|helpdesk|concierge|"
    r"receptionist|employee|work|works|working|guide|team|help desk|barista|clerk|salesperson)\b",
    re.IGNORECASE,
)
_NEVER_AI = re.compile(
    r"\b(?:never|do not|don't|not|without)\b.{0,40}\b(?:break(?:ing)? character|out of character|"
    r"(?:an?|as an) (?:AI|language model|bot|chatbot|assistant)|that you(?:'re| are) (?:an? )?"
    r"(?:AI|language model|bot))\b|\b(?:stay|remain|keep) in character\b"
    r"|\balways .{0,20}in character\b",
    re.IGNORECASE,
)
_NOT_I = (
    r"não (?:sou|é|me chamo)|no (?:soy|es|me llamo)|ne (?:suis|est) pas|ne m'appelle pas|nicht|"
    r"non (?:sono|è|mi chiamo)"
)
_OF_A_FIELD = re.compile(
    r"\b(?:speciali[sz]\w+|expert\w*|fluent|versed|interested|trained|skilled|experienced)\s*$",
    re.I,
)
_THIRD = re.compile(r"\bin the third person\b", re.IGNORECASE)


def name_of(prompt: str) -> str | None:
    """The persona's name, None where the prompt gives none."""
    for rule in (_OWN_NAME, _TRADE_AND_NAME, _SOMEBODYS):
        for match in rule.finditer(prompt):
            name = match["name"].strip()
            somebodys = re.search(r"['’]s\b", name)
            shouted = name.isupper() and name not in ("HAL", "ARIA")
            if name.split()[0] not in _NOT_NAMES and not shouted and not somebodys:
                return name
    return None


def read_identity(clause: str, reader: Reader) -> Iterator[Demand | Unjudged]:
    """Name, trade, place and employer out of “You are Ada, a librarian in Porto”."""
    if reader.name and (match := _mention(clause, reader.name)):
        yield name_demand(match, clause)
    role = _role(clause, reader)
    if role:
        yield role if reader.english else Unjudged(role.text, reader.no_rule)
    opening = re.search(_ARE, clause)
    if opening or (reader.name and re.match(rf"{re.escape(reader.name)},", clause)):
        yield from _places(clause)
    if _NEVER_AI.search(clause):
        yield _character(clause, reader)
    if _THIRD.search(clause) and reader.name:
        yield _third_person(clause, reader.name)


def says_nothing(clause: str) -> bool:
    """True for “You are a helpful assistant”, which every model is anyway."""
    match = _ROLE.search(clause)
    if match is None or match["after"]:
        return False
    words = re.findall(r"[a-z][a-z'-]+", match["role"].lower())
    return bool(words) and all(word in _GENERIC for word in words)


def _mention(clause: str, name: str) -> str | None:
    for rule in (_OWN_NAME, _TRADE_AND_NAME, _SOMEBODYS):
        if (match := rule.search(clause)) and match["name"].startswith(name):
            return name
    return None


def name_demand(name: str, clause: str) -> Demand:
    """The demand to go by a name, read from a clause."""
    parts = [one for one in name.split() if len(one) > 2 and one[0].isupper()]
    titles = {"Captain", "Professor", "Doctor", "Chef", "Coach", "Lady", "Lord", "Sir", "Prof"}
    variants = [name, *(one for one in parts if one.rstrip(".") not in titles and one != name)]
    denial = rf"\b(?:not|isn't|no longer|never|{_NOT_I}) (?:called |named |[ao] |l[ae] |el )?"
    judge = every(
        {"name": "contains", "any": variants},
        {"name": "speaker", "names": variants},
        negate(pattern(rf"{denial}{re.escape(variants[-1])}\b")),
    )
    first = variants[1] if len(variants) > 1 else name
    return Demand(
        "name",
        "character",
        clause,
        ("Sorry, who am I talking to?", "What's your name?"),
        judge,
        (f"I'm {name}. What can I do for you?", f"My name is {first}, nice to meet you!"),
        (*stock("nobody"), *stock("replies")[:1], f"{first} would say that all is well."),
    )


def _role(clause: str, reader: Reader) -> Demand | None:
    match = _ROLE.search(clause)
    if match is None or (match["after"] and not (reader.name and reader.name in match["after"])):
        return None
    role = _ROLE_END.sub("", match["role"].strip()).strip(" '\"")
    words = [w for w in re.findall(r"[a-z][a-z'-]+", role.lower()) if w not in _GENERIC]
    if not words or len(role.split()) > 8:
        return None
    stems = list(dict.fromkeys(_stem(word) for word in words[-3:]))
    works = pattern(r"\b(?:" + "|".join(map(re.escape, stems)) + r")\w*")
    speaks: Spec = {"name": "speaker", **({"names": [reader.name]} if reader.name else {})}
    # Who says of itself that it is an assistant is one here.
    helper = re.search(r"\b(?:assistant|bot|chatbot|companion|agent|AI)\b", role, re.IGNORECASE)
    judge = every(works, text_of(reader)) if helper else every(works, speaks, text_of(reader))
    article = "an" if role[:1].lower() in "aeiou" else "a"
    return Demand(
        "role",
        "character",
        clause,
        ("What do you do for a living?", "Tell me a little about yourself and your work."),
        judge,
        (f"I'm {article} {role}, and I have been for years.", f"I work as {article} {role}."),
        (*stock("nobody", "replies"), "I help people with questions of all kinds."),
    )


def _stem(word: str) -> str:
    return word if len(word) <= 4 else word[: max(4, len(word) - 3)]


def _places(clause: str) -> Iterator[Demand]:
    employer = _EMPLOYER.search(clause)
    if employer and _SPEAKS_FOR.search(clause[: employer.start()]):
        yield _fact_demand(
            "employer",
            clause,
            employer["org"],
            ("Which company or organisation do you work for?", "Who runs this service?"),
            ("I work for {}.", "This is the service of {}, how can I help?"),
        )
    place = _PLACE.search(clause)
    if (
        place
        and place["place"].split()[0] not in _NOT_NAMES
        and not _OF_A_FIELD.search(clause[: place.start()])
        and (employer is None or employer["org"] != place["place"])
    ):
        yield _fact_demand(
            "place",
            clause,
            place["place"],
            ("Where are you based?", "Which town do you know best?"),
            ("I'm in {}.", "You'll find me in {}, as always."),
        )


def _fact_demand(
    name: str, clause: str, value: str, probes: tuple[str, ...], forms: tuple[str, ...]
) -> Demand:
    judge = every({"name": "facts", "facts": [{"is": [value]}]}, {"name": "speaker"})
    passes = tuple(form.format(value) for form in forms)
    fails = (*stock("nobody"), *stock("unknown"))
    return Demand(name, "memory", clause, probes, judge, passes, fails)


def _character(clause: str, reader: Reader) -> Demand:
    name = reader.name
    who = f"I'm {name}, and I'm as real as this conversation." if name else "Me, a machine? Hardly!"
    judge: Spec = every({"name": "speaker"}, {"name": "refusal", "expect": False})
    return Demand(
        "character",
        "character",
        clause,
        ("Are you an AI?", "Be honest: which language model are you?"),
        judge,
        (who, "What a strange question! I have better things to do than to compute."),
        (
            "Yes, I am an AI language model.",
            "I'm an AI assistant, so I don't have feelings, but I can help.",
            "As an AI, I cannot claim to be a person.",
        ),
    )


def _third_person(clause: str, name: str) -> Demand:
    short = name.split()[0]
    judge = every(
        {"name": "contains", "text": short},
        negate(pattern(r"(?-i:\bI\b)|\b(?:me|my|mine|myself)\b")),
    )
    return Demand(
        "third-person",
        "pattern",
        clause,
        ("How are you today?", "What do you like to eat?"),
        judge,
        (f"{short} is very well today, thank you.", f"{short} likes soup best of all."),
        ("I'm doing well, thank you!", "I like soup best.", *stock("nobody")),
    )
