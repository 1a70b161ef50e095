# Long: the grammar of every control, in one place.
"""A control: what is done at inference time so that a model keeps its persona.

    none                  nothing
    window:N              the model sees the system prompt and the last N messages
    reminder:p            repeats the system prompt before a user turn, with probability p
    note:d                repeats the system prompt d messages before the end of the chat
    auto:CONTROL          reminder, window:N or note:d, only while the scores of the replies fall
    guidance:α            log p = log p₀ + α (log p₁ - log p₀), p₀ without the persona
    split-softmax:k       the persona's share π of the attention becomes π^k        (2402.10962)
    boost:M               … becomes Mπ / (Mπ + 1 - π)                               (2506.13734)
    spotlight:τ           … is raised where its mean over heads is below τ           (2505.12025)
    restore:ρ             … is at least ρ times what it would be without the earlier turns,
                          taken from the model's own earlier replies (or `@from=all`)
    anchor                moves the persona to just before every turn (rotary positions)
    route:PATH            leaves the system prompt out of turns whose last message a router
                          (`control.router`) says no to
    prism:PATH            an adapter with personas in it, on where its gate says so; drops the
                          system prompt, unless it is prism:PATH@system=stays

They are joined with `+`: at most one of each, and one of the four shares. Attention controls
take options, as in `split-softmax:0.7@layers=8-24,heads=0-3,span=message`. `span` says which
tokens are the persona: its content alone (the default of the shares), or the system message as
rendered without BOS (the default of anchor). Where a share and anchor are joined, anchor's span
serves both. `auto:` measures the last replies against the first two (@drop=0.1,last=1) or a score
(@below=0.5). A comparison of several models also takes `also:NAME` and `also:NAME+CONTROL`.

`parse` reads the text once, where it comes in; everything else takes a `Control`. Window, reminder,
note, auto and route rewrite the chat and work on any model. The others need the weights.

This module knows text. It knows no chats, no files and no models.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

from holdfast.core.errors import ControlError

Kind = Literal["split-softmax", "boost", "spotlight", "restore", "anchor"]
SpanKind = Literal["content", "message"]
Source = Literal["own", "all"]
SystemKind = Literal["stays", "routed", "dropped"]
Range = tuple[int, int]

# What `holdfast compare` tries by default: Li et al.'s three methods over their range, the two
# later attention controls, the plainest rival, and anchor alone and joined.
DEFAULT_CONTROLS = (
    "none",
    *(f"window:{n}" for n in (1, 3, 7)),
    *(f"reminder:{p}" for p in (0.25, 0.5, 1)),
    *(f"guidance:{a}" for a in (1.25, 1.5, 2, 3)),
    *(f"split-softmax:{k}" for k in (0.9, 0.8, 0.7, 0.5, 0.3)),
    *(f"boost:{m}" for m in (2, 4, 10)),
    *(f"spotlight:{t}" for t in (0.1, 0.2, 0.3)),
    "restore:1",
    "anchor",
    "anchor+reminder:0.5",
    "anchor+split-softmax:0.7",
)
ALSO = "also:"


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


@dataclass(frozen=True)
class AttentionControl:
    """A control of the attention: one of the four shares, or anchor."""

    kind: Kind
    """Which one."""
    strength: float = 0.0
    """k, M, τ or ρ; 0 for anchor, which has none."""
    layers: Range | None = None
    """First and last layer that it changes; None for all."""
    heads: Range | None = None
    """First and last head that it changes; None for all."""
    span: SpanKind = "content"
    """Which tokens count as the persona."""
    source: Source | None = None
    """What restore takes from: the model's own earlier replies, or all other tokens."""

    def __str__(self) -> str:
        ranges = {"layers": self.layers, "heads": self.heads}
        options = [f"{name}={at[0]}-{at[1]}" for name, at in ranges.items() if at is not None]
        options += [] if self.source is None else [f"from={self.source}"]
        strength = "" if self.kind == "anchor" else f":{self.strength:g}"
        return f"{self.kind}{strength}@{','.join([*options, f'span={self.span}'])}"


@dataclass(frozen=True)
class AutoControl:
    """A control that acts only while the scores of a conversation's replies fall."""

    name: str
    """reminder, window or note."""
    strength: float
    """Its strength."""
    drop: float = 0.1
    """How far the last replies must be below the first two."""
    below: float | None = None
    """The score that the last replies must be below, in place of `drop`."""
    last: int = 1
    """How many replies the last ones are."""


@dataclass(frozen=True)
class Control:
    """A parsed control. A part whose strength means "off" is left out."""

    text: str = "none"
    """The text that it was parsed from, as records and pages show it."""
    window: int | None = None
    """Messages that the model sees beside the system prompt."""
    reminder: float | None = None
    """Probability that a user turn repeats the system prompt."""
    note: int | None = None
    """Messages between the repeated system prompt and the end of the chat."""
    auto: AutoControl | None = None
    """What is added while the scores of the replies fall."""
    guidance: float | None = None
    """α, how far to go from the logits without the persona."""
    share: AttentionControl | None = None
    """split-softmax, boost, spotlight or restore."""
    anchor: AttentionControl | None = None
    """anchor."""
    route: str | None = None
    """The router's folder."""
    prism: str | None = None
    """The adapter's folder."""
    system: SystemKind = "stays"
    """What becomes of the system prompt: route decides by message, prism drops it."""
    model: str = ""
    """The model beside the first that answers (`also:`); empty for the first."""

    def __str__(self) -> str:
        return self.text

    @property
    def attention(self) -> tuple[AttentionControl, ...]:
        """The parts that change attention."""
        return tuple(part for part in (self.share, self.anchor) if part is not None)

    @property
    def steers(self) -> bool:
        """Whether it changes attention."""
        return bool(self.attention)

    @property
    def needs_turns(self) -> bool:
        """Whether it must know where user turns begin."""
        return self.anchor is not None or (self.share is not None and self.share.kind == "restore")

    @property
    def needs_replies(self) -> bool:
        """Whether it must know where the model's own replies begin."""
        return self.share is not None and self.share.source == "own"

    @property
    def rewrites(self) -> bool:
        """Whether it changes the chat that the model sees."""
        texts = (self.window, self.reminder, self.note, self.auto, self.route)
        return self.system == "dropped" or any(part is not None for part in texts)

    @property
    def needs_weights(self) -> bool:
        """Whether only a model on this machine can run under it."""
        return self.steers or self.guidance is not None or self.prism is not None

    @property
    def state(self) -> str:
        """What keys and values depend on, as text; empty where they are the plain model's."""
        return "+".join(map(str, self.attention))

    @property
    def own(self) -> Control:
        """The control as the model that it names sees it, without `also:NAME`."""
        return parse(_without_model(self.text)) if self.model else self


NONE = Control()


@lru_cache(maxsize=256)
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
    if models and text.startswith(ALSO):
        name = text.removeprefix(ALSO).partition("+")[0]
        return replace(parse(_without_model(text)), text=text, model=name)
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


def _without_model(text: str) -> str:
    return text.removeprefix(ALSO).partition("+")[2] or "none"


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
        close = difflib.get_close_matches(name, _NAMES, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"use {', '.join(_NAMES)}."
        raise ControlError(f"there is no control `{name}` (in `{text}`): {hint}")
    if name not in _STRENGTHS:
        if colon:
            raise ControlError(f"`{name}` in `{text}` takes no strength: leave out `:{strength}`.")
        return 0.0
    low, high, _, meaning = _STRENGTHS[name]
    pattern = r"[0-9]+" if name in _WHOLE else r"[0-9]+\.?[0-9]*|\.[0-9]+"
    if not re.fullmatch(pattern, strength):
        raise ControlError(f"`{name}` in `{text}` needs a strength: {name}:{meaning}.")
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
    chosen: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, _, value = (word.strip() for word in option.partition("="))
        is_whole = key == "last" and re.fullmatch("[1-9][0-9]?", value)
        is_score = key in ("drop", "below") and re.fullmatch(r"0?\.[0-9]+|1(\.0*)?", value)
        if not is_whole and not is_score:
            problem = f"`{option.strip()}` in `{text}` is no option"
            raise ControlError(f"{problem}: use drop=0.1, below=0.5 or last=2.")
        chosen[key] = int(value) if is_whole else float(value)
    if {"drop", "below"} <= chosen.keys():
        raise ControlError(f"`{text}` has drop and below: keep one.")
    return AutoControl(name, strength, **chosen)


def _attention_control(kind: Kind, strength: float, options: str, text: str) -> AttentionControl:
    ranges: dict[str, Range] = {}
    span: SpanKind = "message" if kind == "anchor" else "content"
    source: Source | None = "own" if kind == "restore" else None
    for option in filter(None, options.split(",")):
        key, _, value = (word.strip() for word in option.partition("="))
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
                f"`{option.strip()}` in `{text}` is no option: use layers=A-B, heads=A-B, "
                f"span=content or span=message{others}."
            )
    layers, heads = ranges.get("layers"), ranges.get("heads")
    return AttentionControl(kind, strength, layers, heads, span, source)


def _with_folders(control: Control) -> Control:
    """The control with what its folders make of the system prompt, or why that cannot be."""
    system: SystemKind = "stays" if control.route is None else "routed"
    prism = control.prism
    if prism is not None:
        prism, at, option = prism.partition("@")
        if at and option != "system=stays":
            raise ControlError(f"`@{option}` in `{control.text}` is no option: use system=stays.")
        if control.route is not None:
            raise ControlError(f"`{control.text}` has two that decide by message: keep one.")
        if not at:
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
    return replace(control, prism=prism, system=system)
