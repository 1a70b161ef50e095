"""The figure of docs/studies/real-models.md and of the README, from what has finished.

    python studies/real_figure.py --out DIR --to docs/images/real-models.svg

DIR is the folder of `real_models.py`. A panel per model: the mean judge score by round, under none
with its 95% interval, and under the controls that it has had.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import figures
import numpy as np
from real_plan import read_plan
from real_tables import FinishedControls, read_finished

from holdfast.core.stats import mean

NAMES = {
    "smollm2": "SmolLM2-135M",
    "qwen-coder-05b": "Qwen2.5-Coder-0.5B",
    "qwen-coder-15b": "Qwen2.5-Coder-1.5B",
}
CONTROLS = (
    "none", "anchor", "split-softmax:0.7", "anchor+split-softmax:0.7", "anchor+restore:1"
)  # fmt: skip


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description="The curves of the study of real models.")
    parser.add_argument("--out", type=Path, required=True, help="the folder of real_models.py")
    parser.add_argument("--to", type=Path, required=True, help="the figure, an SVG file")
    options = parser.parse_args()
    plan = read_plan()
    models = {name: read_finished(options.out / name, plan) for name in NAMES}
    draw({name: controls for name, controls in models.items() if controls is not None}, options.to)


def draw(models: dict[str, FinishedControls], to: Path) -> None:
    """Write the curves of models side by side."""
    figure, panels = figures.axes(len(models), 3.4 * len(models), 3.0)
    colours = dict(zip(CONTROLS, (figures.INK, *figures.COLOURS), strict=False))
    for panel, (name, controls) in zip(panels, models.items(), strict=True):
        for control in (c for c in CONTROLS if c in controls.scores):
            curve, colour = mean(controls.scores[control]), colours[control]
            style = {"lw": 2.2} if control == "none" else {"marker": "o", "ms": 2.5}
            panel.plot(curve, color=colour, label=control, **style)
        band = np.array(controls.sample.score_interval(controls.scores["none"]))
        panel.fill_between(range(len(band)), *band.T, color=figures.GREY, alpha=0.18, lw=0)
        panel.set(title=NAMES[name], ylim=(0, 1), xlabel="round")
    panels[0].set_ylabel("judge score of probe answers")
    handles = [panel.get_legend_handles_labels() for panel in panels]
    lines = {label: line for pair in handles for line, label in zip(*pair, strict=True)}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=5)
    figures.save(figure, to)


if __name__ == "__main__":
    main()
