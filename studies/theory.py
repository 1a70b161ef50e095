"""The cone theory of persona drift, checked number by number (arXiv:2402.10962, section 5).

    measure     Prop. 5.3: μ(C_0^ε) / μ(C_n^ε) against ε^(d2 - d1), on simulated cones
    spanning    Prop. 5.2: how many random vectors span R^D as a cone, against 4D + 2 log(1/η)
    walk        Theorem 5.1: a transformer of attention alone, fed its own output
    model       the same quantities on a model: dimension, cones and W_ov by round and layer

    python studies/theory.py --out docs/images --doc docs/studies/theory.md

prints the tables as Markdown, writes theory-*.svg, and puts each table in its place in the
document, between <!-- theory:NAME --> and <!-- /theory -->. One core, a few minutes.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cones
import numpy as np
import theory_figures as figures
import theory_model as model_tables
from cones import Array
from walk import Cone, leaving, mixing, walk

from holdfast.core.stats import wilson

ACROSS = 16
PAIRS = ((2, 4), (2, 6), (4, 6), (4, 8), (6, 8))
EPSILONS = np.array([0.5, 0.3, 0.2, 0.1, 0.05, 0.02])
STEPS = np.array([0.7, 0.5, 0.3])  # where plain Monte Carlo finds something as well


@dataclass(frozen=True)
class Table:
    """A table of the document, and the name of its place there."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Markdown."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure_tables(cone_pairs: int, draws: int) -> Iterator[Table]:
    """Prop. 5.3: nested cones that fill their subspaces, random ones, and narrow ones."""
    rng = np.random.default_rng(53)
    rows, curves = [], {}
    for d1, d2 in PAIRS:
        full = _ratio(np.eye(d1 + 1)[d1], np.eye(d2 + 1)[d2], ACROSS)
        # Cones of d random generators have binomial intrinsic volumes, on average.
        random = _ratio(_binomial(d1), _binomial(d2), ACROSS)
        sample = _draw_ratios(rng.normal(size=(cone_pairs, ACROSS, d2)), d1, draws, rng)
        curves[d1, d2] = (random, sample[1], full)
        rows += [_ratio_row("filled", d1, d2, ACROSS, full)]
        rows += [_ratio_row("random", d1, d2, ACROSS, random, sample)]
    generators = rng.normal(size=(cone_pairs, ACROSS, 4))
    inner = generators[..., :2] @ rng.dirichlet([1, 1], size=(cone_pairs, 2)).swapaxes(1, 2)
    generators[..., 2:] = _units(inner) + 0.05 * _units(generators[..., 2:])
    sample = _draw_ratios(generators, 2, draws, rng)
    rows += [_ratio_row("narrow", 2, 4, ACROSS, sample[0], sample)]
    for d1, d2 in ((10, 20), (20, 40)):
        full = _ratio(np.eye(d1 + 1)[d1], np.eye(d2 + 1)[d2], 96)
        rows += [_ratio_row("filled", d1, d2, 96, full)]
    figures.measure(EPSILONS, curves)
    at = tuple(f"ε = {EPSILONS[i]:g}" for i in _COLUMNS)
    header = ("cones", "D", "d1 → d2", *at, "drawn, ε = 0.3", "slope .5–.3", "slope .05–.02")
    yield Table("measure", header, tuple(rows))
    yield _agreement(100 * draws, rng)


_COLUMNS = (0, 1, 3, 5)


def _units(vectors: Array) -> Array:
    """Columns of length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-2, keepdims=True))


def _binomial(inside: int) -> Array:
    return np.array([math.comb(inside, k) for k in range(inside + 1)]) / 2.0**inside


def _ratio(small: Array, large: Array, across: int) -> Array:
    """μ(C_0^ε) / μ(C_n^ε) from intrinsic volumes, for every ε."""
    return cones.measure(small, EPSILONS, across) / cones.measure(large, EPSILONS, across)


def _draw_ratios(
    generators: Array, inside: int, draws: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The same by Monte Carlo over cones (cones, D, d2), with its 95% interval over cones."""
    small, large = (
        cones.measure(
            np.stack([cones.faces(one[:, :d], draws, rng) for one in generators]), EPSILONS, ACROSS
        )
        for d in (inside, generators.shape[2])
    )
    n = len(generators)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=1000)
    return small.mean(0) / large.mean(0), np.percentile(
        (weights @ small) / (weights @ large), [2.5, 97.5], axis=0
    ).T


def _ratio_row(
    name: str,
    d1: int,
    d2: int,
    across: int,
    ratio: Array,
    sample: tuple[Array, Array] | None = None,
) -> tuple[str, ...]:
    """A row: the ratio over ε^(d2 - d1), and its slope in ε on logarithmic axes."""
    power = EPSILONS ** (d2 - d1)
    slopes = np.diff(np.log(ratio)) / np.diff(np.log(EPSILONS))
    estimate = "–"
    if sample is not None:
        value, low, high = (float(v) / power[1] for v in (sample[0][1], *sample[1][1]))
        estimate = f"{value:.2g} ({low:.2g}–{high:.2g})"
    cells = tuple(f"{v:.2g}" for v in (ratio / power)[list(_COLUMNS)])
    ends = (f"{slopes[0]:.2f}", f"{slopes[-1]:.2f}")
    return (name, str(across), f"{d1} → {d2}", *cells, estimate, *ends)


def _agreement(draws: int, rng: np.random.Generator) -> Table:
    """The formula behind the table, beside plain Monte Carlo."""
    rows = []
    for inside in (2, 4):
        generators = rng.normal(size=(8, inside))
        far = cones.distance(generators, rng.normal(size=(draws, 8)))
        exact = cones.measure(cones.faces(generators, draws, rng), STEPS, 8)
        for epsilon, value in zip(STEPS, exact, strict=True):
            share = float((far <= epsilon).mean())
            low, high = wilson(share, len(far))
            estimate = f"{share:.4f} ({low:.4f}–{high:.4f})"
            rows.append((f"{inside} in 8", f"{epsilon:g}", f"{value:.4f}", estimate))
    return Table("agreement", ("d in D", "ε", "Steiner", f"{draws:,} directions"), tuple(rows))


def spanning_tables(draws: int) -> Iterator[Table]:
    """Prop. 5.2: Wendel's theorem against the bound, and what is not uniform."""
    rows = []
    for across in (8, 32, 128, 512, 4096):
        for eta in (0.1, 0.001):
            least, bound = cones.enough(eta, across), cones.bound(eta, across)
            rows.append(
                (f"{across:,}", f"{eta:g}", f"{least:,}", f"{bound:,.0f}", f"{bound / least:.2f}")
            )
    yield Table("spanning", ("D", "η", "enough (Wendel)", "4D + 2 log(1/η)", "ratio"), tuple(rows))
    rng = np.random.default_rng(52)
    rows, spots = [], []
    for shift in (0.0, 0.25, 0.5, 1.0):
        cells = []
        for count in (12, 16, 24, 32):
            centre = shift * np.sqrt(8) * np.eye(8)[0]
            hits = [cones.surrounds(centre + rng.normal(size=(count, 8))) for _ in range(draws)]
            share = float(np.mean(hits))
            low, high = wilson(share, draws)
            cells.append(f"{share:.2f} ({low:.2f}–{high:.2f})")
            spots.append((shift, count, share, low, high))
        rows.append((f"{shift:g}", *cells))
    exact = tuple(f"{cones.wendel(n, 8):.3f}" for n in (12, 16, 24, 32))
    header = ("common direction", *(f"n = {n}" for n in (12, 16, 24, 32)))
    yield Table("shifted", header, (("Wendel", *exact), *rows))
    figures.spanning(spots)


def walk_tables(runs: int) -> Iterator[Table]:
    """Theorem 5.1: how far from the system's cone a transformer of attention alone gets."""
    cone, rng, rows, walks = Cone(), np.random.default_rng(51), [], {}
    for kind in ("keeping", "identity", "random"):
        for users in ("cone", "uniform"):
            chats = walks[kind, users] = walk(cone, kind, users=users, runs=runs, seed=51)
            turns = chats.distance.reshape(runs, 4, -1)
            shares = chats.share.reshape(runs, 4, -1)
            rows.append(
                (
                    kind,
                    users,
                    f"{turns[:, 0].max():.3f}",
                    _mean(turns[:, 1, 0]),
                    _mean(turns[:, 1, -1]),
                    _mean(turns[:, 3, -1]),
                    " → ".join(f"{shares[:, t, -1].mean():.2f}" for t in range(4)),
                )
            )
    random, extreme = mixing(cone, 20_000, rng)
    distances = (
        ("ε, of the system’s tokens", f"{cone.epsilon:g}"),
        ("ε̃, the theorem’s bound", f"{cone.widening:.4f}"),
        ("farthest of 20,000 convex combinations of four", f"{random:.4f}"),
        ("the extreme pair’s middle", f"{extreme:.4f}"),
        ("farthest that a `keeping` W_ov takes the neighbourhood", _farthest(cone, "keeping", rng)),
        ("farthest that a `random` W_ov takes it", _farthest(cone, "random", rng)),
    )
    yield Table("assumption", ("distance to the cone", "value"), distances)
    header = ("W_ov", "users", "turn 1, farthest", "turn 2, first", "turn 2, last",
              "turn 4, last", "share at each turn’s end")  # fmt: skip
    yield Table("walk", header, tuple(rows))
    figures.draw_walk(walks, cone)


def _farthest(cone: Cone, kind: str, rng: np.random.Generator) -> str:
    return f"{leaving(cone, kind, 2000, rng):.4f}"


def _mean(values: Array) -> str:
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {half:.3f}"


def place_tables(text: str, tables: Sequence[Table]) -> str:
    """The document with each table in its place. Raises where a table has none."""
    for table in tables:
        place = re.compile(rf"(<!-- theory:{table.name} -->\n).*?(<!-- /theory -->)", re.S)
        if not place.search(text):
            raise SystemExit(f"the document has no place for the table {table.name}")
        text = place.sub(lambda m, t=table: f"{m[1]}\n{t.text()}\n\n{m[2]}", text)
    return text


def main(args: Sequence[str] | None = None) -> None:
    """Run what is asked for, print the tables, write the figures, fill the document."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="for theory-*.svg")
    parser.add_argument("--doc", type=Path, help="the document to put the tables into")
    parser.add_argument("--model", default="mini", help="a Llama-like model, or none")
    parser.add_argument("--pairs", type=int, default=96, help="conversations with the model")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="folder of the model's run, to go on with")
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulations")
    options = parser.parse_args(args)
    figures.folder(options.out)
    scale, began, tables = 10 if options.quick else 1, time.monotonic(), []
    for part in (
        measure_tables(40 // min(scale, 8), 600 // scale),
        spanning_tables(400 // scale),
        walk_tables(200 // scale),
    ):
        tables += list(part)
        print(f"{tables[-1].name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    if options.model != "none":
        with tempfile.TemporaryDirectory() as spare:
            run = options.run or Path(spare) / "run"
            parts = model_tables.measure(
                options.model, options.pairs, options.rounds, options.seed, run
            )
        tables += [Table(name, header, rows) for name, header, rows in parts]
    for table in tables:
        print(f"\n{table.name}\n\n{table.text()}")
    if options.doc:
        text = place_tables(options.doc.read_text(encoding="utf-8"), tables)
        options.doc.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
