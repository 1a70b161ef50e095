"""A model as judge."""

from __future__ import annotations

from holdfast.judge.params import Params


def criteria(params: Params) -> tuple[str, int]:
    """The criteria and the highest grade of a rubric's spec."""
    text = params.text("criteria")
    scale = params.whole("scale", 5, low=2) or 5
    params.done()
    if scale > 10:
        params.fail(f"parameter “scale” must be a whole number from 2 to 10, not {scale}")
    return text, scale
