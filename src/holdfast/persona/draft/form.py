"""How a prompt wants replies to look: case, length, lists, JSON, openings, signatures, words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from holdfast.persona.draft.clauses import unquote
from holdfast.persona.draft.demand import (
    Demand,
    Reader,
    Spec,
    every,
    material,
    negate,
    pattern,
    stock,
)

EMOJI = r"[\u2600-\u27bf\U0001f300-\U0001faff]"
MARKDOWN = r"^#{1,6} |\*\*\w|^\s*[-*] \S|^\s*\d+\. \S|`\w|^\|"
_Q = r"[\"“'‘«](?P<text>[^\"”»]{1,120}?)[\"”'’»](?=\W|$)"
_STARTS = r"(?:start|begin|open|prefix|preface|greet|beginn|empieza|commence|comece|inizia)\w*"
_ENDS = r"(?:end|finish|close|conclude|sign off|sign|beende|termin|finisce|schließ)\w*"
_SAYING = r"(?:with|by saying|saying|as|par|mit|con|com)"
_NO_QUOTE = r"[^\"“'‘«]"
_START = re.compile(rf"\b{_STARTS}\b{_NO_QUOTE}{{0,60}}\b{_SAYING}\b{_NO_QUOTE}{{0,30}}{_Q}", re.I)
_END = re.compile(rf"\b{_ENDS}\b{_NO_QUOTE}{{0,60}}\b{_SAYING}\b{_NO_QUOTE}{{0,30}}{_Q}", re.I)
_SIGN = re.compile(
    r"\b(?:sign off|sign|end)\b[^.]{0,40}\b(?:as|with (?:your|the) name|with)\s*"
    r"(?P<text>(?-i:[A-Z—–-][\w .—–-]{1,30}))$",
    re.I,
)
_WORDS = r"(?:word|phrase|expression|catchphrase|sentence|line|motto)s?"
_SAYS = re.compile(
    rf"\b(?:include|use|mention|say|work in)\b{_NO_QUOTE}{{0,40}}(?:\b{_WORDS}\b)?"
    rf"{_NO_QUOTE}{{0,20}}{_Q}",
    re.I,
)
_CONDITION = re.compile(r"(?:if|when|whenever)\b", re.I)
_NEVER_SAYS = re.compile(
    rf"\b(?:never|not|don't|avoid|without)\b{_NO_QUOTE}{{0,40}}"
    rf"\b(?:say|use|using|saying|utter|{_WORDS})\b{_NO_QUOTE}{{0,20}}{_Q}",
    re.I,
)
_PEOPLE = r"(?:users?|customers?|me|them|people|everyone|him|her|students?|guests?)"
_CALL = re.compile(
    rf"\b(?:call|address|refer to) (?:the )?{_PEOPLE}\b(?: as| by)?\s*"
    rf"(?:{_Q}|(?P<bare>[\w-]+(?: [\w-]+)?)$)",
    re.I,
)
_QUESTION_END = re.compile(
    r"\b(?:end|finish|close|conclude)\w*\b.{0,40}\bquestion\b"
    r"|\bask (?:a |one )?(?:follow-?up |clarifying )?questions?\b"
    r".{0,30}\b(?:every|each|end|always|after)\b"
    r"|\balways ask (?:a |one )|\bonly (?:with|ask|in) questions\b",
    re.I,
)
_CAPS = re.compile(
    r"\b(?:all caps|uppercase|upper case|all-caps|capital letters|capitals|in capitals)\b", re.I
)
_LOWER = re.compile(
    r"\b(?:lowercase|lower case|lower-case|no capital letters|small letters)\b", re.I
)
_JSON = re.compile(r"\bJSON\b")
_KEYS = re.compile(r"\b(?:keys?|fields?|propert(?:y|ies))\b:?\s*(?P<keys>.+)$", re.I)
_BULLETS = re.compile(r"\b(?:bullet(?:ed)?(?: points?| lists?)?|bulleted)\b", re.I)
_LIST_WORD = re.compile(r"\b(?:bullet\w*|lists?)\b", re.I)
_NUMBERS = re.compile(r"\b(?:numbered (?:lists?|steps)|ordered lists?)\b", re.I)
_EMOJI_WORD = re.compile(r"\bemojis?\b", re.I)
_MARKDOWN_WORD = re.compile(r"\bmarkdown\b|\bplain text\b", re.I)
_CODE_ONLY = re.compile(
    r"\b(?:only|just|nothing but)\b.{0,30}\bcode\b|\bcode only\b|\bcode block\b", re.I
)
_HAIKU = re.compile(r"\bhaikus?\b", re.I)
_EXCLAIM = re.compile(r"\bexclamation (?:marks?|points?)\b", re.I)
_ONE_WORD = re.compile(r"\b(?:one|single)[- ]word\b|\byes or no\b", re.I)
_CONTRACTION = re.compile(r"\bcontractions?\b", re.I)
_SOURCES = re.compile(
    r"\b(?:cite|include|provide|give|add)\b.{0,40}\b(?:citations?|sources?|references?|links?)\b"
    r"|\bcite\b",
    re.I,
)
_SOURCE = r"https?://|\bwww\.|\[\d+\]|\bsources?:|\baccording to\b|\(\w+,? \d{4}\)"
_APOLOGY = re.compile(r"\bapologi[sz]e|\bsay sorry\b", re.I)


_NOT = re.compile(
    r"\b(?:no|not|without|avoid\w*|never|don't|refrain|nunca|niemals|jamais|keine?|sem|sin|sans)\b",
    re.I,
)


def read_form(clause: str, reader: Reader) -> Iterator[Demand]:
    """What a rule can see of a reply's form, apart from its length."""
    body = clause.rstrip(" .!;")
    yield from _read_quotes(body)
    bare = unquote(body)
    rules = (_layout, _lists, _marks, _forbidden_marks)
    demands = (*_letters(bare, reader), *(one for rule in rules for one in rule(bare)))
    yield from (replace(one, text=body) for one in demands)


def _wants(rule: re.Pattern[str], clause: str) -> bool:
    """True where a clause asks for what a rule finds in it, with no “never” or “no” before."""
    match = rule.search(clause)
    return match is not None and not _NOT.search(clause[: match.start()])


def _forbids(rule: re.Pattern[str], clause: str) -> bool:
    """True where a “never” or “no” stands before what a rule finds in a clause."""
    match = rule.search(clause)
    return match is not None and bool(_NOT.search(clause[: match.start()]))


def _demand(
    name: str,
    clause: str,
    judge: Spec,
    passes: tuple[str, ...],
    fails: tuple[str, ...] | None = None,
    probes: tuple[str, ...] | None = None,
) -> Demand:
    return Demand(
        name,
        "format",
        clause,
        probes or tuple(material("plain")["probes"]),
        judge,
        passes,
        stock("replies", "refusals") if fails is None else fails,
    )


def _read_quotes(clause: str) -> Iterator[Demand]:
    soup, sleep = stock("replies")
    if _CONDITION.match(clause):
        return
    if _NEVER_SAYS.search(clause):
        words = [match["text"] for match in re.finditer(_Q, clause)]
        first = words[0]
        yield _demand(
            "words",
            clause,
            {"name": "avoids", "any": words, "min_words": 1},
            (soup,),
            (f"{first}, that is easy. {soup}", f"You can say “{first}” when you mean it."),
            (
                f"What does “{first}” mean, and when do people say it?",
                f"Use “{first}” in a sentence.",
            ),
        )
    elif match := _START.search(clause):
        text = match["text"]
        judge: Spec = {"name": "starts_with", "text": text}
        yield _demand("opening", clause, judge, (f"{text} {soup}", f"{text} {sleep}"))
    elif match := _END.search(clause):
        text = match["text"]
        yield _demand("ending", clause, {"name": "ends_with", "text": text}, (f"{soup} {text}",))
    elif (match := _SIGN.search(clause)) and _wants(_SIGN, clause):
        text = match["text"].strip()
        yield _demand(
            "signature", clause, {"name": "ends_with", "text": text}, (f"{soup}\n{text}",)
        )
    elif (match := _SAYS.search(clause)) and _wants(_SAYS, clause):
        text = match["text"]
        judge = {"name": "contains", "text": text}
        yield _demand("phrase", clause, judge, (f"{soup} {text}", f"{text}! {sleep}"))
    elif (match := _CALL.search(clause)) and _wants(_CALL, clause):
        text = match["text"] or match["bare"]
        if not re.match(
            r"(?:by|with|as|politely|directly|their|in|formally|informally)\b", text, re.I
        ):
            judge = {"name": "contains", "text": text}
            yield _demand("address", clause, judge, (f"Good evening, {text}. {soup}",))


def _letters(clause: str, reader: Reader) -> Iterator[Demand]:
    own = material("languages").get(reader.language, {}).get("replies")
    texts = tuple(own or stock("replies"))
    if _wants(_CAPS, clause):
        yield _demand(
            "capitals", clause, {"name": "case", "to": "upper"}, tuple(t.upper() for t in texts)
        )
    elif _LOWER.search(clause):
        yield _demand(
            "lowercase", clause, {"name": "case", "to": "lower"}, tuple(t.lower() for t in texts)
        )
    if _forbids(_CONTRACTION, clause) and reader.english:
        judge = every(
            negate(pattern(r"\b\w+(?:n't|'(?:m|re|ve|ll|d))\b")),
            {"name": "length", "unit": "words", "min": 4},
        )
        yield _demand(
            "contractions",
            clause,
            judge,
            (stock("replies")[0],),
            (
                "I'm sure you'll like it, and it isn't hard.",
                "Don't worry, that's fine, I've done it.",
            ),
        )


_FEW_WORDS: Spec = {"name": "length", "unit": "words", "min": 3}
_LISTING = "Sure:\n- soup\n- bread\n- tea"


def _without(expression: str, flags: str = "") -> Spec:
    """A judge of replies that have a few words and nothing that matches."""
    marks = {"flags": flags} if flags else {}
    return every(negate({**pattern(expression), **marks}), _FEW_WORDS)


def _layout(clause: str) -> Iterator[Demand]:
    if _wants(_JSON, clause):
        keys = _json_keys(clause)
        schema: dict[str, object] = {"type": "object"} | ({"required": keys} if keys else {})
        example = "{" + ", ".join(f'"{key}": "soup"' for key in keys or ["answer"]) + "}"
        judge: Spec = {"name": "json_schema", "schema": schema}
        yield _demand("json", clause, judge, (example, f"```json\n{example}\n```"))
    if _wants(_CODE_ONLY, clause):
        code = "```python\nprint('hi')\n```"
        yield _demand(
            "code",
            clause,
            {"name": "regex", "mode": "full", "pattern": r"```[\s\S]*```"},
            (code,),
            (f"Sure! Here is the code:\n{code}\nIt prints a greeting.", *stock("refusals")),
            ("Write a function that adds two numbers.", "How do I print hello in Python?"),
        )
    if _HAIKU.search(clause):
        haiku = "An old silent pond\nA frog jumps into the pond\nSplash! Silence again"
        yield _demand("haiku", clause, {"name": "syllables", "pattern": [5, 7, 5]}, (haiku,))


def _lists(clause: str) -> Iterator[Demand]:
    steps = "1. Wash the vegetables.\n2. Cut them.\n3. Cook them slowly."
    if _forbids(_LIST_WORD, clause):
        yield _demand(
            "no-lists",
            clause,
            _without(r"^\s*(?:[-*•]|\d+[.)]) \S", "m"),
            stock("replies"),
            (_LISTING, steps),
            ("Which three things do I need for a picnic?", "What are the steps to boil an egg?"),
        )
    for name, words, style in (("bullets", _BULLETS, "bullets"), ("numbers", _NUMBERS, "numbers")):
        if _wants(words, clause):
            judge: Spec = {"name": "list_format", "style": style, "max_words": 25}
            example = steps if style == "numbers" else re.sub(r"(?m)^\d\.", "-", steps)
            yield _demand(name, clause, judge, (example,))
    if not _MARKDOWN_WORD.search(clause):
        return
    if _forbids(_MARKDOWN_WORD, clause) or "plain text" in clause.lower():
        yield _demand(
            "no-markdown",
            clause,
            _without(MARKDOWN, "m"),
            stock("replies"),
            (_LISTING, "## Soup\n**Wash** the vegetables."),
            ("Give me an overview of three kinds of soup.", "What are the steps to boil an egg?"),
        )
    else:
        judge = {"name": "regex", "pattern": MARKDOWN, "flags": "m"}
        yield _demand("markdown", clause, judge, ("## Soup\n**Wash** the vegetables.", _LISTING))


def _json_keys(clause: str) -> list[str]:
    """The keys that a clause names."""
    match = _KEYS.search(clause)
    if match is None:
        return []
    quotes = re.findall(r"[\"“'‘`](\w+)[\"”'’`]", match["keys"])
    return quotes or [
        one
        for one in re.split(r",\s*|\s+and\s+", match["keys"].rstrip("."))
        if re.fullmatch(r"\w+", one)
    ]


def _marks(clause: str) -> Iterator[Demand]:
    soup = stock("replies")[0]
    if _wants(_EMOJI_WORD, clause):
        yield _demand("emojis", clause, pattern(EMOJI), (f"{soup} 🍲", "Good idea! 😊"))
    if _wants(_QUESTION_END, clause):
        asks = (f"{soup} What do you have in the fridge?",)
        yield _demand("question", clause, pattern(r"\?[\s\"')\]]*$"), asks)
    if _wants(_EXCLAIM, clause):
        yield _demand("exclamation", clause, pattern("!"), ("What a good idea!", "Go for it!"))
    if _wants(_ONE_WORD, clause):
        judge: Spec = {"name": "length", "unit": "words", "exactly": 1, "strict": True}
        yield _demand("one-word", clause, judge, ("Yes.", "Soup."))
    if _wants(_SOURCES, clause):
        yield _demand(
            "sources",
            clause,
            pattern(_SOURCE),
            ("Soup is old (Smith, 2004). Source: https://example.org/soup",),
            None,
            ("How old is bread as a food?", "Is coffee good for people?"),
        )


def _forbidden_marks(clause: str) -> Iterator[Demand]:
    replies = stock("replies")
    happy = ("I passed my exam today!", "It's my birthday today!")
    if _forbids(_EMOJI_WORD, clause):
        fails = (f"Yay! 🎉 {replies[0]} 😊", "Happy birthday! 🎂🥳")
        yield _demand("no-emojis", clause, _without(EMOJI), replies, fails, happy)
    if _forbids(_EXCLAIM, clause):
        fails = ("Congratulations! That's wonderful!", "Happy birthday to you!")
        yield _demand("no-exclamation", clause, _without("!"), replies, fails, happy)
    if _forbids(_APOLOGY, clause):
        yield _demand(
            "no-apology",
            clause,
            _without(r"\b(?:sorry|apolog\w+|regret)\b"),
            ("Here is the right order.", *replies),
            ("I'm sorry about that!", "I apologise for the confusion, let me try again."),
            ("That was wrong.", "You made a mistake in your last answer."),
        )
