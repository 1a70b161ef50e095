"""What `hold` is told of personas and turns: how to find them, or where they are row by row.

This module knows `hold`'s arguments, tokenizers and templates. `rows` looks into token ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.errors import ControlError
from holdfast.models.local.hold.rows import BatchRows
from holdfast.models.local.persona_span import (
    ExactPersona,
    Find,
    Ids,
    PersonaSpan,
    any_system_message,
    exact_persona,
)
from holdfast.models.local.template import Span, Template
from holdfast.models.local.turns import find_reply_opening

T = TypeVar("T")
Tokenizer = Callable[[], PreTrainedTokenizerBase]
"""Returns the tokenizer, which is asked for only where something is not said otherwise."""


@dataclass(frozen=True)
class HoldTargets:
    """How to find personas and turns in batches, or the columns that the caller named."""

    find: Find | None
    """Finds a persona; None with `places`."""
    turn_ids: Ids
    """The ids that open a user turn; none with `turns`."""
    places: tuple[PersonaSpan | None, ...] | None
    """Personas as the caller named them, row by row."""
    turns: tuple[tuple[int, ...], ...] | None
    """Turns as the caller named them, row by row."""
    reply_ids: Ids = ()
    """The ids that open a reply; none where nothing depends on them."""

    def rows(self, count: int) -> BatchRows:
        """Begin a batch of `count` rows."""
        places = _repeat("span", self.places or (None,), count)
        turns = [[*row] for row in _repeat("turns", self.turns or ((),), count)]
        return BatchRows(places, turns, self.find, self.turn_ids, self.reply_ids)


def lazy_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> Tokenizer:
    """Return the tokenizer when it is called for; without one, load it by the model's name once."""

    @cache
    def load() -> PreTrainedTokenizerBase:
        if tokenizer is not None:
            return tokenizer
        name = model.config._name_or_path
        try:
            own: Any = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise ControlError(
                f"there is no tokenizer under the model's name (`{name}`): give `tokenizer`."
            ) from error
        return own  # type: ignore[no-any-return]

    return load


def find_targets(
    span: str | Sequence[int] | Sequence[Span | None] | None,
    turns: Sequence[int] | Sequence[Sequence[int]] | None,
    tokenizer: Tokenizer,
    *,
    needs_turns: bool,
    needs_replies: bool = False,
) -> HoldTargets:
    """Read `hold`'s arguments.

    Args:
        span: as `hold` takes it.
        turns: as `hold` takes them.
        tokenizer: called for what the arguments do not say.
        needs_turns: whether the control must know where user turns begin.
        needs_replies: the same of replies, of which the chat template says it.

    Raises:
        ControlError: an argument is neither ids nor columns, or the template does not show what
            the arguments leave out.
    """
    find, places = _read_span(span, tokenizer)
    turn_ids, columns = _read_turns(turns, tokenizer) if needs_turns else ((), None)
    reply_ids = _find_reply_ids(tokenizer) if needs_replies else ()
    return HoldTargets(find, turn_ids, places, columns, reply_ids)


def _read_span(
    span: Any, tokenizer: Tokenizer
) -> tuple[Find | None, tuple[PersonaSpan | None, ...] | None]:
    """What finds the persona in a row; or where it is, row by row."""
    if span is None:
        return any_system_message(_require_template(tokenizer, "span")), None
    if isinstance(span, str):
        return exact_persona(span, tokenizer()), None
    if (ids := _read_ids(span)) is not None:
        return ExactPersona((ids,)), None
    rows = _read_rows("span", span)
    return None, tuple(None if row is None else _read_place(row) for row in rows)


def _read_turns(turns: Any, tokenizer: Tokenizer) -> tuple[Ids, tuple[tuple[int, ...], ...] | None]:
    """The ids that open a user turn; or where turns begin, row by row."""
    if turns is None:
        return _find_turn_ids(tokenizer), None
    if (ids := _read_ids(turns)) is not None:
        return ids, None
    return (), tuple(tuple(row) for row in _read_rows("turns", turns))


def _find_turn_ids(tokenizer: Tokenizer) -> Ids:
    template = Template(_require_template(tokenizer, "turns"))
    if template.moves_system:
        raise ControlError(
            "the chat template moves the persona into the last user message, where anchor and"
            " restore do nothing: use split-softmax, boost or spotlight."
        )
    if not template.turn_ids:
        raise ControlError(
            "the chat template does not show where a user turn begins: give `turns`."
        )
    return template.turn_ids


def _find_reply_ids(tokenizer: Tokenizer) -> Ids:
    reply_ids = find_reply_opening(Template(_require_template(tokenizer, "from=all")))
    if not reply_ids:
        raise ControlError(
            "the chat template does not show where a reply begins: use restore:1@from=all."
        )
    return reply_ids


def _read_ids(argument: Any) -> Ids | None:
    """Return the argument as token ids; None if it is columns of rows."""
    numbers = _as_list(argument)
    return tuple(numbers) if numbers and all(isinstance(n, int) for n in numbers) else None


def _as_list(argument: Any) -> list[Any]:
    """Return a sequence, a tensor or an array as a list of Python's own numbers or of rows."""
    values = argument.tolist() if hasattr(argument, "tolist") else argument
    if not isinstance(values, Iterable):
        return [values, None]  # neither ids nor rows
    return [
        value.item() if hasattr(value, "item") and value.ndim == 0 else value for value in values
    ]


def _read_rows(name: str, argument: Sequence[Any]) -> list[Any]:
    rows = _as_list(argument)
    if not rows or any(isinstance(row, int | float | str) for row in rows):
        raise ControlError(f"`{name}` needs token ids, or columns for each row.")
    return rows


def _read_place(columns: Sequence[int]) -> PersonaSpan:
    first, end = columns if len(columns) == 2 else (0, 0)
    if not 0 <= first < end:
        columns_text = "-".join(map(str, columns))
        raise ControlError(
            f"`span` has {columns_text}: columns run from the first to past the last."
        )
    return PersonaSpan((first, end), (first, end))


def _repeat(name: str, values: tuple[T, ...], count: int) -> list[T]:
    """Return one value for each row; several sequences of one prompt are next to each other."""
    times, rest = divmod(count, len(values))
    if rest or not times:
        raise ControlError(f"`{name}` is for {len(values)} rows, and a pass has {count}.")
    return [one for one in values for _ in range(times)]


def _require_template(tokenizer: Tokenizer, missing: str) -> PreTrainedTokenizerBase:
    own_tokenizer = tokenizer()
    if not own_tokenizer.chat_template:
        raise ControlError(f"the tokenizer has no chat template to tell `{missing}` by: give it.")
    return own_tokenizer
