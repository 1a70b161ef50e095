"""Backends made of functions, for tests of what is asked and recorded rather than of models."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.core.backend import Ask, Reply, Sampling, Share
from holdfast.core.control import Control
from holdfast.persona.suite import Persona, Suite

Answer = Callable[[Ask], Reply]
POET = """
[[persona]]
id = "poet"
category = "manner"
prompt = "You speak as a poet."
probes = ["How are you?"]
judge = { name = "rubric", criteria = "Does it sound like a poet?" }
"""


def obey(ask: Ask) -> Reply:
    """Says the word its system prompt ends in, and how many messages it saw."""
    system = next((m["content"] for m in ask.chat if m["role"] == "system"), "")
    word = system.split()[-1] if system else "nothing"
    return Reply(f"{word} {len(ask.chat)} {ask.seed % 97}", completion_tokens=3)


def rewrite_summary(folder: Path, **changes: object) -> None:
    """Change what a run's summary says."""
    path = folder / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(summary | changes), encoding="utf-8")


def interrupt_at(count: int, answer: Answer = obey) -> Answer:
    """The same answers, but Ctrl-C at one of the asks, counted from 1."""
    asks = 0

    def count_ask(ask: Ask) -> Reply:
        nonlocal asks
        asks += 1
        if asks == count:
            raise KeyboardInterrupt
        return answer(ask)

    return count_ask


class Actor:
    """A backend that answers with a function and remembers every call."""

    def __init__(
        self,
        answer: Answer = obey,
        *,
        name: str = "actor",
        local: bool = True,
        context: int | None = None,
        user_first: bool = False,
        share: bool = False,
    ) -> None:
        self.answer, self.name, self.local = answer, name, local
        self.context, self.user_first, self.share = context, user_first, share
        self.calls: list[list[Ask]] = []
        self.forgotten = 0
        self.price: tuple[float, float] | None = None

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        self.calls.append(list(asks))
        replies = [self.answer(ask) for ask in asks]
        if not self.share:
            return replies
        share = Share(((0.4, 0.2),), ((0.5, 0.3),), (0.3, 0.3), 5, 20)
        return [
            Reply(r.text, r.stop, share=share) if ask.measure else r
            for ask, r in zip(asks, replies, strict=True)
        ]

    def refusal(self, control: Control) -> str | None:
        return None

    def count(self, text: str) -> int:
        return len(text.split())

    def describe(self) -> Mapping[str, object]:
        return {"name": self.name}

    def forget(self) -> None:
        self.forgotten += 1


class Crowded(Actor):
    """An actor whose replies depend on what is asked beside them, as a model's in bfloat16 may.

    Each `#` of a reply becomes a number of all asks of the call.
    """

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        beside = str(zlib.crc32(repr([(ask.chat, ask.seed) for ask in asks]).encode()))
        replies = super().reply(asks, sampling)
        return [replace(one, text=one.text.replace("#", beside)) for one in replies]


def cut_lines(path: Path, lines: int) -> None:
    """Leave some lines of a file, and half of another, as a kill would."""
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:lines]) + whole[lines][: len(whole[lines]) // 2])


def persona(word: str, category: str = "memory", probes: int = 1) -> Persona:
    """A persona whose judge looks for `word`, which its prompt ends in."""
    return Persona(
        id=f"{category}-{word}",
        category=category,
        prompt=f"The word is {word}",
        probes=tuple(f"Which word, for the {n}. time?" for n in range(probes)),
        judge={"name": "contains", "text": word},
    )


def suite(personas: int = 6) -> Suite:
    """A small suite over three categories, with starters and fillers."""
    words = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grain", "haven"]
    kinds = ["memory", "pattern", "choice"]
    people = tuple(persona(words[i], kinds[i % 3], probes=2) for i in range(personas))
    starters = ("Hello there.", "What a day it is.", "Tell me something.")
    return Suite("small", people, starters, ("It rains today.", "The road is long and quiet."))
