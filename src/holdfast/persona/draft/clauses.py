"""A system prompt cut into clauses, each of which asks for one thing.

Lines lose their bullets and emphasis; headings, tags and examples in fences are left out. Sentences
are cut before words that begin a demand ("…, never …", "… and always …"). A prohibition is carried
on to the verbs that an "or" joins to it: "never swear, use slang or lie".

English rules, with the commonest words of a few other languages.
"""

from __future__ import annotations

import re

from holdfast.judge.parts import plain, sentences

_VERBS = (
    "know|remember|avoid|refuse|decline|keep|speak|answer|reply|respond|use|write|start|begin|end|"
    "finish|stay|stick|sign|call|address|ask|give|offer|provide|include|mention|limit|focus|"
    "make|explain|help|be|act|say|talk|discuss|translate|return|output|format|treat|greet|refer|"
    "recommend|suggest|encourage|remain|maintain|cite|add|put|wrap|prefix|redirect|tell|admit|"
    "reveal|share|apologi[sz]e|pretend|swear|lie|guess|escalate|ensure|prefer|check|confirm|verify|"
    "favou?r|handle|follow|invite|introduce|thank|transfer|misspell|match|mirror|list|cover"
)
_MARKS = (
    "always|never|do not|don't|must|should|only|please|under no circumstances|you|if|when|"
    "your|avoid|immer|niemals|nie|siempre|nunca|sempre|toujours|jamais|ne|"
    "répond\\w*|antworte\\w*|responde\\w*|rispondi\\w*"
)
_JOINT = re.compile(
    rf"(?:[,;]\s*|\s+[–—]\s*|\s+)(?:and|but|then|und|y|e|et)\s+(?=(?:{_MARKS}|{_VERBS})\b)"
    rf"|(?P<comma>[,;]\s*|\s+[–—]\s+|(?:,\s*|\s+)(?P<or>or)\s+)(?=(?:{_MARKS}|{_VERBS})\b)",
    re.IGNORECASE,
)
NEGATION = re.compile(
    r"^(?:you\s+)?(?:(?:must|should|may|can|will|do|are|is)\s+)?(?:please\s+)?(?:never|do not|"
    r"don't|not|cannot|can't|won't|mustn't|shouldn't|refuse to|decline to|avoid|refrain from|"
    r"under no circumstances|stay away from|steer clear of|nunca|jamás|niemals|jamais|não|mai)\b",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^(?:```|~~~).*?^(?:```|~~~)[ \t]*$", re.DOTALL | re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*+•–—‣◦▪·]|\(?\d{1,2}[.):])\s+")
_HEADING = re.compile(r"^\s*(?:#{1,6}\s|<[^>]+>\s*$|[-=*_]{3,}\s*$)")
_LABEL = re.compile(r"^[^.!?:]{1,40}:\s*$")
_TAG = re.compile(r"^\s*(?:<[\w-]+>)+|(?:</[\w-]+>)+\s*$")
_DIRECTIVE = re.compile(
    rf"^(?:(?:you|please|always|also|then|\w+ly|the assistant|replies|responses|"
    rf"answers)\s+)*(?:{_MARKS}|{_VERBS})\b"
    r"|\b(?:always|never|must|should|only|do not|don't|avoid|make sure|ensure|prefer|"
    r"need to|have to|immer|nie|siempre|nunca|sempre|toujours|jamais)\b",
    re.IGNORECASE,
)
_QUOTATION = re.compile(r"\"[^\"]+\"|«[^»]+»|(?<!\w)'[^']+'(?!\w)")
_BARE = re.compile(rf"(?:{_VERBS})\b", re.IGNORECASE)
_CONDITION = re.compile(r"^(?:if|when|whenever|in case)\b", re.IGNORECASE)
USERS = (
    r"(?:users|customers|guests|visitors|clients|callers|students|learners|patients|people|"
    r"children|kids)"
)
"""Words for those who talk to the bot."""
USER = (
    rf"(?:{USERS}|user|customer|guest|visitor|client|caller|student|learner|patient|person|"
    r"they|he|she|someone|somebody|anyone)"
)
"""The same, with words for one of them."""
CONDITIONS = re.compile(
    r"\b(?:even )?(?:if|when(?:ever)?|unless|in case|while)\b(?P<of>[^,;:]*)", re.IGNORECASE
)
"""The conditions of a clause."""
_NO_DEPENDENCE = re.compile(r"even\b|unless\b|\w+ (?:you (?!are asked)|\w+ing\b)", re.IGNORECASE)


def clauses(prompt: str) -> list[str]:
    """The clauses of a prompt, in order."""
    parts: list[str] = []
    # Runs of blanks say nothing, and the expressions below are slow on them.
    for line in re.sub(r"[^\S\n]+", " ", _FENCE.sub("", prompt)).splitlines():
        if _HEADING.match(line) or _LABEL.match(line):
            continue
        for sentence in sentences(plain(_BULLET.sub("", _TAG.sub("", line)))):
            for part in _at_semicolons(sentence.strip()):
                parts += _cut(part)
    return [clause for clause in parts if re.search(r"\w", clause)]


def unquote(clause: str) -> str:
    """A clause without its quotations of three words and more, which ask for nothing themselves.

    “End with 'Keep it short, captain!'” wants no short replies.
    """
    return _QUOTATION.sub(lambda quote: quote[0] if len(quote[0].split()) < 3 else "…", clause)


def depends_on_user(clause: str) -> bool:
    """True for “if the user is rude”, false for “when you answer” and “even if they are rude”."""
    return any(
        re.search(rf"\b(?:{USER}|asked)\b", one["of"], re.IGNORECASE)
        and not _NO_DEPENDENCE.match(one[0])
        for one in CONDITIONS.finditer(unquote(clause))
    )


def directive(clause: str) -> bool:
    """True where a clause asks for something, false where it only describes."""
    return bool(_DIRECTIVE.search(clause))


def _at_semicolons(sentence: str) -> list[str]:
    parts = sentence.split("; ")
    return parts if all(part.count('"') % 2 == 0 for part in parts) else [sentence]


def _cut(sentence: str) -> list[str]:
    """The clauses of a sentence; a condition stays with what follows it."""
    pieces: list[str] = []
    start, prefix = 0, ""
    for joint in _JOINT.finditer(sentence):
        piece = prefix + sentence[start : joint.start()].strip(" ,;")
        if piece == prefix or piece.count('"') % 2:
            continue
        if _CONDITION.match(piece) and "," not in piece:
            continue
        forbids = bool(NEGATION.match(piece))
        if joint["or"] and not forbids:
            continue
        pieces.append(piece)
        start = joint.end()
        carries = joint["comma"] and re.search(r"\bor\b", sentence[joint.start() :])
        prefix = "never " if forbids and carries and _BARE.match(sentence, start) else ""
    return [*pieces, prefix + sentence[start:].strip(" ,;")]
