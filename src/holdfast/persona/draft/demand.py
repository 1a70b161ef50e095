"""A demand of a system prompt, with what measures it: probes, a judge, and examples.

This module knows no prompts and no rules. Those that read demands are its neighbours.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from holdfast.judge.content.prose import GLUE

Kind = Literal["deterministic", "embedding", "rubric"]
Spec = Mapping[str, object]


@dataclass(frozen=True)
class Demand:
    """One thing that a prompt asks for."""

    name: str
    """What it is about, as an id: language, refusal, archive-code."""
    category: str
    """The category of its persona."""
    text: str
    """The words of the prompt that it was read from."""
    probes: tuple[str, ...]
    """Questions that show whether it is kept."""
    judge: Spec
    """The judge of the answers."""
    passes: tuple[str, ...] = ()
    """Replies that keep it."""
    fails: tuple[str, ...] = ()
    """Replies that do not, those of a plain assistant among them."""

    @property
    def kind(self) -> Kind:
        """What its judge is: a rule, embeddings, or a model."""
        names = set(_names(self.judge))
        if "rubric" in names:
            return "rubric"
        return "embedding" if "alike" in names else "deterministic"


@dataclass(frozen=True)
class Unjudged:
    """A demand without a judge."""

    text: str
    """The words of the prompt."""
    why: str


@dataclass(frozen=True)
class Reader:
    """What the rules that read demands know of the whole prompt."""

    prompt: str
    """The whole prompt."""
    language: str = "en"
    """The language that replies are to be in."""
    name: str | None = None
    """The persona's name, where it has one."""

    @property
    def english(self) -> bool:
        """True where replies are in English, which most judges of content need."""
        return self.language == "en"

    @property
    def no_rule(self) -> str:
        """Why a demand has no judge."""
        other = "" if self.english else f" for replies in the language {self.language}"
        return f"no rule reads it{other}"


def _names(spec: Spec) -> Iterator[str]:
    yield str(spec.get("name"))
    inner = spec.get("of")
    for one in inner if isinstance(inner, list) else [inner]:
        if isinstance(one, Mapping):
            yield from _names(one)


def every(*judges: Spec) -> Spec:
    """A judge that wants all of these."""
    return {"name": "all", "of": list(judges)} if len(judges) > 1 else judges[0]


def either(*judges: Spec) -> Spec:
    """A judge that wants one of these."""
    return {"name": "any", "of": list(judges)} if len(judges) > 1 else judges[0]


def negate(judge: Spec) -> Spec:
    """A judge that wants the opposite."""
    return {"name": "not", "of": judge}


def pattern(expression: str) -> Spec:
    """A judge that seeks a regular expression."""
    return {"name": "regex", "pattern": expression}


def text_of(reader: Reader, least: int = 3) -> Spec:
    """A judge that refuses heaps of keywords in the language of the replies."""
    language = reader.language if reader.language in GLUE else "any"
    return {"name": "prose", "min_words": least, "language": language}


def as_id(text: str, words: int = 4) -> str:
    """A few words of a text as an id; `demand` where it has none in Latin letters."""
    bare = unicodedata.normalize("NFKD", text.lower())
    terms = re.findall(r"[a-z0-9]+", "".join(c for c in bare if not unicodedata.combining(c)))
    small = {"the", "a", "an", "of", "to", "and", "or", "any", "your", "our", "you", "is", "are"}
    return "-".join([one for one in terms if one not in small][:words]) or "demand"


@lru_cache(maxsize=8)
def material(name: str) -> Mapping[str, Any]:
    """One of the tables of words and example replies beside this module."""
    path = Path(__file__).parent / "material" / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def stock(*names: str) -> tuple[str, ...]:
    """A plain assistant's replies by kind: replies, refusals, nobody, unknown, foreign, long."""
    return tuple(text for name in names for text in material("plain")[name])


def find_word(text: str, words: Sequence[str]) -> re.Match[str] | None:
    """The first word of a text that begins with one of these; one with a “$” is whole: “law$”."""
    return re.search(_beginnings(words), text, re.IGNORECASE)


def remove_words(text: str, words: Sequence[str]) -> str:
    """A text without the words that begin with one of these, read as in `find_word`."""
    return re.sub(rf"{_beginnings(words)}\w*", " ", text, flags=re.IGNORECASE)


def _beginnings(words: Sequence[str]) -> str:
    beginnings = (
        rf"{re.escape(one[:-1])}s?(?!\w)" if one.endswith("$") else re.escape(one) for one in words
    )
    return rf"(?<!\w)(?:{'|'.join(beginnings)})"
