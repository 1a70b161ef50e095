"""A request's control, admitted before vLLM's engine sees the request: the side that faces users.

The control comes with the request (`vllm_xargs={"holdfast": "anchor"}`), or from the environment
for all (`HOLDFAST_CONTROL`). It is parsed and, where this server cannot apply it exactly, refused
with one sentence, which the client gets as a 400. The persona and the turns are found in the
prompt's token ids, as `hold` finds them, and go to the worker with the request. The state of its
keys becomes part of the request's cache salt, so that prefixes are shared among requests under
one control only.

This module knows requests. It knows no tensors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase
from vllm.exceptions import VLLMValidationError
from vllm.logger import init_logger

from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import HoldfastError
from holdfast.models.local.persona_span import (
    Find,
    Ids,
    PersonaSpan,
    any_system_message,
    exact_persona,
)
from holdfast.models.local.template import Template
from holdfast.models.local.turns import find_reply_opening, find_turn_columns, turns_refusal
from holdfast.models.vllm.refusals import why_not
from holdfast.models.vllm.row_table import ROW, WORKER

CONTROL, PERSONA, PLACE = "holdfast", "holdfast_persona", "holdfast_place"
MEASURE = "holdfast_measure"  # of the backend in this process: a number and the template's columns
DEFAULT = "HOLDFAST_CONTROL"
_OWN = (CONTROL, PERSONA, PLACE, MEASURE)
_PERSONAS = 64  # texts whose token ids are kept

logger = init_logger(__name__)


class Admission:
    """What one server admits.

    Args:
        config: vLLM's configuration.
        tokenizer: returns the server's tokenizer.

    Raises:
        ControlError: the environment's control cannot be applied by this server.
    """

    def __init__(self, config: Any, tokenizer: Callable[[], Any]) -> None:
        self.config, self._load = config, tokenizer
        self.default = parse(os.environ.get(DEFAULT) or NONE)
        self._refuse(self.default)
        self._personas: dict[str, Find] = {}

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The server's tokenizer."""
        tokenizer = self._load()
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise HoldfastError(
                "the persona is found with a tokenizer of transformers: start vLLM with one"
                " (--tokenizer-mode auto, without --skip-tokenizer-init)."
            )
        return tokenizer

    @cached_property
    def template(self) -> Template:
        """The server's chat template."""
        return Template(self.tokenizer)

    @cached_property
    def reply_ids(self) -> Ids:
        """The ids that open a reply; none where the template does not show them."""
        return find_reply_opening(self.template)

    @cached_property
    def _any_message(self) -> Find:
        return any_system_message(self.tokenizer)

    def admit(self, request: Any) -> None:
        """Add to a request of vLLM's engine what its worker needs to hold it.

        Raises:
            VLLMValidationError: the control is none, or this server cannot apply it.
        """
        params = request.sampling_params
        if params is None:
            return
        arguments = dict(params.extra_args or {})
        own = {name: arguments.pop(name, None) for name in (*_OWN, ROW)}
        try:
            row = self._make_row(request, own)
        except HoldfastError as error:
            raise VLLMValidationError(str(error), parameter=CONTROL) from error
        if row is not None:
            arguments[ROW] = row
        if row is not None and parse(row["control"]).steers:
            state = f"holdfast:{parse(row['control']).state}@{row['content']}{row['message']}"
            request.cache_salt = f"{state}:{request.cache_salt or ''}"
        if row is not None or any(value is not None for value in own.values()):
            params.extra_args = arguments or None

    def _make_row(self, request: Any, own: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the worker needs to know; None where it holds nothing."""
        text = own[CONTROL]
        if text is not None and not isinstance(text, str):
            raise HoldfastError(f"`{CONTROL}` is a control as text, as in split-softmax:0.7.")
        control = self.default if text is None else parse(text)
        self._refuse(control)
        if own[MEASURE] is not None and self.config.parallel_config.worker_extension_cls != WORKER:
            raise HoldfastError(
                f"`{MEASURE}` is for models named vllm:NAME, which fetches what is measured."
            )
        if not control.steers and own[MEASURE] is None:
            return None
        ids = request.prompt_token_ids
        if ids is None or request.prompt_embeds is not None or request.resumable:
            raise HoldfastError(
                "the persona is found by token ids, and this request has none of its own"
                " (embeddings, or a prompt that comes in pieces)."
            )
        place = self._place(ids, own)
        if place is None:
            logger.warning_once("%s did nothing: a prompt had no persona.", control.text)
            return None
        turns, replies = self._find_turns(control, ids)
        return {
            "control": control.text,
            "content": [*place.content],
            "message": [*place.message],
            "turns": [*turns],
            "replies": [*replies],
            "measure": _read_measure(own[MEASURE], len(ids)),
        }

    def _place(self, ids: list[int], own: Mapping[str, Any]) -> PersonaSpan | None:
        """The persona in a prompt."""
        columns, persona = own[PLACE], own[PERSONA]
        if columns is not None:
            return _place(columns, len(ids))
        if persona is None:
            return self._any_message(ids)
        if not isinstance(persona, str) or not persona.strip():
            raise HoldfastError(f"`{PERSONA}` is the persona's text.")
        find = self._personas.pop(persona, None) or exact_persona(persona, self.tokenizer)
        self._personas[persona] = find
        if len(self._personas) > _PERSONAS:
            del self._personas[next(iter(self._personas))]
        return find(ids)

    def _find_turns(self, control: Control, ids: list[int]) -> tuple[Ids, Ids]:
        """Where user turns and replies begin in a prompt, as far as a control needs to know."""
        if not control.needs_turns:
            return (), ()
        if why := turns_refusal(control, self.template, self.reply_ids):
            raise HoldfastError(f"`{control.text}` cannot be applied by this server: {why}.")
        return find_turn_columns(control, self.template.turn_ids, self.reply_ids, ids)

    def _refuse(self, control: Control) -> None:
        why = why_not(control, self.config)
        if why is not None:
            raise HoldfastError(why)


def _read_measure(values: Any, length: int) -> dict[str, Any] | None:
    """What the worker measures: three numbers, the request's and the template's columns."""
    if values is None:
        return None
    if isinstance(values, list) and len(values) == 3 and all(isinstance(x, int) for x in values):
        number, start, end = values
        if 0 <= start <= end <= length:
            return {"number": number, "prompt": length, "template": [start, end]}
    raise HoldfastError(f"`{MEASURE}` is a number, and two columns of the prompt.")


def _place(columns: Any, length: int) -> PersonaSpan:
    """The columns that a request names: of the persona's content, then of its message."""
    if not (isinstance(columns, list) and all(isinstance(at, int) for at in columns)):
        columns = []
    if len(columns) == 4:
        a, b, c, d = columns
        if 0 <= c <= a < b <= d <= length:
            return PersonaSpan((a, b), (c, d))
    raise HoldfastError(
        f"`{PLACE}` is four columns of the prompt: the persona's first and the one past its last,"
        " then those of the message around it."
    )
