"""A command's options made from its settings dataclasses.

A command is a function of settings; the command line wants one parameter for each option:

    @flattened
    def drift(model: ModelSettings, settings: DriftSettings) -> None: ...

`flattened` shows typer the fields of both in place of the two parameters, and gives the function
the two objects back. Parameters that are no settings stay what they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from holdfast.core.settings import Option, options_of


def flattened(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every settings parameter replaced by the options that its fields make."""
    hints = get_type_hints(command, include_extras=True)
    hints.pop("return", None)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}

    @wraps(command)
    def call(**given: Any) -> None:
        made = {
            name: kind(**{one.name: _value(one, given.pop(one.name)) for one in fields(kind)})
            for name, kind in groups.items()
        }
        command(**made, **given)

    own = inspect.signature(command).parameters
    parameters = [
        parameter
        for name in hints
        for parameter in (
            _parameters(groups[name])
            if name in groups
            else [own[name].replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)]
        )
    ]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call


def _parameters(settings: type) -> list[inspect.Parameter]:
    """A parameter for each field of a settings dataclass."""
    hints, options = get_type_hints(settings), options_of(settings)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if one.default == () else one.default,
            annotation=_annotation(hints[one.name], options[one.name]),
        )
        for one in fields(settings)
    ]


def _value(setting: Field[Any], given: Any) -> Any:
    """A value as the settings have it: typer's lists are tuples there, and no list is ()."""
    if given is None:
        return setting.default
    return tuple(given) if isinstance(given, list) else given


def _annotation(kind: Any, option: Option) -> Any:
    """A field's type and option as typer reads them: `tuple[T, ...]` is an option to repeat."""
    if option.parse is not None:
        kind = str
    elif get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        kind = list[get_args(kind)[0]] | None  # type: ignore[misc]
    shown = typer.Option(
        *option.flags, help=option.help, parser=option.parse, metavar=option.metavar
    )
    return Annotated[kind, shown]
