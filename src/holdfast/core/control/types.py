"""A control as a value: its parts, and what they need of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

Kind = Literal["split-softmax", "boost", "spotlight", "restore", "anchor"]
SpanKind = Literal["content", "message"]
Source = Literal["own", "all"]
SystemKind = Literal["stays", "routed", "dropped"]
GateTurn = Literal["first", "every"]
Range = tuple[int, int]

ALSO = "also:"
"""What the text of a control begins with that another model of a comparison runs under."""


@dataclass(frozen=True)
class AttentionControl:
    """A control of the attention: one of the four shares, or anchor."""

    kind: Kind
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
        # All digits and no exponent: the text is parsed again, and tells apart what is kept.
        number = format(Decimal(repr(self.strength)).normalize(), "f")
        strength = "" if self.kind == "anchor" else f":{number}"
        return f"{self.kind}{strength}@{','.join([*options, f'span={self.span}'])}"


@dataclass(frozen=True)
class AutoControl:
    """A control that acts only while the scores of a conversation's replies fall."""

    name: str
    """reminder, window or note."""
    strength: float
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
    route: str | None = None
    """The router's folder."""
    prism: str | None = None
    """The adapter's folder."""
    gate: GateTurn = "first"
    """Which user message prism's gate reads: the conversation's first, or every last one."""
    system: SystemKind = "stays"
    """What becomes of the system prompt: route decides by message, prism drops it."""
    model: str = ""
    """The model beside the first that answers (`also:`); empty for the first."""

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its parts without strengths, which clients choose without end."""
        rewriting = [
            part for part in ("window", "reminder", "note") if getattr(self, part) is not None
        ]
        auto = [f"auto:{self.auto.name}"] if self.auto else []
        guidance = [] if self.guidance is None else ["guidance"]
        folders = [part for part in ("route", "prism") if getattr(self, part) is not None]
        attention = [part.kind for part in self.attention]
        return (*rewriting, *auto, *guidance, *attention, *folders)

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
        return replace(self, text=without_model(self.text), model="") if self.model else self


def without_model(text: str) -> str:
    """The control's text without `also:NAME`."""
    return text.removeprefix(ALSO).partition("+")[2] or "none"


NONE = Control()
