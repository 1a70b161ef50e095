"""Judges of a reply's form: JSON that follows a schema, and lists.

JSON is judged whole or not at all: half an object is of no use to a program. Only
references inside the schema are resolved; nothing is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Never

from holdfast.core.errors import JudgeError
from holdfast.judge.params import Params
from holdfast.judge.parts import LIST_MARKER, lines, words
from holdfast.judge.pattern import Pattern, limited_validator, patterns_of
from holdfast.judge.score import Judge, Score, score_within

MOST_SUBSCHEMAS = 10_000
_FENCE = re.compile(r"[ \t]*```([\w-]*)[ \t]*\r?")
_BULLET = re.compile(r"^[ \t]*[-*+•–—‣◦▪·][ \t]+\S")
_NUMBER = re.compile(r"^[ \t]*\(?(\d{1,3})[.):][ \t]+\S")


def json_schema(params: Params) -> Judge:
    """1 where the reply, or its only fenced block, is JSON that the schema accepts."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    schema = params.need("schema", "a JSON schema as a table")
    params.refuse_unknown()
    if not isinstance(schema, Mapping):
        params.fail(f"parameter “schema” must be a table, not {schema!r}")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        params.fail(f"parameter “schema” is not a JSON schema: {error.message}")
    _refuse_hostile(params, schema)
    try:
        for source in patterns_of(schema):
            Pattern(source)
    except JudgeError as error:
        params.fail(f"parameter “schema” holds a pattern: {error}")
    validator = limited_validator()(schema, registry=Registry())
    _try_references(params, schema)
    samples: tuple[object, ...] = ({}, [], "", 0)
    try:
        for sample in samples:
            validator.is_valid(sample)
    except RecursionError:
        params.fail("parameter “schema” refers to itself without end")

    def judge(text: str) -> Score:
        blocks = _find_code_blocks(text)
        source = blocks[0] if len(blocks) == 1 else text
        try:
            value = json.loads(source, parse_constant=_refuse)
            error = next(iter(validator.iter_errors(value)), None)
        except (ValueError, ArithmeticError, RecursionError, Unresolvable) as problem:
            return Score(0.0, f"not JSON: {problem}")
        if error is None:
            return Score(1.0, "valid JSON as the schema wants")
        return Score(0.0, f"valid JSON, but at {error.json_path}: {error.message[:120]}")

    return judge


def _find_code_blocks(text: str) -> list[str]:
    """The contents of fenced code blocks."""
    blocks: list[str] = []
    block: list[str] | None = None
    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line)
        if block is None:
            block = [] if fence else None
        elif fence and not fence[1]:
            blocks.append("\n".join(block))
            block = None
        else:
            block.append(line)
    return blocks


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")


def _try_references(params: Params, schema: Mapping[str, object]) -> None:
    """A schema whose references lead nowhere is an error now, not at the first reply."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(dict(schema)))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except (Unresolvable, ValueError) as error:
            params.fail(f"parameter “schema” refers to something that is not in it: {error}")


def _refuse_hostile(params: Params, schema: Mapping[str, object]) -> None:
    """Refuse what could keep the validator busy without end, whatever the reply.

    `unevaluatedProperties` runs `patternProperties` on `re`, which has no limit of time, and
    references can multiply: thirty definitions that name the next one twice are 2^30 checks.
    """
    keys = set(_keys(schema))
    if "unevaluatedProperties" in keys and "patternProperties" in keys:
        params.fail(
            "parameter “schema” has “unevaluatedProperties” beside “patternProperties”, whose "
            "patterns would run without a limit of time; use “additionalProperties”"
        )
    sizes: dict[str, int] = {}
    if _expanded_size(schema, schema, sizes) > MOST_SUBSCHEMAS:
        params.fail(
            f"parameter “schema” has more than {MOST_SUBSCHEMAS} parts with its references "
            "written out; name each definition fewer times"
        )


def _keys(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        yield from schema
    inner = schema.values() if isinstance(schema, Mapping) else schema
    if isinstance(inner, Iterable) and not isinstance(inner, str):
        for value in inner:
            yield from _keys(value)


def _expanded_size(part: object, root: Mapping[str, object], sizes: dict[str, int]) -> int:
    """The tables of a schema with its references written out; a cycle counts once."""
    if isinstance(part, list):
        return sum(_expanded_size(one, root, sizes) for one in part)
    if not isinstance(part, Mapping):
        return 0
    size = 1
    for key, value in part.items():
        if key == "$ref" and isinstance(value, str):
            if value not in sizes:
                sizes[value] = 0
                sizes[value] = _expanded_size(_target(value, root), root, sizes)
            size += sizes[value]
        elif key not in ("$defs", "definitions"):
            size += _expanded_size(value, root, sizes)
    return size


def _target(reference: str, root: Mapping[str, object]) -> object:
    """What a reference within the schema names; None for one that is resolved by its anchor."""
    part: object = root
    for step in reference.removeprefix("#").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        part = part.get(key) if isinstance(part, Mapping) else None
    return part


def _references(schema: object) -> list[str]:
    if isinstance(schema, Mapping):
        own = [v for k, v in schema.items() if k == "$ref" and isinstance(v, str)]
        return own + [ref for value in schema.values() for ref in _references(value)]
    if isinstance(schema, list):
        return [ref for value in schema for ref in _references(value)]
    return []


def list_format(params: Params) -> Judge:
    """Share of the reply's lines (or comma parts) that are items, times the fit of their number."""
    style = params.one_of("style", ("bullets", "numbers", "comma", "lines"))
    low = params.whole("min_items", 2, low=1)
    high = params.whole("max_items", None, low=1)
    longest = params.whole("max_words", {"comma": 3, "lines": 12}.get(style), low=1)
    params.refuse_unknown()
    if high is not None and high < low:
        params.fail(f"parameter “max_items” ({high}) must not be below “min_items” ({low})")

    def judge(text: str) -> Score:
        good, whole = _comma(text) if style == "comma" else _rows(text, style)
        if longest is not None:
            good = [item for item in good if 0 < len(words(item)) <= longest]
        if not good or not whole:
            return Score(0.0, "no list items")
        fit = score_within(len(good), low, high)
        return Score(fit * len(good) / whole, f"{len(good)} items in {whole} lines or parts")

    return judge


def _rows(text: str, style: str) -> tuple[list[str], int]:
    rows = [row for row in text.splitlines() if row.strip()]
    if style == "bullets":
        good = [row for row in rows if _BULLET.match(row)]
    elif style == "numbers":
        good = _keep_numbered(rows)
    else:
        good = [row for row in rows if not LIST_MARKER.match(row)]
    return [LIST_MARKER.sub("", row, count=1) for row in good], len(rows)


def _keep_numbered(rows: list[str]) -> list[str]:
    """Rows numbered 1, 2, 3 … (Markdown's 1, 1, 1 too)."""
    good: list[str] = []
    for row in rows:
        number = _NUMBER.match(row)
        if number and int(number.group(1)) in (1, len(good) + 1):
            good.append(row)
    return good


def _comma(text: str) -> tuple[list[str], int]:
    """Comma parts of a reply of one line, without brackets, a last stop, or a leading "and"."""
    rows = lines(text)
    if len(rows) != 1:
        return [], len(rows)
    body = rows[0].strip().strip("[](){}").rstrip(".")
    parts = [re.sub(r"^(?:and|or)\s+", "", p.strip(), flags=re.IGNORECASE) for p in body.split(",")]
    if len(parts) < 2:
        return [], 1
    return [p for p in parts if p and not re.search(r"[.!?;:]\s", p + " ")], len(parts)
