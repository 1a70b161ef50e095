"""The grammar of controls: a text to a `Control`, or a sentence about what is wrong with it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, cast

from holdfast.core.control.types import (
    ALSO,
    AttentionControl,
    AutoControl,
    Control,
    GateTurn,
    Kind,
    Range,
    Source,
    SpanKind,
    SystemKind,
    without_model,
)
from holdfast.core.errors import ControlError, suggestion


class _Strength(NamedTuple):
    low: float
    high: float
    off: float | None
    meaning: str


_STRENGTHS: Mapping[str, _Strength] = {
    "window": _Strength(1, math.inf, None, "a whole number of messages, 1 or more"),
    "reminder": _Strength(0, 1, 0, "a probability from 0 (off) to 1"),
    "note": _Strength(0, math.inf, None, "a whole number of messages, 0 or more"),
    # Far beyond use; much higher ones leave no finite logits.
    "guidance": _Strength(1, 1000, 1, "from 1 (off) to 1000"),
    "split-softmax": _Strength(0, 1, 1, "from 0 (all attention) to 1 (off)"),
    "boost": _Strength(1, math.inf, 1, "1 (off) or more"),
    "spotlight": _Strength(0, 1, 0, "a share from 0 (off) to 1"),
    "restore": _Strength(0, 1, 0, "a factor from 0 (off) to 1"),
}
_WHOLE = ("window", "note")
_SHARES = ("split-softmax", "boost", "spotlight", "restore")
_FOLDERS = ("route", "prism")  # followed by a folder that `holdfast prism train` wrote
_REWRITING = ("reminder", "window", "note")  # what auto: may add
_NAMES = ("none", *_STRENGTHS, "auto", "anchor", *_FOLDERS)


def parse(text: str | Control, *, models: bool = False) -> Control:
    """The control that a text names.

    Args:
        text: the text; a `Control` is returned as it is, so that a library function may
            take either.
        models: accept `also:NAME`, which only a comparison of several models understands.

    Raises:
        ControlError: the text names no control; the message says what is wrong with it.
    """
    if isinstance(text, Control):
        return text
    if not isinstance(text, str):
        raise ControlError(f"{text!r} is no control: give its text, as in 'window:3' or 'none'.")
    return _parse(text, models)


@lru_cache(maxsize=256)
def _parse(text: str, models: bool) -> Control:
    if models and text.startswith(ALSO):
        name = text.removeprefix(ALSO).partition("+")[0]
        return replace(parse(without_model(text)), text=text, model=name)
    if not text.isprintable():  # it becomes a header and a line of a log
        raise ControlError(f"{text!r} is no control: leave out line breaks and control characters.")
    values: dict[str, Any] = {}
    for piece in text.split("+"):
        name, value = _piece(piece.strip(), text)
        slot = "share" if name in _SHARES else name
        if slot in values:
            several = ", ".join(_SHARES) if slot == "share" else f"`{name}`"
            raise ControlError(f"`{text}` has more than one of {several}: keep one.")
        values[slot] = value
    if "none" in values and len(values) > 1:
        raise ControlError(f"`{text}` joins none with a control: leave `none` out.")
    values.pop("none", None)
    if (auto := values.get("auto")) is not None and auto.name in values:
        raise ControlError(f"`{text}` has {auto.name} twice: keep `auto:` or the other.")
    return _with_folders(Control(text, **values))


def _piece(
    piece: str, text: str
) -> tuple[str, float | str | AttentionControl | AutoControl | None]:
    """The name and value of one part; the value is None where the strength means "off"."""
    name, colon, folder = piece.partition(":")
    if name == "auto":
        return name, _auto(folder, text)
    if colon and name in _FOLDERS:
        return name, folder
    head, _, options = piece.partition("@")
    name, colon, strength_text = (word.strip() for word in head.partition(":"))
    strength = _strength(name, bool(colon), strength_text, text)
    attention = name == "anchor" or name in _SHARES
    options = options.strip()
    if options and not attention:
        raise ControlError(f"`{name}` in `{text}` takes no options: leave out `@{options}`.")
    if attention:
        part = _attention_control(cast(Kind, name), strength, options, text)
        return name, None if name in _SHARES and strength == _STRENGTHS[name].off else part
    if name in _WHOLE:
        return name, int(strength)
    return name, None if name == "none" or strength == _STRENGTHS[name].off else strength


def _strength(name: str, colon: bool, strength: str, text: str) -> float:
    """The strength of a part; 0 where it takes none."""
    if name in _FOLDERS:
        raise ControlError(
            f"`{name}` in `{text}` names no folder: {name}:PATH, one of holdfast prism train."
        )
    if name not in _NAMES:
        hint = suggestion(name, _NAMES)
        raise ControlError(f"there is no control {name!r} (in {text!r}): {hint}")
    if name not in _STRENGTHS:
        if colon:
            raise ControlError(f"`{name}` in `{text}` takes no strength: leave out `:{strength}`.")
        return 0.0
    low, high, _, meaning = _STRENGTHS[name]
    pattern = r"[0-9]+" if name in _WHOLE else r"[0-9]+\.?[0-9]*|\.[0-9]+"
    if not re.fullmatch(pattern, strength):
        raise ControlError(f"`{name}` in `{text}` needs a strength after a colon, {meaning}.")
    if not low <= float(strength) <= high or float(strength) == math.inf:
        raise ControlError(f"`{name}:{strength}` is out of range: {name} takes {meaning}.")
    return float(strength)


def _auto(piece: str, text: str) -> AutoControl:
    """What comes after `auto:`."""
    inner, _, options = piece.partition("@")
    name, colon, value = (word.strip() for word in inner.partition(":"))
    if name not in _REWRITING:
        raise ControlError(f"`auto:` in `{text}` takes reminder, window:N or note:d.")
    strength = _strength(name, True, value if colon or name != "reminder" else "1", text)
    fields: dict[str, Any] = {}
    for option, key, value in _options(options, text):
        is_whole = key == "last" and re.fullmatch("[1-9][0-9]?", value)
        is_score = key in ("drop", "below") and re.fullmatch(r"0?\.[0-9]+|1(\.0*)?", value)
        if not is_whole and not is_score:
            problem = f"{option!r} in `{text}` is no option"
            raise ControlError(f"{problem}: use drop=0.1, below=0.5 or last=2.")
        fields[key] = int(value) if is_whole else float(value)
    if {"drop", "below"} <= fields.keys():
        raise ControlError(f"`{text}` has drop and below: keep one.")
    return AutoControl(name, strength, **fields)


def _options(options: str, text: str) -> Iterator[tuple[str, str, str]]:
    """What comes after `@`: each option, its key and its value."""
    keys: set[str] = set()
    for option in filter(None, map(str.strip, options.split(","))):
        key, _, value = (word.strip() for word in option.partition("="))
        if key in keys:
            raise ControlError(f"`{text}` has {key} twice: keep one.")
        keys.add(key)
        yield option, key, value


def _attention_control(kind: Kind, strength: float, options: str, text: str) -> AttentionControl:
    ranges: dict[str, Range] = {}
    span: SpanKind = "message" if kind == "anchor" else "content"
    source: Source | None = "own" if kind == "restore" else None
    for option, key, value in _options(options, text):
        if kind == "restore" and key == "from" and value in ("own", "all"):
            source = "own" if value == "own" else "all"
        elif key == "span" and value in ("content", "message"):
            span = "content" if value == "content" else "message"
        elif key in ("layers", "heads") and (at := re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", value)):
            ranges[key] = (int(at[1]), int(at[2] or at[1]))
            if ranges[key][0] > ranges[key][1]:
                raise ControlError(f"`{option}` in `{text}` runs backwards: write the lower first.")
        else:
            others = ", from=own or from=all" if kind == "restore" else ""
            raise ControlError(
                f"{option!r} in `{text}` is no option: use layers=A-B, heads=A-B, "
                f"span=content or span=message{others}."
            )
    layers, heads = ranges.get("layers"), ranges.get("heads")
    return AttentionControl(kind, strength, layers, heads, span, source)


def _with_folders(control: Control) -> Control:
    """The control with what its folders make of the system prompt, or why that cannot be."""
    system: SystemKind = "stays" if control.route is None else "routed"
    gate: GateTurn = "first"
    prism = control.prism
    if prism is not None:
        prism, _, options = prism.partition("@")
        words = {option.strip() for option in options.split(",")} - {""}
        if other := sorted(words - {"system=stays", "gate=every"}):
            raise ControlError(
                f"{other[0]!r} in `{control.text}` is no option: use system=stays or gate=every."
            )
        gate = "every" if "gate=every" in words else "first"
        if control.route is not None:
            raise ControlError(f"`{control.text}` has two that decide by message: keep one.")
        if "system=stays" not in words:
            system = "dropped"
            repeats = control.reminder is not None or control.note is not None
            if control.steers or control.guidance is not None or repeats:
                raise ControlError(
                    f"`{control.text}` holds a system prompt that prism drops: write "
                    f"prism:{prism}@system=stays."
                )
    for name, path in (("route", control.route), ("prism", prism)):
        if path is not None and not path.strip():
            raise ControlError(
                f"`{control.text}` names no folder: {name}:PATH, one of holdfast prism train."
            )
    return replace(control, prism=prism, system=system, gate=gate)
