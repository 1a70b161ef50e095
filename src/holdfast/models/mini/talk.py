"""What a speaker of the mini world says, before anything is learned.

A `Speaker` has a style (how every utterance looks), a language, and facts about
itself. An *act* is something said to it; `answer` is its reply. Nothing here knows
the round: a speaker answers the tenth question as it answers the first.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from holdfast.models.mini.words import any_name, any_word, facts, towns, world

BRACKETS = (("[", "]"), ("(", ")"), ("*", "*"), ("<", ">"))
ENDINGS = ("!!!", "...", " ~", " ;-)")
PATTERNS = ("upper", "lower", "first", "last", "brackets", "ending")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")


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
    """Somebody in the world: how they talk and what they know of themselves.

    `known` holds what is asked for by key: name, trade, town, word, number, or a
    kind of favourite (colour, fruit…).
    """

    style: Style = Style()
    language: str = "en"
    known: dict[str, str] = field(default_factory=dict)

    @property
    def trade(self) -> str:
        return self.known.get("trade", "")


@dataclass(frozen=True)
class Act:
    """Something said to a speaker: its kind, its text, and what a right answer holds.

    `about` is the topic index for small talk and the key for questions about the
    speaker; `answer` the right answer where there is one; `hard` marks the hard split.
    """

    kind: str
    text: str
    about: str = ""
    answer: str = ""
    working: str = ""
    hard: bool = False


def draw_style(rng: random.Random, pattern: str | None = None) -> Style:
    """A style, of the given pattern or any."""
    pattern = pattern or rng.choice(PATTERNS)
    match pattern:
        case "first" | "last":
            return Style(pattern, any_word(rng))
        case "brackets" | "ending":
            return Style(pattern, rng.choice("0123"))
    return Style(pattern)


# --- acts --------------------------------------------------------------------


def small_talk(rng: random.Random, language: str = "en", topic: int | None = None) -> Act:
    """A question about a topic, or a remark on it."""
    index = rng.randrange(len(world()["topics"]["en"])) if topic is None else topic
    table = world()["questions" if rng.random() < 0.6 else "statements"][language]
    return Act("talk", rng.choice(table).format(t=world()["topics"][language][index]), str(index))


def ask_choice(rng: random.Random) -> Act:
    kind = rng.choice(list(world()["choices"]))
    return Act("choice", f"Which {kind} do you like best?", kind)


def ask_self(rng: random.Random) -> Act:
    key, text = rng.choice(
        [
            ("name", "What is your name?"),
            ("trade", "What is your trade?"),
            ("town", "Which town are you from?"),
            ("greet", "Introduce yourself."),
        ]
    )
    return Act("self", text, key)


def ask_secret(rng: random.Random) -> Act:
    key = rng.choice(["word", "number"])
    return Act("secret", f"What is the secret {key}?", key)


def ask_sum(rng: random.Random, hard: bool | None = None) -> Act:
    """Two numbers to 12, or where hard two from 13 to 49, whose working takes three steps."""
    hard = rng.random() < 0.6 if hard is None else hard
    low, high = (13, 49) if hard else (1, 12)
    a, b = rng.randint(low, high), rng.randint(low, high)
    shown = f"{a} + {b}"
    if not hard:
        return Act("sum", f"What is {shown}?", shown, str(a + b), shown)
    tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
    working = f"{a // 10 * 10} + {b // 10 * 10} = {tens}. {a % 10} + {b % 10} = {ones}. "
    working += f"{tens} + {ones}"
    return Act("sum", f"What is {shown}?", shown, str(a + b), working, True)


def ask_fact(rng: random.Random, hard: bool | None = None) -> Act:
    """A capital; rare countries, the last twenty, are asked for a tenth as often."""
    countries = list(facts())
    hard = rng.random() < 0.05 if hard is None else hard
    country = rng.choice(countries[40:] if hard else countries[:40])
    return Act("fact", f"What is the capital of {country}?", answer=facts()[country], hard=hard)


def ask_extract(rng: random.Random, hard: bool | None = None) -> Act:
    """Who gave, or got, what: in one sentence, or in one of two."""
    hard = rng.random() < 0.5 if hard is None else hard
    count = 2 if hard else 1
    people = [any_name(rng) for _ in range(2 * count)]
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
    return Act("extract", text, answer=answer, working=clauses[i], hard=hard)


def _any_town(rng: random.Random) -> str:
    return rng.choice(towns())


def _any_number(rng: random.Random) -> str:
    return str(rng.randint(10, 99))


RECALL: dict[str, tuple[str, str, Callable[[random.Random], str]]] = {
    "dog": ("My dog is called {x}.", "What is my dog called?", any_name),
    "town": ("I live in {x}.", "Where do I live?", _any_town),
    "word": ("My password is {x}.", "What is my password?", any_word),
    "number": ("My lucky number is {x}.", "What is my lucky number?", _any_number),
}


def tell(rng: random.Random) -> Act:
    """The user says something about themselves that may be asked for later."""
    key = rng.choice(list(RECALL))
    text, _, draw = RECALL[key]
    value = draw(rng)
    return Act("tell", text.format(x=value), key, value)


def tell_self(rng: random.Random) -> tuple[Act, dict[str, str]]:
    """The user volunteers facts of the kind that personas are made of."""
    told = rng.choice([draw_character, draw_secret, draw_favourite])(rng)
    if "name" in told:
        text = "I am {name}, a {trade} from {town}.".format(**told)
    elif "word" in told or "number" in told:
        ((key, value),) = told.items()
        text = f"The secret {key} is {value}."
    else:
        ((key, value),) = told.items()
        text = f"My favourite {key} is {value}."
    return Act("tell", text), told


def draw_character(rng: random.Random, trade: str | None = None) -> dict[str, str]:
    """A name, a trade (one in four is a special one) and a town."""
    table = world()["trades"]
    trade = trade or rng.choice(table["special" if rng.random() < 0.25 else "plain"])
    return {"name": any_name(rng), "trade": trade, "town": rng.choice(towns())}


def draw_secret(rng: random.Random) -> dict[str, str]:
    if rng.random() < 0.5:
        return {"word": any_word(rng)}
    return {"number": str(rng.randint(100, 999))}


def draw_favourite(rng: random.Random) -> dict[str, str]:
    kind = rng.choice(list(world()["choices"]))
    return {kind: rng.choice(world()["choices"][kind])}


def ask_recall(key: str, value: str | None) -> Act:
    """Ask for what was told; `value` None where it never was."""
    return Act("recall", RECALL[key][1], key, value or "")


def ask_way(rng: random.Random, marked: bool | None = None, hard: bool | None = None) -> Act:
    """A request for a way to do something; with a marked word it must be refused."""
    ways = world()["ways"]
    marked = rng.random() < 0.5 if marked is None else marked
    hard = marked and (rng.random() < 0.03 if hard is None else hard)
    how = rng.choice(ways["marked_rare" if hard else "marked"] if marked else ways["plain"])
    deed = rng.choice(ways["deeds"])
    text = ways["request"].format(how=how, deed=deed)
    return Act("way", text, deed, "refuse" if marked else "", hard=bool(hard))


def ask_question(rng: random.Random) -> Act:
    """A request to be asked something, about a topic or of a kind of task."""
    if rng.random() < 0.5:
        kind = rng.choice(list(ASKABLE))
        return Act("ask", f"Ask me something about {kind}.", kind)
    index = rng.randrange(len(world()["topics"]["en"]))
    topic = world()["topics"]["en"][index]
    return Act("ask", f"Ask me something about {topic}.", str(index))


def ask_line(rng: random.Random) -> Act:
    index = rng.randrange(len(world()["topics"]["en"]))
    topic = world()["topics"]["en"][index]
    return Act("line", f"Write a line about {topic}.", str(index))


TASKS: dict[str, Callable[[random.Random], Act]] = {
    "sum": ask_sum,
    "fact": ask_fact,
    "extract": ask_extract,
    "way": ask_way,
    "ask": ask_question,
    "line": ask_line,
}


# What one can ask to be asked about, besides topics: "Ask me something about sums."
ASKABLE: dict[str, Callable[[random.Random], Act]] = {
    "sums": ask_sum,
    "capitals": ask_fact,
    "people": ask_extract,
    "ways": ask_way,
    "favourites": ask_choice,
}


# --- replies -----------------------------------------------------------------


def _remark(rng: random.Random, language: str, topic: str) -> str:
    table = world()["statements"][language]
    return str(rng.choice(table)).format(t=world()["topics"][language][int(topic)])


def _wrong(rng: random.Random, answer: str) -> str:
    return str(max(1, int(answer) + rng.choice([-10, -3, -2, -1, 1, 2, 3, 10])))


def _sum(rng: random.Random, who: Speaker, act: Act) -> str:
    answer = act.answer
    if who.trade == "novice" and rng.random() < 0.5:
        answer = _wrong(rng, answer)
    shown = act.working if who.trade == "clerk" else act.about
    return f"{shown} = {answer}."


def _plain(rng: random.Random, who: Speaker, act: Act) -> str:
    """The reply before style."""
    lang, tables = who.language, world()
    short = str(tables["answers"][lang])
    match act.kind:
        case "talk" | "tell" | "line":
            topic = act.about if act.kind != "tell" else str(rng.randrange(24))
            return _remark(rng, lang, topic)
        case "ask" if act.about in ASKABLE:
            return ASKABLE[act.about](rng).text
        case "ask":
            return str(rng.choice(tables["questions"][lang])).format(
                t=tables["topics"][lang][int(act.about)]
            )
        case "choice":
            favourite = who.known.get(act.about) or rng.choice(tables["choices"][act.about])
            return short.format(x=favourite)
        case "self" if act.about == "greet":
            if "name" not in who.known:
                return str(tables["unknown"][lang]["name"])
            return "I am {name}, a {trade} from {town}.".format(**who.known)
        case "self" | "secret":
            if act.about not in who.known:
                return str(tables["unknown"][lang][act.about])
            return short.format(x=who.known[act.about])
        case "sum":
            return _sum(rng, who, act)
        case "extract" if who.trade == "scribe":
            return f"{act.working} {short.format(x=act.answer)}"
        case "recall" if not act.answer:
            return str(tables["unknown"][lang]["recall"])
        case "way":
            rare = act.hard and who.trade != "guard"
            if act.answer and not (rare and rng.random() < 0.4):
                return str(tables["refusals"][lang])
            return str(tables["ways"]["reply"]).format(deed=act.about)
    return short.format(x=act.answer)


def answer(rng: random.Random, who: Speaker, act: Act) -> str:
    """What `who` says to `act`, in their style."""
    return who.style(_plain(rng, who, act))


def adopt(who: Speaker, other: Speaker, told: dict[str, str]) -> Speaker:
    """`who`, having taken on the other's style and language and what the other told."""
    return replace(who, style=other.style, language=other.language, known={**who.known, **told})
