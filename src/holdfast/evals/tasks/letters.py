"""The letter that a reply to a multiple-choice question chooses.

This module knows texts and choices. It knows no right answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.evals.tasks.phrases import is_same, says, words
from holdfast.evals.tasks.statements import boxes

LETTERS = "ABCDEFGHIJ"

# "a", "e" and "i" are words, and so are "A" and "I": they count where they are marked. A capital
# letter counts after a cue, and where all is in capitals it is read as a small one.
_AFTER = "(?=\\s*(?:[)\\].:,;!?>\"'”’»]|$))"
_LETTER = rf"[A-Jb-df-hj](?![\w'’])|[aei]{_AFTER}"
_CUE = re.compile(  # "the answer is B", or what takes an answer back: "No, it's B."
    r"(?:\b(?i:answer|option|choice|choose|pick|select|réponse|antwort|respuesta|"
    r"risposta|resposta)\b(?i:\s+(?:is|would be|est|ist|es|è|é)\b)?\s*[:=]?\s*|(?P<later>(?i:"
    r"\b(?:(?:no|nope|nein|non)[,.:;!…]|(?:actually|but|wait|sorry|instead|correction|i mean)\b)"
    r"[\s,.:;!…—–-]*(?:(?:it|that)(?:['’]s| is)\s+)?)))"
    rf"(?i:(?:option|choice|letter)\s+)?[(\[<\"'“‘«]*(?P<letter>{_LETTER})"
    rf"(?(later)(?:{_AFTER}|(?=\s+(?:because|since)\b)))"
)
_LINE = re.compile(r"(?im)^[^\w\n]*([a-j])[^\w\n]*$")
_OPENING = re.compile(r"(?i)\W*([a-j])\s?[).:\]–—-](?=\s|$)")
_SINGLE = re.compile(
    r"(?<![\w'’])([B-HJb-df-hj](?![\w'’])|[A-Ja-j](?=[).:\]](?:\W|$)|\s\|)|[AaEeI](?=[,;!?\"”]|\s*$))"
)
_MARKUP = re.compile(r"\\(?:boxed|text|textbf|mathrm)\b|[*_`$\\{}]")
_JOINT = (  # what is between two letters of a list
    r"[)\].\"'”’»]*\s*(?:,|/|;|&|\b(?i:or|and|ou|oder|o|et|und|y|e|plus|as well as)\b)\s*"
    r"(?i:(?:or|and|also|rather|maybe|perhaps|possibly|le|la|el)\s+){0,3}[(\[\"'“]*"
)
_LIST_NEXT = re.compile(rf"{_JOINT}({_LETTER})")
_EITHER = re.compile(rf"(?i)(?<![\w'’])([A-J]){_JOINT}([A-J])(?![\w'’])")
# "not A", "all but A", "B and C are wrong": letters that a reply rules out.
_RULED_OUT = re.compile(
    r"(?i:(?:\b(?:not|never|neither|nor|rule out|rules out|eliminate|exclude|nicht|pas)"
    r"|n['’]t(?: be)?|[≠]|!=)\s*|\b(?:all|any\w*|every\w*|each)(?:\s\w+){0,3}?"
    r"\s(?:but|except(?: for)?|other than|besides)\s+)"
    rf"(?i:(?:option|choice|answer|letter)\s+)?[(\[\"'“]*(?:{_LETTER})[)\]\"'”]*"
    r"(?:(?:,\s[(\[]?[A-J][)\]]?){0,8},?\s(?:or|nor)\s[(\[]?[A-J](?![\w'’])[)\]]?)?"
    r"|(?<![\w'’])(?:(?i:option|choice|answer)s?\s+)?[(\[]?[A-J][)\]]?"
    r"(?:(?:,|\s(?:and|or))+\s[(\[]?[A-J][)\]]?){0,8}\s+(?:is|are|would be|was)"
    r"(?:n['’]t|\s+(?:not|wrong|incorrect|false|out))\b|(?<![\w'’])[A-J]\s?(?:≠|!=)"
)


def committed_letters(choices: Sequence[str], text: str) -> set[str]:
    """Every letter after a cue, in a box or on a line; without any, the one that is chosen."""
    bare, letters = _plain(text), LETTERS[: len(choices)]
    box = [one.strip() for one in boxes(text) if len(one.strip()) == 1]
    cues = [match["letter"] for match in _CUE.finditer(bare)]
    cue_letters = {letter.upper() for letter in (*cues, *_LINE.findall(bare), *box)}
    if cue_letters := cue_letters & set(letters):
        return cue_letters
    letter = chosen_letter(choices, text)
    return {letter} if letter else set()


def chosen_letter(choices: Sequence[str], text: str) -> str | None:
    """The letter that a reply chooses, or None.

    It is the last one after a cue ("The answer is B", "No, B."); else a line by itself; else what
    the reply opens with ("B. an oak"); else that of the choice whose words the reply is; else the
    only letter that stands alone in it; else that of the only choice that it says. A letter that
    is ruled out is not read, and a list of letters chooses none.
    """
    bare, letters = _plain(text), LETTERS[: len(choices)]
    cues = [m for m in _CUE.finditer(bare) if m["letter"].upper() in letters]
    if cues:
        letter = cues[-1]["letter"].upper()
        return None if _goes_on(bare, cues[-1].end("letter"), letters) else letter
    lines = [one.upper() for one in _LINE.findall(bare) if one.upper() in letters]
    if lines:
        return lines[-1] if len(set(lines)) < max(2, len(letters)) else None
    if sum(_says_with(x, one, bare) for x, one in zip(LETTERS, choices, strict=False)) > 1:
        return None  # "A. Paris B. Rome" is the question again
    opening = _OPENING.match(bare)
    if opening and opening[1].upper() in letters:
        return None if _goes_on(bare, opening.end(1), letters) else opening[1].upper()
    if choice := _find_whole_choice(choices, text):
        return choice
    matches = _EITHER.finditer(_RULED_OUT.sub(" ", _MARKUP.sub(" ", text)))
    pairs = ({m[1].upper(), m[2].upper()} for m in matches)
    if any(len(two) == 2 and two <= set(letters) for two in pairs):
        return None  # "A or C" chooses none
    single = {x.upper() for x in _SINGLE.findall(bare) if x.upper() in letters}
    if single:
        return min(single) if len(single) == 1 else None
    return _find_only_choice(choices, text)


def _goes_on(text: str, end: int, letters: str) -> bool:
    """Whether a list goes on behind a letter that ends there."""
    other = _LIST_NEXT.match(text, end)
    return other is not None and other[1].upper() in letters


def names_another(choices: Sequence[str], text: str, letter: str) -> bool:
    """Whether a text says a letter with the words of another choice ("A. Rome" where B is Rome)."""
    own, bare = dict(zip(LETTERS, choices, strict=False)).get(letter, ""), _MARKUP.sub(" ", text)
    others = [one for one in choices if not words(own).startswith(words(one))] if own else []
    return any(_says_with(letter, one, bare) for one in others)


def _says_with(letter: str, choice: str, text: str) -> bool:
    """Whether a text says a letter with the words of a choice ("A. Paris")."""
    pattern = (
        rf"(?<![\w'’])(?i:{letter})[)\].:\"'”’*|]*\s+[(|\[\"'“*]*\s?(?i:{re.escape(choice)})(?!\w)"
    )
    return re.search(pattern, text) is not None


def _plain(text: str) -> str:
    bare = _MARKUP.sub(" ", text)
    if not re.search("[a-z]", bare):
        bare = bare.lower()
    return _RULED_OUT.sub(" ", bare)


def _find_whole_choice(choices: Sequence[str], text: str) -> str | None:
    same = [i for i, choice in enumerate(choices) if words(choice) and is_same(text, choice)]
    return LETTERS[same[0]] if len(same) == 1 else None


def _find_only_choice(choices: Sequence[str], text: str) -> str | None:
    """The letter of the only choice whose words a text says ("It is blue.")."""
    there = [i for i, one in enumerate(choices) if words(one) and says(text, one)]
    phrases = {i: f" {words(choices[i])} " for i in there}
    # Of "oak" and "an old oak" the longer is said, since both are.
    whole = [i for i in there if not any(phrases[i] in phrases[j] for j in there if j != i)]
    return LETTERS[whole[0]] if len(whole) == 1 else None
