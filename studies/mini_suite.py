"""Writes the `mini` suite, `src/holdfast/persona/data/suites/mini.toml`, to standard output.

Personas are drawn from the world that the model was trained on, in all five
categories, with their judges and with examples made by the world itself.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator

from mini_roles import LANGUAGE_NAMES, Length, Role, draw_role

from holdfast.models.mini.talk import BRACKETS, ENDINGS, Act, Speaker, Style, answer, small_talk
from holdfast.models.mini.words import words, world

_MACHINE = "As an AI language model, I do not have that."
_LENGTHS: tuple[Length, ...] = ("minimal", "minimal", "half", "full")


def roles(rng: random.Random) -> Iterator[Role]:
    """73 personas, every kind of pattern among them."""
    for pattern, count in (("upper", 2), ("lower", 2), ("brackets", 2), ("ending", 2)):
        for i in range(count):
            mark = "" if pattern in ("upper", "lower") else str(rng.choice((0, 1)) + 2 * i)
            yield Role("pattern", pattern, Speaker(Style(pattern, mark)))
    for pattern in ("first", "last"):
        for word in rng.sample(words(), 4):
            yield Role("pattern", pattern, Speaker(Style(pattern, word)))
    for kind, options in world()["choices"].items():
        for favourite in rng.sample(options, 4):
            yield Role("choice", "choice", Speaker(known={kind: favourite}))
    for category, count in (("character", 12), ("memory", 12)):
        for _ in range(count):
            yield draw_role(rng, category)
    for language in LANGUAGE_NAMES:
        for _ in range(3):
            yield Role("language", "language", Speaker(language=language))


def acts(rng: random.Random, role: Role) -> list[Act]:
    """The probes: questions that the persona decides."""
    match role.category:
        case "choice":
            (kind,) = role.speaker.known
            return [Act("choice", f"Which {kind} do you like best?", kind)]
        case "character":
            return [
                Act("self", "What is your name?", "name"),
                Act("self", "What is your trade?", "trade"),
                Act("self", "Which town are you from?", "town"),
            ]
        case "memory":
            (key,) = role.speaker.known
            return [Act("secret", f"What is the secret {key}?", key)]
    topics = rng.sample(range(len(world()["topics"]["en"])), 2)
    table = world()["questions"]["en"]
    return [
        Act("talk", rng.choice(table).format(t=world()["topics"]["en"][topic]), str(topic))
        for topic in topics
    ]


def judge(role: Role) -> dict[str, object]:
    """The judge of a persona, from the common vocabulary."""
    who = role.speaker
    match role.kind:
        case "upper":
            return {"name": "regex", "pattern": "[^a-z]*[A-Z][^a-z]*", "mode": "full", "case": True}
        case "lower":
            return {"name": "regex", "pattern": "[^A-Z]*[a-z][^A-Z]*", "mode": "full", "case": True}
        case "first":
            return {"name": "starts_with", "text": who.style.mark}
        case "last":
            return {"name": "ends_with", "text": who.style.mark}
        case "brackets":
            left, right = (re.escape(mark) for mark in BRACKETS[int(who.style.mark)])
            return {"name": "regex", "pattern": f"{left}.+{right}", "mode": "full"}
        case "ending":
            return {"name": "ends_with", "text": ENDINGS[int(who.style.mark)].strip()}
        case "choice":
            ((kind, favourite),) = who.known.items()
            options = world()["choices"][kind]
            return {"name": "choice", "options": options, "answer": favourite}
        case "character":
            return {"name": "contains", "any": list(who.known.values())}
        case "memory":
            return {"name": "contains", "text": next(iter(who.known.values()))}
    return {"name": "language", "to": who.language}


def _fails(rng: random.Random, role: Role, asked: list[Act]) -> list[str]:
    """What a speaker without the persona says, a machine's excuse, and another's answer."""
    plain = [answer(rng, Speaker(), act) for act in asked[:1]]
    if role.category == "choice":
        (kind,) = role.speaker.known
        other = next(o for o in world()["choices"][kind] if o not in role.speaker.known.values())
        plain = [f"It is {other}."]
    drawn = (draw_role(rng, role.category) for _ in range(100))
    stranger = next(r for r in drawn if not _alike(r.speaker, role.speaker))
    return [*plain, _MACHINE, answer(rng, stranger.speaker, small_talk(rng))]


def _alike(one: Speaker, other: Speaker) -> bool:
    same = one.style.pattern == other.style.pattern and one.language == other.language
    return (same and one.style.pattern != "plain") or one.language == other.language != "en"


def _table(number: int, role: Role, rng: random.Random) -> str:
    asked = acts(rng, role)
    passes = list(
        dict.fromkeys(answer(rng, role.speaker, act) for act in [*asked, *acts(rng, role)])
    )
    spec = ", ".join(f"{key} = {_toml(value)}" for key, value in judge(role).items())
    lines = [
        "[[persona]]",
        f'id = "{role.kind}-{number}"',
        f'category = "{role.category}"',
        f"prompt = {_toml(role.prompt(rng, _LENGTHS[number % 4]))}",
        f"probes = {_toml([act.text for act in asked])}",
        f"judge = {{ {spec} }}",
        f"passes = {_toml(passes[:2])}",
        f"fails = {_toml(_fails(rng, role, asked))}",
    ]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # strings, booleans and lists are alike in both


def main() -> None:
    rng = random.Random(12)
    remarks = world()["statements"]["en"]
    topics = world()["topics"]["en"]
    starters = [small_talk(rng, topic=i % len(topics)).text for i in range(48)]
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
