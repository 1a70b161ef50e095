"""Convex cones on the unit sphere, numerically: distances, measures, and when vectors span.

A cone C is given by generators, the columns of a (D, m) matrix. The ε-neighbourhood of C
is the set of unit vectors whose distance to C is at most ε, and μ its share of the sphere.
With v_k the cone's intrinsic volumes, the probability that the point of C nearest to a
random direction lies inside a face of k dimensions, Steiner's formula for cones says

    μ(C^ε) = Σ_k v_k I_{ε²}((D - k) / 2, k / 2)

with I the regularised incomplete beta function. Only the v_k are drawn, so that measures
of 10⁻³⁰ are within reach of a few thousand draws. Whether n random
vectors span R^D as a cone is Wendel's theorem (1962): they do not with the probability

    2^-(n - 1) Σ_{k < D} C(n - 1, k)

for any distribution that is symmetric and without ties.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def near_subspace(epsilon: Array | float, inside: int, across: int) -> Array:
    """Share of the unit sphere of R^across within ε of a subspace of `inside` dimensions."""
    eps = np.clip(np.asarray(epsilon, float), 0.0, 1.0)
    if inside == across:
        return np.ones_like(eps)
    # sin φ is the distance to the subspace, whose density is ∝ sin^(D-d-1) φ cos^(d-1) φ.
    top = np.arcsin(eps)[..., None]
    angle = top * (_NODES + 1) / 2
    density = np.sin(angle) ** (across - inside - 1) * np.cos(angle) ** (inside - 1)
    half = math.lgamma((across - inside) / 2) + math.lgamma(inside / 2) - math.lgamma(across / 2)
    whole = math.exp(half) / 2
    return np.asarray((density * _WEIGHTS * top / 2).sum(-1) / whole)


def frame(generators: Array) -> Array:
    """An orthonormal basis (D, d) of the span of generators (D, m)."""
    vectors, values, _ = np.linalg.svd(generators, full_matrices=False)
    return np.asarray(vectors[:, values > 1e-9 * values[0]])


def nearest(generators: Array, target: Array) -> Array:
    """Weights λ ≥ 0 (m,) that bring generators·λ nearest to a target (D,): Lawson and Hanson."""
    gram, against = generators.T @ generators, generators.T @ target
    free = np.zeros(generators.shape[1], bool)
    weights = np.zeros(generators.shape[1])
    # Rounding leaves gradients of this size where there is nothing to gain.
    least = 1e-10 * max(1e-300, float(np.abs(against).max()), float(np.abs(gram).max()))
    for _ in range(10 * len(weights)):
        gradient = np.where(free, -np.inf, against - gram @ weights)
        entering = int(gradient.argmax())
        if gradient[entering] <= least:
            break
        free[entering] = True
        while True:
            solution = np.zeros_like(weights)
            solution[free] = np.linalg.lstsq(generators[:, free], target, rcond=None)[0]
            negative = free & (solution <= 0)
            if not negative.any():
                break
            share = (weights[negative] / (weights[negative] - solution[negative])).min()
            weights = weights + share * (solution - weights)
            free &= weights > 1e-14
            if not free.any():
                break
            weights[~free] = 0.0
        weights = solution
    return weights


def distance(generators: Array, targets: Array) -> Array:
    """Distance of unit vectors in the direction of targets (n, D) to a cone: (n,), in [0, 1]."""
    basis = frame(generators)
    inner = basis.T @ generators
    distances = np.empty(len(targets))
    for i, target in enumerate(targets):
        unit = target / np.linalg.norm(target)
        part = basis.T @ unit
        gap = part - inner @ nearest(inner, part)
        across = max(0.0, 1.0 - float(part @ part))
        distances[i] = math.sqrt(min(1.0, across + float(gap @ gap)))
    return distances


def faces(generators: Array, draws: int, rng: np.random.Generator) -> Array:
    """Intrinsic volumes v_0 … v_d of a cone, estimated: on faces of which dimension the points
    nearest to random directions of its span lie."""
    inner = frame(generators).T @ generators
    inside = inner.shape[0]
    dimensions = [np.count_nonzero(nearest(inner, rng.normal(size=inside))) for _ in range(draws)]
    return np.bincount(dimensions, minlength=inside + 1)[: inside + 1] / draws


def measure(volumes: Array, epsilons: Array, across: int) -> Array:
    """μ(C^ε) of a cone of these intrinsic volumes (..., d + 1) in R^across: (..., epsilons)."""
    near = [np.zeros_like(epsilons)]  # nearest to the tip are directions at a distance of 1
    near += [near_subspace(epsilons, k, across) for k in range(1, volumes.shape[-1])]
    return np.asarray(volumes @ np.stack(near))


def surrounds(vectors: Array) -> bool:
    """Whether the cone of vectors (n, D) is the whole of R^D: 0 lies inside their convex hull."""
    if np.linalg.matrix_rank(vectors) < vectors.shape[1]:
        return False
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    augmented = np.vstack([units.T, np.ones(len(units))])
    target = np.zeros(augmented.shape[0])
    target[-1] = 1.0
    return bool(np.linalg.norm(augmented @ nearest(augmented, target) - target) < 1e-7)


def wendel(count: int, across: int) -> float:
    """Probability that `count` random vectors span R^across as a cone, exactly."""
    if count <= across:
        return 0.0
    missing = sum(math.comb(count - 1, k) for k in range(across))
    return float(1 - missing / 2 ** (count - 1)) if missing < 2**1000 else _big(missing, count)


def _big(missing: int, count: int) -> float:
    """1 - missing / 2^(count - 1) where both are beyond a float."""
    shift = max(0, missing.bit_length() - 1000)
    return 1 - (missing >> shift) * 2.0 ** -(count - 1 - shift)


def enough(eta: float, across: int) -> int:
    """The least number of random vectors that span R^across with probability 1 - η."""
    low, high = across, 4 * across + 64 + int(4 * math.log(1 / eta))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wendel(middle, across) >= 1 - eta else (middle, high)
    return high


def bound(eta: float, across: int) -> float:
    """The number that Prop. 5.2 asks for: 4D + 2 log(1/η)."""
    return 4 * across + 2 * math.log(1 / eta)
