"""A command's options made from its settings dataclasses.

A command is a function of settings; the command line wants one parameter for each option:

    @flatten_options
    def drift(settings: DriftSettings, models: ModelOptions, output: OutputOptions) -> None:
        result = drift(models.open("mini"), settings, out=output.out)

To write one, declare each option of the command once, with `core.settings.option`, as a field of
the command's settings (`evals.…`, where the library function takes them too), and annotate a
parameter of the command with that dataclass. `flatten_options` shows typer the fields of every such
parameter in its place, and gives the function the objects back. A field that is itself a settings
dataclass (`sampling`) is flattened likewise, and one without help is no option. What several
commands share and no library function takes, such as `--dtype` or `--json`, stands in
`cli.options`: add those groups as parameters. Parameters that are no settings stay what they are.

A subclass changes a default with `core.settings.with_default`, which keeps the option's help. The
help shows options in the order of the parameters and of their fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from math import isfinite
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import Option


def flatten_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every settings parameter replaced by the options that its fields make."""
    hints = get_type_hints(command, include_extras=True)
    hints.pop("return", None)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind)}

    @wraps(command)
    def call(**values: Any) -> None:
        _require_finite(values)
        settings = {name: _settings(kind, values) for name, kind in groups.items()}
        others = {name: values[name] for name in hints if name not in groups}
        command(**settings, **others)

    own = inspect.signature(command).parameters
    parameters: list[inspect.Parameter] = []
    for name, hint in hints.items():
        if name in groups:
            parameters += _parameters(groups[name])
        else:
            parameters.append(
                own[name].replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY)
            )
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call


def _require_finite(values: dict[str, Any]) -> None:
    """Refuse `nan` and `inf`, which the command line reads as numbers and no option means."""
    for name, value in values.items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, float) and not isfinite(one):
                raise HoldfastError(f"`{name}` is a finite number, not {one:g}.")


def _parameters(settings: Any) -> Iterator[inspect.Parameter]:
    """A parameter for each option of a settings dataclass."""
    hints = get_type_hints(settings)
    for one in fields(settings):
        if "option" in one.metadata:
            yield inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(one.default),
                annotation=_annotation(hints[one.name], one.metadata["option"]),
            )
        elif is_dataclass(hints[one.name]):
            yield from _parameters(hints[one.name])


def _default(value: Any) -> Any:
    """A default as typer has it: several values are one text with commas, none are None."""
    return (",".join(map(str, value)) or None) if isinstance(value, tuple) else value


def _settings(kind: Any, values: dict[str, Any]) -> Any:
    """A settings dataclass from the options' values."""
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for one in fields(kind):
        if "option" in one.metadata:
            arguments[one.name] = _value(one, values[one.name])
        elif is_dataclass(hints[one.name]):
            arguments[one.name] = _settings(hints[one.name], values)
    return kind(**arguments)


def _value(setting: Field[Any], value: Any) -> Any:
    """A value as the settings have it: typer's lists become tuples, and no list becomes ()."""
    if value is None:
        return setting.default if setting.default is not MISSING else None
    return tuple(value) if isinstance(value, list) else value


def _annotation(kind: Any, option: Option) -> Any:
    """A field's type and option as typer reads them: `tuple[T, ...]` is an option to repeat."""
    if option.parse is not None:
        kind = str
    elif get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        kind = list[get_args(kind)[0]] | None  # type: ignore[misc]
    return Annotated[
        kind,
        typer.Option(*option.flags, help=option.help, parser=option.parse, metavar=option.metavar),
    ]
