"""Do rivals that need activations or training hold a real model?

    python studies/rivals.py --model smollm2 --out DIR
    python studies/rivals.py --model smollm2 --out DIR --tables     # of what has finished

The plan's controls are held as in `real_models.py`. Then, on the same conversations, capping
(`capping.py`) at the setting that development conversations speak for, and the model with an
adapter for each persona (`baking.py`), without the system prompt and with it; users are the plain
model. Each is a run of its own, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from arms import openers
from baking import Recipe, bake_personas
from capping import Direction, Setting, directions, settings, states
from pages import number
from real_models import command, run, set_up, write_rows
from real_plan import Plan
from real_tables import difference, in_table, read_finished, rows_file, tables
from routed import RoutedBackend, State, beside, decoder_layers

from holdfast.core.backend import Ask, Backend
from holdfast.core.chat import agent_view
from holdfast.core.control import NONE
from holdfast.core.errors import HoldfastError
from holdfast.core.folder import write_whole
from holdfast.core.progress import Progress
from holdfast.core.records import dumps
from holdfast.core.stats import mean
from holdfast.models.local.backend import LocalBackend
from holdfast.persona.suite import Persona, select

BAKING_ARMS = ("baking", "baking+prompt")
"""Adapters in chats without the system prompt, and with it."""
CONTROL = "anchor+restore:1"
LIKELIHOODS = "likelihoods.json"
LEAST = 0.5
"""The score from which an answer counts as in character."""


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
        texts = openers(self.plan.suites[0], self.plan.more["capping"]["replies"])
        seed, sampling = self.plan.seeds[0], self.plan.sampling
        return directions(self.model, self.agents, texts, seed, sampling)

    def hold(
        self, name: str, states: Callable[[], Mapping[str, State]], *, prompted: bool = True
    ) -> None:
        """Hold the conversations in the agents' states, unless that has been done."""
        file = rows_file(self.folder, name)
        if file.exists():
            return
        agent = RoutedBackend(self.model, states(), prompted=prompted)
        personas = {suite.name: self.plan.agents for suite in self.plan.suites}
        setup, questions = set_up(
            agent, self.plan, personas, NONE, measure=False, user_model=beside(self.model)
        )
        write_rows(file, setup, questions, self.progress)

    def cap(self, setting: Setting) -> None:
        """Hold them with every agent's persona capped."""
        self.hold(str(setting), lambda: states(setting, self.model, self.directions))

    def bake(self) -> None:
        """Hold them with an adapter for every agent's persona, without the prompt and with it."""
        adapters = cache(self._train_adapters)
        self.hold(BAKING_ARMS[0], adapters, prompted=False)
        self.hold(BAKING_ARMS[1], adapters)

    def _train_adapters(self) -> dict[str, State]:
        recipe, suite = self.plan.more["baking"], self.plan.suites[0]
        texts = openers(suite, recipe["replies"])
        rest = {name: value for name, value in recipe.items() if name != "replies"}
        whole = Recipe(**rest, rounds=1, sampling=self.plan.sampling)
        folder = self.folder / "adapters"
        return bake_personas(self.model, self.agents, texts, whole, self.plan.seeds[0], folder)


def main() -> None:
    """Run what is missing of one model, or print its tables."""
    question = "Do rivals that need activations or training hold a real model?"
    command(question, run_all, all_tables, plan_file="rivals.toml")


def run_all(model: Backend, plan: Plan, folder: Path, progress: Progress) -> None:
    """Do the plan's controls, then choose capping's setting, and hold the rivals."""
    if not isinstance(model, LocalBackend):
        raise HoldfastError("rivals change a model's own passes: give a model on this machine.")
    run(model, plan, folder, progress)
    bench = Bench(model, plan, folder, progress)
    bench.cap(choose(model, plan, folder / "development", progress))
    bench.bake()


def choose(model: LocalBackend, plan: Plan, folder: Path, progress: Progress) -> Setting:
    """The setting under which development's answers in character are most likely."""
    development = replace(plan, controls=["none"], **plan.more["development"])
    candidates = settings(len(decoder_layers(model.engine.model)))
    file = folder / LIKELIHOODS
    if not file.exists():
        run(model, development, folder, progress)
        bench = Bench(model, development, folder, progress)
        asks, options = in_character(bench)
        by_setting = {"none": likelihood(model, asks, options)}
        for setting in candidates:
            agent = RoutedBackend(model, states(setting, model, bench.directions))
            by_setting[str(setting)] = likelihood(agent, asks, options)
            print(setting, round(by_setting[str(setting)], 3), file=sys.stderr, flush=True)
        write_whole(file, dumps(by_setting) + "\n")
    likely: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return max(candidates, key=lambda setting: likely[str(setting)])


def in_character(bench: Bench) -> tuple[list[Ask], list[list[str]]]:
    """Each conversation's probe after the last round, and its answer at round 0 if that scored."""
    agents = {persona.id: persona.prompt for persona in bench.agents}
    none = rows_file(bench.folder, "none")
    rows = json.loads(none.read_text(encoding="utf-8"))["rows"]
    records = (none.with_suffix("") / "records.jsonl").read_text(encoding="utf-8").splitlines()
    rounds: list[list[Any]] = [[] for _ in rows]
    for record in sorted(map(json.loads, records), key=lambda record: int(record["round"])):
        rounds[record["conversation"]].append(record)
    asks, options = [], []
    for row, (start, *later) in zip(rows, rounds, strict=True):
        if row["scores"][0] >= LEAST:
            answer = next(one for one in start["answers"] if one["arm"] == "own")
            turns = [at[who]["text"] for at in later for who in ("user", "agent")]
            asks.append(Ask(agent_view(agents[row["agent"]], [*turns, answer["probe"]]), 0))
            options.append([answer["text"]])
    return asks, options


def likelihood(
    model: LocalBackend | RoutedBackend, asks: Sequence[Ask], options: Sequence[Sequence[str]]
) -> float:
    """The mean log-likelihood of a token of each ask's only option."""
    sums = model.likelihoods(asks, options)
    tokens = sum(model.count(option) for (option,) in options)
    return sum(total for (total,) in sums) / tokens


def all_tables(folder: Path, plan: Plan) -> str:
    """What development said, and the tables of what has finished, rivals among the controls."""
    names = [*capping_names(folder), *BAKING_ARMS]
    whole = replace(plan, later=[*plan.later, *names])
    parts = [_development_table(folder), tables(folder, whole), _beside(folder, whole)]
    return "\n\n".join(part for part in parts if part)


def capping_names(folder: Path) -> list[str]:
    """The cappings that have finished in a folder."""
    return [file.stem.replace("-", ":", 1) for file in sorted(folder.glob("capping-*.json"))]


def _development_table(folder: Path) -> str:
    """What capping's setting was chosen by."""
    file = folder / "development" / LIKELIHOODS
    if not file.exists():
        return ""
    likely = json.loads(file.read_text(encoding="utf-8"))
    return in_table(
        [
            {"development": f"`{name}`", "log-likelihood a token": number(value)}
            for name, value in likely.items()
        ]
    )


def _beside(folder: Path, plan: Plan) -> str:
    """Each rival less `CONTROL`, conversation by conversation."""
    controls = read_finished(folder, plan)
    if controls is None or CONTROL not in controls.scores:
        return ""
    own = {name: mean(of[:, plan.first :], axis=1) for name, of in controls.scores.items()}
    rows = [
        {
            "rival": f"`{name}`",
            f"less {CONTROL}'s": difference(controls.sample, values, own[CONTROL]),
            "recall less its": difference(
                controls.sample, controls.recall[name], controls.recall[CONTROL]
            ),
        }
        for name, values in own.items()
        if name in plan.later
    ]
    return in_table(rows) if rows else ""


if __name__ == "__main__":
    main()
