"""Whether a reply is text that says something, or a heap of keywords.

A reply that only repeats what its judge looks for passes every test of presence. Text differs from
a heap in ways that can be counted:

    new words       distinct words / words, by windows of 24 words; text has 0.7 and more
    single letters  words of one letter / words; text has about 0.05
    glue            function words / words; text has 0.4, a row of nouns without commas none

`besides` names the texts that the persona must say anyway, such as its signature: the rest must
have `min_words` words. `english = false` drops the rules about glue, which knows English only, and
`letters = true` the one about single letters, for personas that answer with a letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from holdfast.judge.params import Params
from holdfast.judge.parts import plain, words
from holdfast.judge.score import Judge, Score

LEAST_NEW = 0.55
MOST_LETTERS = 0.3
LEAST_GLUE = 0.15
WINDOW = 24
_GLUE_WORDS = (
    "the a an of to in is are was were be been am i i'm i'd i'll i've you you're your we we're "
    "our my me it it's its he she they them this that these those there and or but nor so if as "
    "for with on at by from up out off into over about than then not no don't do does did has "
    "have had can can't will won't would should could may might must let let's what who how "
    "when where why which all any some each every one here just only too very"
)
_GLUE = frozenset(_GLUE_WORDS.split())
_PUNCTUATION = re.compile(r"[,;:!?()\[\]{}|–—\n\"]|\.\s|\s-\s|…")
_LABEL = re.compile(r"^\W*\w[:.)]?(?:\s*[–—:-])?\s+(?=\w)", re.MULTILINE)
_WIDE = re.compile(r"[\u2e80-\U0003ffff]")


def prose(params: Params) -> Judge:
    """0 for a heap of keywords or an empty frame, 1 for text."""
    least = params.whole("min_words", 3) or 0
    besides = params.texts("besides") if params.take("besides") is not None else ()
    english = params.flag("english", True)
    lettered = params.flag("letters", False)
    params.done()
    frame = re.compile("|".join(map(re.escape, sorted(besides, key=len, reverse=True))), re.I)

    def judge(text: str) -> Score:
        seen = plain(text)
        body = words(frame.sub(" ", seen)) if besides else words(seen)
        problem = _too_short(body, least, seen) or heap(seen, english, lettered)
        return Score(0.0, problem) if problem else Score(1.0, "it is text")

    return judge


def _too_short(body: Sequence[str], least: int, text: str) -> str | None:
    if len(body) >= least or _WIDE.search(text):
        return None
    return f"{len(body)} words of its own, wanted at least {least}"


def heap(text: str, english: bool = True, lettered: bool = False) -> str | None:
    """Why a text is a heap of keywords, None where it is not."""
    tokens = [word.lower().replace("’", "'") for word in words(text)]
    unlabelled = words(_LABEL.sub("", text))
    if len(tokens) < 2:
        return None
    if (new := _new_words(tokens)) < LEAST_NEW:
        return f"only {new:.0%} of its words are new"
    letters = _share(unlabelled, _is_letter)
    if not lettered and len(tokens) > 2 and letters > MOST_LETTERS:
        return f"{letters:.0%} of its words are single letters"
    if not english or len(tokens) < 4 or _PUNCTUATION.search(text.strip().rstrip(".!?")):
        return None
    if _share(tokens, _GLUE.__contains__) < LEAST_GLUE:
        return "a row of words that nothing joins"
    pairs = list(pairwise(tokens))
    if len(set(pairs)) < len(pairs):
        return "it repeats words without a sentence"
    return None


def _new_words(tokens: Sequence[str]) -> float:
    """Distinct words by words, the mean over windows."""
    windows = [tokens[n : n + WINDOW] for n in range(0, len(tokens), WINDOW)]
    if len(windows) > 1 and len(windows[-1]) < WINDOW // 2:
        windows.pop()
    return sum(len(set(window)) / len(window) for window in windows) / len(windows)


def _is_letter(word: str) -> bool:
    return len(word) == 1 and word.isalpha() and word.lower() not in "aio"


def _share(tokens: Sequence[str], test: Callable[[str], bool]) -> float:
    return sum(map(test, tokens)) / len(tokens) if tokens else 0.0
