"""Whether something that a text names is stated, or denied and set aside.

Naming is not saying. "Not 4.17.1 and not 4.18" states neither, nor does "if your screen says
4.17.1"; "it's no longer 209" takes the number back. A few words on either side of the name tell:

    denied      "not", "no longer", "forget" before it; "is wrong", "doesn't exist" after it
    set aside   besides that: "no cumin or paprika", "if it reads 4.17.1", "mixed up with 3861",
                "cumin? No.", "green bins are for other towns"

What should be said must not be denied; what should not be said may be set aside. English phrases.
"""

from __future__ import annotations

import re

_REACH = 60
_SENTENCE = re.compile(r"[!?\n]|\.(?=\s|$)")
_DENIED = re.compile(
    r"(?:\b(?:not|never|no longer|neither|nor|isn't|wasn't|aren't|instead of|rather than|wrong|"
    r"except|unlike|forget|ignore|no need (?:to|for))|n't)(?: (?:be|come|go|visit|is|was|called|"
    r"named|say|use|take|at|in|on|to|the|a|an|from|with|about))* ?$",
    re.IGNORECASE,
)
_DENIED_NEXT = re.compile(
    r"[ ,'\")-]*(?:is|are|was|were|would be|has been|have been)? ?(?:not (?!only|just)|isn't|"
    r"wasn't|aren't|doesn't|does not|don't|do not|didn't|won't|will not|"
    r"no longer|wrong|incorrect|outdated|invalid|out of date|cancelled|a lie|a joke|fake|false)\b"
    r"|[ ,'\")-]*(?:is|are|was|were|has been) closed\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"\b(?:no|without)(?! longer)(?: (?:the|an?|such|more|need for|trace of|hint of|use for))*[ -]$"
    # "not a basil or", "no cumin, no coriander or"
    r"|\b(?:not|no|never|neither|nor|without)(?: [\w.'-]+){1,4},? (?:or|nor) (?:the |an? )?$"
    r"|(?:\b(?:if|unless|whether|in case)|(?:^|[.,;:!?])\W*should)\b[^.,;:!?]{0,50}$"
    r"|\b(?:mixed up with|mix \w+ up with|mistak\w+ (?:\w+ ){0,2}for|confus\w+ (?:\w+ ){0,2}with|"
    r"older than|newer than|earlier than|anything (?:before|below|above|but)|"
    r"no (?:such thing as|relation to))(?: (?:the|an?|our|your))? $"
    r"|\b(?:people|they|others|some|many|most|everyone|everybody)(?: \w+)? (?:says?|thinks?|"
    r"believes?|claims?|insists?|swears?|call it|write|expects?)(?: (?:that|it|it's|is|the|on))* $",
    re.IGNORECASE,
)
_ASIDE_NEXT = re.compile(
    r"\w{0,3}[ ,]*(?:is|are|was|were|belongs?|go(?:es)?)? ?(?:for|in|to|of|at|from) (?:the )?"
    r"(?:other|another|some other|some\w+ else|neighbou?r)"
    r"|[ ,:]+(?:no|never|nope|nay)\b(?! (?:less|more|doubt|wonder|problem|later|matter))"
    r"|[ ,]*(?:was|were) (?:last|the (?:last|old|previous)|before|yesterday)\b"
    r"|[^.!?]{0,15}\?\s*(?:no|nope|nay|never|not|wrong|then|certainly not)\b",
    re.IGNORECASE,
)


def _around(text: str, start: int, end: int) -> tuple[str, str]:
    """The words before the name, back to the start of its sentence, and those after it."""
    before = text[max(0, start - _REACH) : start]
    sentence = max((match.end() for match in _SENTENCE.finditer(before)), default=0)
    return before[sentence:], text[end : end + _REACH]


def is_denied(text: str, start: int, end: int) -> bool:
    """True where what stands at [start, end) of a text is denied."""
    before, after = _around(text, start, end)
    return bool(_DENIED.search(before) or _DENIED_NEXT.match(after))


def is_set_aside(text: str, start: int, end: int) -> bool:
    """True where what stands at [start, end) of a text is denied, supposed or said of others."""
    before, after = _around(text, start, end)
    if before[-4:].lower().endswith(("no ", "no-")) and text[start : start + 1].isdigit():
        before = before[:-3]  # "locker no 3816"
    aside = _ASIDE.search(before) or _ASIDE_NEXT.match(after)
    return bool(aside or _DENIED.search(before) or _DENIED_NEXT.match(after))
