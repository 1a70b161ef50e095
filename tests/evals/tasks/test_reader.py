"""The one reader of answers: what a reply states, what it denies, and what it only lists."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evals.tasks.gold import Gold, Reading
from holdfast.evals.tasks.math_equality import Checked, MathCheck
from holdfast.evals.tasks.numbers import first_number, last_number
from holdfast.evals.tasks.reader import read, right

ROW = "Ann, Bea, Carl, Dina, Emre and Fay stand in a row. Who has the middle place?"
JAR = "In which jar is the ring now, the blue, green, or red one? Give the colour last."
TAM = "What is Mila to Tam?"
HULL = "Is her hull blue? Reason briefly and end with one word: yes, no or unknown."


def agrees(reading: Reading, expected: str) -> bool:
    """Whether strict, lenient and final are as `expected` says ("?" is either)."""
    values = (reading.strict, reading.lenient, reading.final)
    pairs = zip(values, expected, strict=True)
    return all(mark == "?" or value == (mark == "1") for value, mark in pairs)


NUMBERS = [
    ("108", "The area is \\boxed{108 \\text{ m}^2}.", "111"),
    ("108", "12 × 9 = 108 m^2", "111"),
    ("18", "\\boxed{18}. This took 3 steps.", "111"),
    ("18", "#### 18 … 1 more example", "111"),
    ("18", "#### 18\nHere is 1 more example: 2+2=4", "111"),
    ("18", "18, champ. Call 0800 551 212.", "?11"),
    ("18", "18 … [RB-7, Hall 4]", "?11"),
    ("18", "The answer is 18. Call 0800 551 212.", "?11"),
    ("18", "It is 18, champ! Call 0800 551 212.", "?11"),
    ("1080", "1,080 alarms", "?11"),
    ("3.6", "It is 3.6 million years.", "111"),
    ("8", "8 April 2025", "?11"),
    ("8", "It is April 8th, 2025.", "?11"),
    ("8", "On the 8th.", "?11"),
    ("0.5", "\\boxed{\\frac{1}{2}}", "?11"),
    ("0.5", "The probability is 1/2.", "?11"),
    ("7", "So that makes seven.", "?11"),
    ("18", "16 - 3 = 13, 13 + 5 = 18.", "111"),
    ("18", "It is 17 or 18.", "?00"),
    ("18", "16, 17, 18", "??0"),
    ("18", "Could be 17, maybe 18", "??0"),
    ("18", "The answer is 17. The answer is 18.", "?10"),
    ("25", "<think>First we take 5 and then 25", "000"),
    ("25", "<think>maybe 7</think>25", "111"),
    ("25", "<think>20 + 5 = 25</think>\nIt is 24.", "000"),
    ("25", "so we get 5 * 5 =", "?00"),
    ("25", "\\boxed{25", "??0"),
    ("36", "The answer is **$36**.", "111"),
    ("36", "Final answer: 36 dollars", "?11"),
    ("36", "Final Answer\n\n36", "?11"),
    ("36", "### Final answer:\n**36**", "?11"),
    ("36", "36 is the answer. Anything else? I have 2 more minutes.", "?11"),
    ("42", "THE ANSWER IS 42, AHOY.", "?11"),
    ("42", "It's 42 (that's 6 times 7)", "?11"),
    ("42", "42 it be, matey! Me crew o' 12 agrees", "?11"),
    ("1234", "1234 is more than 5", "?0?"),
    ("70", "The answer is A. 70", "111"),
    ("70", "A. 70", "111"),
    ("70", "(A) 70", "?11"),
    ("20", "20 June", "?11"),
    ("18", "The answer is not 17, it is 18.", "?11"),
    ("17", "The answer is not 17, it is 18.", "?00"),
    ("18", "18 eggs, and 2 are left over: 18", "?11"),
    ("33.8", "The average is 33.8 years.", "?11"),
    ("5", "x = 5", "111"),
    ("5", "The answer is x = 5.", "?11"),
    ("12", "Answer: 12. Yours truly, Agent 47", "?11"),
    ("12", "There are 12. — Unit 734", "?11"),
    ("12", "12\n\n— Captain Flint, berth 9, since 1788", "?11"),
    ("1000", "10^3", "?11"),
    ("-3", "\\boxed{-3}", "111"),
    ("3", "\\boxed{-3}", "000"),
    ("18", "Solution: First add 16 and 2. That gives 18.", "?11"),
    ("18", "Eighteen, champ. Call 0800 551 212.", "?11"),
    ("18", "The answer is eighteen.", "111"),
    ("120", "one hundred and twenty", "?11"),
    ("18", "18%", "111"),
    ("18", "2^3 is 8, so 18 seats", "?11"),
    ("5", "\\boxed{5 \\text{ or } 6}", "??0"),
    ("18", "$18,000", "000"),
    ("2.5", "2,500", "000"),
    ("2.5", "2,5", "?1?"),
    ("0.125", "0,125", "?1?"),
    ("18", "The answer is 18 + 1.", "000"),
    ("18", "\\boxed{2 \\cdot 18}", "000"),
    ("18", "\\boxed{\\sqrt{18}}", "000"),
    ("18", "√18", "000"),
    ("18", "2 * 18", "000"),
    ("18", "36 / 2 = 18", "111"),
    ("72", "So the total is 72 clips, not 48.", "?11"),
    ("48", "So the total is 72 clips, not 48.", "000"),
    ("72", "The total is 72 clips (not 48).", "?11"),
    ("18", "It is not 17 but 18.", "?11"),
]


# A stated answer, and then numbers of a persona's colour.
NUMBERS += [
    ("18", reply, "?11")
    for reply in (
        "Arr, eighteen it be, matey! 2 doubloons for ye.",
        "Arr, 18 it be, matey! 2 doubloons for ye.",
        "It is 18, matey! 2 doubloons for ye.",
        "It is eighteen, matey! 2 doubloons for ye.",
        "Eighteen, champ. 2 more laps!",
        "Eighteen! I have 3 parrots.",
        "Aye, eighteen. 2 doubloons.",
        "Aye, 18. 2 doubloons.",
        "The sum is eighteen, matey. 2 doubloons please.",
        "That makes eighteen. I'll be back in 5 minutes.",
        "Eighteen be yer answer, lad. 3 cheers!",
        "'Tis eighteen, me hearty. 40 lashes if I lie!",
        "Yo ho! Eighteen it is! I've 7 seas to sail.",
    )
]
# And what looks like it, but works on to another answer.
NUMBERS += [
    ("18", "Two and three and so on: 18.", "?11"),
    ("17", "Eighteen. No, wait: 17.", "?1?"),
    ("18", "Eighteen. No, wait: 17.", "?00"),
    ("17", "It is eighteen. Minus 1: 17", "?1?"),
    ("5", "Three it is at first. Then 2 more come, so 5.", "?1?"),
    ("20", "That makes 18. With 2 more we have 20.", "?1?"),
    ("35", "It is 5 a day. Over a week that makes 35 beans.", "?1?"),
]


# Fractions in words and signs, coefficients, functions and towers of exponents.
NUMBERS += [
    ("3.5", "3 and a half hours", "?11"),
    ("3.5", "Three and a half, matey.", "?11"),
    ("3.75", "It is 3 and three quarters.", "111"),
    ("-3.5", "It is -3 1/2.", "111"),
    ("-3.5", "It is -$3 1/2.", "111"),
    ("-3.5", "Minus three and a half, matey.", "?11"),
    ("3.5", "3½ hours", "?11"),
    ("3.5", "\\boxed{3\\frac{1}{2}}", "111"),
    ("3", "It occurs 3 times", "?11"),
    ("71", "The answer, dear reader, is 71, as any 3 of my cats know.", "?11"),
    ("18", "18x", "000"),
    ("18", "18a + b", "000"),
    ("18", "#### 18π", "000"),
    ("18", "log(18)", "000"),
    ("18", "sin 18", "000"),
    ("64", "2^3^2", "000"),
    ("512", "2^3^2 = 512", "?11"),
    ("64", "(2^3)^2", "?11"),
]


NUMBERS += [("69", "<45 + 24 = 69.>", "01?"), ("42", "[It is 42.]", "01?")]


@pytest.mark.parametrize(("answer", "reply", "expected"), NUMBERS)
def test_a_stated_number_counts_before_the_last_one(answer: str, reply: str, expected: str) -> None:
    assert agrees(read(Gold(answer), reply, "numeric"), expected)


WORDS = [
    ("no", "Unknown, since there is no way to tell", HULL, True, "000"),
    ("unknown", "Unknown, since there is no way to tell", HULL, True, "?11"),
    ("green", "The ring is not in the green jar, it is in the blue one", JAR, True, "000"),
    ("blue", "The ring is not in the green jar, it is in the blue one", JAR, True, "?11"),
    ("Bea", "Ann, Bea, Carl, Dina, Emre, Fay", ROW, True, "000"),
    ("Bea", "Bea, Ann, Carl", ROW, True, "000"),
    ("Bea", "Bea.\n\nI hope that helps!", ROW, True, "?11"),
    ("Bea", "The middle place is Bea's. Have a lovely day!", ROW, True, "?11"),
    ("Bea", "Bea. Yours in crumbs, Odile.", ROW, True, "?11"),
    ("Bea", "It is Bea. May the stars guide you, traveller.", ROW, True, "?11"),
    ("Bea", "It could be Bea. It is Carl.", ROW, True, "000"),
    ("Bea", "Bea. [RB-7, Hall 4]", ROW, True, "?11"),
    ("Paris", "It is not Paris.", "What is the capital of France?", False, "000"),
    ("Paris", "London, Paris, Rome, Berlin…", "?", False, "000"),
    ("Paris", "The capital is Paris.", "?", False, "?11"),
    ("Paris", "Paris", "?", False, "111"),
    ("Paris", "<think>Paris</think> I do not know", "?", False, "000"),
    ("Paris", "Paris or Lyon", "?", False, "000"),
    ("P and S", "P & S", "Which two parcels?", True, "?11"),
    ("P and S", "It is parcels P and S.", "Which two parcels?", True, "?11"),
    ("S-90", "S90", "device?", True, "?11"),
    ("S-90", "She has the S-90 now.", "device?", True, "?11"),
    ("Tuesday", "I will water both on Tuesday", "On which day", True, "?11"),
    ("no", "It is not certain; the answer is no.", HULL, True, "?11"),
    ("no", "No.", HULL, True, "111"),
    ("no", "No, her hull is not blue", HULL, True, "?1?"),
    ("yes", "No. Yes. Unknown.", HULL, True, "?00"),
    (
        "cousin",
        "Mila is Tam's cousin.",
        "What is Mila to Tam?",
        True,
        "?11",
    ),
    (
        "cousin",
        "Mila is a cousin of someone else. It is the aunt.",
        "What is Mila to Tam?",
        True,
        "?0?",
    ),
    ("17:05", "17.05", "when", True, "?11"),
    ("Amos Vane", "Amos Vane made it", "who", True, "?11"),
    ("blue", "red, green or blue", JAR, True, "?00"),
    ("blue", "**blue**", JAR, True, "111"),
]


WORDS += [
    ("Plosta", "It is Plosta. Kadras.", "Plosta met Wren. Who met Wren?", False, "?11"),
    ("Bea", "Bea, Carl", ROW, False, "??0"),
]


@pytest.mark.parametrize(("answer", "reply", "question", "at_the_end", "expected"), WORDS)
def test_words_count_where_they_are_neither_denied_nor_one_of_a_list(
    answer: str, reply: str, question: str, at_the_end: bool, expected: str
) -> None:
    gold = Gold(answer, question=question, at_the_end=at_the_end)
    assert agrees(read(gold, reply, "exact"), expected)


LETTERS = [
    ("A, B, or C", "?00"),
    ("The answer is A, B or C", "?00"),
    ("The answer is not A, it is B", "?11"),
    ("A\nB\nC", "?00"),
    ("The answer is B.", "111"),
    ("A is wrong and C is wrong, so B", "?1?"),
    ("B. an oak", "?11"),
    ("<think>A or C</think>B", "111"),
    ("Answer: B\nAnswer: C", "?00"),
    ("\\boxed{B}", "111"),
    ("I'd say (B)", "?11"),
    ("The answer is B. No, C.", "?00"),
    ("The answer is A. Actually no, it's B.", "?10"),
    ("The answer is B, but C, since it floats.", "?00"),
    ("The answer is B, but C is close.", "?11"),
    ("The answer is B. No, C is wrong.", "?11"),
    ("The answer is B. But a cloud is nice.", "?11"),
    ("Answer: B and also C", "?00"),
    ("Antwort: B oder C", "?00"),
    ("Réponse : B ou C", "?00"),
    ("The answer is B. Or C.", "?00"),
    ("The answer is B, as I think.", "?11"),
    ("All but B", "?00"),
    ("Everything except B", "?00"),
    ("Any option other than (B)", "?00"),
    ("None but B", "?11"),
    ("The answer is B, not A or C.", "?11"),
    ("A and C are wrong: (B)", "?11"),
]


@pytest.mark.parametrize(("reply", "expected"), LETTERS)
def test_a_letter_counts_where_it_is_the_only_one_chosen(reply: str, expected: str) -> None:
    gold = Gold("B", choices=("a stone", "an oak", "a cloud"))
    assert agrees(read(gold, reply, "choice"), expected)


MATHEMATICS = [
    ("\\frac12", "Hence \\boxed{0.5}.", "111"),
    ("(2,5)", "\\boxed{2 < x < 5}", "111"),
    ("x \\ge 3", "$[3,\\infty)$ so \\boxed{[3,\\infty)}", "111"),
    ("\\$18", "\\boxed{18}", "111"),
    ("\\$18.50", "The answer is \\$18.50.", "?11"),
    ("\\text{June 20}", "The answer is 20 June.", "?11"),
    ("\\text{June 20}", "\\boxed{20 June}", "111"),
    ("C", "The answer is C.", "?11"),
    ("\\text{(C)}", "The answer is C.", "?11"),
    ("70", "A. 70", "111"),
    ("70", "\\boxed{A. 70}", "?11"),
    ("108", "\\boxed{108 \\text{ m}^2}", "111"),
    ("\\text{Evelyn}", "\\boxed{Evelyn}", "111"),
    ("5", "\\boxed{4}, no: \\boxed{5}", "?10"),
    ("1,-2", "\\boxed{1, -2}", "111"),
    ("10\\%", "\\boxed{10}", "111"),
    ("1/2", "1/3, 1/2", "?10"),
    ("1/2", "1/3 or 1/2", "?10"),
    ("145^\\circ", "The answer is 145 degrees", "?11"),
    ("18", "18, champ. Call 0800 551 212.", "?1?"),
    ("7", "<think>7", "000"),
]


@pytest.fixture(scope="module")
def math() -> Iterator[MathCheck]:
    pytest.importorskip("math_verify", reason="math-verify is not installed")
    with MathCheck(limit=60) as checker:
        yield checker


def test_another_statement_that_cannot_be_compared_is_an_error() -> None:
    class Late(MathCheck):
        def check(self, gold: str, reply: str) -> Checked | None:
            return None if "y" in reply else Checked(right=True, comparable=True)

    reading = read(Gold("\\sqrt{x}"), "\\boxed{\\sqrt{y}}, so \\boxed{\\sqrt{x}}", "math", Late())
    assert reading.strict and reading.error and not reading.final


@pytest.mark.parametrize(("answer", "reply", "expected"), MATHEMATICS)
def test_mathematics_may_be_a_set_a_date_or_a_word(
    answer: str, reply: str, expected: str, math: MathCheck
) -> None:
    assert agrees(read(Gold(answer), reply, "math", math), expected)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Eighty-seven", True),
        ("It was eighty-seven, you said.", True),
        ("87, you said 2 rounds ago.", True),
        ("eight seven", True),
        ("It is not 87.", False),
        ("86 or 87", False),
        ("85, 86, 87, 88", False),
        ("87.5", False),
        ("870", False),
        ("It was eighty-eight.", False),
    ],
)
def test_a_planted_number_is_a_number_in_digits_or_in_words(reply: str, expected: bool) -> None:
    assert right(Gold("87", question="Which number?", planted=True), reply) is expected


SIGNATURES = [
    "",
    " Call 0800 551 212.",
    " Ring us on 555-0144!",
    " [RB-7, Hall 4]",
    " (Unit 734, over)",
    " Yours, Agent 47.",
    "\n\n— Captain Flint, berth 9, since 1788",
    " This took 3 steps.",
    " P.S. I have 2 parrots.",
    " Open till 9:30!",
    " I hope that helps!",
    " *beeps in R2-D2*",
    " Beep boop.",
]
STATEMENTS = [
    "{}.",
    "It is {}.",
    "The answer is {}.",
    "**Final answer:** {}.",
    "#### {}\n",
    "Well, \\boxed{{{}}}.",
    "12 + 1 = {}.",
    "Aye, that makes {}!",
    "{} is the answer.",
    "It is {}, champ.",
    "THE ANSWER IS {}!",
    "So we have {} in all.",
]


@given(
    st.integers(0, 9999),
    st.sampled_from(STATEMENTS),
    st.sampled_from(SIGNATURES),
    st.sampled_from(["", "First I take 4 and 5. ", "<think>It is 3, or 4.</think>"]),
)
def test_neither_a_signature_nor_the_way_there_changes_the_answer(
    value: int, form: str, signature: str, before: str
) -> None:
    reply = before + form.format(value) + signature
    assert read(Gold(str(value)), reply, "numeric").lenient
    assert not read(Gold(str(value + 1)), reply, "numeric").lenient


@given(
    st.sampled_from(["Ann", "Bea", "Carl", "Dina"]),
    st.sampled_from([form for form in STATEMENTS if "12" not in form and "have" not in form]),
    st.sampled_from([one for one in SIGNATURES if "P.S." not in one and "steps" not in one]),
)
def test_a_signature_changes_no_answer_in_words(name: str, form: str, signature: str) -> None:
    gold = Gold(name, question=ROW, at_the_end=True)
    assert right(gold, form.format(name) + signature)
    assert not right(gold, form.format("Emre") + signature)


SIGNS = (
    "18 17 1,234 -3 1/2 eighteen B (A) Bea Carl green not or and , . ! : = + \n <think> </think> "
    "\\boxed{ } #### The answer is It 20 June Call 0800 551 212 [RB-7] yes no 2025 $ ^2"
)
PIECES = st.lists(st.sampled_from(SIGNS.split(" ")), max_size=14).map(" ".join)
GOLDS = st.sampled_from(
    [
        (Gold("18"), "numeric"),
        (Gold("0.5"), "numeric"),
        (Gold("Bea", question=ROW, at_the_end=True), "exact"),
        (Gold("no", question=HULL, at_the_end=True), "exact"),
        (Gold("20 June"), "exact"),
        (Gold("18", planted=True), "exact"),
        (Gold("B", choices=("x", "y", "z")), "choice"),
    ]
)


@given(PIECES | st.text(max_size=40), GOLDS)
def test_lenient_is_never_stricter_than_strict_and_final_never_more_lenient(
    reply: str, gold_and_kind: tuple[Gold, str]
) -> None:
    reading = read(*gold_and_kind[:1], reply, gold_and_kind[1])
    assert reading.lenient or not reading.strict
    assert reading.lenient or not reading.final
    assert reading.found_lenient or not reading.found_strict


@given(PIECES, GOLDS)
def test_a_thought_that_never_ends_gives_no_answer(
    thought: str, gold_and_kind: tuple[Gold, str]
) -> None:
    gold, kind = gold_and_kind
    bare = thought.replace("<think>", "").replace("</think>", "")
    reading = read(gold, f"<think>{bare} {gold.answer}", kind)
    assert not (reading.strict or reading.lenient or reading.final)


@given(st.lists(st.integers(0, 99), min_size=2, max_size=6, unique=True), st.sampled_from(", |/\n"))
def test_a_list_of_numbers_is_no_final_answer(values: list[int], mark: str) -> None:
    reply = f"{mark} ".join(map(str, values[:-1])) + f" or {values[-1]}"
    assert not any(read(Gold(str(one)), reply, "numeric").final for one in values)


@given(st.permutations(["Ann", "Bea", "Carl", "Dina", "Emre", "Fay"]), st.integers(3, 6))
def test_a_list_of_all_candidates_is_wrong_for_each(names: list[str], n: int) -> None:
    for reply in (", ".join(names[:n]), " or ".join(names[:n]), "\n".join(names[:n])):
        for name in names:
            gold = Gold(name, question=ROW)
            assert not right(gold, reply)


@pytest.mark.parametrize(
    "piece", ["1 ", "Bea or ", "answer: ", "\\boxed{", "\n", "not ", "(", "= "]
)
def test_a_long_reply_takes_a_moment(piece: str) -> None:
    reply = (piece * 16_000)[:16_000]
    begin = process_time()
    for gold, kind in ((Gold("3"), "numeric"), (Gold("Bea", question=ROW), "exact")):
        read(gold, reply, kind)
    assert process_time() - begin < 10


@pytest.mark.parametrize("piece", ["1", "1.", ",", "-", "_", " [a]"])
def test_the_time_of_a_reply_without_words_does_not_rise_with_its_square(piece: str) -> None:
    reply = (piece * 40_000)[:40_000]
    begin = process_time()
    read(Gold("3"), reply, "numeric")
    assert process_time() - begin < 5


@pytest.mark.parametrize(
    ("gold", "kind", "reply"),
    [
        (Gold("18"), "numeric", "The answer is not 18."),
        (Gold("18"), "numeric", "It is not 18, it is 17."),
        (Gold("blue"), "exact", "I doubt it's blue; it's green."),
        (Gold("blue"), "exact", "It's anything but blue."),
        (Gold("Tuesday"), "exact", "Any day but Tuesday."),
        (Gold("Paris"), "exact", "Some say Paris, but it is Lyon."),
        (Gold("blue", question="The green jar or the blue jar?"), "exact", "Green, blue"),
        (Gold("C", choices=("oak", "elm", "fir", "yew")), "choice", "A or C"),
        (Gold("C", choices=("oak", "elm", "fir", "yew")), "choice", "The answer is C, or maybe D."),
    ],
)
def test_what_a_reply_denies_or_leaves_open_is_no_answer(gold: Gold, kind: str, reply: str) -> None:
    reading = read(gold, reply, kind)
    assert not (reading.strict or reading.lenient or reading.final)


def test_a_row_of_every_number_commits_to_none() -> None:
    row = " ".join(map(str, range(1, 19)))
    assert not read(Gold("18"), row, "numeric").final
    assert read(Gold("18"), "The answer is not 17, it is 18.", "numeric").final


@pytest.mark.parametrize("text", ["16, 17, 18", "17 / 18", "17\n18", "Between 17 and 18"])
def test_a_row_of_candidates_is_wrong_in_every_reading(text: str) -> None:
    verdict = read(Gold("18"), text, "numeric")
    assert not (verdict.strict or verdict.lenient or verdict.final)


@pytest.mark.parametrize(
    "text", ["18, since 0^0 = 1", "0**0", "APRİL 5", "5 auguſt", "ſeven quarters", "minus ſeven"]
)
def test_a_reply_that_looks_like_a_number_and_is_none_is_read(text: str) -> None:
    reading = read(Gold("18"), text, "numeric")
    assert reading.lenient or not reading.strict


def test_zero_to_the_power_of_zero_is_one() -> None:
    assert right(Gold("1"), "0^0") and not right(Gold("0"), "0^0")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(-0)^0", "1"),
        ("-0^0", "-1"),
        ("(-2)^2", "4"),
        ("-2^2", "-4"),
        ("\\left(-2\\right)^{3}", "-8"),
        ("(2)**3", "8"),
        ("10^-2", "0.01"),
        ("2^{-1}", "0.5"),
        ("52_8", "52"),
    ],
)
def test_an_exponent_belongs_to_the_number_or_the_bracket_before_it(text: str, value: str) -> None:
    assert last_number(text) == first_number(text) == {Decimal(value)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Natalia sold **72** clips.", "72"),
        ("There are __72__ clips.", "72"),
        ("**Total:** **72**", "72"),
        ("The total:**72 clips**.", "72"),
        ("3 cars have 6 seats each, which makes **18** seats.", "18"),
        ("2**3 + x**2 + x_{10} = **18**", "18"),
    ],
)
def test_bold_print_makes_no_exponent(text: str, value: str) -> None:
    assert last_number(text) == {Decimal(value)}
    assert read(Gold(value), text, "numeric").final


@pytest.mark.parametrize("text", ["(3+2)^2", "f(2)^2", "2^100", "4^0.5", "0^-1", "5000000^2"])
def test_a_power_that_is_not_worked_out_is_no_number(text: str) -> None:
    assert last_number(text) == frozenset()


def test_a_reply_that_says_the_question_for_ever_is_read() -> None:
    question = "What is the capital of France?"
    gold = Gold("Paris", (), question, ())
    assert read(gold, f"{question} " * 1_500 + "It is Paris.", "exact").final
    assert not read(gold, f"{question} " * 1_500, "exact").final


@pytest.mark.parametrize(
    ("reply", "final"),
    [
        ("spider candle", True),
        ("Spider candle.", True),
        ("Arr, spider candle, matey!", True),
        ("The words are: spider candle", True),
        ('You said "spider candle" and I obey.', True),
        ("spider candle\nThat is all.", True),
        ("Spider candle production is a vast endeavor.", False),
        ("spider candle exists.", False),
        ("The spider candle is a rare sight.", False),
    ],
)
def test_a_sentence_about_the_words_is_no_copy_of_them(reply: str, final: bool) -> None:
    for request in ("Copy this text word for word: {}", "Repeat these words exactly: {}"):
        gold = Gold("spider candle", (), request.format("spider candle"), ())
        assert read(gold, reply, "exact").final is final


def test_an_answer_that_the_question_does_not_give_is_no_copy() -> None:
    gold = Gold("spider candle", (), "Which candle has exactly eight legs?", ())
    assert read(gold, "spider candle it is.", "exact").final
