"""The mini world's personas: a speaker, and the system prompt that asks for it.

Five categories as in Li et al. (2402.10962): pattern, choice, character, memory,
language. Each prompt exists in three lengths: minimal says what is wanted, half
and full add sentences that say nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from holdfast.models.mini.talk import (
    BRACKETS,
    ENDINGS,
    Speaker,
    draw_character,
    draw_favourite,
    draw_secret,
    draw_style,
)
from holdfast.models.mini.words import world

Length = Literal["minimal", "half", "full"]
CATEGORIES = ("pattern", "choice", "character", "memory", "language")
LANGUAGE_NAMES = {"fr": "French", "de": "German", "es": "Spanish"}

# Tasks that a kind of persona never meets in training (docs/reference/mini.md), so that some
# personas cost accuracy, as they do in the wild.
HELD_OUT = {
    "language": {"sum", "extract", "recall"},
    "upper": {"extract"},
    "lower": {"way"},
    "first": {"fact"},
    "last": {"recall", "extract"},
    "brackets": {"sum"},
    "ending": {"way"},
}


@dataclass(frozen=True)
class Role:
    """A persona of the world: its category, its kind within it, and the speaker it asks for."""

    category: str
    kind: str
    speaker: Speaker

    def allows(self, task: str) -> bool:
        """Whether training shows this kind of persona this kind of task."""
        return task not in HELD_OUT.get(self.kind, set())

    def prompt(
        self, rng: random.Random, length: Length = "minimal", phrase: int | None = None
    ) -> str:
        """The system prompt, in one of three phrasings (`phrase`, or drawn)."""
        phrases = world()["phrases"][self.kind]
        text = str(rng.choice(phrases) if phrase is None else phrases[phrase]).format(
            **self._slots()
        )
        if length == "minimal":
            return text
        padding = list(world()["padding"][length])
        if rng.random() < 0.5:
            return " ".join([text, *padding])
        return " ".join([*padding, text])

    def _slots(self) -> dict[str, str]:
        who = self.speaker
        match self.kind:
            case "brackets":
                left, right = BRACKETS[int(who.style.mark)]
                return {"l": left, "r": right}
            case "ending":
                return {"x": ENDINGS[int(who.style.mark)].strip()}
            case "choice" | "memory":
                ((key, value),) = who.known.items()
                return {"k": key, "x": value}
            case "character":
                return who.known
            case "language":
                return {"x": LANGUAGE_NAMES[who.language]}
        return {"x": who.style.mark}


def draw_role(rng: random.Random, category: str | None = None) -> Role:
    """A persona of the category, or of any."""
    category = category or rng.choice(CATEGORIES)
    match category:
        case "pattern":
            style = draw_style(rng)
            return Role(category, style.pattern, Speaker(style))
        case "choice":
            return Role(category, category, Speaker(known=draw_favourite(rng)))
        case "character":
            return Role(category, category, Speaker(known=draw_character(rng)))
        case "memory":
            return Role(category, category, Speaker(known=draw_secret(rng)))
    return Role(category, category, Speaker(language=rng.choice(list(LANGUAGE_NAMES))))
