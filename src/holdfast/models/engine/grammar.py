"""Grammars that a reply must follow: JSON schemas, regular expressions and choices, by llguidance.

`compile_grammar` turns what a client sends into llguidance's own text, which can be checked and
sent to another process. `Grammars` follows such a text for one tokenizer.

This module knows llguidance and token ids. It knows no model and no HTTP.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from holdfast.core.errors import HoldfastError, ModelError
from holdfast.core.extras import install
from holdfast.models.engine.shaping import Bits

Kind = Literal["json", "regex", "choice"]
LONGEST = 65_536  # characters of a grammar: reading a longer one takes too long


class GrammarError(HoldfastError):
    """A grammar that cannot be followed."""


def compile_grammar(kind: Kind, value: Any) -> str:
    """Compile what a reply must be.

    Args:
        kind: a JSON schema, a regular expression, or a list of texts to choose from.
        value: the schema (an object, or its text), the expression, or the texts.

    Raises:
        GrammarError: it is none, is too long, or asks for what llguidance cannot do.
    """
    matcher = _import_llguidance().LLMatcher
    try:
        # One way to write white space: a small model could go on with blanks for ever.
        strict = {"whitespace_flexible": False}
        if kind == "json":
            grammar = matcher.grammar_from_json_schema(_read_schema(value), overrides=strict)
        elif kind == "regex":
            if not isinstance(value, str):
                raise GrammarError("a regular expression is a text")
            grammar = matcher.grammar_from_regex(value)
        else:
            grammar = matcher.grammar_from_lark(f"start: {_choice_rule(value)}")
    except UnicodeEncodeError as error:
        raise GrammarError("it has half a character, as where an emoji was cut in two") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise GrammarError(str(error) or "it is not valid") from error
    if len(grammar) > LONGEST:
        raise GrammarError(f"it has more than {LONGEST} characters as a grammar: shorten it")
    if why := matcher.validate_grammar(grammar):
        raise GrammarError(_reason(why))
    return str(grammar)


def _read_schema(value: Any) -> dict[str, Any]:
    try:
        schema = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise GrammarError(f"the schema is not valid JSON ({error})") from error
    if not isinstance(schema, dict):
        raise GrammarError("a JSON schema is an object")
    return schema


def _choice_rule(value: Any) -> str:
    texts = value if isinstance(value, list) else []
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise GrammarError("the choices are texts, and there is at least one")
    return " | ".join(json.dumps(text, ensure_ascii=False) for text in texts)


def _reason(report: str) -> str:
    """The line of a report that says what is wrong: of a regular expression it is not the first."""
    first, *others = report.strip().splitlines()
    of_regex = [line.removeprefix("error: ") for line in others if line.startswith("error: ")]
    return (f"wrong regular expression: {of_regex[0]}" if of_regex else first)[:300]


def _import_llguidance() -> Any:
    try:
        import llguidance
    except ModuleNotFoundError as missing:
        raise GrammarError(f"it needs llguidance: {install('serve')}") from missing
    return llguidance


class Grammars:
    """Makes matchers for one tokenizer.

    Args:
        tokenizer: the model's.
        ends: tokens that end a reply, one of which may come where the grammar is complete.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: Collection[int]) -> None:
        self._tokenizer, self._ends = tokenizer, ends
        self._lock = threading.Lock()
        self._vocabulary: Any = None

    def __call__(self, grammar: str) -> GrammarMatcher:
        """Follow a grammar. Raises `ModelError` where the tokenizer does not allow it."""
        library = _import_llguidance()
        with self._lock:
            if self._vocabulary is None:  # takes up to a second for a large vocabulary
                self._vocabulary = self._read_vocabulary()
        return GrammarMatcher(library.LLMatcher(self._vocabulary, grammar), self._ends)

    def _read_vocabulary(self) -> Any:
        from llguidance import hf

        try:
            return hf.from_tokenizer(self._tokenizer, eos_token=sorted(self._ends) or None)  # type: ignore[arg-type]
        except Exception as error:  # Rust's, of any kind
            raise ModelError(f"llguidance cannot read this tokenizer: {error}") from error


class GrammarMatcher:
    """Follows one reply."""

    def __init__(self, matcher: Any, ends: Collection[int]) -> None:
        self._matcher, self._ends = matcher, list(ends)

    def advance(self, token: int | None) -> Bits | None:
        """Take the token drawn last, and say which may come next; None after an error."""
        if token is not None:
            self._matcher.consume_token(token)
        if self._matcher.is_error():
            return None
        if self._matcher.is_stopped():
            bits: Bits = np.zeros(max(self._ends, default=0) + 1, dtype=bool)
            bits[self._ends] = True
            return bits
        bitmask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(bitmask, bitorder="little").astype(bool)
