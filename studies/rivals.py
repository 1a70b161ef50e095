"""Do rivals that need activations or training hold a real model?

    python studies/rivals.py --model smollm2 --out DIR
    python studies/rivals.py --model smollm2 --out DIR --tables     # of what has finished

The plan's controls are held as in `real_models.py`. Then, on the same conversations, capping
(`capping.py`) at the setting that development conversations speak for, and the model with an
adapter for each persona (`baking.py`), without the system prompt and with it; the users are the
plain model. Each is a run of its own, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from arms import openers
from baking import Recipe, baked
from capping import Direction, Setting, directions, ranges, states
from pages import number
from real_models import command, run, set_up, write_rows
from real_plan import Plan
from real_tables import difference, finished, in_table, rows_file, tables
from routed import Routed, State, beside, decoder_layers

from holdfast.core.backend import Backend
from holdfast.core.control import NONE
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.stats import mean
from holdfast.models.local.backend import LocalBackend
from holdfast.persona.suite import Persona, select

BAKED = ("baking", "baking+prompt")
"""Adapters in chats without the system prompt, and with it."""
CONTROL = "anchor+restore:1"


@dataclass(frozen=True)
class Bench:
    """A model, and the conversations that a rival is put on."""

    model: LocalBackend
    """Speaks for the users, and for the agents in a rival's states."""
    plan: Plan
    """Which conversations are held."""
    folder: Path
    """Where the runs are kept."""
    progress: Progress
    """Is told of every round."""

    @property
    def agents(self) -> Sequence[Persona]:
        """The agents' personas."""
        return select(self.plan.suites[0], self.plan.agents)

    @cached_property
    def directions(self) -> dict[str, Direction]:
        """The direction of every agent's persona, by system prompt."""
        asked = openers(self.plan.suites[0], self.plan.more["capping"]["replies"])
        seed, sampling = self.plan.seeds[0], self.plan.sampling
        return directions(self.model, self.agents, asked, seed, sampling)

    def hold(
        self, name: str, states: Callable[[], Mapping[str, State]], *, prompted: bool = True
    ) -> float:
        """Hold the conversations in the agents' states, unless that is done; their mean score."""
        file = rows_file(self.folder, name)
        if not file.exists():
            agent = Routed(self.model, states(), prompted=prompted)
            personas = {suite.name: self.plan.agents for suite in self.plan.suites}
            setup, questions = set_up(
                agent, self.plan, personas, NONE, measure=False, user_model=beside(self.model)
            )
            write_rows(file, setup, questions, self.progress)
        return score(self.folder, self.plan, name)

    def cap(self, setting: Setting) -> float:
        """The mean score with every agent's persona capped."""
        return self.hold(str(setting), lambda: states(setting, self.model, self.directions))

    def bake(self, steps: int, *, prompted: bool = False) -> float:
        """The mean score with an adapter for every agent's persona."""
        name = BAKED[prompted]
        folder = self.folder / "adapters" / f"{self.folder.name}-{steps}-"
        trained = partial(self._trained, steps, folder)
        return self.hold(name, trained, prompted=prompted)

    def _trained(self, steps: int, folder: Path) -> dict[str, State]:
        baking = self.plan.more["baking"]
        recipe = Recipe(
            rank=baking["rank"],
            steps=steps,
            batch=baking["batch"],
            learning_rate=baking["learning_rate"],
            rounds=1,
            own=baking["own"],
            sampling=self.plan.sampling,
        )
        asked = openers(self.plan.suites[0], baking["replies"])
        return baked(self.model, self.agents, asked, recipe, self.plan.seeds[0], folder)


def main() -> None:
    """Run what is missing of one model, or print its tables."""
    question = "Do rivals that need activations or training hold a real model?"
    command(question, run_all, all_tables, plan_file="rivals.toml")


def run_all(model: Backend, plan: Plan, folder: Path, progress: Progress) -> None:
    """Do the plan's controls, then choose each rival's setting and hold it."""
    if not isinstance(model, LocalBackend):
        raise HoldfastError("rivals change a model's own passes: give a model on this machine.")
    run(model, plan, folder, progress)
    bench = Bench(model, plan, folder, progress)
    bench.cap(choose_setting(model, plan, folder, progress))
    steps = choose_steps(model, plan, folder, progress)
    for prompted in (False, True):
        bench.bake(steps, prompted=prompted)


def choose_setting(model: LocalBackend, plan: Plan, folder: Path, progress: Progress) -> Setting:
    """The layers at one quantile, then the quantile in these layers, on development."""
    developed, capping = development(plan), plan.more["capping"]
    folder = folder / "development"
    run(model, replace(developed, controls=["none"]), folder, progress)
    bench = Bench(model, developed, folder, progress)
    count = len(decoder_layers(model.engine.model))
    best = max((Setting(at, capping["first"]) for at in ranges(count)), key=bench.cap)
    others = (Setting(best.layers, quantile) for quantile in capping["quantiles"])
    return max((best, *others), key=bench.cap)


def choose_steps(model: LocalBackend, plan: Plan, folder: Path, progress: Progress) -> int:
    """How long an adapter is trained, on development."""
    developed, baking = development(plan), plan.more["baking"]
    developed = replace(developed, agents=baking["agents"], pairs=baking["pairs"])

    def result(steps: int) -> float:
        return Bench(model, developed, steps_folder(folder, steps), progress).bake(steps)

    return max(baking["steps"], key=result)


def development(plan: Plan) -> Plan:
    """The conversations that settings are chosen on."""
    return replace(plan, **plan.more["development"])


def steps_folder(folder: Path, steps: int) -> Path:
    """Where development keeps adapters of so many steps."""
    return folder / "development" / f"baking-{steps}"


def score(folder: Path, plan: Plan, name: str) -> float:
    """The mean score over the rounds of the primary measure, of an arm that has finished."""
    rows = json.loads(rows_file(folder, name).read_text(encoding="utf-8"))["rows"]
    scores = np.array([row["scores"] for row in rows], float)
    return float(np.nanmean(scores[:, plan.first :]))


def all_tables(folder: Path, plan: Plan) -> str:
    """The development scores and the tables of what has finished, rivals among the controls."""
    names = [*capping_names(folder), *BAKED]
    whole = replace(plan, later=[*plan.later, *names])
    parts = [_development_table(folder, plan), tables(folder, whole), _beside(folder, whole)]
    return "\n\n".join(part for part in parts if part)


def capping_names(folder: Path) -> list[str]:
    """The cappings that have finished in a folder."""
    return [file.stem.replace("-", ":", 1) for file in sorted(folder.glob("capping-*.json"))]


def _development_table(folder: Path, plan: Plan) -> str:
    """The mean scores that settings were chosen by."""
    developed = development(plan)
    at = folder / "development"
    arms = [(name, at, name) for name in ["none", *capping_names(at)]]
    arms += [
        (f"baking of {steps} steps", steps_folder(folder, steps), BAKED[0])
        for steps in plan.more["baking"]["steps"]
    ]
    rows = [
        {"development": f"`{label}`", "score": number(score(at, developed, name))}
        for label, at, name in arms
        if rows_file(at, name).exists()
    ]
    return in_table(rows) if rows else ""


def _beside(folder: Path, plan: Plan) -> str:
    """Each rival less `CONTROL`, conversation by conversation."""
    done = finished(folder, plan)
    if done is None or CONTROL not in done.scores:
        return ""
    own = {name: mean(of[:, plan.first :], axis=1) for name, of in done.scores.items()}
    rows = [
        {
            "rival": f"`{name}`",
            f"less {CONTROL}'s": difference(done.sample, values, own[CONTROL]),
            "recall less its": difference(done.sample, done.recall[name], done.recall[CONTROL]),
        }
        for name, values in own.items()
        if name in plan.later
    ]
    return in_table(rows) if rows else ""


if __name__ == "__main__":
    main()
