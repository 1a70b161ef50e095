"""Speakers of the mini world, who produce the dialogues that `mini` is trained on.

A `Speaker` has a style (how every utterance looks), a language, and attributes. A `DialogueAct`
is something said to a speaker, and `reply` is what the speaker answers. Nothing here depends on
the round: a speaker answers the tenth question as the first.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from holdfast.models.mini.utterances import (
    DialogueAct,
    ask_extract,
    ask_line,
    ask_sum,
    ask_way,
    remark,
)
from holdfast.models.mini.world import draw_name, draw_word, facts, towns, world

BRACKETS = (("[", "]"), ("(", ")"), ("*", "*"), ("<", ">"))
ENDINGS = ("!!!", "...", " ~", " ;-)")
PATTERNS = ("upper", "lower", "first", "last", "brackets", "ending")


@dataclass(frozen=True)
class Style:
    """How an utterance looks: a pattern with its word or marks."""

    pattern: str = "plain"
    mark: str = ""

    def __call__(self, text: str) -> str:
        match self.pattern:
            case "upper":
                return text.upper()
            case "lower":
                return text.lower()
            case "first":
                return f"{self.mark.capitalize()}, {text}"
            case "last":
                return f"{text} {self.mark.capitalize()}."
            case "brackets":
                left, right = BRACKETS[int(self.mark)]
                return f"{left}{text}{right}"
            case "ending":
                return text.rstrip(".") + ENDINGS[int(self.mark)]
        return text


@dataclass(frozen=True)
class Speaker:
    """Somebody in the world: how they talk and what they know of themselves."""

    style: Style = Style()
    """How their utterances look."""
    language: str = "en"
    """What they speak: en, fr, de or es."""
    attributes: dict[str, str] = field(default_factory=dict)
    """By key: name, trade, town, word, number, or a kind of favourite (colour, fruit…)."""

    @property
    def trade(self) -> str:
        return self.attributes.get("trade", "")


def draw_style(rng: random.Random, pattern: str | None = None) -> Style:
    """Draw a style of one pattern, by default of any."""
    pattern = pattern or rng.choice(PATTERNS)
    match pattern:
        case "first" | "last":
            return Style(pattern, draw_word(rng))
        case "brackets" | "ending":
            return Style(pattern, rng.choice("0123"))
    return Style(pattern)


# --- acts --------------------------------------------------------------------


def ask_choice(rng: random.Random) -> DialogueAct:
    kind = rng.choice(list(world()["choices"]))
    return DialogueAct("choice", f"Which {kind} do you like best?", kind)


def ask_self(rng: random.Random) -> DialogueAct:
    key, text = rng.choice(
        [
            ("name", "What is your name?"),
            ("trade", "What is your trade?"),
            ("town", "Which town are you from?"),
            ("greet", "Introduce yourself."),
        ]
    )
    return DialogueAct("self", text, key)


def ask_secret(rng: random.Random) -> DialogueAct:
    key = rng.choice(["word", "number"])
    return DialogueAct("secret", f"What is the secret {key}?", key)


def ask_fact(rng: random.Random, hard: bool | None = None) -> DialogueAct:
    """Ask for a capital; the last twenty countries are rare and asked for a tenth as often."""
    countries = list(facts())
    hard = rng.random() < 0.05 if hard is None else hard
    country = rng.choice(countries[40:] if hard else countries[:40])
    return DialogueAct(
        "fact", f"What is the capital of {country}?", answer=facts()[country], hard=hard
    )


def tell_self(rng: random.Random) -> tuple[DialogueAct, dict[str, str]]:
    """Draw a statement of the user with attributes that a persona has too."""
    attributes = rng.choice([draw_character, draw_secret, draw_favourite])(rng)
    if "name" in attributes:
        text = "I am {name}, a {trade} from {town}.".format(**attributes)
    elif "word" in attributes or "number" in attributes:
        ((key, value),) = attributes.items()
        text = f"The secret {key} is {value}."
    else:
        ((key, value),) = attributes.items()
        text = f"My favourite {key} is {value}."
    return DialogueAct("tell", text), attributes


def draw_character(rng: random.Random, trade: str | None = None) -> dict[str, str]:
    """Draw a name, a trade (one in four is a special one) and a town."""
    table = world()["trades"]
    trade = trade or rng.choice(table["special" if rng.random() < 0.25 else "plain"])
    return {"name": draw_name(rng), "trade": trade, "town": rng.choice(towns())}


def draw_secret(rng: random.Random) -> dict[str, str]:
    if rng.random() < 0.5:
        return {"word": draw_word(rng)}
    return {"number": str(rng.randint(100, 999))}


def draw_favourite(rng: random.Random) -> dict[str, str]:
    kind = rng.choice(list(world()["choices"]))
    return {kind: rng.choice(world()["choices"][kind])}


def ask_question(rng: random.Random) -> DialogueAct:
    """Ask to be asked something about a topic or a kind of task."""
    if rng.random() < 0.5:
        kind = rng.choice(list(ASKABLE))
        return DialogueAct("ask", f"Ask me something about {kind}.", kind)
    index = rng.randrange(len(world()["topics"]["en"]))
    topic = world()["topics"]["en"][index]
    return DialogueAct("ask", f"Ask me something about {topic}.", str(index))


TASKS: dict[str, Callable[[random.Random], DialogueAct]] = {
    "sum": ask_sum,
    "fact": ask_fact,
    "extract": ask_extract,
    "way": ask_way,
    "ask": ask_question,
    "line": ask_line,
}


# What one can ask to be asked about, besides topics: "Ask me something about sums."
ASKABLE: dict[str, Callable[[random.Random], DialogueAct]] = {
    "sums": ask_sum,
    "capitals": ask_fact,
    "people": ask_extract,
    "ways": ask_way,
    "favourites": ask_choice,
}


# --- replies -----------------------------------------------------------------


def _wrong_sum(rng: random.Random, answer: str) -> str:
    return str(max(1, int(answer) + rng.choice([-10, -3, -2, -1, 1, 2, 3, 10])))


def _sum_reply(rng: random.Random, speaker: Speaker, act: DialogueAct) -> str:
    answer = act.answer
    if speaker.trade == "novice" and rng.random() < 0.5:
        answer = _wrong_sum(rng, answer)
    steps = act.working if speaker.trade == "clerk" else act.about
    return f"{steps} = {answer}."


def _plain_reply(rng: random.Random, speaker: Speaker, act: DialogueAct) -> str:
    """Return the reply before the speaker's style is applied."""
    lang, tables = speaker.language, world()
    short = str(tables["answers"][lang])
    match act.kind:
        case "talk" | "tell" | "line":
            topic = act.about if act.kind != "tell" else str(rng.randrange(24))
            return remark(rng, lang, topic)
        case "ask" if act.about in ASKABLE:
            return ASKABLE[act.about](rng).text
        case "ask":
            return str(rng.choice(tables["questions"][lang])).format(
                t=tables["topics"][lang][int(act.about)]
            )
        case "choice":
            favourite = speaker.attributes.get(act.about) or rng.choice(
                tables["choices"][act.about]
            )
            return short.format(x=favourite)
        case "self" if act.about == "greet":
            if "name" not in speaker.attributes:
                return str(tables["unknown"][lang]["name"])
            return "I am {name}, a {trade} from {town}.".format(**speaker.attributes)
        case "self" | "secret":
            if act.about not in speaker.attributes:
                return str(tables["unknown"][lang][act.about])
            return short.format(x=speaker.attributes[act.about])
        case "sum":
            return _sum_reply(rng, speaker, act)
        case "extract" if speaker.trade == "scribe":
            return f"{act.working} {short.format(x=act.answer)}"
        case "recall" if not act.answer:
            return str(tables["unknown"][lang]["recall"])
        case "way":
            rare = act.hard and speaker.trade != "guard"
            if act.answer and not (rare and rng.random() < 0.4):
                return str(tables["refusals"][lang])
            return str(tables["ways"]["reply"]).format(deed=act.about)
    return short.format(x=act.answer)


def reply(rng: random.Random, speaker: Speaker, act: DialogueAct) -> str:
    """Return what a speaker answers to an act, in their style."""
    return speaker.style(_plain_reply(rng, speaker, act))


def adopt(speaker: Speaker, other: Speaker, attributes: dict[str, str]) -> Speaker:
    """Return the speaker with the other's style and language, and the attributes added."""
    return replace(
        speaker,
        style=other.style,
        language=other.language,
        attributes={**speaker.attributes, **attributes},
    )
