"""The gold answer as the columns of a data set have it.

This module knows rows. It knows no questions and no replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from numbers import Integral, Real
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks.letters import LETTERS
from holdfast.evals.tasks.statements import read_last_box


def is_number(value: object) -> bool:
    """Whether a value is a finite number; True is none."""
    is_real = isinstance(value, Real | Decimal) and not isinstance(value, bool)
    return is_real and isfinite(value)  # type: ignore[arg-type]


def gold_answer(gold: object) -> str:
    """The gold answer of a row, without its working.

    Raises:
        HoldfastError: There is none, or it is neither a text nor a finite number.
    """
    if not (gold is None or isinstance(gold, str | bool) or is_number(gold)):
        raise HoldfastError(
            f"a row's gold answer is a text or a finite number, not {_described(gold)}: give one "
            "of them, and other forms of it in the column 'also'."
        )
    if gold is None or not (answer := final_answer(str(gold))):
        raise HoldfastError("a row has no gold answer, so that no reply to it can be paid.")
    return answer


def read_list(name: str, values: Any) -> tuple[Any, ...]:
    """The texts and numbers of a row's column, which is a list, an array or None.

    Args:
        name: of the column; named in errors.
        values: what the row has there.

    Raises:
        HoldfastError: It is something else, or there are more choices than letters.
    """
    if values is None:
        return ()
    is_list = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    entries = tuple[Any, ...](values) if is_list else (None,)
    if not all(isinstance(one, str) or is_number(one) for one in entries):
        raise HoldfastError(f"a row's {name} is a list of texts, not {_described(values)}.")
    if name == "choices" and len(entries) > len(LETTERS):
        raise HoldfastError(f"a row has {len(entries)} choices, of {len(LETTERS)} at most.")
    return entries


def _described(value: object) -> str:
    """A value with its type, for errors."""
    return f"{type(value).__name__} ({str(value)[:80]})"


def final_answer(gold: str) -> str:
    """The answer itself of one with its working: what follows ####, else what its last box holds.

    A text with neither is the answer.
    """
    if "####" in gold:
        return gold.rpartition("####")[2].strip()
    return last_box(gold) if "\\boxed" in gold else gold.strip()


def last_box(solution: str) -> str:
    """What the last box of a solution holds, as `\\boxed{2}` or `$\\boxed 2$`; "" without one."""
    rest = solution.rpartition("\\boxed")[2].lstrip()
    if "\\boxed" in solution and not rest.startswith("{"):
        return rest.partition("$")[0].strip()
    return (read_last_box(solution) or "").strip()


def letter_of(answer: object, choices: Sequence[object], where: str) -> str:
    """The letter of the answer to a question with choices.

    Args:
        answer: a choice's text, else its letter, else a whole number: its place, from 0.
        choices: texts or numbers.
        where: names the place in errors.

    Raises:
        HoldfastError: it is none of these, or the place of one choice and the text of another.
    """
    texts, text = [str(one).strip() for one in choices], str(answer).strip()
    is_place = isinstance(answer, Integral) and not isinstance(answer, bool)
    if is_place and not any(map(is_number, choices)) and 0 <= int(text) < len(texts):
        if text in texts and texts.index(text) != int(text):
            raise HoldfastError(
                f"{where}: the answer {text} may be the choice {text!r} or the one at place {text} "
                f"({texts[int(text)]!r}): give its letter."
            )
        return LETTERS[int(text)]
    if text in texts:
        return LETTERS[texts.index(text)]
    if text.upper() in tuple(LETTERS[: len(texts)]):
        return text.upper()
    raise HoldfastError(f"{where}: the answer {text[:80]!r} is neither a choice nor its letter.")
