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

_SHARES = (0.1, 0.25, 0.5, 0.95)
"""λ as shares of the largest that can never lose everything: small bets see small rises."""


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
    _sums: list[float] = field(default_factory=lambda: [0.0] * len(_SHARES))
    _chains: list[float] = field(default_factory=lambda: [1.0] * len(_SHARES))
    _starts: list[int] = field(default_factory=lambda: [1] * len(_SHARES))
    _totals: list[float] = field(default_factory=lambda: [0.0] * len(_SHARES))

    def add(self, drop: float) -> bool:
        """Take one more drop; True if this is an alarm, after which the test begins anew."""
        self.count += 1
        self.total += drop
        for i, share in enumerate(_SHARES):
            bet = 1 + share / (1 + self.tolerance) * (drop - self.tolerance)
            if self._chains[i] <= 1:
                self._chains[i], self._starts[i], self._totals[i] = 1.0, self.count, 0.0
            self._chains[i] *= bet
            self._totals[i] += drop
            self._sums[i] = bet * (self._sums[i] + 1)
        return self.value >= self.threshold

    @property
    def value(self) -> float:
        """S, which raises the alarm at `threshold`."""
        return sum(self._sums) / len(self._sums)

    @property
    def delay(self) -> int:
        """How many drops there are since the change, where it is likeliest to have begun."""
        return self.count - self._starts[self._best] + 1

    @property
    def drop(self) -> float:
        """Mean drop since then."""
        return self._totals[self._best] / max(1, self.delay)

    @property
    def _best(self) -> int:
        return max(range(len(_SHARES)), key=self._sums.__getitem__)

    @property
    def mean(self) -> float | None:
        """Mean drop so far."""
        return self.total / self.count if self.count else None

    def restart(self) -> None:
        """Forget the evidence, not the counts."""
        self._sums = [0.0] * len(_SHARES)
        self._chains = [1.0] * len(_SHARES)
        self._starts = [self.count + 1] * len(_SHARES)
        self._totals = [0.0] * len(_SHARES)
