"""The transformer of the cone theory, simulated: attention alone, its output fed back as a token.

    h_t^{l+1} = h_t^l + Σ_heads Σ_{i ≤ t} α_{t,i} W_ov h_i^l        h_{t+1}^0 = h_t^L / |h_t^L|

without MLPs, without norms between layers, and without a vocabulary. System tokens lie
within ε of a circular cone: vectors of a d-dimensional subspace at an angle of at most θ
to an axis c. Theorem 5.1 says that where every W_ov maps the ε-neighbourhood of that cone
into itself, all tokens generated from then on stay within

    ε̃ = ε / √(ε² + cos²θ (1 - ε²))

of the cone. Users then say tokens that are uniform on the sphere, as Prop. 5.2 has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from cones import Array


@dataclass(frozen=True)
class Cone:
    """A circular cone in the first `inside` coordinates of R^across, its axis the first."""

    across: int = 32
    inside: int = 6
    angle: float = np.pi / 6
    epsilon: float = 0.1

    @property
    def widening(self) -> float:
        """ε̃: how far convex combinations of the neighbourhood get from the cone."""
        e, cosine = self.epsilon, np.cos(self.angle)
        return float(e / np.sqrt(e**2 + cosine**2 * (1 - e**2)))

    def distance(self, vectors: Array) -> Array:
        """Distance of the unit vectors in these directions to the cone: (..., D) to (...)."""
        units = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        along, inner = units[..., 0], units[..., 1 : self.inside]
        beside = np.linalg.norm(inner, axis=-1)
        size = np.hypot(along, beside)
        over = np.clip(np.arctan2(beside, along) - self.angle, 0, np.pi / 2)
        outer = (units[..., self.inside :] ** 2).sum(-1)
        return np.asarray(np.sqrt(np.clip(outer + (size * np.sin(over)) ** 2, 0, 1)))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Unit vectors within ε of the cone: any angle up to θ, any distance up to ε."""
        angle = self.angle * rng.uniform(size=(*shape, 1))
        beside = _units((*shape, self.inside - 1), rng)
        inner = np.concatenate([np.cos(angle), np.sin(angle) * beside], -1)
        off = self.epsilon * rng.uniform(size=(*shape, 1))
        outer = _units((*shape, self.across - self.inside), rng)
        return np.concatenate([np.sqrt(1 - off**2) * inner, off * outer], -1)

    def keeping(self, rng: np.random.Generator) -> Array:
        """A W_ov (D, D) that maps the neighbourhood into itself.

        It turns and shrinks what is beside the axis, and shrinks what is outside of the
        subspace at least as much.
        """
        matrix = np.zeros((self.across, self.across))
        beside = rng.uniform(0.6, 1.0)
        matrix[0, 0] = 1.0
        matrix[1 : self.inside, 1 : self.inside] = beside * _turn(self.inside - 1, rng)
        outer = beside * rng.uniform(0.5, 1.0)
        matrix[self.inside :, self.inside :] = outer * _turn(self.across - self.inside, rng)
        return matrix


def _units(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    vectors = rng.normal(size=shape)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _turn(size: int, rng: np.random.Generator) -> Array:
    return np.asarray(np.linalg.qr(rng.normal(size=(size, size)))[0])


@dataclass(frozen=True)
class Walk:
    """Simulated chats: distance to the system's cone and share on it, (runs, tokens generated)."""

    distance: Array
    share: Array


@dataclass
class Transformer:
    """One simplified transformer for each run, all run side by side. `kind` chooses its W_ov:

    `identity`; `keeping`, which maps the cone's neighbourhood into itself and draws towards its
    axis; `random`, of the same size. Queries and keys are random.
    """

    cone: Cone
    kind: str
    runs: int
    rng: np.random.Generator
    layers: int = 3
    heads: int = 2
    gain: float = 3.0
    states: list[Array] = field(default_factory=list)  # by layer: (runs, tokens so far, D)

    def __post_init__(self) -> None:
        size, shape = self.cone.across, (self.layers, self.heads, self.runs)
        scale = self.gain / np.sqrt(size)
        self.query = scale * self.rng.normal(size=(*shape, size, size))
        self.key = scale * self.rng.normal(size=(*shape, size, size))
        matrices = [self.cone.keeping(self.rng) for _ in range(int(np.prod(shape)))]
        self.value = np.stack(matrices).reshape(*shape, size, size)
        if self.kind == "identity":
            self.value = np.broadcast_to(np.eye(size), self.value.shape)
        if self.kind == "random":
            strength = np.linalg.norm(self.value, axis=(-1, -2), keepdims=True) / size
            self.value = strength * self.rng.normal(size=self.value.shape)
        self.states = [np.zeros((self.runs, 0, size)) for _ in range(self.layers)]

    def feed(self, token: Array, system: int) -> tuple[Array, Array]:
        """Take a token (runs, D); the next one, and the share of attention on the system's."""
        now, shares = token, []
        for layer in range(self.layers):
            past = np.concatenate([self.states[layer], now[:, None]], 1)
            self.states[layer] = past
            update = np.zeros_like(now)
            for head in range(self.heads):
                query = np.einsum("rij,rj->ri", self.query[layer, head], now)
                keys = np.einsum("rij,ri->rj", self.key[layer, head], query)
                scores = np.einsum("rtj,rj->rt", past, keys) / np.sqrt(self.cone.across)
                weights = np.exp(scores - scores.max(1, keepdims=True))
                weights /= weights.sum(1, keepdims=True)
                shares.append(weights[:, :system].sum(1))
                context = np.einsum("rt,rtj->rj", weights, past)
                update += np.einsum("rij,rj->ri", self.value[layer, head], context)
            now = now + update
        return now / np.linalg.norm(now, axis=1, keepdims=True), np.mean(shares, 0)


def walk(
    cone: Cone,
    kind: str,
    *,
    users: str,
    runs: int = 200,
    system: int = 12,
    turns: int = 4,
    user_tokens: int = 8,
    own_tokens: int = 16,
    seed: int = 0,
) -> Walk:
    """Chats of `turns` turns: system tokens, then generated ones, `user_tokens` of a user between.

    `users` say tokens that are `uniform` on the sphere, or drawn from the `cone` like the system's.
    """
    rng = np.random.default_rng(seed)
    model = Transformer(cone, kind, runs, rng)
    for token in np.moveaxis(cone.draw((runs, system), rng), 1, 0):
        after, share = model.feed(token, system)
    far, shares = [], []
    for turn in range(turns):
        for _ in range(user_tokens if turn else 0):
            word = cone.draw((runs,), rng)
            word = _units((runs, cone.across), rng) if users == "uniform" else word
            after, share = model.feed(word, system)
        for _ in range(own_tokens):
            far.append(cone.distance(after))
            shares.append(share)
            after, share = model.feed(after, system)
    return Walk(np.stack(far, 1), np.stack(shares, 1))


def leaving(cone: Cone, kind: str, draws: int, rng: np.random.Generator) -> float:
    """The farthest that a W_ov took a vector of the neighbourhood from the cone, of many tried."""
    matrices = Transformer(cone, kind, 32, rng).value.reshape(-1, cone.across, cone.across)
    tokens = cone.draw((draws,), rng)
    return float(max(cone.distance(tokens @ matrix.T).max() for matrix in matrices))


def mixing(cone: Cone, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """How far convex combinations of the neighbourhood get: at random, and at the extreme pair."""
    tokens = cone.draw((draws, 4), rng)
    weights = rng.dirichlet(np.full(4, 0.5), size=draws)
    random = float(cone.distance(np.einsum("nk,nkd->nd", weights, tokens)).max())
    e, inner = cone.epsilon, np.zeros((2, cone.across))
    inner[:, 0], inner[:, 1] = np.cos(cone.angle), np.sin(cone.angle) * np.array([1, -1])
    pair = np.sqrt(1 - e**2) * inner
    pair[:, -1] += e
    return random, float(cone.distance(pair.mean(0)))
