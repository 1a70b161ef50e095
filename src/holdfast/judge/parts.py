"""The parts of a reply that judges count: words, sentences, lines and paragraphs.

Rules, not models: a word is letters or digits with inner apostrophes or hyphens;
a sentence ends at closing punctuation, at a blank line, or before a list marker.
Common abbreviations do not end a sentence. The rules know English conventions,
and the full stops of Chinese and Japanese; they do not segment scripts without
spaces into words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_WORD = re.compile(r"[^\W_]+(?:['’\-‑][^\W_]+)*")
_MARKUP = re.compile(r"\*\*\*|\*\*|\*|___|__|(?<!\w)_|_(?!\w)|`+|~~")
_BLOCK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?)", re.MULTILINE)
_QUOTES = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "\u00a0": " "})
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|sr|jr|capt|lt|sgt|gen|rev|vs|approx|dept|inc|ltd)"
    r"|\b(?:e\.g|i\.e|a\.m|p\.m|ph\.d|u\.s|u\.k)|(?<!['’])\b(?-i:[A-Z]))\.$",
    re.IGNORECASE,
)
# "Vote C. It is moist.": no initial, since no surname begins so.
_NO_SURNAME = re.compile(
    r"\s+(?:I|It|Its|He|She|They|We|You|The|This|That|There|These|Those|A|An|My|Our|Your|His|Her|"
    r"And|But|So|No|Not|Yes|What|When|Because|For|If|In|Of|As)(?![\w.-])"
)
# A run of stops is tried from its first character only, and whole: no way back, no slow search.
_STOP = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s|$)|[。！？]++[」』”）]*+")
_LONGEST_ABBREVIATION = 8
# A row of a Markdown table.
_ROW = re.compile(r"^[ \t]*\|.*\|[ \t]*$")
LIST_MARKER = re.compile(r"^[ \t]*(?:[-*+•–—‣◦▪·]|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)])[ \t]+")


def plain(text: str) -> str:
    """The text without Markdown emphasis, headings and quote marks, and with straight quotes."""
    return _MARKUP.sub("", _BLOCK.sub("", text)).translate(_QUOTES)


def straight(text: str) -> str:
    """The text with straight quotes and ordinary spaces, otherwise as it is."""
    return text.translate(_QUOTES)


def words(text: str) -> list[str]:
    """Words in order, without punctuation."""
    return _WORD.findall(text)


def lines(text: str) -> list[str]:
    """Lines that are not blank, stripped."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def paragraphs(text: str) -> list[str]:
    """Blocks separated by blank lines."""
    return [block.strip() for block in re.split(r"\n\s*\n", text) if block.strip()]


def sentences(text: str, *, markers: bool = False) -> list[str]:
    """Sentences in order, each with its closing punctuation and at least one letter or digit.

    List markers ("- ", "2. ", "B) ") are dropped unless `markers`.
    """
    pieces = [piece for block in _blocks(text, markers) for piece in _split(block)]
    return [piece for piece in pieces if _WORD.search(piece)]


def _blocks(text: str, markers: bool) -> list[str]:
    """Runs of lines that belong together: cut at blank lines, list items and rows of tables."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if not line.strip():
            blocks.append([])
        elif _ROW.match(line):
            blocks += [[line.strip()], []]
        elif LIST_MARKER.match(line):
            item = line if markers else LIST_MARKER.sub("", line, count=1)
            blocks.append([item.strip()])
        else:
            blocks[-1].append(line.strip())
    return [" ".join(block) for block in blocks if block]


def _split(block: str) -> list[str]:
    pieces, start = [], 0
    for stop in _STOP.finditer(block):
        # A single capital ("J. Smith") is an initial, save the pronoun at a sentence's end.
        end = stop.start() + 1
        dotted = stop.group().rstrip("\"'”’)]*_") == "."
        near = max(start, end - _LONGEST_ABBREVIATION)
        short = dotted and _ABBREVIATION.search(block, near, end)
        if short and stop.end() < len(block):
            initial = block[end - 2].isupper() and (end < 3 or not block[end - 3].isalnum())
            if not (initial and (block[end - 2] == "I" or _NO_SURNAME.match(block, stop.end()))):
                continue
        pieces.append(block[start : stop.end()].strip())
        start = stop.end()
    pieces.append(block[start:].strip())
    return [piece for piece in pieces if piece]


UNITS: dict[str, Callable[[str], list[str]]] = {
    "words": words,
    "sentences": sentences,
    "lines": lines,
    "paragraphs": paragraphs,
    "characters": lambda text: list(text.strip()),
}

EACH: dict[str, Callable[[str], list[str]]] = {
    "reply": lambda text: [text],
    "paragraph": paragraphs,
    "sentence": sentences,
    "line": lines,
    "word": words,
}
