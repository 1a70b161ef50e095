"""Which control holds a real model? Screened personas, ten controls, eight rounds.

    python studies/real_models.py --model smollm2 --out DIR
    python studies/real_models.py --model smollm2 --out DIR --only none,boost:4
    python studies/real_models.py --model smollm2 --out DIR --tables     # of what has finished
    python studies/real_models.py --plan studies/confirmation.toml --model smollm2 --out DIR

A plan (`real_models.toml`) has the question, the primary measure, its test and every setting. A
model's personas are screened first. Then the same conversations are held under one control after
another, each a run in its own folder of DIR/MODEL: the same command goes on where it was stopped.
A control that has finished leaves its rows in `CONTROL.json`, and the tables are made of these.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from edge import open_model
from real_plan import FOLDER, Plan, read_plan
from real_tables import rows_file, tables

from holdfast.core.backend import Backend
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import HoldfastError
from holdfast.core.folder import write_whole
from holdfast.core.progress import Progress
from holdfast.core.records import dumps
from holdfast.core.shards import open_run
from holdfast.evals.compare.questions import Questions, plan_questions, question_answers
from holdfast.evals.compare.settings import CompareSettings
from holdfast.evals.conversation.controlled import ControlledPlan, ControlledSetup, prepare
from holdfast.evals.conversation.judging import scores
from holdfast.evals.conversation.screening import screen
from holdfast.evals.conversation.settings import ConversationSettings
from holdfast.evals.tasks import answers as capability
from holdfast.persona.suite import Suite
from holdfast.results.conversation import RoundRecord, Screened
from holdfast.results.verdict import JudgeVerdict

Personas = Mapping[str, Sequence[str]]
"""Ids of the personas that a model holds, by the name of their suite."""


def main() -> None:
    """Run what is missing of one model, or print its tables."""
    command("Which control holds a real model?", run, tables, by_control=True)


def command(
    question: str,
    run: Callable[[Backend, Plan, Path, Progress], object],
    tables: Callable[[Path, Plan], str],
    *,
    by_control: bool = False,
    plan_file: str = "real_models.toml",
) -> None:
    """The command line of a study that has a folder per model.

    Args:
        question: what the study asks.
        run: does what is missing in a model's folder.
        tables: what has finished there, in Markdown.
        plan_file: the plan that is read where none is named.
        by_control: offer `--only`, since `run` does one control of the plan after another.
    """
    parser = argparse.ArgumentParser(description=question)
    add = parser.add_argument
    add("--plan", type=Path, default=FOLDER / plan_file, help="a file like this one")
    add("--model", required=True, help="of models.toml, or as `holdfast` takes it")
    add("--out", type=Path, required=True, help="folder of all models' runs")
    if by_control:
        add("--only", default="", help="controls of the plan to run now, with commas between")
    add("--tables", action="store_true", help="print tables of what has finished")
    options = parser.parse_args()
    folder, plan = options.out / Path(options.model).stem, read_plan(options.plan)
    try:
        if by_control and options.only:
            plan = plan.with_only(options.only.split(","))
        if not options.tables:
            run(open_model(options.model), plan, folder, Progress(enabled=True))
        print(tables(folder, plan))
    except HoldfastError as error:
        sys.exit(f"error: {error}")


def run(model: Backend, plan: Plan, folder: Path, progress: Progress) -> Personas:
    """Do what is missing of a model's parts; the personas that it holds."""
    personas = screen_personas(model, plan, folder, progress)
    for text in plan.only or plan.all_controls:
        if not rows_file(folder, text).exists():
            hold(model, plan, personas, parse(text), folder, progress)
    return personas


def screen_personas(
    model: Backend, plan: Plan, folder: Path, progress: Progress
) -> dict[str, tuple[str, ...]]:
    """The ids of the personas of each suite that the model holds at round 0."""
    if plan.agents:
        return {suite.name: tuple(plan.agents) for suite in plan.suites}
    screenings: dict[str, Screened] = {}
    for suite in {one.name: one for one in plan.suites}.values():
        settings = ConversationSettings(
            suite=suite,
            seed=plan.screen_seed,
            sampling=plan.sampling,
            screen=True,
            screen_at=plan.screen_at,
        )
        out = folder / "screening" / suite.name
        screening = screen(settings, model, out=out, progress=progress)
        assert screening is not None
        screenings[suite.name] = screening.summary
    _write(folder / "personas.json", screenings)
    return {name: summary.personas for name, summary in screenings.items()}


def hold(
    model: Backend,
    plan: Plan,
    personas: Personas,
    control: Control,
    folder: Path,
    progress: Progress,
) -> None:
    """Hold the conversations of all seeds under a control, and write their rows."""
    if why := model.refusal(control):
        return _write(rows_file(folder, control.text), {"refused": why})
    setup, questions = set_up(model, plan, personas, control, measure=control == NONE)
    write_rows(rows_file(folder, control.text), setup, questions, progress)


def write_rows(
    file: Path, setup: ControlledSetup, questions: Questions, progress: Progress
) -> None:
    """Hold a plan's conversations, recorded in the folder beside `file`, and write their rows."""
    prompts = {f"{c}@{r}": [q.prompt for q in of] for (c, r), of in questions.items()}
    manifest = setup.manifest("real-models", questions=prompts)
    records = open_run(file.with_suffix(""), manifest, RoundRecord, JudgeVerdict)
    conversations = setup.hold(records, progress, resume="round")
    own = scores(conversations, "own", setup.chat.protocol.rounds + 1)
    rows: list[dict[str, Any]] = [
        {
            "agent": c.agent.id,
            "category": c.agent.category,
            "user": c.user.id,
            "scores": [None if np.isnan(score) else float(score) for score in row],
            "share": [at.share for at in c.rounds],
            "recall": [],
        }
        for c, row in zip(conversations, own, strict=True)
    ]
    for record in records.records:
        for question, answer in question_answers(record, record.conversation, questions):
            rows[record.conversation]["recall"].append(capability.right(question, answer.text))
    _write(file, {"rows": rows})


def set_up(
    model: Backend,
    plan: Plan,
    personas: Personas,
    control: Control,
    *,
    measure: bool,
    user_model: Backend | None = None,
) -> tuple[ControlledSetup, Questions]:
    """The conversations of all seeds as one plan, and what is asked after the last round."""
    settings = [
        _settings(plan, seed, suite, personas[suite.name])
        for seed, suite in zip(plan.seeds, plan.suites, strict=True)
    ]
    setups = [
        prepare(
            model,
            one,
            [control],
            rounds=plan.rounds,
            measure=measure,
            user_model=user_model,
        )
        for one in settings
    ]
    questions: dict[tuple[int, int], Any] = {}
    conversations = [c for setup in setups for c in setup.plan.conversations]
    whole = ControlledPlan([replace(c, id=i) for i, c in enumerate(conversations)], [control])
    for i, one in enumerate(settings):
        some = whole.conversations[i * plan.pairs : (i + 1) * plan.pairs]
        by_place = plan_questions(one, "core", some).questions
        questions |= {at: [q for q in of if q.kind == "recall"] for at, of in by_place.items()}
    protocol = replace(setups[0].chat.protocol, batch=len(conversations))
    chat = replace(setups[0].chat, protocol=protocol, questions=questions)
    return replace(setups[0], chat=chat, plan=whole), questions


def _settings(plan: Plan, seed: int, suite: Suite, agents: Sequence[str]) -> CompareSettings:
    return CompareSettings(
        suite=plan.users or suite,
        persona=suite,
        agents=tuple(agents),
        pairs=plan.pairs,
        rounds=plan.rounds,
        runs=plan.runs,
        each=plan.recall_questions,
        seed=seed,
        sampling=plan.sampling,
    )


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
