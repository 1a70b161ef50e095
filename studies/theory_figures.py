"""The figures of docs/studies/theory.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cones
import figures
import numpy as np
from cones import Array
from figures import COLOURS, GREY, axes
from matplotlib.figure import Figure
from walk import Cone, Walk

_FOLDER = [Path()]


def folder(path: Path) -> None:
    """Where figures go."""
    path.mkdir(parents=True, exist_ok=True)
    _FOLDER[0] = path


def save(figure: Figure, name: str) -> None:
    """Write theory-NAME.svg."""
    figures.save(figure, _FOLDER[0] / f"theory-{name}.svg")


def measure(epsilons: Array, curves: Mapping[tuple[int, int], tuple[Array, Array, Array]]) -> None:
    """Ratio of measures against ε, with the proposition's slope; generated and filled cones."""
    figure, panels = axes(2)
    for panel, filled in zip(panels, (False, True), strict=True):
        for colour, ((d1, d2), (ratio, band, full)) in zip(COLOURS, curves.items(), strict=False):
            values = full if filled else ratio
            panel.plot(epsilons, values, "o-", ms=3, color=colour, label=f"{d1} → {d2}")
            if not filled:
                panel.fill_between(epsilons, *band.T, color=colour, alpha=0.15, lw=0)
            slope = values[-1] * (epsilons / epsilons[-1]) ** (d2 - d1)
            panel.plot(epsilons, slope, "--", lw=0.8, color=colour)
        panel.set(xscale="log", yscale="log", xlabel="ε", ylim=(1e-9, 10))
        panel.set_xticks(epsilons, [f"{epsilon:g}" for epsilon in epsilons])
        panel.minorticks_off()
        panel.set_title(
            "cones that fill their subspace" if filled else "d random generators (band: drawn)"
        )
    panels[0].set_ylabel("μ(C₀) / μ(Cₙ)")
    panels[0].legend(title="d1 → d2", fontsize=8)
    save(figure, "measure")


def spanning(spots: Sequence[tuple[float, int, float, float, float]]) -> None:
    """Probability of spanning by vectors per dimension; and with a common direction."""
    figure, (left, right) = axes(2)
    for colour, across in zip(COLOURS, (8, 32, 128, 512), strict=False):
        counts = np.unique(np.linspace(across, 4.6 * across, 60).astype(int))
        chance = [cones.wendel(int(n), across) for n in counts]
        left.plot(counts / across, chance, color=colour, label=f"D = {across}")
        left.plot(cones.bound(0.1, across) / across, 0.9, "v", ms=5, color=colour)
    left.set(xlabel="vectors per dimension, n / D", ylabel="P(they span R^D as a cone)")
    left.set_title("exact (Wendel); ▾ what Prop. 5.2 asks for η = .1")
    left.legend(fontsize=8)
    for colour, shift in zip(COLOURS, sorted({spot[0] for spot in spots}), strict=False):
        mine = [spot for spot in spots if spot[0] == shift]
        n, share = [spot[1] for spot in mine], [spot[2] for spot in mine]
        error = [[s - low for _, _, s, low, _ in mine], [high - s for _, _, s, _, high in mine]]
        right.errorbar(n, share, np.abs(error), fmt="o-", ms=3, color=colour, label=f"{shift:g}")
    right.set(xlabel="vectors, D = 8", ylim=(-0.03, 1.03))
    right.set_title("with a common direction of this size")
    right.legend(fontsize=8)
    save(figure, "spanning")


def draw_walk(walks: Mapping[tuple[str, str], Walk], cone: Cone) -> None:
    """Distance to the cone and share on the system's tokens, token by token."""
    figure, panels = axes(2)
    for colour, kind in zip(COLOURS, ("keeping", "identity", "random"), strict=False):
        for users, style in (("uniform", "-"), ("cone", ":")):
            chats = walks[kind, users]
            for panel, values in zip(panels, (chats.distance, chats.share), strict=True):
                panel.plot(values.mean(0), style, color=colour, label=f"{kind}, {users}")
    panels[0].axhline(cone.widening, color=GREY, lw=0.8)
    panels[0].set(yscale="log", ylim=(5e-4, 1.3), xlabel="generated token")
    panels[0].set_title("distance to the system’s cone (line: ε̃)")
    panels[1].set(xlabel="generated token", ylim=(0, 1.02))
    panels[1].set_title("attention on the system’s tokens")
    panels[1].legend(fontsize=7.5, title="W_ov, user tokens")
    save(figure, "walk")


def by_round(
    dimension: Mapping[str, Sequence[float | None]],
    equal: Mapping[str, Sequence[float | None]],
    shares: Mapping[str, Sequence[float | None]],
) -> None:
    """The measured model: dimension with all vectors, at an equal number, and share and score."""
    figure, panels = axes(3, 10.4)
    titles = ("participation, all vectors", "participation, equal number", "share and score")
    for panel, curves, title in zip(panels, (dimension, equal, shares), titles, strict=True):
        for colour, (name, values) in zip(COLOURS, curves.items(), strict=False):
            there = [np.nan if v is None else v for v in values]
            panel.plot(there, "o-", ms=3, color=colour, label=name)
        panel.set(xlabel="complete rounds")
        panel.set_title(title)
        panel.legend(fontsize=7.5)
    panels[0].set_ylim(0, 16)
    panels[1].set_ylim(0, 16)
    panels[2].set_ylim(0, 1.02)
    save(figure, "model")
