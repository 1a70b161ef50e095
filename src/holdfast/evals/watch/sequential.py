"""A sequential test: has the mean of a stream of bounded values risen?

Values d₁, d₂, … are drops of a score, in [-1, 1], one for each conversation. As long as

    E[dₙ | d₁ … dₙ₋₁] ≤ m          (m, the tolerance)

the bet Lₙ = 1 + λ (dₙ - m) has a mean of at most 1 for every 0 ≤ λ ≤ 1 / (1 + m). Bets multiply,
and a new chain of them begins at every n (Shiryaev and Roberts):

    Sₙ = Lₙ (Sₙ₋₁ + 1),  S₀ = 0

Sₙ - n is a supermartingale, and so P(Sₙ ≥ c for some n ≤ N) ≤ N / c: an alarm at c comes after c
values on average at the earliest, whatever the values' distribution is. S is a mean over several λ.
Beside it runs Page's sum, max(1, Wₙ₋₁) Lₙ: where it last began anew is the estimate of the change.

Source: Shin, Ramdas and Rinaldo, *E-detectors: a nonparametric framework for sequential change
detection*, 2022 (arXiv:2203.03532); the bets are those of Waudby-Smith and Ramdas, *Estimating
means of bounded random variables by betting*, 2020 (arXiv:2010.09686).

The values must be independent of each other, or at least not be predictable as higher than m from
those before them. This module knows numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter

_SHARES = (0.1, 0.25, 0.5, 0.95)
"""λ as shares of the largest that can never lose everything: small bets see small rises."""


@dataclass
class _Bets:
    """The bets of one λ."""

    share: float
    """λ as a share of the largest."""
    start: int
    """Number of the drop with which Page's sum last began anew."""
    value: float = 0.0
    """S."""
    page: float = 1.0
    """Page's sum."""
    total: float = 0.0
    """Sum of the drops since its start."""


@dataclass
class DropDetector:
    """The test over one stream of drops."""

    tolerance: float
    """m: a mean drop up to here is no alarm."""
    threshold: float
    """c: on average at least so many drops between false alarms."""
    count: int = 0
    """Drops so far."""
    total: float = 0.0
    """Their sum."""
    _bets: list[_Bets] = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def add(self, drop: float) -> bool:
        """Take one more drop; True if this is an alarm. Only `restart` begins the test anew."""
        self.count += 1
        self.total += drop
        for one in self._bets:
            bet = 1 + one.share / (1 + self.tolerance) * (drop - self.tolerance)
            if one.page <= 1:
                one.page, one.start, one.total = 1.0, self.count, 0.0
            one.page *= bet
            one.total += drop
            one.value = bet * (one.value + 1)
        return self.value >= self.threshold

    @property
    def value(self) -> float:
        """S, which raises the alarm at `threshold`."""
        return sum(one.value for one in self._bets) / len(self._bets)

    @property
    def delay(self) -> int:
        """How many drops there are since the change, where it is likeliest to have begun."""
        return self.count - self._best.start + 1

    @property
    def drop(self) -> float:
        """Mean drop since then."""
        return self._best.total / max(1, self.delay)

    @property
    def _best(self) -> _Bets:
        return max(self._bets, key=attrgetter("value"))

    @property
    def mean(self) -> float | None:
        """Mean drop so far."""
        return self.total / self.count if self.count else None

    def restart(self) -> None:
        """Forget the evidence, not the counts."""
        self._bets = [_Bets(share, self.count + 1) for share in _SHARES]
