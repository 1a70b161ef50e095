"""Two-part attention and its share functions, for models of your own (`control.attention`)."""

from __future__ import annotations

from holdfast.control.attention import two_part_attention
from holdfast.control.share_functions import Boost, SplitSoftmax, Spotlight, share_function

__all__ = ["Boost", "SplitSoftmax", "Spotlight", "share_function", "two_part_attention"]
