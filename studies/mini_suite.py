"""Writes the `mini` suite, `src/holdfast/persona/data/suites/mini.toml`, to standard output.

The personas come from the world that the model was trained on, in all five categories. They have
judges, and examples that the world itself produces.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator

from mini_roles import LANGUAGE_NAMES, Length, Role, draw_role
from mini_speakers import BRACKETS, ENDINGS, Speaker, Style, reply

from holdfast.models.mini.utterances import DialogueAct, draw_small_talk
from holdfast.models.mini.world import words, world

_MACHINE = "As an AI language model, I do not have that."
_LENGTHS: tuple[Length, ...] = ("minimal", "minimal", "half", "full")


def roles(rng: random.Random) -> Iterator[Role]:
    """Draw 73 personas, with every kind of pattern."""
    for pattern, count in (("upper", 2), ("lower", 2), ("brackets", 2), ("ending", 2)):
        for i in range(count):
            mark = "" if pattern in ("upper", "lower") else str(rng.choice((0, 1)) + 2 * i)
            yield Role("pattern", pattern, Speaker(Style(pattern, mark)))
    for pattern in ("first", "last"):
        for word in rng.sample(words(), 4):
            yield Role("pattern", pattern, Speaker(Style(pattern, word)))
    for kind, options in world()["choices"].items():
        for favourite in rng.sample(options, 4):
            yield Role("choice", "choice", Speaker(attributes={kind: favourite}))
    for category, count in (("character", 12), ("memory", 12)):
        for _ in range(count):
            yield draw_role(rng, category)
    for language in LANGUAGE_NAMES:
        for _ in range(3):
            yield Role("language", "language", Speaker(language=language))


def acts(rng: random.Random, role: Role) -> list[DialogueAct]:
    """Draw a persona's probes: questions whose answers the persona decides."""
    match role.category:
        case "choice":
            (kind,) = role.speaker.attributes
            return [DialogueAct("choice", f"Which {kind} do you like best?", kind)]
        case "character":
            return [
                DialogueAct("self", "What is your name?", "name"),
                DialogueAct("self", "What is your trade?", "trade"),
                DialogueAct("self", "Which town are you from?", "town"),
            ]
        case "memory":
            (key,) = role.speaker.attributes
            return [DialogueAct("secret", f"What is the secret {key}?", key)]
    topics = rng.sample(range(len(world()["topics"]["en"])), 2)
    table = world()["questions"]["en"]
    return [
        DialogueAct("talk", rng.choice(table).format(t=world()["topics"]["en"][topic]), str(topic))
        for topic in topics
    ]


def judge(role: Role) -> dict[str, object]:
    """Return a persona's judge."""
    speaker = role.speaker
    match role.kind:
        case "upper":
            return {"name": "regex", "pattern": "[^a-z]*[A-Z][^a-z]*", "mode": "full", "case": True}
        case "lower":
            return {"name": "regex", "pattern": "[^A-Z]*[a-z][^A-Z]*", "mode": "full", "case": True}
        case "first":
            return {"name": "starts_with", "text": speaker.style.mark}
        case "last":
            return {"name": "ends_with", "text": speaker.style.mark}
        case "brackets":
            left, right = (re.escape(mark) for mark in BRACKETS[int(speaker.style.mark)])
            return {"name": "regex", "pattern": f"{left}.+{right}", "mode": "full"}
        case "ending":
            return {"name": "ends_with", "text": ENDINGS[int(speaker.style.mark)].strip()}
        case "choice":
            ((kind, favourite),) = speaker.attributes.items()
            options = world()["choices"][kind]
            return {"name": "choice", "options": options, "answer": favourite}
        case "character":
            return {"name": "contains", "any": list(speaker.attributes.values())}
        case "memory":
            return {"name": "contains", "text": next(iter(speaker.attributes.values()))}
    return {"name": "language", "to": speaker.language}


def _fails(rng: random.Random, role: Role, probes: list[DialogueAct]) -> list[str]:
    """Return what a speaker without the persona says, an excuse, and another persona's answer."""
    plain = [reply(rng, Speaker(), act) for act in probes[:1]]
    if role.category == "choice":
        (kind,) = role.speaker.attributes
        other = next(
            o for o in world()["choices"][kind] if o not in role.speaker.attributes.values()
        )
        plain = [f"It is {other}."]
    others = (draw_role(rng, role.category) for _ in range(100))
    stranger = next(r for r in others if not _alike(r.speaker, role.speaker))
    return [*plain, _MACHINE, reply(rng, stranger.speaker, draw_small_talk(rng))]


def _alike(one: Speaker, other: Speaker) -> bool:
    same = one.style.pattern == other.style.pattern and one.language == other.language
    return (same and one.style.pattern != "plain") or one.language == other.language != "en"


def _table(number: int, role: Role, rng: random.Random) -> str:
    probes = acts(rng, role)
    passes = list(
        dict.fromkeys(reply(rng, role.speaker, act) for act in [*probes, *acts(rng, role)])
    )
    spec = ", ".join(f"{key} = {_toml(value)}" for key, value in judge(role).items())
    lines = [
        "[[persona]]",
        f'id = "{role.kind}-{number}"',
        f'category = "{role.category}"',
        f"prompt = {_toml(role.prompt(rng, _LENGTHS[number % 4]))}",
        f"probes = {_toml([act.text for act in probes])}",
        f"judge = {{ {spec} }}",
        f"passes = {_toml(passes[:2])}",
        f"fails = {_toml(_fails(rng, role, probes))}",
    ]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # strings, booleans and lists are alike in both


def main() -> None:
    rng = random.Random(12)
    remarks = world()["statements"]["en"]
    topics = world()["topics"]["en"]
    starters = [draw_small_talk(rng, topic=i % len(topics)).text for i in range(48)]
    fillers = [rng.choice(remarks).format(t=topic) for topic in topics for _ in range(3)]
    print("# Personas of the mini world. Written by `python studies/mini_suite.py`.\n")
    print(f"starters = {_toml(list(dict.fromkeys(starters)))}\n")
    print(f"fillers = {_toml(list(dict.fromkeys(fillers)))}\n")
    counts: dict[str, int] = {}
    for role in roles(rng):
        counts[role.kind] = counts.get(role.kind, 0) + 1
        print(_table(counts[role.kind], role, rng))


if __name__ == "__main__":
    main()
