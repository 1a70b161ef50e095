"""The figure of docs/studies/interventions.md: the judge score against the persona's share.

    python studies/interventions_figure.py --out DIR --to docs/images/interventions.svg

DIR is the folder of `interventions.py`. A panel per model: a point for each dose at round 0 and at
the late round, with 95% intervals. If the share alone made the score, both would be one curve.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import figures
import numpy as np
from interventions import LATE, at, found_arms
from real_figure import NAMES
from real_tables import sample_of

from holdfast.core.stats import mean

ROUNDS = {0: "round 0", LATE: f"round {LATE}"}
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5)


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description="The curves of the interventions.")
    parser.add_argument("--out", type=Path, required=True, help="the folder of interventions.py")
    parser.add_argument("--to", type=Path, required=True, help="the figure, an SVG file")
    options = parser.parse_args()
    folders = {name: options.out / name for name in NAMES}
    draw({name: folder for name, folder in folders.items() if found_arms(folder)}, options.to)


def draw(folders: dict[str, Path], to: Path) -> None:
    """Write the doses of models side by side."""
    figure, panels = figures.axes(len(folders), 3.6 * len(folders), 3.0)
    for panel, (name, folder) in zip(panels, folders.items(), strict=True):
        arms = {arm: rows for arm, rows in found_arms(folder).items() if arm.startswith("dose-")}
        sample = sample_of(arms["dose-1"])
        for colour, (r, label) in zip(figures.COLOURS, ROUNDS.items(), strict=False):
            points = sorted(
                (mean(at(rows, "share", r)), mean(scores), *sample.score_interval(scores))
                for rows in arms.values()
                for scores in (at(rows, "scores", r),)
            )
            x, y, low, high = np.array(points).T
            panel.errorbar(
                x, y, (y - low, high - y), color=colour, marker="o", ms=3.5, lw=1.4, label=label
            )
        panel.set(title=NAMES[name], ylim=(0, 1), xscale="log", xlabel="share of attention")
        inside = [tick for tick in TICKS if panel.get_xlim()[0] < tick < panel.get_xlim()[1]]
        panel.set_xticks(inside, [f"{tick:g}".removeprefix("0") for tick in inside])
        panel.minorticks_off()
    panels[0].set_ylabel("judge score of probe answers")
    panels[0].legend(loc="upper left")
    figures.save(figure, to)


if __name__ == "__main__":
    main()
