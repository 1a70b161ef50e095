"""Options that a reply points at without their name: by place, by digits, by letters.

    place      "the one after B and before D", "fifth on your list", "right before the okapi on it",
               "the one at the end of your list", "the splendid creation between B and D"
    number     "two-nine", "thirty take away one"
    pieces     "O-K-A-P-I", "Black. Currant."
    misspelled "Lyublyana": a proper name with one letter in four wrong at the most

`write_out` puts the option's name in place of such words, in the order in which the options are
listed. "I'd ride it right after lunch" and "just before the penguins, the okapi" are about time and
room: a place needs "the one", or a list in its sentence. English phrases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from holdfast.judge.content.choice.commitment import OptionMention
from holdfast.judge.spoken import write_values

_LEAST_LETTERS = 3
_APART = re.compile(r"\w[.…·–—-]+\s*\w|^\w(?:\s\w)+$")
_ONE = r"the (?:next |very )?(?:one|option|name|letter|number|ball|colour|cake|planet)"
_SIDE = r"(?P<side>after|following|before|preceding)"
_STANDS = r"(?: (?:that|which))?(?: (?:comes?|stands?|sits?|hangs?|is|you'll find))?"
_BESIDE = re.compile(
    rf"(?:\b{_ONE}{_STANDS}(?: (?:right|just|straight|directly|immediately))?"
    rf"|(?P<loose>\b(?:right|just|straight|directly|immediately))) {_SIDE}(?: (?:the|an?))? $",
    re.IGNORECASE,
)
_AND_BEFORE = re.compile(
    r",? (?:and|but) (?:right |just |straight )?(?:before|ahead of)(?: (?:the|an?))? ",
    re.IGNORECASE,
)
# "It's between the two" is no answer.
_BETWEEN = re.compile(
    rf"(?:\b{_ONE}{_STANDS}|\b(?:sits|stands|comes))(?: (?:right|just|somewhere))? "
    r"between(?: (?:the|an?))? $",
    re.IGNORECASE,
)
# Between neighbours of a letter stands a thing; "the difference between B and D" is none.
_THING_BETWEEN = re.compile(
    r"\bthe (?:[\w'-]+ ){0,2}(?!(?:differences?|choice|gap|contest|tie|race|decision|match|draw|"
    r"comparison|debate|balance|line|toss-up|duel|similarity|distance|time|space|fight)\b)[\w'-]+ "
    r"between $",
    re.IGNORECASE,
)
_AND = re.compile(r",? and(?: (?:the|an?))? ", re.IGNORECASE)
_LIST = r"(?:list|listed|row|board|line-?up|menu|alphabet|letters?)"
_LISTS = re.compile(rf"\b{_LIST}\b", re.IGNORECASE)
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth"
# "First on my list" is a favourite, "fifth on your list" a place in what was asked.
_NTH = re.compile(
    rf"\b(?P<nth>{_ORDINALS.replace(' ', '|')}|last|\d\d?(?:st|nd|rd|th))(?: (?:one|name|option|"
    r"entry|item|thing|word|letter))?(?: (?:on|in|of|from) (?:(?:your|that|this) (?:\w+ )?list"
    r"|(?:your|my|the|our|that|this) (?:\w+ )?(?:row|board|line-?up|menu|question|lot|four|five|"
    r"six|seven|eight|nine|ten))\b"
    r"| (?:that )?(?:you|I)(?:'ve| have)? (?:just )?(?:said|named|listed|mentioned|read out)\b)",
    re.IGNORECASE,
)
_AT_THE_END = re.compile(
    r"\bthe (?:very )?(?:one|name|option|entry|item|thing|last one|word|letter) (?:right |down )?"
    r"(?:at|on) the (?:very )?(?:(?P<last>end|bottom|tail)|top|start|beginning|head|front) of "
    r"(?:your|that|this|the) (?:\w+ )?(?:list|row|board|line-?up|menu|question|message)\b",
    re.IGNORECASE,
)
_BEHIND = ("after", "following")
_REACH = 60
_LEAST_MISSPELLED, _LETTERS_TO_A_SLIP = 7, 4
_PROPER_NAME = re.compile(rf"(?<![\w'-])[A-Z][^\W\d_]{{{_LEAST_MISSPELLED - 2},30}}(?![\w-])")


def write_out(
    text: str,
    names: Sequence[str],
    find: Callable[[str], list[OptionMention]],
) -> str:
    """The text with the names of options that it only points at.

    Args:
        text: a reply without markup.
        names: the options in their order.
        find: the options that a text names.
    """
    text = write_values(text, [name for name in names if name.isdecimal() and len(name) > 1])
    text = _pieces(tuple(names)).sub(lambda match: _put_together(match, names), text)
    text = _PROPER_NAME.sub(lambda match: _spell(match.group(), names), text)
    text = _NTH.sub(lambda match: _nth(match, names), text)
    text = _AT_THE_END.sub(lambda match: names[-1 if match["last"] else 0], text)
    return _write_places(text, names, find(text))


@lru_cache(maxsize=256)
def _pieces(names: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for names with marks between any of their letters; a group for each name."""
    groups = []
    for name in names:
        letters = [re.escape(char) for char in name if char.isalnum()]
        body = r"[\s'.…·–—-]{0,4}".join(letters) if len(letters) >= _LEAST_LETTERS else r"(?!)"
        groups.append(f"({body})")
    return re.compile(rf"(?<![\w'-])(?:{'|'.join(groups)})(?![\w-])", re.IGNORECASE)


def _put_together(match: re.Match[str], names: Sequence[str]) -> str:
    """The name where it was in pieces, the words themselves where only spaces part them."""
    return names[(match.lastindex or 1) - 1] if _APART.search(match.group()) else match.group()


def _spell(word: str, names: Sequence[str]) -> str:
    """The proper name that a word misspells, the word itself where it misspells none."""
    proper = [name for name in names if name[:1] == word[0] and len(name) >= _LEAST_MISSPELLED]
    slips, name = min(((_distance(word, name), name) for name in proper), default=(0, word))
    return name if slips <= len(name) // _LETTERS_TO_A_SLIP else word


def _distance(one: str, other: str) -> int:
    """How many letters must be put in, left out or changed to make one word the other."""
    row = list(range(len(other) + 1))
    for n, letter in enumerate(one.lower(), start=1):
        above, row = row, [n]
        for m, wanted in enumerate(other.lower()):
            row.append(min(above[m + 1] + 1, row[m] + 1, above[m] + (letter != wanted)))
    return row[-1]


def _nth(match: re.Match[str], names: Sequence[str]) -> str:
    """The option with that number, or the words themselves."""
    nth = match["nth"].lower()
    ordinals = _ORDINALS.split()
    if nth == "last":
        place = len(names)
    else:
        place = ordinals.index(nth) + 1 if nth in ordinals else int(nth[:-2])
    return names[place - 1] if 0 < place <= len(names) else match.group()


def _write_places(text: str, names: Sequence[str], mentions: Sequence[OptionMention]) -> str:
    """The text with "the one after B" and "between B and D" as the option there."""
    out, end = [], 0
    for n, mention in enumerate(mentions):
        if mention.start < end:
            continue
        following = mentions[n + 1] if n + 1 < len(mentions) else None
        low = max(end, mention.start - _REACH)
        before = text[low : mention.start]
        gap = text[mention.end : following.start][:_REACH] if following else ""
        place, stop = None, mention.end
        if start := _BESIDE.search(before):
            if not start["loose"] or _of_a_list(text, mention):
                place = mention.option + (1 if start["side"].lower() in _BEHIND else -1)
            if following and _AND_BEFORE.fullmatch(gap):
                stop = following.end
        elif following and (start := _between(before, names)) and _AND.fullmatch(gap):
            first, last = sorted((mention.option, following.option))
            place, stop = (first + 1 if last - first == 2 else None), following.end
        if start and place is not None and 0 <= place < len(names):
            out += [text[end : low + start.start()], names[place]]
            end = stop
    return "".join([*out, text[end:]])


def _between(before: str, names: Sequence[str]) -> re.Match[str] | None:
    """Words for what lies between two options; between letters, any thing does."""
    lettered = all(len(name) == 1 for name in names)
    return _BETWEEN.search(before) or (_THING_BETWEEN.search(before) if lettered else None)


def _of_a_list(text: str, mention: OptionMention) -> bool:
    """True where the words are about a list, not about time or room."""
    return bool(_LISTS.search(text[max(0, mention.start - _REACH) : mention.end + _REACH]))
