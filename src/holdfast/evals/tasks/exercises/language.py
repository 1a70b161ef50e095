"""Exercises with words: find what a text says, know a fact, copy, sort, count letters, choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from string import ascii_uppercase

from holdfast.evals.tasks.exercises.lexicon import Lexicon, LexiconFact, facts
from holdfast.evals.tasks.letters import LETTERS
from holdfast.evals.tasks.questions import Question

# What is said of things and of people, and the two questions that it answers, by what varies.
_STATEMENTS = {
    "places": ("The {} is in the {}.", "Where is the {}?", "What is in the {}?"),
    "towns": ("{} lives in {}.", "Where does {} live?", "Who lives in {}?"),
    "jobs": ("{} works as a {}.", "What is {}'s job?", "Who works as a {}?"),
    "prices": (
        "The {} costs {} euros.",
        "How many euros does the {} cost?",
        "Which thing costs {} euros?",
    ),
    "days": ("{} comes on {}.", "On which day does {} come?", "Who comes on {}?"),
}


def extraction(lexicon: Lexicon, level: int) -> Question:
    """One of several statements answers the question: 2, 4 or 7 of them.

    At level 3 some of them are asked about backwards ("Who lives in Porto?").
    """
    return extraction_among(lexicon, (2, 4, 7)[level - 1], backwards=level == 3)


def extraction_among(lexicon: Lexicon, number: int, *, backwards: bool = False) -> Question:
    """One of `number` statements answers the question; with `backwards` half are asked so."""
    kind = lexicon.rng.choice(list(_STATEMENTS))
    statement, question, back = _STATEMENTS[kind]
    subjects, answers = _draw_pairs(lexicon, kind, number)
    statements = [statement.format(*pair) for pair in zip(subjects, answers, strict=True)]
    target = lexicon.rng.choice(range(number))
    for row in (subjects, answers):
        row.insert(0, row.pop(target))
    if backwards and lexicon.rng.random() < 0.5:
        subjects, answers, question = answers, subjects, back
    return Question(
        "",
        " ".join([*statements, question.format(subjects[0])]),
        answers[0],
        alternatives=tuple(answers[1:]),
        subjects=tuple(subjects),
    )


def _draw_pairs(lexicon: Lexicon, kind: str, n: int) -> tuple[list[str], list[str]]:
    """Subjects of a kind of statement, and what is said of each."""
    if kind == "places":
        things, colours = lexicon.some("things", n), lexicon.some("colours", n)
        return things, [f"{colour} {lexicon.one('containers')}" for colour in colours]
    if kind == "prices":
        prices = list(map(str, lexicon.rng.sample(range(2, 100), n)))
        return lexicon.some("things", n), prices
    return lexicon.some("names", n), lexicon.some(kind, n)


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
