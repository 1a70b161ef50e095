"""A control is what tries to hold a persona at inference time, written as text.

    none                  nothing
    window:N              the system prompt and the last N messages
    reminder:p            the system prompt said again before a user turn, with probability p
    guidance:α            log p = log p₀ + α (log p₁ - log p₀), p₀ without the persona
    split-softmax:k       persona's share π of the attention becomes π^k           (2402.10962)
    boost:M               … becomes Mπ / (Mπ + 1 - π)                              (2506.13734)
    spotlight:τ           … is raised where its mean over heads is below τ          (2505.12025)
    anchor                the persona sits just before every turn (rotary positions)
    route:PATH            the system prompt is left out of turns whose last message a router
                          (`prism.router`) says no to
    prism:PATH            an adapter with personas in it, on where its gate says so; the system
                          prompt is dropped, unless it is prism:PATH@system=stays

joined with `+`, at most one of each and one of the three shares. Attention controls
take options, `split-softmax:0.7@layers=8-24,heads=0-3,span=message`: `span` says which
tokens are the persona, its content alone (the default of the shares) or the system
message as rendered without BOS (anchor's; where both are joined, anchor's serves both).

Window, reminder and route rewrite the chat and work on any model. The rest need the weights.
This module knows text and chats; how attention is steered is `steering`'s.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from holdfast.core.chat import Chat, Message, message
from holdfast.core.errors import ControlError
from holdfast.core.seeds import seed_of

Kind = Literal["split-softmax", "boost", "spotlight", "anchor"]
SpanKind = Literal["content", "message"]
SystemKind = Literal["stays", "routed", "dropped"]
Range = tuple[int, int]

# What `holdfast compare` tries by default: Li et al.'s three methods over their range, the two
# later attention controls, the plainest rival, and ours alone and joined.
DEFAULT = (
    "none",
    *(f"window:{n}" for n in (1, 3, 7)),
    *(f"reminder:{p}" for p in (0.25, 0.5, 1)),
    *(f"guidance:{a}" for a in (1.25, 1.5, 2, 3)),
    *(f"split-softmax:{k}" for k in (0.9, 0.8, 0.7, 0.5, 0.3)),
    *(f"boost:{m}" for m in (2, 4, 10)),
    *(f"spotlight:{t}" for t in (0.1, 0.2, 0.3)),
    "anchor",
    "anchor+reminder:0.5",
    "anchor+split-softmax:0.7",
)

# name: lowest and highest strength, the one that is off, and how to say it
_STRENGTHS: Mapping[str, tuple[float, float, float | None, str]] = {
    "window": (1, math.inf, None, "a whole number of messages, 1 or more"),
    "reminder": (0, 1, 0, "a probability from 0 (off) to 1"),
    "guidance": (1, math.inf, 1, "1 (off) or more"),
    "split-softmax": (0, 1, 1, "from 0 (all attention) to 1 (off)"),
    "boost": (1, math.inf, 1, "1 (off) or more"),
    "spotlight": (0, 1, 0, "a share from 0 (off) to 1"),
}
_SHARES = ("split-softmax", "boost", "spotlight")
_FOLDERS = ("route", "prism")  # what names a folder of `holdfast prism train`
_PRISM = ("adapter_config.json", "adapter_model.safetensors", "gate.safetensors", "prism.json")
_NAMES = ("none", *_STRENGTHS, "anchor", *_FOLDERS)


@dataclass(frozen=True)
class Part:
    """One attention control: `strength` is k, M or τ (0 for anchor), ranges are inclusive."""

    kind: Kind
    strength: float = 0.0
    layers: Range | None = None
    heads: Range | None = None
    span: SpanKind = "content"

    def __str__(self) -> str:
        shown = [f"{name}={a}-{b}" for name, (a, b) in self._ranges()] + [f"span={self.span}"]
        strength = "" if self.kind == "anchor" else f":{self.strength:g}"
        return f"{self.kind}{strength}@{','.join(shown)}"

    def _ranges(self) -> list[tuple[str, Range]]:
        found = (("layers", self.layers), ("heads", self.heads))
        return [(name, range_) for name, range_ in found if range_ is not None]


@dataclass(frozen=True)
class Control:
    """A control, read. Parts at the strength that is off are left out; `text` is as given."""

    text: str = "none"
    window: int | None = None
    reminder: float | None = None
    guidance: float | None = None
    share: Part | None = None
    anchor: Part | None = None
    route: str | None = None
    prism: str | None = None
    system: SystemKind = "stays"

    @property
    def steers(self) -> bool:
        """Whether it changes attention."""
        return self.share is not None or self.anchor is not None

    @property
    def needs_weights(self) -> bool:
        """Whether only a model on this machine can be put under it."""
        return self.steers or self.guidance is not None or self.prism is not None

    @property
    def state(self) -> str:
        """What keys and values depend on, as text; empty where they are the plain model's."""
        return "+".join(str(part) for part in (self.share, self.anchor) if part is not None)

    def rewrite(
        self, chat: Chat, *, system_anywhere: bool = False, user_first: bool = False
    ) -> Chat:
        """The chat as window and reminder leave it.

        A reminder is a system message where the model takes one in mid-chat
        (`system_anywhere`), else the prompt and a blank line at the head of the user
        message. Whether a message gets one is drawn from the texts before it, so that it
        stays where it was drawn, in later turns and on branches alike. A window that
        would open with a reply drops it where the model wants a user first; one that would open
        with a tool's answer begins with the call, and with its user message there.
        """
        chat = self._routed(chat) if self.system != "dropped" else _without_system(chat)
        if self.window is None and self.reminder is None:
            return chat
        head = chat[:1] if chat and chat[0]["role"] == "system" else ()
        body = chat[len(head) :]
        first = max(0, len(body) - self.window) if self.window is not None else 0
        first = _opening(body, first, user_first)
        kept: list[Message] = [*head]
        for i in range(first, len(body)):
            # Right after the prompt itself there is nothing to be reminded of.
            if head and i > first and self._reminds(head[0], body[: i + 1]):
                kept += _reminded(head[0]["content"], body[i], system_anywhere)
            else:
                kept.append(body[i])
        return tuple(kept)

    def _routed(self, chat: Chat) -> Chat:
        """The chat without its system prompt where the router says so."""
        if self.route is None or not chat or chat[0]["role"] != "system":
            return chat
        from holdfast.control import router

        return chat if router.read(self.route).on(chat[-1]["content"]) else _without_system(chat)

    def _reminds(self, prompt: Message, said: Sequence[Message]) -> bool:
        if self.reminder is None or said[-1]["role"] != "user":
            return False
        texts = (m["content"] for m in said[:-1])
        return seed_of("reminder", prompt["content"], *texts) < self.reminder * 2**63


def _without_system(chat: Chat) -> Chat:
    return chat[1:] if chat and chat[0]["role"] == "system" else chat


def _opening(body: Chat, first: int, user_first: bool) -> int:
    """Where a window from `first` on opens: a tool's answer needs the call before it."""
    while first and body[first]["role"] == "tool":
        first -= 1
    if not user_first or first >= len(body) - 1 or body[first]["role"] != "assistant":
        return first
    if body[first + 1]["role"] != "tool":
        return first + 1
    while first and body[first]["role"] != "user":
        first -= 1
    return first


def _reminded(prompt: str, said: Message, system_anywhere: bool) -> list[Message]:
    if system_anywhere:
        return [message("system", prompt), said]
    return [message("user", f"{prompt}\n\n{said['content']}")]


@lru_cache(maxsize=256)
def parse(text: str) -> Control:
    """The control that a text names. Raises `ControlError` with what is wrong in it."""
    found: dict[str, float | Part] = {}
    folders: dict[str, str] = {}
    for piece in text.split("+"):
        at, colon, folder = piece.strip().partition(":")
        if colon and at in _FOLDERS:
            if at in folders:
                raise ControlError(f"`{text}` has more than one of `{at}`: keep one.")
            folders[at] = folder
            continue
        name, strength, options = _split(piece.strip(), text)
        slot = "share" if name in _SHARES else name
        if slot in found:
            several = "split-softmax, boost and spotlight" if slot == "share" else f"`{name}`"
            raise ControlError(f"`{text}` has more than one of {several}: keep one.")
        if name in _SHARES or name == "anchor":
            found[slot] = _part(name, strength, options, text)
        elif options:
            raise ControlError(f"`{name}` in `{text}` takes no options: leave out `@{options}`.")
        else:
            found[slot] = strength
    if "none" in found and len(found) + len(folders) > 1:
        raise ControlError(f"`{text}` joins none with a control: leave `none` out.")
    on = {name: value for name, value in found.items() if not _off(name, value)}
    return _with_folders(_control(text, on), folders)


def _with_folders(control: Control, folders: Mapping[str, str]) -> Control:
    """The control with what `route` and `prism` name, or why it cannot be had."""
    route, prism = folders.get("route"), folders.get("prism")
    system: SystemKind = "stays" if route is None else "routed"
    if prism is not None:
        prism, at, option = prism.partition("@")
        if at and option != "system=stays":
            raise ControlError(f"`@{option}` in `{control.text}` is no option: use system=stays.")
        if route is not None:
            raise ControlError(f"`{control.text}` has two that decide by message: keep one.")
        if not at:
            system = "dropped"
        if not at and (control.needs_weights or control.reminder is not None):
            raise ControlError(
                f"`{control.text}` holds a system prompt that prism drops: write "
                f"prism:{prism}@system=stays."
            )
    for name, path in (("route", route), ("prism", prism)):
        if path is not None and not path.strip():
            raise ControlError(
                f"`{control.text}` names no folder: {name}:PATH, one of holdfast prism train."
            )
    return replace(control, route=route, prism=prism, system=system)


def digests(controls: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files that controls name, by path, for a manifest.

    Raises `ControlError` for a file that is not there.
    """
    paths: set[Path] = set()
    for control in (parse(split(text)[1]) for text in controls):
        if control.route is not None:
            place = Path(control.route)
            paths.add(place / "route.json" if place.is_dir() else place)
        if control.prism is not None:
            paths |= {Path(control.prism) / name for name in _PRISM}
    try:
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(paths)}
    except OSError as error:
        raise ControlError(
            f"{error.filename} cannot be read ({error.strerror}): holdfast prism train writes it."
        ) from error


def trained_on(control: str) -> frozenset[str] | None:
    """The personas that a control was made for, as texts; None where it is for any.

    Raises `ControlError` where its folder does not say.
    """
    folder = parse(split(control)[1]).prism
    if folder is None:
        return None
    try:
        held = json.loads((Path(folder) / "prism.json").read_text(encoding="utf-8"))
        return frozenset(one[n] for one in held["personas"] for n in ("minimal", "half", "full"))
    except (OSError, ValueError, KeyError) as error:
        raise ControlError(
            f"{folder} holds no trained PRISM ({error}): holdfast prism train writes one."
        ) from error


def _control(text: str, found: Mapping[str, float | Part]) -> Control:
    share, anchor = found.get("share"), found.get("anchor")
    numbers = {k: v for k, v in found.items() if isinstance(v, float)}
    window = numbers.get("window")
    return Control(
        text,
        None if window is None else int(window),
        numbers.get("reminder"),
        numbers.get("guidance"),
        share if isinstance(share, Part) else None,
        anchor if isinstance(anchor, Part) else None,
    )


def _off(name: str, value: float | Part) -> bool:
    """True for a part at the strength that changes nothing."""
    if name in ("none", "anchor"):
        return name == "none"
    kind, strength = (value.kind, value.strength) if isinstance(value, Part) else (name, value)
    return strength == _STRENGTHS[kind][2]


def _split(piece: str, text: str) -> tuple[str, float, str]:
    """Name, strength and options of one part."""
    head, _, options = piece.partition("@")
    name, colon, given = (word.strip() for word in head.partition(":"))
    if name in _FOLDERS:
        raise ControlError(
            f"`{name}` in `{text}` names no folder: {name}:PATH, one of holdfast prism train."
        )
    if name not in _NAMES:
        raise ControlError(f"there is no control `{name}` (in `{text}`): use {', '.join(_NAMES)}.")
    if name not in _STRENGTHS:
        if colon:
            raise ControlError(f"`{name}` in `{text}` takes no strength: leave out `:{given}`.")
        return name, 0.0, options.strip()
    low, high, _, meaning = _STRENGTHS[name]
    if not re.fullmatch(r"\d+" if name == "window" else r"\d+\.?\d*|\.\d+", given):
        raise ControlError(f"`{name}` in `{text}` needs a strength: {name}:{meaning}.")
    strength = float(given)
    if not low <= strength <= high or strength == math.inf:
        raise ControlError(f"`{name}:{given}` is out of range: {name} takes {meaning}.")
    return name, strength, options.strip()


def _part(name: str, strength: float, options: str, text: str) -> Part:
    ranges: dict[str, Range] = {}
    span: SpanKind = "message" if name == "anchor" else "content"
    for option in filter(None, options.split(",")):
        key, _, value = (word.strip() for word in option.partition("="))
        if key == "span" and value in ("content", "message"):
            span = "content" if value == "content" else "message"
        elif key in ("layers", "heads") and (at := re.fullmatch(r"(\d+)(?:-(\d+))?", value)):
            ranges[key] = (int(at[1]), int(at[2] or at[1]))
            if ranges[key][0] > ranges[key][1]:
                raise ControlError(f"`{option}` in `{text}` runs backwards: write the lower first.")
        else:
            raise ControlError(
                f"`{option.strip()}` in `{text}` is no option: use layers=A-B, heads=A-B, "
                "span=content or span=message."
            )
    kind = cast(Kind, name)
    return Part(kind, strength, ranges.get("layers"), ranges.get("heads"), span)


ALSO = "also:"


def split(control: str) -> tuple[str, str]:
    """The name of the model that a control asks for ("" for the first), and its own control."""
    if not control.startswith(ALSO):
        return "", control
    name, _, rest = control.removeprefix(ALSO).partition("+")
    return name, rest or "none"
