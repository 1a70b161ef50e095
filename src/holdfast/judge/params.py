"""Reading a judge's parameters from TOML, with errors that name judge, parameter and choice.

Every judge asks for its parameters by name and type; what it did not ask for is an
error too, so that a misspelt parameter is never silently ignored.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import NoReturn, overload

from holdfast.core.errors import JudgeError
from holdfast.judge.pattern import Pattern


class Params:
    """The parameters of one judge, taken one by one; `refuse_unknown` refuses the others."""

    def __init__(self, name: str, spec: Mapping[str, object]) -> None:
        self.name = name
        self._spec = spec
        self._known: list[str] = ["name"]

    def fail(self, problem: str) -> NoReturn:
        """Raise a `JudgeError` that names this judge."""
        raise JudgeError(f"judge “{self.name}”: {problem}")

    def take(self, key: str) -> object | None:
        """The raw value, or None where it is not given."""
        self._known.append(key)
        return self._spec.get(key)

    def need(self, key: str, what: str) -> object:
        """The raw value of a parameter that must be given; `what` says what it is."""
        value = self.take(key)
        if value is None:
            self.fail(f"{self._misspelt(key)}parameter “{key}” is missing; give {what}")
        return value

    def _misspelt(self, key: str) -> str:
        """A hint where the spec has a parameter that looks like `key` under another name."""
        others = [name for name in self._spec if name not in self._known and name != key]
        close = difflib.get_close_matches(key, others, n=1, cutoff=0.7)
        return f"unknown parameter “{close[0]}” (did you mean “{key}”?); " if close else ""

    def one_of(self, key: str, words: Iterable[str], default: str | None = None) -> str:
        """One of a few words."""
        choices = list(words)
        says = "one of " + ", ".join(f"“{c}”" for c in choices)
        value = self.take(key) if default is not None else self.need(key, says)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or value not in choices:
            self.fail(f"parameter “{key}” must be {says}, not {value!r}")
        return value

    def text(self, key: str) -> str:
        """A string that is not empty."""
        value = self.need(key, "a string")
        if not isinstance(value, str) or not value.strip():
            self.fail(f"parameter “{key}” must be a string that is not empty, not {value!r}")
        return value

    def pattern(self, key: str, flags: str = "i") -> Pattern:
        """A regular expression, in either case unless the flags say otherwise."""
        try:
            return Pattern(self.text(key), flags)
        except JudgeError as error:
            self.fail(f"parameter “{key}”: {error}")

    def texts(self, key: str, least: int = 1) -> tuple[str, ...]:
        """A list of strings, none of them empty, none twice."""
        value = self.need(key, "a list of strings")
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(text, str) and text.strip() for text in value
        ):
            self.fail(f"parameter “{key}” must be a list of strings that are not empty")
        texts: tuple[str, ...] = tuple(value)
        if len(texts) < least or len(set(texts)) != len(texts):
            self.fail(f"parameter “{key}” must list at least {least} strings, none of them twice")
        return texts

    def texts_or_none(self, key: str) -> tuple[str, ...]:
        """The same, and no strings where it is not given."""
        return self.texts(key) if self.take(key) is not None else ()

    def exactly_one(self, *keys: str) -> str:
        """The one of these keys that is given."""
        present = [key for key in keys if key in self._spec]
        names = " or ".join(f"“{key}”" for key in keys)
        if len(present) != 1:
            hints = "".join(map(self._misspelt, keys)) if not present else ""
            self.fail(f"{hints}give exactly one of the parameters {names}")
        return present[0]

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(f"parameter “{key}” must be true or false, not {value!r}")
        return value

    def number(self, key: str, low: float | None = None, high: float | None = None) -> float | None:
        """A finite number between `low` and `high`, or None where it is not given."""
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(f"parameter “{key}” must be a number, not {value!r}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        inside = (low is None or number >= low) and (high is None or number <= high)
        if not math.isfinite(number) or not inside:
            self.fail(f"parameter “{key}” must be a number{_range(low, high)}, not {value!r}")
        return number

    @overload
    def whole(self, key: str, default: None = None, low: int = 0) -> int | None: ...
    @overload
    def whole(self, key: str, default: int, low: int = 0) -> int: ...
    def whole(self, key: str, default: int | None = None, low: int = 0) -> int | None:
        """A whole number of at least `low`, or the default."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= 10**9:
            limits = f"of at least {low} and at most {10**9}"
            self.fail(f"parameter “{key}” must be a whole number {limits}, not {value!r}")
        return value

    def bounds(self) -> tuple[int | None, int | None]:
        """`min`, `max` or `exactly` as a pair of inclusive bounds; at least one must be there."""
        exactly = self.whole("exactly", low=1)
        least, most = self.whole("min"), self.whole("max", low=1)
        if exactly is not None:
            if least is not None or most is not None:
                self.fail("give either “exactly”, or “min” and “max”, not both")
            return exactly, exactly
        if least is None and most is None:
            self.fail("give at least one of the parameters “min”, “max”, “exactly”")
        if least is not None and most is not None and least > most:
            self.fail(f"parameter “min” ({least}) must not exceed “max” ({most})")
        return least, most

    def refuse_unknown(self) -> None:
        """Refuse parameters that nobody asked for."""
        unknown = [key for key in self._spec if key not in self._known]
        if not unknown:
            return
        parameters = [key for key in dict.fromkeys(self._known) if key != "name"]
        close = difflib.get_close_matches(unknown[0], parameters, n=1)
        hint = f" (did you mean “{close[0]}”?)" if close else ""
        names = ", ".join(f"“{key}”" for key in parameters) or "none"
        self.fail(f"unknown parameter “{unknown[0]}”{hint}; it takes {names}")


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" of at least {low:g}"
    return f" of at most {high:g}" if high is not None else ""
