"""Settings of an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core.control import Control
from holdfast.core.settings import option, require_at_least, with_default
from holdfast.evals.conversation.settings import (
    ConversationSettings,
    Pairs,
    check_controls,
    read_controls,
)


@dataclass(frozen=True, kw_only=True)
class ExplainSettings(ConversationSettings):
    """What an explanation measures."""

    pairs: Pairs = with_default(ConversationSettings, "pairs", 12)
    controls: Sequence[str | Control] = option(
        ("none", "split-softmax:0.7", "anchor"),
        "Controls, with commas between; none is always among them.",
        parse=read_controls,
        metavar="TEXT",
    )
    """The controls; `none` is always among them, and the first."""
    rounds: int = option(8, "Rounds of each conversation.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, self, "rounds")
        if self.controls:  # none alone where there are no others
            object.__setattr__(self, "controls", check_controls(self.controls))
