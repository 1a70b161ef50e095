"""Exercises with words: find what a text says, know a fact, copy, sort, count letters, choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from string import ascii_uppercase
from typing import NamedTuple

from holdfast.evals.tasks.exercises.lexicon import Lexicon, LexiconFact, facts
from holdfast.evals.tasks.letters import LETTERS
from holdfast.evals.tasks.questions import Question


class Statement(NamedTuple):
    """A sentence that says something, and the two questions that it answers."""

    text: str
    question: str
    answer: str
    back: str
    subject: str


def extraction(lexicon: Lexicon, level: int) -> Question:
    """One of several statements answers the question: 2, 4 or 7 of them.

    At level 3 some of them are asked about backwards ("Who lives in Porto?").
    """
    return extraction_among(lexicon, (2, 4, 7)[level - 1], backwards=level == 3)


def extraction_among(lexicon: Lexicon, number: int, *, backwards: bool = False) -> Question:
    """One of `number` statements answers the question; with `backwards` half are asked so."""
    make = lexicon.rng.choice([_places, _homes, _trades, _prices, _visits])
    statements = make(lexicon, number)
    target = lexicon.rng.choice(statements)
    in_order = [target, *(one for one in statements if one != target)]
    subjects, answers = [one.subject for one in in_order], [one.answer for one in in_order]
    question = target.question
    if backwards and lexicon.rng.random() < 0.5:
        subjects, answers, question = answers, subjects, target.back
    return Question(
        "",
        " ".join([*(one.text for one in statements), question]),
        answers[0],
        alternatives=tuple(answers[1:]),
        subjects=tuple(subjects),
    )


def _places(lexicon: Lexicon, n: int) -> list[Statement]:
    things = lexicon.some("things", n)
    places = [f"{colour} {lexicon.one('containers')}" for colour in lexicon.some("colours", n)]
    question, back = "Where is the {x}?", "What is in the {y}?"
    return _statements(things, places, "The {x} is in the {y}.", question, back)


def _homes(lexicon: Lexicon, n: int) -> list[Statement]:
    names, towns = lexicon.some("names", n), lexicon.some("towns", n)
    question, back = "Where does {x} live?", "Who lives in {y}?"
    return _statements(names, towns, "{x} lives in {y}.", question, back)


def _trades(lexicon: Lexicon, n: int) -> list[Statement]:
    names, jobs = lexicon.some("names", n), lexicon.some("jobs", n)
    question, back = "What is {x}'s job?", "Who works as a {y}?"
    return _statements(names, jobs, "{x} works as a {y}.", question, back)


def _prices(lexicon: Lexicon, n: int) -> list[Statement]:
    prices = list(map(str, lexicon.rng.sample(range(2, 100), n)))
    things = lexicon.some("things", n)
    question, back = "How many euros does the {x} cost?", "Which thing costs {y} euros?"
    return _statements(things, prices, "The {x} costs {y} euros.", question, back)


def _visits(lexicon: Lexicon, n: int) -> list[Statement]:
    names, days = lexicon.some("names", n), lexicon.some("days", n)
    question, back = "On which day does {x} come?", "Who comes on {y}?"
    return _statements(names, days, "{x} comes on {y}.", question, back)


def _statements(
    subjects: Sequence[str], answers: Sequence[str], text: str, question: str, back: str
) -> list[Statement]:
    """A statement of each subject, {x}, and its answer, {y}."""
    return [
        Statement(text.format(x=x, y=y), question.format(x=x), y, back.format(y=y), x)
        for x, y in zip(subjects, answers, strict=True)
    ]


def knowledge(lexicon: Lexicon, level: int) -> Question:
    """A capital, an opposite, a young animal or a chemical element, by how well known it is."""
    fact = lexicon.fact(level)
    question = lexicon.rng.choice(fact.ask).format(x=fact.thing)
    return Question("", question, fact.forms[0], also=fact.forms[1:])


def copying(lexicon: Lexicon, level: int) -> Question:
    """Repeat two words, four words, or four words and a code."""
    words = lexicon.some("plain", (2, 4, 4)[level - 1])
    if level == 3:
        rng = lexicon.rng
        words.append("".join(rng.sample(ascii_uppercase, 3)) + str(rng.randrange(100, 1000)))
    text = " ".join(words)
    ask = lexicon.rng.choice(
        ["Repeat these words exactly: {x}", "Copy this text word for word: {x}"]
    )
    return Question("", ask.format(x=text), text)


def sorting(lexicon: Lexicon, level: int) -> Question:
    """The largest or smallest of three numbers; then three numbers, or four words, in order."""
    rng = lexicon.rng
    if level == 1:
        numbers = rng.sample(range(1, 100), 3)
        name, best = rng.choice([("largest", max(numbers)), ("smallest", min(numbers))])
        row = f"{numbers[0]}, {numbers[1]} and {numbers[2]}"
        return Question(
            "",
            f"Which of these numbers is the {name}: {row}?",
            str(best),
            alternatives=tuple(str(one) for one in numbers if one != best),
            subjects=(name, "smallest" if name == "largest" else "largest"),
        )
    if level == 2:
        numbers = rng.sample(range(1, 100), 3)
        ask = "Sort these numbers from the smallest to the largest: {row}."
        return _in_order(ask, [str(one) for one in sorted(numbers)], map(str, numbers))
    words = lexicon.some("plain", 4)
    return _in_order("Sort these words in alphabetical order: {row}.", sorted(words), words)


def _in_order(ask: str, order: Sequence[str], row: Iterable[str]) -> Question:
    """A question about an order; every other order but the one that it lists is an alternative.

    A row that is in order is listed backwards, since else who repeats the question is right.
    """
    answer, listed = ", ".join(order), ", ".join(row)
    if listed == answer:
        listed = ", ".join(reversed(order))
    orders = (", ".join(one) for one in permutations(order))
    others = tuple(one for one in orders if one not in (answer, listed))
    return Question("", ask.format(row=listed), answer, alternatives=others)


def letter_counting(lexicon: Lexicon, level: int) -> Question:
    """The first or last letter of a word, its length, or how often a letter occurs in it."""
    rng = lexicon.rng
    if level == 1:
        word = lexicon.one("plain")
        ends = {"first": word[0], "last": word[-1]}
        place = rng.choice(["first", "last"])
        other = "last" if place == "first" else "first"
        return Question(
            "",
            f"What is the {place} letter of the word “{word}”?",
            ends[place],
            alternatives=() if ends[place] == ends[other] else (ends[other],),
            subjects=(f"{place} letter", f"{other} letter"),
        )
    if level == 2:
        word = lexicon.one("plain")
        return Question("", f"How many letters does the word “{word}” have?", str(len(word)))
    word = lexicon.one("long").lower()
    letter = rng.choice(sorted(set(word)))
    question = f"How many times does the letter “{letter}” occur in the word “{word}”?"
    return Question("", question, str(word.count(letter)))


def multiple_choice(lexicon: Lexicon, level: int) -> Question:
    """A fact with two, four or six answers to choose from."""
    fact, number = lexicon.fact(level), (2, 4, 6)[level - 1]
    wrong = _wrong_answers(fact, level, lexicon.split, number - 1)
    options = [fact.forms[0], *lexicon.rng.sample(wrong, min(number - 1, len(wrong)))]
    lexicon.rng.shuffle(options)
    letter = LETTERS[options.index(fact.forms[0])]
    question = lexicon.rng.choice(fact.ask).format(x=fact.thing).replace(" Give one word.", "")
    return Question("", question, letter, tuple(options))


def _wrong_answers(fact: LexiconFact, level: int, split: str, least: int) -> list[str]:
    """The answers to other facts of a kind; training uses none of those kept for evaluation.

    Evaluation also uses training's answers, and training uses those of other levels where a level
    has too few.
    """
    if split == "evaluation":
        pools = [facts(level, split), facts(level, "train")]
    else:
        pools = [facts(one, split) for one in (level, *({1, 2, 3} - {level}))]
    wrong = list[str]()
    for i, pool in enumerate(pools):
        answers = [one.forms[0] for one in pool if one.kind == fact.kind]
        new = [one for one in answers if one not in (*fact.forms, *wrong)]
        is_own = i == 0 or split == "evaluation"
        wrong += new if is_own else new[: max(0, least - len(wrong))]
    return wrong


LANGUAGE: dict[str, Callable[[Lexicon, int], Question]] = {
    "extraction": extraction,
    "knowledge": knowledge,
    "copying": copying,
    "sorting": sorting,
    "letters": letter_counting,
    "choice": multiple_choice,
}
"""Generators of exercises with words, by category."""
