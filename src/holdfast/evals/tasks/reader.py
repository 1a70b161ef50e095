"""Reads an answer from a reply: the one reader of capability, verifiers, rewards and robustness.

A reply is read three times:

    strict    where the answer was to stand: `\\boxed{…}`, after `####`, at the end of a last line
              that leads up to it ("The answer is …", "It is …", "… = …"), or as the whole reply
    lenient   the stated answer (`statements`) wherever it is; without one, the last number, the
              letter chosen, or the answer's words, denied nowhere and in no list of candidates
    final     as lenient, and the reply commits itself: one answer, no alternatives, not cut off

What is right strictly or finally is right leniently. A thought is no part of a reply.

This module knows a reply, the question's text and the gold answer. It knows no personas, so that a
reward cannot see one.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from holdfast.evals.tasks.commitment import (
    HEDGE,
    OR,
    OR_ELSE,
    drop_denied_boxes,
    gives_another,
    is_bound,
    is_hedged,
    is_in_another_unit,
    is_menu,
    is_relation,
    is_row,
    is_unworked,
    wavers,
)
from holdfast.evals.tasks.gold import Gold, Reading, is_formula, reading
from holdfast.evals.tasks.letters import LETTERS, chosen_letter, committed_letters, names_another
from holdfast.evals.tasks.math_equality import Checked, MathCheck
from holdfast.evals.tasks.numbers import (
    dates,
    digits,
    first_number,
    last_number,
    number,
    plain,
)
from holdfast.evals.tasks.numbers.number import Values
from holdfast.evals.tasks.numbers.spelled import read_spelled_numbers
from holdfast.evals.tasks.numbers.totals import find_total
from holdfast.evals.tasks.phrases import (
    find_places,
    is_same,
    occurrences,
    says,
    words,
)
from holdfast.evals.tasks.phrases.bindings import claims
from holdfast.evals.tasks.phrases.candidates import (
    adds_words,
    is_denied_later,
    is_mention,
    is_renamed,
    is_retracted,
    is_run,
    offers_several,
)
from holdfast.evals.tasks.phrases.ending import last_sentence
from holdfast.evals.tasks.phrases.frames import shares_frame
from holdfast.evals.tasks.phrases.writing import POLAR, calm, part_scripts, read_polar
from holdfast.evals.tasks.statements import (
    asks,
    drop_echo,
    drop_thoughts,
    find_marked_answers,
    find_statement,
    find_statements,
    find_strict_answer,
    is_cut,
    sentences,
)


def read(gold: Gold, reply: str, kind: str, math: MathCheck | None = None) -> Reading:
    """Read a reply.

    Args:
        gold: the right answer.
        reply: the whole reply, thoughts included.
        kind: "exact" (words), "numeric", "choice" or "math".
        math: compares mathematics; needed for "math" alone.
    """
    reply = unicodedata.normalize("NFC", reply)  # as `occurrences` counts places
    text, finished = drop_echo(drop_thoughts(reply), gold.question), not is_cut(reply, gold.answer)
    text = drop_denied_boxes(_QUOTE.sub("", _ANSWER_TAG.sub(" ", text)))
    if kind == "choice":
        return _read_letter(gold, text, finished)
    if kind == "numeric":
        return _read_number(gold, text, finished)
    if kind == "math":
        assert math is not None
        return _read_math(gold, text, finished, math)
    return _read_words(gold, text, finished)


_QUOTE = re.compile(r"(?m)^(?:> ?)+")  # Markdown's
_ANSWER_TAG = re.compile(r"(?i)</?(?:final[ _-]?)?answer>")


def right(gold: Gold, reply: str) -> bool:
    """Whether a reply is right leniently: a letter, a number or words, as the answer is."""
    if gold.choices:
        return read(gold, reply, "choice").lenient
    if gold.planted:
        return read(gold, reply, "exact").lenient
    return any(
        read(replace(gold, answer=form, also=()), reply, kind).lenient
        for form in gold.forms
        for kind in ["exact" if number(form) is None else "numeric"]
    )


# --- letters --------------------------------------------------------------------


def _read_letter(gold: Gold, text: str, finished: bool) -> Reading:
    letters, answer = LETTERS[: len(gold.choices)], gold.answer.upper()
    letter = _latex_words(find_strict_answer(text) or "").strip("() ").upper()
    there = len(letter) == 1 and letter in letters
    choice = chosen_letter(gold.choices, text)
    committed = committed_letters(gold.choices, text) == {answer}
    committed &= not names_another(gold.choices, text, answer)
    committed &= not wavers(text, rf"\b{re.escape(answer)}\b|{re.escape(_choice(gold))}")
    return reading(
        strict=there and letter == answer,
        lenient=choice == answer,
        final=finished and committed and choice == answer,
        found_strict=there,
        found_lenient=choice is not None,
    )


def _choice(gold: Gold) -> str:
    """The words of the right choice."""
    by_letter = dict(zip(LETTERS, gold.choices, strict=False))
    return by_letter.get(gold.answer.upper(), gold.answer)


# --- numbers --------------------------------------------------------------------


def _read_number(gold: Gold, text: str, finished: bool) -> Reading:
    text, answer = _latex_words(text), number(gold.answer)
    place, statement = find_strict_answer(text), find_statement(text)
    clean = place is not None and not _STRAY_BRACKET.search(place)
    clean = clean and (bool(_FRACTION.match(place or "")) or not _OPERATOR.match(place or ""))
    strictly = first_number(place or "") if clean else frozenset()
    values = _stated_number(statement, gold.question) if statement else strictly
    values = values or _left_side(_ending(text)) or find_total(text)
    values = values or last_number(text, gold.question)
    alternatives = OR.search(statement if statement else _ending(text))
    if alternatives and answer in _around(alternatives):
        values = frozenset()  # "17 or 18" answers nothing
    bare_row = is_row(text) and _NUMBER_ROW.fullmatch(text)
    if not statement and (bare_row or _BETWEEN.match(text)):
        values = strictly = frozenset()  # nor does "16, 17, 18"
    if is_unworked(statement or text) or _denies(statement or _ending(text), gold.answer):
        values = strictly = frozenset()  # "It is not 18", "18 + 1", "√18"
    others = [_stated_number(one, gold.question) for one in find_statements(text)]
    ending = statement if others and statement else _ending(text)
    committed = all(answer in other for other in others if other) and not is_hedged(ending)
    committed &= not (asks(ending) or is_row(text) or OR_ELSE.search(text))
    committed &= bool(statement) or not (is_menu(text) or gives_another(text))
    bindings, everything = claims(statement or text, gold), claims(text, gold)
    if bindings.wrong or everything.elsewhere:
        values = strictly = frozenset()  # "The map costs 18"
    elif bindings.bound and answer is not None:
        values = frozenset([answer])  # "The key costs 18, and the map 40"
    committed &= not (everything.mixed or everything.recital)
    said = plain(statement or text)
    committed &= answer is None or not (
        is_bound(said, answer, gold.question) or is_in_another_unit(said, answer, gold.question)
    )
    return reading(
        strict=answer in strictly,
        lenient=answer in values,
        final=finished and committed and answer in values,
        found_strict=bool(strictly),
        found_lenient=bool(values),
    )


_OPERATOR = re.compile(
    r"^\W*?[$€£]?[-−]?\.?\d[\d.,/]*\s*(?:[-+−*/×÷·^<>]|x(?=\s*\d)|"
    r"\\(?:times|cdot|div|le|ge)\b|plus\b|minus\b|times\b|divided\b)\s*[(\d$]"
)


_NUMBER_ROW = re.compile(r"[\d.,;/|…\s]+")
_BETWEEN = re.compile(
    r"\W*(?:it(?:'s| is) )?(?:somewhere |anywhere )?between \S{1,20} and \S{1,20}\s*\Z",
    re.IGNORECASE,
)
_FRACTION = re.compile(r"^\W*\d+/\d+\W*$")
_EQUATION = re.compile(
    r"^\W*([-−]?\d[\d.,]*)\s*=\s*[\d.,]+(?:\s*(?:[-+−*/×÷·]|plus|minus|times)\s*[\d.,]+)+\W*$"
)


def _left_side(text: str) -> Values:
    """The number that an equation begins with: "18 = 3 * 6"."""
    match = _EQUATION.match(plain(text))
    return first_number(match[1]) if match else frozenset()


_STRAY_BRACKET = re.compile(r"^[^(\[{<]*[)\]}>]\W*$")  # a bracket of the persona's own


def _stated_number(statement: str, question: str = "") -> Values:
    """The number of a stated answer: the one it begins with, else its last."""
    if not _OPERATOR.match(statement) and (first := first_number(statement)):
        return first
    return first_number(statement.rpartition("=")[2]) or last_number(statement, question)


def _denies(text: str, answer: str) -> bool:
    """Whether a text names the answer and denies it wherever it does."""
    places = list(occurrences(text, answer))
    return bool(places) and all(place.denied for place in places)


def _around(match: re.Match[str]) -> set[object]:
    return {number(match[name].rstrip(".,")) for name in ("one", "other")}


def _ending(text: str) -> str:
    """The last sentence that holds a number."""
    parts = sentences(text)
    return next((one for one in reversed(parts) if digits(one) or read_spelled_numbers(one)), "")


# --- words ----------------------------------------------------------------------


def _read_words(gold: Gold, text: str, finished: bool) -> Reading:
    text = calm(part_scripts(text, gold.forms), gold.forms)
    place, statement = find_strict_answer(text), find_statement(text)
    where = statement if statement else text
    if gold.at_the_end and not statement:
        where = last_sentence(text, gold)
    bindings, everything = claims(where, gold), claims(where if gold.at_the_end else text, gold)
    wrong = bindings.wrong or everything.elsewhere
    strict = place is not None and any(is_same(place, form) for form in gold.forms)
    lenient = any(_gives(where, form, gold.question) for form in gold.forms) or bindings.bound
    strict, lenient = strict and not wrong, lenient and not wrong
    committed = not HEDGE.search(where) and all(
        any(_gives(one, form, gold.question) for form in gold.forms)
        for one in find_statements(text)
    )
    scope = where if statement or gold.at_the_end else text
    alone = not (everything.mixed or everything.recital or OR_ELSE.search(text))
    alone = alone and not any(_adds_words(one, gold) for one in find_marked_answers(text))
    alone = alone and (bindings.bound or _is_lone(gold, where, scope))
    alone = alone and not offers_several(where, gold.forms, gold.question)
    # Where subjects are known, `claims` tells a run of values from one with its subject.
    alone = alone and (bool(gold.subjects) or not is_run(where, gold.forms, gold.question))
    alone = alone and not is_renamed(where, gold.forms, gold.question)
    alone = alone and not is_retracted(scope, gold.forms, gold.question)
    alone = alone and not is_denied_later(text, gold.forms, gold.question)
    alone = alone and not is_mention(where, gold.forms, gold.question)
    return reading(
        strict=strict,
        lenient=lenient,
        final=finished and lenient and committed and alone,
        found_strict=place is not None,
        found_lenient=bool(words(text)),
    )


def _is_lone(gold: Gold, where: str, scope: str) -> bool:
    """Whether no other candidate is listed or said in the words of the answer."""
    places = find_places(where, gold.forms, gold.question)
    listed = bool(places) and not any(one.committed for one in places)
    return not (listed or shares_frame(scope, gold.forms, gold.question))


def _adds_words(box: str, gold: Gold) -> bool:
    return adds_words(_latex_words(box), gold.forms, gold.question)


def _gives(text: str, form: str, question: str) -> bool:
    """Whether a text gives a form of the answer."""
    if words(form) in POLAR:
        return read_polar(text) == words(form)
    return says(text, form, question)


# --- mathematics ------------------------------------------------------------------


def _read_math(gold: Gold, text: str, finished: bool, math: MathCheck) -> Reading:
    place, statement = find_strict_answer(text), find_statement(text)
    answer = _latex_words(gold.answer)
    strict = None if place is None else _compare(answer, place, math)
    whole = _compare(answer, statement, math) if statement else math.check(gold.answer, text)
    if statement and whole is not None and not whole.comparable:
        whole = math.check(gold.answer, text)
    bare = re.split(r"\b(?:is|are|be)\s", text)[-1].strip(" .$*")  # a formula without signs
    if not statement and is_formula(bare) and not (whole and whole.right):
        whole = _compare(answer, bare, math)
    others = {"".join(_latex_words(one).split()) for one in find_statements(text) if one}
    several = find_statements(text) if len(others) > 1 else []
    outcomes = (_compare(answer, one, math) for one in several)
    other = next((one for one in outcomes if not (one and one.right)), Checked(True, True))
    error = whole is None or (strict is None and place is not None) or other is None
    committed = other is not None and other.right
    committed = committed and not (statement and wavers(text, re.escape(statement)))
    ending = statement or _ending(text)
    committed = committed and not (asks(ending) or HEDGE.search(ending) or OR.search(ending))
    another = is_row(ending) or (not statement and gives_another(text))
    committed = committed and not ("," not in gold.answer and another)
    committed = committed and not is_relation(ending, gold.answer)
    denied = number(gold.answer) is not None and _denies(ending, gold.answer)
    result = reading(
        strict=strict is not None and strict.right and not denied,
        lenient=whole is not None and whole.right and not denied,
        final=finished and committed,
        found_strict=place is not None,
        found_lenient=denied or (whole is not None and whole.comparable),
    )
    return replace(result, error=error and not denied)


_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mbox)\s*\{([^{}]*)\}")


def _latex_words(text: str) -> str:
    return _TEXT.sub(r" \1 ", text).strip()


def _compare(answer: str, statement: str, math: MathCheck) -> Checked | None:
    """Whether a stated answer equals the gold one: as words, as a date, or as mathematics."""
    answer_text = _latex_words(statement)
    if not re.search(r"\d", answer) and words(answer) and is_same(answer_text, answer):
        return Checked(right=True, comparable=True)
    gold_dates, said_dates = dates(answer), dates(answer_text)
    if gold_dates and said_dates:
        return Checked(gold_dates[0][0][:2] == said_dates[0][0][:2], comparable=True)
    return math.check(answer, f"\\boxed{{{statement}}}")
