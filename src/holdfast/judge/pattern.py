"""Regular expressions that persona files bring along, under a limit of time.

Python's `re` backtracks without end on patterns such as `(a+)+$`. `regex` has the same syntax and
stops after `SECONDS` of processor time; the judge then raises `JudgeError`, as no score would be
the reply's own. Counted repetitions are limited too, because `regex` unrolls them on compiling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import regex

from holdfast.core.errors import JudgeError

SECONDS = 1.0
MOST_REPEATS = 10_000
_COUNT = re.compile(r"\{(\d+)?(?:,(\d+)?)?\}")
# "(a+)+": one thing repeated again and again, which could be split in any number of ways.
_REPEATED_TWICE = re.compile(
    r"(?<!\\)\((?:\?:)?(?:\\.|\[[^\]]+\]|[^\\()\[\]])(?:[+*]|\{\d*,\})\)(?:[+*]|\{\d*,\})"
)


class Pattern:
    """A compiled regular expression whose searches end.

    Args:
        source: the expression, in the syntax of Python's `re`.
        flags: letters out of `imsx`.

    Raises:
        JudgeError: for an expression that is wrong or repeats too often.
    """

    def __init__(self, source: str, flags: str = "") -> None:
        if twice := _REPEATED_TWICE.search(source):
            raise JudgeError(
                f"{twice.group()} repeats a repetition and may never finish; repeat it once"
            )
        repeats = 1
        for count in _COUNT.finditer(source):
            repeats *= max(1, *(int(n[:9]) for n in count.groups(default="1")))
        if repeats > MOST_REPEATS:
            raise JudgeError(
                f"the counts in braces multiply to {repeats}; at most {MOST_REPEATS} are allowed"
            )
        mask = 0
        for letter in flags:
            mask |= regex.RegexFlag[letter.upper()]
        try:
            re.compile(source)
            self._compiled = regex.compile(source, mask)
        except (re.error, regex.error, OverflowError, RecursionError) as error:
            raise JudgeError(f"it is not a regular expression: {error}") from None

    def search(self, text: str) -> bool:
        """True where the expression matches somewhere in the text."""
        return self._limit(self._compiled.search, text) is not None

    def fullmatch(self, text: str) -> bool:
        """True where the expression matches the whole text."""
        return self._limit(self._compiled.fullmatch, text) is not None

    def first_group(self, text: str) -> str | None:
        """The text of the first group where the expression matches, None where it does not."""
        match = self._limit(self._compiled.search, text)
        return (match[1] or "") if match else None

    @property
    def groups(self) -> int:
        """How many groups the expression has."""
        return int(self._compiled.groups)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end of all matches, in order."""
        spans: list[tuple[int, int]] = self._limit(self._all_spans, text)
        return spans

    def _all_spans(self, text: str, timeout: float) -> list[tuple[int, int]]:
        return [match.span() for match in self._compiled.finditer(text, timeout=timeout)]

    def _limit(self, method: Any, text: str) -> Any:
        try:
            return method(text, timeout=SECONDS)
        except (TimeoutError, MemoryError):
            raise JudgeError(
                f"the pattern {self._compiled.pattern!r} did not finish within {SECONDS:g} second "
                "on a reply; make its repetitions exclude each other, as in \\w+(?:\\s+\\w+)*"
            ) from None


def limited_validator() -> Any:
    """JSON schema's 2020-12 validator class, with `Pattern` in place of Python's `re`."""
    from jsonschema.validators import Draft202012Validator, extend

    return extend(
        Draft202012Validator,
        {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
        },
    )


def _pattern(validator: Any, source: str, value: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if validator.is_type(value, "string") and not Pattern(source).search(value):
        yield ValidationError(f"{value!r} does not match {source!r}")


def _pattern_properties(validator: Any, table: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(value, "object"):
        return
    for source, inner in table.items():
        pattern = Pattern(source)
        for key, item in value.items():
            if pattern.search(key):
                yield from validator.descend(item, inner, path=key, schema_path=source)


def _additional_properties(validator: Any, inner: Any, value: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if not validator.is_type(value, "object"):
        return
    patterns = [Pattern(source) for source in schema.get("patternProperties", {})]
    extra = [
        key
        for key in value
        if key not in schema.get("properties", {}) and not any(p.search(key) for p in patterns)
    ]
    if validator.is_type(inner, "object"):
        for key in extra:
            yield from validator.descend(value[key], inner, path=key)
    elif not inner and extra:
        names = ", ".join(map(repr, sorted(extra)))
        yield ValidationError(f"Additional properties are not allowed ({names})")


def patterns_of(schema: object) -> Iterator[str]:
    """The regular expressions of a JSON schema."""
    if isinstance(schema, Mapping):
        if isinstance(own := schema.get("pattern"), str):
            yield own
        if isinstance(table := schema.get("patternProperties"), Mapping):
            yield from table
        for inner in schema.values():
            yield from patterns_of(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from patterns_of(inner)
