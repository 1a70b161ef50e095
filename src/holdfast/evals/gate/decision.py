"""Does a candidate hold what a baseline held? A paired test with a margin, and its power.

With the change d = mean over conversations of (candidate - baseline), its 95% interval [l, u]
(`core.intervals`) and the margin m:

    holds        l > -m            a fall of the margin is excluded
    slips        l ≤ -m and u < 0  it is not, and that there is a fall is certain
    cannot tell  otherwise         also where there is no interval

So one in forty candidates as good as the baseline slips, and one in forty that fall by the margin
or more holds. A smaller fall is no error either way; with more conversations it comes to hold.
`slips` asks for a fall above 0, not above the margin: that could be shown of falls much larger
than the margin only.

A fall f is seen four times in five where f = h + z s, with h the half width of the interval
towards the farther end, s the standard error of the change and z = .84; both shrink with the
square root of the conversations, so that a fall of m needs n (f / m)² of them.

This module knows arrays.
"""

from __future__ import annotations

import math

import numpy as np

from holdfast.core.intervals import FEWEST, Moments, Sample
from holdfast.core.stats import Array, numbers
from holdfast.evals.compare.intervals import by_conversation, paired_difference
from holdfast.results.gate import Decision, Outcome, Power

OFTEN = 0.8416
"""z of .8: four times in five."""


def decide(
    candidate: Array, baseline: Array, part: slice, sample: Sample, margin: float
) -> Decision:
    """Compare two runs of the same conversations.

    Args:
        candidate: Scores, (conversations, points); NaN where nothing was measured.
        baseline: Those of the baseline, in the same shape.
        part: The points that count.
        sample: What the conversations share.
        margin: The fall that is not tolerated, above 0 and below 1.
    """
    moments = sample.moments(by_conversation((candidate - baseline)[:, part]))
    change, interval = paired_difference(candidate, baseline, part, sample)
    low, high = numbers(interval)  # what is printed decides
    return Decision(
        verdict=outcome(low, high, margin),
        change=numbers(change),
        interval=(low, high),
        margin=margin,
        n=int(moments.n),
        power=_power(moments, float(np.abs(interval - change).max()), margin),
    )


def outcome(low: float | None, high: float | None, margin: float) -> Outcome:
    """The verdict on a change between two ends; None where there is no interval."""
    if low is None or high is None:
        return "cannot tell"
    if low > -margin:
        return "holds"
    return "slips" if high < 0 else "cannot tell"


def _power(moments: Moments, half: float, margin: float) -> Power:
    """What the change shows, from its moments and the half width of its interval."""
    if math.isnan(half):
        return Power(margin, None, None)
    detectable = half + OFTEN * math.sqrt(float(moments.variance))
    conversations = math.ceil(float(moments.n) * (detectable / margin) ** 2)
    return Power(margin, max(conversations, FEWEST), round(detectable, 4))
