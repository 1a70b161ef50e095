"""How the studies' figures look: SVG that is the same from run to run."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GREY = "#1d1c1a", "#8b877f"
COLOURS = ("#0a5f59", "#a8481c", "#2a5db0", "#7b3fa0", "#7a5c00")
plt.rcParams.update(
    {
        "svg.hashsalt": "holdfast",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": INK,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "figure.facecolor": "white",
        "lines.linewidth": 1.4,
    }
)


def axes(columns: int, width: float = 8.4, height: float = 3.3) -> tuple[Figure, list[Axes]]:
    """Panels side by side."""
    figure, panels = plt.subplots(1, columns, figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(panels))


def save(figure: Figure, path: Path) -> None:
    """Write a figure, without a date."""
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
