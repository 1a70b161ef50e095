"""Invented words and names, and the world's tables.

Words are made of syllables by a fixed seed, so that the same lists exist wherever
the package does. Training draws half of its words and names from them and coins the
other half afresh, so that a model must copy from its context; docs/reference/mini.md says how
far that went.
"""

from __future__ import annotations

import itertools
import random
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

_ONSETS = [
    "b",
    "d",
    "f",
    "g",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "z",
    "br",
    "dr",
    "gl",
    "kr",
    "pl",
    "st",
    "tr",
]
_VOWELS = ["a", "e", "i", "o", "u"]
_CODAS = ["", "", "n", "l", "r", "s", "k", "m"]


@cache
def world() -> dict[str, Any]:
    """The tables of `world.toml`."""
    path = Path(__file__).with_name("world.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _coin(rng: random.Random) -> str:
    ends = (rng.choice(_ONSETS), rng.choice(_VOWELS), rng.choice(_CODAS))
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + "".join(ends)


@cache
def _lexicon() -> tuple[tuple[str, ...], ...]:
    """Disjoint lists: words, names, towns, countries."""
    rng = random.Random(20261121)
    known = {word for list_ in world()["choices"].values() for word in list_}
    coined: list[str] = []
    while len(coined) < 430 + 130 + 40 + 60:
        word = _coin(rng)
        if word not in known:
            known.add(word)
            coined.append(word)
    cut = (0, 430, 560, 600, 660)
    return tuple(tuple(coined[a:b]) for a, b in itertools.pairwise(cut))


def words() -> tuple[str, ...]:
    """430 invented words, in lower case."""
    return _lexicon()[0]


def names() -> tuple[str, ...]:
    """130 invented first names."""
    return tuple(name.capitalize() for name in _lexicon()[1])


def towns() -> tuple[str, ...]:
    """40 invented towns."""
    return tuple(name.capitalize() for name in _lexicon()[2])


def any_word(rng: random.Random) -> str:
    """A word of the lexicon, or as often one coined on the spot."""
    return rng.choice(words()) if rng.random() < 0.5 else _coin(rng)


def any_name(rng: random.Random) -> str:
    """A first name of the lexicon, or as often one coined on the spot."""
    return rng.choice(names()) if rng.random() < 0.5 else _coin(rng).capitalize()


@cache
def facts() -> dict[str, str]:
    """The closed set of facts: 60 invented countries and their capitals, commonest first."""
    rng = random.Random(7)
    capitals = [
        rng.choice(_ONSETS).capitalize() + rng.choice(_VOWELS) + _coin(rng) for _ in range(60)
    ]
    return dict(zip((name.capitalize() for name in _lexicon()[3]), capitals, strict=True))
