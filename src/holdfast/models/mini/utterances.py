"""What somebody in the mini world says and asks: small talk, statements, tasks with one answer.

`mini` is trained on dialogues of such acts (`studies/mini_speakers.py` has who replies to them and
how), and its exam draws from them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.models.mini.world import draw_name, draw_word, towns, world

NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class DialogueAct:
    """Something said to a speaker."""

    kind: str
    """What kind of act it is: talk, sum, fact, recall…"""
    text: str
    """The utterance."""
    about: str = ""
    """The topic's index in small talk; the attribute's key in questions about the speaker."""
    answer: str = ""
    """The right answer, if there is one."""
    working: str = ""
    """The steps to the answer, which some trades show."""
    hard: bool = False
    """Whether it belongs to the hard split."""


def draw_small_talk(
    rng: random.Random, language: str = "en", topic: int | None = None
) -> DialogueAct:
    """Draw a question about a topic, or a remark on it."""
    index = rng.randrange(len(world()["topics"]["en"])) if topic is None else topic
    table = world()["questions" if rng.random() < 0.6 else "statements"][language]
    return DialogueAct(
        "talk", rng.choice(table).format(t=world()["topics"][language][index]), str(index)
    )


def ask_sum(rng: random.Random, hard: bool | None = None) -> DialogueAct:
    """Draw a sum of two numbers to 12, or if hard of two from 13 to 49, with three steps."""
    hard = rng.random() < 0.6 if hard is None else hard
    low, high = (13, 49) if hard else (1, 12)
    a, b = rng.randint(low, high), rng.randint(low, high)
    terms = f"{a} + {b}"
    if not hard:
        return DialogueAct("sum", f"What is {terms}?", terms, str(a + b), terms)
    tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
    working = f"{a // 10 * 10} + {b // 10 * 10} = {tens}. {a % 10} + {b % 10} = {ones}. "
    working += f"{tens} + {ones}"
    return DialogueAct("sum", f"What is {terms}?", terms, str(a + b), working, True)


def ask_extract(rng: random.Random, hard: bool | None = None) -> DialogueAct:
    """Ask who gave or got something, told in one sentence or in one of two."""
    hard = rng.random() < 0.5 if hard is None else hard
    count = 2 if hard else 1
    people = [draw_name(rng) for _ in range(2 * count)]
    verbs = rng.sample(world()["goods"]["verbs"], count)
    goods = rng.sample(world()["goods"]["items"], count)
    clauses = [
        f"{people[2 * i]} {verbs[i]} {rng.choice(NUMBERS)} {goods[i]} to {people[2 * i + 1]}."
        for i in range(count)
    ]
    i = rng.randrange(count)
    question, answer = rng.choice(
        [
            (f"Who {verbs[i]} the {goods[i]}?", people[2 * i]),
            (f"Who got the {goods[i]} from {people[2 * i]}?", people[2 * i + 1]),
        ]
    )
    text = " ".join(rng.sample(clauses, count)) + " " + question
    return DialogueAct("extract", text, answer=answer, working=clauses[i], hard=hard)


def _draw_town(rng: random.Random) -> str:
    return rng.choice(towns())


def _draw_number(rng: random.Random) -> str:
    return str(rng.randint(10, 99))


RECALL: dict[str, tuple[str, str, Callable[[random.Random], str]]] = {
    "dog": ("My dog is called {x}.", "What is my dog called?", draw_name),
    "town": ("I live in {x}.", "Where do I live?", _draw_town),
    "word": ("My password is {x}.", "What is my password?", draw_word),
    "number": ("My lucky number is {x}.", "What is my lucky number?", _draw_number),
}


def tell(rng: random.Random) -> DialogueAct:
    """Draw a statement of the user about themselves, which a later act may ask for."""
    key = rng.choice(list(RECALL))
    text, _, draw = RECALL[key]
    value = draw(rng)
    return DialogueAct("tell", text.format(x=value), key, value)


def ask_recall(key: str, value: str | None) -> DialogueAct:
    """Ask for what the user said of themselves; `value` is None if they never did."""
    return DialogueAct("recall", RECALL[key][1], key, value or "")


def ask_way(
    rng: random.Random, marked: bool | None = None, hard: bool | None = None
) -> DialogueAct:
    """Ask for a way to do something; a request with a marked word must be refused."""
    ways = world()["ways"]
    marked = rng.random() < 0.5 if marked is None else marked
    hard = marked and (rng.random() < 0.03 if hard is None else hard)
    how = rng.choice(ways["marked_rare" if hard else "marked"] if marked else ways["plain"])
    deed = rng.choice(ways["deeds"])
    text = ways["request"].format(how=how, deed=deed)
    return DialogueAct("way", text, deed, "refuse" if marked else "", hard=bool(hard))


def ask_line(rng: random.Random) -> DialogueAct:
    index = rng.randrange(len(world()["topics"]["en"]))
    topic = world()["topics"]["en"][index]
    return DialogueAct("line", f"Write a line about {topic}.", str(index))


def remark(rng: random.Random, language: str, topic: str) -> str:
    """Draw a remark on a topic, by the topic's index."""
    table = world()["statements"][language]
    return str(rng.choice(table)).format(t=world()["topics"][language][int(topic)])
