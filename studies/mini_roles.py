"""The mini world's personas: a speaker, and the system prompt that asks for it.

Five categories as in Li et al. (2402.10962): pattern, choice, character, memory, language. Each
prompt has three lengths: `minimal` states the persona, `half` and `full` add empty sentences.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from mini_speakers import (
    BRACKETS,
    ENDINGS,
    Speaker,
    draw_character,
    draw_favourite,
    draw_secret,
    draw_style,
)

from holdfast.models.mini.world import world

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
    """A persona of the world: its category, its kind in it, and the speaker that it asks for."""

    category: str
    kind: str
    speaker: Speaker

    def allows(self, task: str) -> bool:
        """Say whether training combines this kind of persona with this kind of task."""
        return task not in HELD_OUT.get(self.kind, set())

    def prompt(
        self, rng: random.Random, length: Length = "minimal", phrase: int | None = None
    ) -> str:
        """Write the system prompt, in one of three phrasings (by default drawn)."""
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
        speaker = self.speaker
        match self.kind:
            case "brackets":
                left, right = BRACKETS[int(speaker.style.mark)]
                return {"l": left, "r": right}
            case "ending":
                return {"x": ENDINGS[int(speaker.style.mark)].strip()}
            case "choice" | "memory":
                ((key, value),) = speaker.attributes.items()
                return {"k": key, "x": value}
            case "character":
                return speaker.attributes
            case "language":
                return {"x": LANGUAGE_NAMES[speaker.language]}
        return {"x": speaker.style.mark}


def draw_role(rng: random.Random, category: str | None = None) -> Role:
    """Draw a persona of a category, by default of any."""
    category = category or rng.choice(CATEGORIES)
    match category:
        case "pattern":
            style = draw_style(rng)
            return Role(category, style.pattern, Speaker(style))
        case "choice":
            return Role(category, category, Speaker(attributes=draw_favourite(rng)))
        case "character":
            return Role(category, category, Speaker(attributes=draw_character(rng)))
        case "memory":
            return Role(category, category, Speaker(attributes=draw_secret(rng)))
    return Role(category, category, Speaker(language=rng.choice(list(LANGUAGE_NAMES))))
