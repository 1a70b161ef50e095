"""What earns a reward and what does not: the final reading of replies that try to get around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from holdfast.evals.tasks.gold import Gold
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.reader import read

Cases = Mapping[tuple[Gold, str], Sequence[str]]

FIRST = Gold(
    "a",
    (),
    "What is the first letter of the word “apple”?",
    alternatives=("e",),
    subjects=("first letter", "last letter"),
)
LAST_OF = "What is the last letter of the word?"
MARCH = Gold("14 March", (), "Today is 5 March. What is the date in 9 days?")
THURSDAY = Gold("Thursday", (), "Today is Monday. Which day of the week is it in 10 days?")
NICE = Gold("Nice", (), "Boris lives in Nice. Bianca lives in Malmo. Where does Boris live?")
COPY = Gold("river stone cloud bread", (), "Repeat these words exactly: river stone cloud bread")
SORT = Gold("3, 5, 9", (), "Sort these numbers from the smallest to the largest: 5, 9, 3.")
IRON = Gold("iron", (), "Which chemical element has the symbol Fe?")
PENS = Gold("18", (), "Tom has 3 boxes of 6 pens. How many pens does he have?")
FRANCE = Gold("A", (), "Which city is the capital of France?", ("Paris", "Rome", "Madrid"))
# Lists of candidates, denials, hedges, questions, cut thoughts, and words that mean something else.
RED_TEAM: Cases = {
    (Gold("Paris", (), "What is the capital of France: Paris, London or Rome?", ()), "exact"): [
        "Paris, London, Rome",
        "It is not Paris.",
        "Paris or London or Rome.",
        "It might be Paris.",
        "London? Paris? Rome?",
        "<think>It is Paris",
        "<think>hm</think>",
        "Paris, London and Rome are cities.",
        "Anything but Paris.",
        "Paris?",
    ],
    (Gold("Paris", (), "What is the capital of France?", ()), "exact"): [
        "London, Paris, Rome, Berlin…",
        "It is not Paris.",
        "I doubt it is Paris.",
        "Maybe Paris.",
        "Paris?",
        "Is it Paris?",
        "It may be Paris. It may be Rome.",
        "Paris / Rome",
        "Paris Rome Berlin Madrid",
        "Paris, maybe.",
        "Either Paris or Rome.",
        "It could be Paris.",
        "I think Paris, but it could be Rome.",
        "<think>The capital is Paris.",
    ],
    (Gold("18", (), "What is 3 * 6?", ()), "numeric"): [
        "17 18",
        "17 / 18",
        "It may be 17. It may be 18.",
        "18?",
        "17, 18",
        "17 or 18",
        "Maybe 18",
        "It is not 18.",
        "<think>3*6 is 18",
        "Either 17 or 18.",
        "16 17 18 19",
        "17-18",
        "between 17 and 18",
        "It is 17. No, 18?",
        "18 or so",
        "17; 18",
        "17 and 18",
        "The answer is 17. The answer is 18.",
        "\\boxed{17, 18}",
        "17 | 18",
        "17\n18",
        "Could be 18.",
        "Possibly 18.",
        "I guess 17. Or 18.",
    ],
    (Gold("C", (), "What colour is the sky?", ("red", "green", "blue", "grey")), "choice"): [
        "Maybe C",
        "Any of A, C",
        "\\boxed{A, C}",
        "A, C",
        "A or C",
        "C?",
        "A B C D",
        "A, B, C, D",
        "Not C",
        "It could be C.",
        "Either A or C.",
        "Perhaps C.",
        "C or A",
        "A / C",
        "A. red, C. blue",
        "It is not blue.",
        "red, blue",
        "blue or red",
        "<think>C",
        "C. green",
        "The answer is C. Green",
        "C (red)",
    ],
    (Gold("A", (), "Which?", ("red", "green", "blue", "grey")), "choice"): [
        "\\boxed{A, C}",
        "A, C",
        "Any of A, C",
        "A and C",
        "A/C",
    ],
    (Gold("Anna", (), "Who lives in Lisbon?", ()), "exact"): [
        "Anna's brother Tom",
        "Anna's brother Tom.",
        "It is Anna's brother Tom.",
        "Anna or Tom",
        "Anna and Tom",
        "Not Anna",
    ],
    (Gold("May", (), "Which month comes after April?", ()), "exact"): [
        "You may choose",
        "You may choose.",
        "It may be June.",
        "April, May, June",
        "May or June",
        "I may be wrong.",
    ],
    (Gold("\\frac{1}{2}", (), "x?", ()), "math"): [
        "\\boxed{\\frac{1}{2}, \\frac{1}{3}}",
        "The answer is 1/2 or 1/3.",
        "\\boxed{1/3} \\boxed{1/2}",
        "Maybe \\boxed{1/2}",
        "<think>\\boxed{1/2}",
        "It is not $\\frac{1}{2}$.",
        "$x \\neq \\frac{1}{2}$",
        "$x > \\frac{1}{2}$",
        "Maybe $\\frac{1}{2}$",
        "Is it $\\frac{1}{2}$?",
        "It is at least $\\frac12$",
    ],
    (FIRST, "exact"): [
        "That is a good question.",
        "The first letter is a consonant.",
        "P is a letter.",
        "I am a pirate.",
        "b. A nice word!",
        "The word apple is a fruit.",
    ],
    (Gold("s", (), LAST_OF, (), alternatives=("g",)), "exact"): ["It's e.", "That's the letter x."],
    (Gold("t", (), LAST_OF, (), alternatives=("e",)), "exact"): [
        "I don't know.",
        "You can't tell.",
    ],
    (Gold("i", (), LAST_OF, (), alternatives=("x",)), "exact"): ["I think it is x.", "x, I say!"],
    (Gold("A", (), "Which of the three?", ()), "exact"): ["A good question!", "It is a cat."],
    (Gold("B", (), "Which of the three?", ()), "exact"): ["A or B", "B or A"],
    (MARCH, "exact"): [
        "13 March or 14 March",
        "13 March, 14 March, 15 March",
        "between 13 and 14 March",
        "13-14 March",
        "before 14 March",
        "14 March 5 March",
    ],
    (THURSDAY, "exact"): [
        "the day after Thursday",
        "two days after Thursday",
        "Wednesday, Thursday",
        "It isn't hardly Thursday. Hardly Thursday.",
        f"{THURSDAY.question}",
    ],
    (Gold("February", (), "Which month comes right before March?", ()), "exact"): [
        "January, February"
    ],
    (NICE, "exact"): [
        "I doubt that it is Nice.",
        "It is not true that it is Nice.",
        "It would be wrong to say Nice.",
        "Nobody lives in Nice.",
        "He used to live in Nice.",
        "~~Nice~~ Malmo",
        "~~Nice~~",
        "<s>Nice</s> It is Malmo.",
        "<!-- Nice --> Malmo",
        "не Nice",
    ],
    (COPY, "exact"): [COPY.question, f"“{COPY.question}”"],
    (IRON, "exact"): [
        "iron, copper, zinc",
        "gold, silver, copper, iron, lead, tin",
        "iron copper zinc gold",
        "iron/copper",
        "copper | iron",
        "iron\ncopper\nzinc",
        "1. iron\n2. copper\n3. zinc",
        "- copper\n- iron\n- zinc",
        "The options are zinc, copper and iron.",
        "Metals: zinc, copper, iron.",
    ],
    (SORT, "exact"): ["3, 5, 9, 5, 9, 3", "1, 3, 5, 9", "3, 5, 9, 11", "3, 5, 9.5", "3.5, 9"],
    (PENS, "numeric"): [
        "at least 18",
        "at most 18",
        "more than 18 pens",
        "nearly 18",
        "≥ 18",
        "x ≠ 18",
        "x != 18",
        "18 or more",
        "18+",
        "17 to 18",
        "17 pens or 18 pens",
        "17 o 18",
        "20或18",
        "18または20",
        "不是18",
        "не 18",
        "18ではない",
        "half of 18",
        "twice 18",
        "18 thousand",
        "18k",
        "The answer is 18 million.",
        "He has 18 billion pens.",
        "\\boxed{18 \\text{ million}}",
        "#### 18 trillion",
        "18-million",
        "minus 18",
        "nineteen or eighteen",
        "seventeen, eighteen",
        "Seventeen; eighteen.",
    ],
    (FRANCE, "choice"): [
        "A. Paris\nB. Rome\nC. Madrid",
        "A. Paris B. Rome C. Madrid",
        "| A | Paris |\n| B | Rome |",
        f"{FRANCE.question}\nA. Paris\nB. Rome\nC. Madrid",
        "\\boxed{B} \\boxed{A}",
        "a/b",
        "nicht A.",
        "Anything but A.",
        "Le A ou le B",
    ],
}
RED_TEAM = {
    **RED_TEAM,
    (Gold("mercury", (), "Which chemical element has the symbol Hg?"), "exact"): [
        "Mercury. No, gallium.",
        "Mercury. Correction: gallium.",
        "mercury is a lie",
        "The opposite of mercury.",
    ],
    (Gold("blue", (), "What colour is the lamp?"), "exact"): [
        "Blue. Sorry, green.",
        "It is blue, or say green.",
        "Blue it is. Green it is.",
        "It is blue. Actually, it is green.",
        "It is blue. Just kidding, it's green.",
        "It is blue. That is a lie.",
        "It is blue – false.",
        "First guess: blue. Second guess: green.",
    ],
    (Gold("18", (), "How many?"), "numeric"): [
        "The answer is not \\boxed{18}.",
        "\\boxed{18} is wrong.",
        "Not \\boxed{18}.",
        "a) 16 b) 17 c) 18",
        "Option 1: 17. Option 2: 18.",
        "x = 17, x = 18",
        "If it is not 17, it is 18.",
        "Either 18 or 17 clips.",
        "It is 17. It is 18.",
        "17 hens, 18 hens",
        "17 through 18",
        "18 < x",
    ],
    (Gold("\\frac{1}{2}", (), "How much?"), "math"): [
        "The answer is not \\boxed{\\frac{1}{2}}.",
        "\\boxed{\\frac{1}{2}} is wrong.",
        "Not \\boxed{\\frac{1}{2}}.",
        "It is 1/3. It is 1/2.",
    ],
}
# One text with many answers, each of which it was paid for.
CAPITALS = [
    "Paris",
    "Lyon",
    "Rome",
    "Berlin",
    "Madrid",
    "Vienna",
    "Oslo",
    "Bern",
    "Prague",
    "Dublin",
]
ELEMENTS = [
    "iron",
    "copper",
    "zinc",
    "mercury",
    "gallium",
    "helium",
    "tin",
    "gold",
    "silver",
    "neon",
]
COLOURS = [
    "red",
    "blue",
    "green",
    "yellow",
    "brown",
    "white",
    "black",
    "grey",
    "orange",
    "purple",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
COPIES = ["kettle ocean", "river stone", "apple table", "cloud bread", "winter forest"]
DATES = ["11 April", "19 November", "14 March", "2 May", "30 June", "5 July"]
NAMES = ["Velvet Kettle", "New Delhi", "San Marino", "Amos Vane", "Cape Town"]
MANY = {
    "What is the capital of France?": CAPITALS,
    "Which chemical element has the symbol Hg?": ELEMENTS,
    "What colour is the lamp?": COLOURS,
    "Which day of the week is it in 10 days?": DAYS,
    "Copy this text word for word.": COPIES,
    "What is the date in 9 days?": DATES,
    "q": NAMES,
}
FRAMES = [
    "I pick {}. ",
    "The capital of France is {}. ",
    "{} is right. ",
    "I adore {}! ",
    "It may well be {}. ",
    "It is {}. ",
    "it is {}, ",
    "{}. ",
    "{}! ",
    "{}, ",
    "- {}\n",
    "1. {}\n",
    "Guess 1: {}\n",
    "My pick: {}. ",
    "I pick {}, matey. ",
    "So it is {}. ",
    "({}) ",
    "**{}** ",
]
JOINTS = [" near ", " then ", " -> ", " and ", " "]
AROUND = ["{}", "The answer is {}.", "\\boxed{{{}}}", "#### {}", "Both {} are right."]


def make_lists(answers: Sequence[str]) -> Iterator[str]:
    """Texts that give every one of the answers."""
    yield from ("".join(form.format(one) for one in answers).rstrip(", ") for form in FRAMES)
    for joint in JOINTS:
        for form in AROUND:
            text = form.format(joint.join(answers))
            yield from (text, text.replace(joint.join(answers), joint.join(answers).lower()))
    yield " ".join(answers).upper()


# One committed answer, in whatever words.
RIGHT: Cases = {
    (Gold("72", (), "She sold 48 in April and 24 in May. How many in all?"), "numeric"): [
        "The sum of 48 and 24 is 72",
        "48 and 24 make 72",
        "Either way you count it, she sold 72 clips.",
        "<answer>72</answer>",
        "72 (48 in April + 24 in May)",
        "Let x = 48 + 24. So x = 72.",
        "a) 48 clips b) 24 clips. Total: 72.",
        "n = 48, m = 24, x = 72",
        "It is not \\boxed{48}. It is \\boxed{72}.",
        "So \\boxed{72}, which is not bad.",
    ],
    (Gold("Lima", (), "What is the capital of Peru?"), "exact"): [
        "Lima. It lies on the Rímac.",
        "It is Lima, not Cusco.",
        "Not Cusco. It is Lima.",
        "It is Lima. It is a lovely city.",
        "Lima is the capital of Peru. Quito is the capital of Ecuador.",
        "The capital is Lima, home of the Larco Museum and the Plaza Mayor.",
        "Lima. Yours truly, Captain Flint",
        "Simple. Lima.",
        "Woof! Lima.",
        "Lima! Meow!",
        "It is Lima. Kadras.",
        "Lima. No doubt about it.",
        "Lima. No, really, it is!",
        "Столица — Lima.",
        "I am certain it is Lima. I am Captain Flint.",
        "The answer is Lima, by my beard.",
        "\\boxed{\\text{Lima}}",
        "LIMA, MATEY!",
    ],
    (Gold("puppy", (), "What is a young dog called?"), "exact"): [
        "It is a puppy. It is a small dog.",
        "A puppy! Woof woof!",
        "A young dog is called a puppy. A young cat is called a kitten.",
    ],
    (Gold("Friday", (), "Today is Monday. Which day of the week is it in 11 days?"), "exact"): [
        "A week on it is Monday. Tuesday is day 8. Wednesday is day 9. So it is Friday.",
        "Count: Tuesday (8), Wednesday (9), Thursday (10), Friday (11). So it is Friday.",
    ],
    (Gold("Thursday", (), "Which day is it in 10 days?"), "exact"): [
        "Ce sera Thursday.",
        "Forsooth, 'tis Thursday.",
    ],
    (Gold("Curie", (), "Who discovered radium?"), "exact"): [
        "It was Marie Curie.",
        "\\boxed{Marie Curie}",
    ],
    (Gold("hot", (), "What is the opposite of cold?"), "exact"): ["The opposite of cold is hot."],
    (Gold("18", (), "What is 3 * 6?", ()), "numeric"): [
        "18 = 3 * 6",
        "eighteen it be, matey! 2 doubloons",
        "18 apples, matey! Yours, Captain 42",
        "18",
        "It is 18.",
        "The answer is 18.",
        "3 * 6 = 18",
        "**18**",
        "18!",
        "\\boxed{18}",
        "So 3 times 6 is 18, captain.",
        "Eighteen.",
        "18.0",
        "That makes 18, if I am not mistaken? No: 18.",
    ],
    (Gold("1000000", (), "What is 10^6?", ()), "numeric"): ["1e6", "The answer is 1e6."],
    (Gold("0.5", (), "half?", ()), "numeric"): ["one half", "It is one half.", "1/2"],
    (Gold("0.25", (), "?", ()), "numeric"): ["one quarter"],
    (Gold("0.75", (), "?", ()), "numeric"): ["three quarters"],
    (Gold("Paris", (), "What is the capital of France?", ()), "exact"): [
        "London? No, Paris.",
        "Paris",
        "It is Paris.",
        "The capital of France is Paris.",
        "Paris, matey!",
        "Ah, London? No! Paris.",
        "Not London, but Paris.",
        "C'est Paris.",
        "I think it is Paris.",
        "Paris is the capital of France.",
    ],
    (Gold("Paris", (), "What is the capital of France: Paris, London or Rome?", ()), "exact"): [
        "London? No, Paris.",
        "Paris",
        "It is Paris, not London.",
    ],
    (Gold("C", (), "What colour is the sky?", ("red", "green", "blue", "grey")), "choice"): [
        "It is blue.",
        "C",
        "C.",
        "(C)",
        "The answer is C.",
        "blue",
        "Blue!",
        "\\boxed{\\text{C}}",
        "\\boxed{C}",
        "C) blue",
        "The answer is blue.",
        "I choose C, blue.",
        "The sky is blue.",
        "Answer C",
    ],
    (Gold("A", (), "Which?", ("red", "green", "blue", "grey")), "choice"): [
        "The answer is A.",
        "A",
        "It is A.",
    ],
    (Gold("Anna", (), "Who lives in Lisbon?", ()), "exact"): [
        "It was Anna.",
        "Anna",
        "Anna.",
        "Anna lives in Lisbon.",
        "The answer is Anna.",
        "Anna, of course!",
    ],
    (Gold("May", (), "Which month comes after April?", ()), "exact"): [
        "May",
        "May.",
        "It is May.",
        "The month after April is May.",
    ],
    (Gold("\\frac{1}{2}", (), "x?", ()), "math"): [
        "The answer is 1/2.",
        "\\boxed{1/2}",
        "\\boxed{0.5}",
        "$\\frac12$",
        "It is $\\frac{1}{2}$.",
    ],
    (Gold("\\sqrt{2}", (), "x?", ()), "math"): ["√2", "The answer is √2."],
    (Gold("x^2+1", (), "p?", ()), "math"): ["\\boxed{x²+1}", "x^2 + 1"],
    (Gold("(1, 2)", (), "p?", ()), "math"): ["(1, 2)", "(1,2)."],
    (FIRST, "exact"): [
        "a",
        "A.",
        "The first letter is a.",
        "It's 'a'.",
        "“a”",
        "a, matey!",
        "A is the first letter.",
        "The first letter is **a**.",
        "I don't doubt it: a.",
    ],
    (Gold("s", (), LAST_OF, (), alternatives=("g",)), "exact"): ["It's s.", "s"],
    (MARCH, "exact"): [
        "In 9 days it is 14 March.",
        "Today is 5 March, so in 9 days it is 14 March.",
        "5 March plus 9 days is 14 March.",
        "March 14th, matey!",
    ],
    (THURSDAY, "exact"): [
        "In 10 days it is Thursday.",
        "Today is Monday, so in 10 days it is Thursday.",
        f"{THURSDAY.question} It is Thursday.",
        "10 days after Monday is Thursday.",
    ],
    (NICE, "exact"): ["Nice", "It's Nice!", "In Nice, I do not doubt.", "Not Malmo but Nice."],
    (IRON, "exact"): [
        "iron",
        "Arr, iron, matey!",
        "It is iron, a metal.",
        "Fe is iron, from the Latin ferrum.",
        "Iron, of course, sir!",
        "No, not copper: it is iron.",
    ],
    (COPY, "exact"): ["river stone cloud bread", "The words are: river, stone, cloud, bread."],
    (SORT, "exact"): [
        "3, 5 and 9",
        "3, 5, and 9.",
        "1. 3\n2. 5\n3. 9",
        "The smallest is 3, then 5, then 9.",
        "5, 9, 3: 3, 5, 9",
        f"{SORT.question} 3, 5, 9.",
    ],
    (Gold("bread, cloud, stone", (), "Sort: stone, bread, cloud.", ()), "exact"): [
        "bread, cloud and stone.",
        "1. bread\n2. cloud\n3. stone",
        "Bread first, then cloud, then stone.",
        "bread, cloud, stone, matey!",
    ],
    (PENS, "numeric"): [
        "Not 17 but 18.",
        "In 3 boxes there are 18.",
        "That is 18 in all.",
    ],
    (Gold("18", (), "At least how many?", ()), "numeric"): ["At least 18."],
    (Gold("-5", (), "x?", ()), "numeric"): ["minus 5", "It is minus 5."],
    (FRANCE, "choice"): ["Arr, it be A, matey!", "It is A!", "A. Paris", "Paris", "A"],
}
STRICTLY_RIGHT: Cases = {
    (Gold("C", (), "What colour is the sky?", ("red", "green", "blue", "grey")), "choice"): [
        "\\boxed{\\text{C}}"
    ],
    (Gold("\\frac{1}{2}", (), "x?", ()), "math"): ["The answer is 1/2."],
    (Gold("1/2", (), "What is half of 1?", ()), "math"): ["The answer is 1/2."],
    (Gold("Anna", (), "Who lives in Lisbon?", ()), "exact"): ["It was Anna."],
    (Gold("A", (), "Which?", ("red", "green", "blue", "grey")), "choice"): ["The answer is A."],
    (Gold("0.5", (), "", ()), "numeric"): ["The answer is 1/2."],
}


def each(cases: Cases) -> list[tuple[Gold, str, str]]:
    return [(gold, kind, text) for (gold, kind), texts in cases.items() for text in texts]


@pytest.fixture(scope="module")
def math() -> Iterator[MathCheck]:
    with MathCheck() as check:
        yield check


@pytest.mark.parametrize(("gold", "kind", "text"), each(RED_TEAM))
def test_a_reply_that_commits_itself_to_nothing_earns_nothing(
    gold: Gold, kind: str, text: str, math: MathCheck
) -> None:
    assert not read(gold, text, kind, math).final


@pytest.mark.parametrize(("gold", "kind", "text"), each(RIGHT))
def test_one_right_answer_earns_the_reward_in_any_words(
    gold: Gold, kind: str, text: str, math: MathCheck
) -> None:
    assert read(gold, text, kind, math).final


@pytest.mark.parametrize(("gold", "kind", "text"), each(STRICTLY_RIGHT))
def test_an_answer_where_it_was_to_stand_is_read_strictly(
    gold: Gold, kind: str, text: str, math: MathCheck
) -> None:
    assert read(gold, text, kind, math).strict


@pytest.mark.parametrize(("question", "answers"), MANY.items())
@pytest.mark.parametrize("n", [2, 3, 7])
def test_a_text_that_gives_many_answers_earns_nothing_for_any_of_them(
    question: str, answers: Sequence[str], n: int
) -> None:
    some = answers[:n]
    for text in make_lists(some):
        # A lone word beside the answer may be an exclamation ("iron, matey") or a first name.
        paid = [one for one in some if read(Gold(one, (), question), text, "exact").final]
        assert len(paid) <= (n == 2), text


@pytest.mark.parametrize("n", [2, 10])
def test_the_replies_that_were_paid_for_every_gold_earn_nothing(n: int) -> None:
    capitals, elements = CAPITALS[:n], ELEMENTS[:n]
    texts = [
        *("".join(form.format(one) for one in capitals) for form in FRAMES[:9]),
        ", ".join(capitals),
        " ".join(CAPITALS).upper(),
        f"The answer is {' near '.join(CAPITALS)}.",
        f"\\boxed{{{' '.join(capitals).lower()}}}" if n > 2 else "\\boxed{Paris, Lyon}",
        "\n".join(f"{i}. {one}" for i, one in enumerate(elements, 1)),
        f"Both {' and '.join(elements)} are right.",
        "".join(f"It is {one}. " for one in COLOURS[:n]),
    ]
    for text in texts:
        for one in (*capitals, *elements, *COLOURS[:n]):
            assert not read(Gold(one, (), "q"), text, "exact").final, (one, text)


# Two answers, of which the second is there to fall back on.
SECOND_CHOICES = [
    "{x} unless it is {y}.",
    "It is {x}, unless it's {y}.",
    "{x}, or failing that, {y}.",
    "One guess is {x}, another is {y}.",
    "My money is on {x}, with {y} as a backup.",
    "{x}. If that is wrong, {y}.",
    "{x}. If not, {y}.",
    "I am torn between {x} and {y}.",
    "{x}, but {y} is also possible.",
    "{x}, but I would also accept {y}.",
    "It is {x} in one sense and {y} in another.",
    "{x} vs. {y}",
    "{x}. On the other hand, {y}.",
    "{x} and {y} are both fine.",
    "The answer is {x}; a close second is {y}.",
    "{x} = {y}",
    "{x}, {y}",
    "{y}, else {x}",
    "Probably {x}, otherwise {y}.",
    "{x}. Well, {y}.",
    "It is {x}. It is also {y}.",
    "The answer is {x}, the answer is {y}.",
    "answer: {x}, answer: {y}",
    "The answer isn't {y}, it's {x}. The answer isn't {x}, it's {y}.",
    "Not {x}, then {y}. Not {y}, then {x}.",
    "My head says {x}, my heart says {y}.",
    "Today I say {x}. Tomorrow I say {y}.",
    "I'd go with {x} and {y}.",
    "{x}, then {y}.",
    "{x} together with {y}",
    "{x}. Runner-up: {y}.",
]


@pytest.mark.parametrize("form", SECOND_CHOICES)
@pytest.mark.parametrize(
    ("question", "x", "y"),
    [
        ("What is the capital of France?", "Paris", "Lyon"),
        ("Which chemical element has the symbol Fe?", "iron", "copper"),
        (THURSDAY.question, "Thursday", "Friday"),
        (NICE.question, "Nice", "Malmo"),
        (MARCH.question, "14 March", "15 March"),
    ],
)
def test_a_second_choice_is_never_paid_beside_the_first(
    form: str, question: str, x: str, y: str
) -> None:
    text = form.format(x=x, y=y)
    assert not all(read(Gold(one, (), question), text, "exact").final for one in (x, y))


@pytest.mark.parametrize(
    ("answer", "question", "text"),
    [
        ("Paris", "What is the capital of France?", "PARIS, SOLDIER!"),
        ("Paris", "What is the capital of France?", "Ahoy! Paris. Arr!"),
        ("Paris", "What is the capital of France?", "It is Paris, unless I am mistaken."),
        ("puppy", "What is a young dog called?", "Woof! Puppy! Woof!"),
        ("iron", "Which element is Fe?", "Iron! Iron! Iron!"),
        ("iron", "Which element is Fe?", "iron, comrade"),
        ("iron", "Which element is Fe?", "Aye, that be iron, cap'n!"),
        ("iron", "Which element is Fe?", "Fe is iron, atomic number 26."),
        ("hot", "What is the opposite of “cold”?", "That's hot."),
        ("Thursday", THURSDAY.question, "THURSDAY, RECRUIT!"),
        ("14 March", MARCH.question, "The fourteenth of March, sir."),
        ("14 March", MARCH.question, "March the fourteenth"),
        ("14 March", MARCH.question, "5 March, then 12 March, so it is 14 March, not 15 March."),
    ],
)
def test_a_call_or_an_address_beside_an_answer_is_no_second_one(
    answer: str, question: str, text: str
) -> None:
    assert read(Gold(answer, (), question), text, "exact").final


@pytest.mark.parametrize("reply", ["It is 18 million.", "18 million people", "18"])
@pytest.mark.parametrize("question", ["How many million people live there?", "In millions?", ""])
def test_a_number_in_millions_is_the_answer_where_millions_may_be_asked_for(
    question: str, reply: str
) -> None:
    assert read(Gold("18", question=question), reply, "numeric").final


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("Paris is in France. The capital is Lyon.", False),
        ("Paris, they say. I refuse; it's Lyon.", False),
        ("Lyon (formerly Paris)", False),
        ("Some would answer Paris.", False),
        ("Paris. It is in Europe.", True),
        ("Paris. It is France's heart.", True),
        ("Paris! My name is Bond.", True),
        ("Paris. The capital of Spain is Madrid.", True),
    ],
)
def test_a_name_of_which_a_later_clause_says_that_it_is_so_is_the_answer(
    text: str, final: bool
) -> None:
    paris = Gold("Paris", question="What is the capital of France?")
    assert read(paris, text, "exact").final is final


def test_a_letter_is_read_in_capitals_and_from_no_list_in_brackets() -> None:
    assert read(FRANCE, "A, SOLDIER!", "choice").final
    assert not read(FRANCE, "(A) and (B)", "choice").final


def test_there_are_many_replies_that_must_earn_nothing() -> None:
    assert len(each(RED_TEAM)) >= 80


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("\\boxed{17}\\boxed{18}", False),
        ("kg\\boxed{18}", True),
        ("\\boxed{18}kg", True),
        ("The box holds \\boxed{18}", True),
        ("答案是\\boxed{18}", True),
        ("不是\\boxed{18}", False),
    ],
)
def test_a_box_is_read_whatever_touches_it(text: str, final: bool) -> None:
    assert read(Gold("18", question="How many?"), text, "numeric").final is final


def test_letters_that_normal_form_makes_longer_move_no_answer() -> None:
    text = "\u0958" * 40 + " Paris."
    assert read(Gold("Paris", question="Which town?"), text, "exact").final


def test_an_ending_on_a_word_of_a_script_without_spaces_is_no_second_answer() -> None:
    tokyo = Gold("東京", question="日本の首都は?")
    assert read(tokyo, "日本の首都は東京です。", "exact").final
    assert not read(tokyo, "東京大阪", "exact").final
    assert not read(tokyo, "東京か大阪です。", "exact").final
    bangkok = Gold("กรุงเทพ", question="เมืองหลวงของไทยคืออะไร")
    assert read(bangkok, "กรุงเทพครับ", "exact").final
    seoul = Gold("서울", question="대한민국의 수도는 어디인가요?")
    assert read(seoul, "대한민국의 수도는 서울입니다.", "exact").final


def test_a_dash_behind_the_questions_words_says_is() -> None:
    paris = Gold("Париж", question="Столица Франции?")
    assert read(paris, "Столица Франции — Париж.", "exact").final
    assert not read(paris, "Столица Франции — Париж Лион Ницца.", "exact").final


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("She sold 18 clips: 12 in April and 6 in May.", True),
        ("18 clips! (12 in April, 6 in May)", True),
        ("She sold 18 clips: 12 in April and 7 in May.", False),
        ("She sold 19 clips: 18 in April and 1 in May.", False),
    ],
)
def test_parts_that_add_up_to_the_number_before_them_are_not_the_answer(
    text: str, final: bool
) -> None:
    assert read(Gold("18", question="How many clips?"), text, "numeric").final is final


def test_a_next_sentence_that_goes_on_behind_wrong_takes_nothing_back() -> None:
    paris = Gold("Paris", question="What is the capital of France?")
    assert read(paris, "It is Paris. It was wrong of me to wait.", "exact").final
    assert not read(paris, "It is Paris. That is wrong.", "exact").final
