"""The small synthetic world of `mini`: invented words and names, facts, and tables of sentences.

Words are made of syllables from a fixed seed, so every installation has the same lists. Training
draws half of its words and names from the lists and makes the other half anew, so that a model
must copy from its context (docs/reference/mini.md says how well it does).
"""

from __future__ import annotations

import itertools
import random
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

# fmt: off
_ONSETS = [
    "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z",
    "br", "dr", "gl", "kr", "pl", "st", "tr",
]
# fmt: on
_VOWELS = ["a", "e", "i", "o", "u"]
_CODAS = ["", "", "n", "l", "r", "s", "k", "m"]


@cache
def world() -> dict[str, Any]:
    """Read the tables of `world.toml`."""
    path = Path(__file__).with_name("world.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _make_word(rng: random.Random) -> str:
    ends = (rng.choice(_ONSETS), rng.choice(_VOWELS), rng.choice(_CODAS))
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + "".join(ends)


@cache
def _lexicon() -> tuple[tuple[str, ...], ...]:
    """Make disjoint lists of words, names, towns and countries."""
    rng = random.Random(20261121)
    vocabulary = {word for list_ in world()["choices"].values() for word in list_}
    new_words: list[str] = []
    while len(new_words) < 430 + 130 + 40 + 60:
        word = _make_word(rng)
        if word not in vocabulary:
            vocabulary.add(word)
            new_words.append(word)
    cut = (0, 430, 560, 600, 660)
    return tuple(tuple(new_words[a:b]) for a, b in itertools.pairwise(cut))


def words() -> tuple[str, ...]:
    """430 invented words, in lower case."""
    return _lexicon()[0]


def names() -> tuple[str, ...]:
    """130 invented first names."""
    return tuple(name.capitalize() for name in _lexicon()[1])


def towns() -> tuple[str, ...]:
    """40 invented towns."""
    return tuple(name.capitalize() for name in _lexicon()[2])


def draw_word(rng: random.Random) -> str:
    """Draw a word of the lexicon, or as often make a new one."""
    return rng.choice(words()) if rng.random() < 0.5 else _make_word(rng)


def draw_name(rng: random.Random) -> str:
    """Draw a first name of the lexicon, or as often make a new one."""
    return rng.choice(names()) if rng.random() < 0.5 else _make_word(rng).capitalize()


@cache
def facts() -> dict[str, str]:
    """Return all facts: 60 invented countries with their capitals, the most frequent first."""
    rng = random.Random(7)
    capitals = [
        rng.choice(_ONSETS).capitalize() + rng.choice(_VOWELS) + _make_word(rng) for _ in range(60)
    ]
    return dict(zip((name.capitalize() for name in _lexicon()[3]), capitals, strict=True))
