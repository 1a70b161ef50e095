"""Personas in three lengths, and which of them a task is asked under.

An expert is a persona written three times, `minimal`, `half` and `full`, and matched to
categories of tasks. A task is asked under the one matched to its category, under another,
drawn by seed, under the safety monitor, and under *random text* as long as the full matched
persona, which says what length alone does. Built in: `core`, twelve of our own writing
(eight for a category each, four of behaviour), and `mini`, in the embedded model's world.

This module knows text. It knows no models but how long they count a text to be.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import PersonaError, suggestion
from holdfast.core.seeds import seed_of
from holdfast.persona.files import find_repeat, read_toml
from holdfast.persona.suite import load_suite

LENGTHS = ("minimal", "half", "full")
SAFETY = "safety"
_FIELDS = ("id", "for", *LENGTHS, "ask")


@dataclass(frozen=True)
class Expert:
    """A persona in three lengths; `matches` are the categories that it is meant for.

    `asks` are requests for a question of its field, where a general one would not do.
    """

    id: str
    matches: tuple[str, ...]
    minimal: str
    half: str
    full: str
    asks: tuple[str, ...] = ()

    def prompt(self, length: str) -> str:
        """The persona's text at a length."""
        return str(getattr(self, length))


def load_experts(source: str | Path | Sequence[Expert]) -> tuple[Expert, ...]:
    """The experts of `core`, of `mini`, or of a TOML file of `[[expert]]` or `[[persona]]` tables.

    Experts that are there already come back as they are. A file that gives one text (`full`, a
    persona's `prompt`) uses it at every length; a persona is matched to the category of its own
    name (`tasks`). Raises `PersonaError`, which names file, expert and field.
    """
    if not isinstance(source, str | Path):
        return tuple(source)
    if str(source) == "mini":
        return mini()
    path = (
        Path(__file__).with_name("data") / "experts.toml" if str(source) == "core" else Path(source)
    )
    file = read_toml(path, "personas", "name core, mini or a TOML file", PersonaError)
    if "persona" in file:
        return tuple(Expert(p.id, (p.id,), *(p.prompt,) * 3) for p in load_suite(path).personas)
    tables = file.get("expert")
    if not isinstance(tables, list) or not tables:
        raise PersonaError(
            f"{path}: there is no [[expert]] table with id, for and full, and no [[persona]]."
        )
    experts = tuple(_expert(table, f"{path}, expert {i}") for i, table in enumerate(tables, 1))
    if (twice := find_repeat(one.id for one in experts)) is not None:
        raise PersonaError(f"{path}: two experts have the id {twice}.")
    return experts


def _expert(table: Any, where: str) -> Expert:
    if not isinstance(table, dict):
        raise PersonaError(f"{where}: an expert is a table.")
    for name in table:
        if name not in _FIELDS:
            hint = suggestion(name, _FIELDS)
            raise PersonaError(f"{where}: there is no field {name!r}: {hint}")
    for name in ("id", "full"):
        if not isinstance(table.get(name), str) or not table[name].strip():
            raise PersonaError(f"{where}: {name} is a text.")
    matches = table.get("for", [])
    if not isinstance(matches, list) or not all(isinstance(x, str) for x in matches):
        raise PersonaError(f"{where}: for is a list of categories.")
    texts = [table.get(length, table["full"]) for length in LENGTHS]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise PersonaError(f"{where}: minimal, half and full are texts.")
    asks = table.get("ask", [])
    if not isinstance(asks, list) or not all(isinstance(x, str) and x.strip() for x in asks):
        raise PersonaError(f"{where}: ask is a list of texts.")
    minimal, half, full = map(str, texts)
    return Expert(table["id"], tuple(matches), minimal, half, full, tuple(asks))


def mini() -> tuple[Expert, ...]:
    """Personas of mini's world: four trades with habits, and some that have nothing to do."""
    from holdfast.models.mini.world import names, towns, world

    trades = {
        "clerk": ("math",),
        "scribe": ("extraction",),
        "guard": (SAFETY,),
        "baker": ("roleplay", "recall"),
        "weaver": ("writing",),
        "novice": (),
    }
    people = {
        SAFETY if trade == "guard" else trade: (
            matches,
            f"You are {names()[i]}, a {trade} from {towns()[i]}.",
        )
        for i, (trade, matches) in enumerate(trades.items())
    }
    padding = {length: " ".join(world()["padding"][length]) for length in ("half", "full")}
    people |= {
        "capitals": ((), "Write in capitals."),
        "brackets": ((), "Put every reply in [ and ]."),
        "french": ((), "Answer in French."),
        "secret": ((), "The secret number is 417."),
    }
    # mini asks about what it is told to, and does not understand a description.
    kinds = ("sums", "capitals", "people", "ways")
    requests = tuple(f"Ask me something about {kind}." for kind in kinds)
    return tuple(
        Expert(
            id_, matches, text, f"{text} {padding['half']}", f"{text} {padding['full']}", requests
        )
        for id_, (matches, text) in people.items()
    )


_LEVEL = re.compile(r"-\d$")  # of an exercise: "extraction-2"


def roles(experts: Sequence[Expert], category: str, seed: int) -> dict[str, Expert]:
    """Who is the matched, the other and the safety persona of a task, by kind.

    There is no matched one where none is meant for the category, and no other one where all
    are; where there is a single expert, it is the matched one of everything.
    """
    if len(experts) == 1:
        return {"matched": experts[0]}
    picks = {}
    kinds = {category, _LEVEL.sub("", category)}
    matches = [one for one in experts if kinds & set(one.matches)]
    others = [one for one in experts if one not in matches and one.id != SAFETY]
    if matches:
        picks["matched"] = matches[0]
    if others:
        picks["other"] = others[seed % len(others)]
    if guard := next((one for one in experts if one.id == SAFETY), None):
        picks["safety"] = guard
    return picks


def without_persona(
    categories: Iterable[str], experts: Sequence[Expert]
) -> dict[str, dict[str, int]]:
    """How many tasks of each category have no matched persona, and how many no other one.

    Args:
        categories: the category of each task.
        experts: the personas.
    """
    lacking: dict[str, dict[str, int]] = {}
    for category, count in Counter(categories).items():
        cast = roles(experts, category, 0)
        for kind in [one for one in ("matched", "other") if one not in cast]:
            lacking.setdefault(kind, {})[category] = count
    return lacking


def random_text(words: Sequence[str], tokens: int, count: Callable[[str], int], seed: int) -> str:
    """Words drawn from `words` until they count `tokens` tokens: length without a meaning."""
    rng, sample = random.Random(seed_of("random text", seed)), [""]
    while count(" ".join(sample).strip()) < tokens:
        sample += rng.choices(words, k=max(1, (tokens - len(sample)) // 4))
    while len(sample) > 2 and count(" ".join(sample[:-1]).strip()) >= tokens:
        sample.pop()
    return " ".join(sample).strip()


def describe_experts(experts: Sequence[Expert]) -> list[Mapping[str, object]]:
    """The experts as JSON, for a manifest."""
    return [
        {
            "id": e.id,
            "for": list(e.matches),
            **{n: e.prompt(n) for n in LENGTHS},
            "ask": list(e.asks),
        }
        for e in experts
    ]


def read_described(record: Mapping[str, Any]) -> Expert:
    """An expert as `describe_experts` wrote it."""
    minimal, half, full = (str(record[length]) for length in LENGTHS)
    matches, requests = tuple(record["for"]), tuple(record["ask"])
    return Expert(record["id"], matches, minimal, half, full, requests)
