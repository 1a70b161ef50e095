"""Which control holds a real model? Screened personas, ten controls, eight rounds.

    python studies/real_models.py --model smollm2 --out DIR
    python studies/real_models.py --model smollm2 --out DIR --tables     # of what has finished

`real_models.toml` has the question, the primary measure, its test and every setting. A model's
personas are screened first. Then the same conversations are held under one control after another,
each a run in its own folder of DIR/MODEL, so that the same command goes on where it was stopped.
A control that has finished leaves its rows in `CONTROL.json`, and the tables are made of these.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from edge import open_model
from real_tables import PLAN, rows_file, tables

from holdfast.core.backend import Backend, Sampling
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import HoldfastError
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
from holdfast.results.conversation import RoundRecord
from holdfast.results.verdict import JudgeVerdict

SAMPLING = Sampling(PLAN["max_new_tokens"], PLAN["temperature"])


def main() -> None:
    """Run what is missing of one model, or print its tables."""
    command("Which control holds a real model?", run, tables)


def command(
    question: str,
    run: Callable[[Backend, Path, Progress], None],
    tables: Callable[[Path], str],
) -> None:
    """The command line of a study that has a folder per model.

    Args:
        question: what the study asks.
        run: does what is missing in a model's folder.
        tables: what has finished there, in Markdown.
    """
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--model", required=True, help="of models.toml, or as `holdfast` takes it")
    parser.add_argument("--out", type=Path, required=True, help="folder of all models' runs")
    parser.add_argument("--tables", action="store_true", help="print tables of what has finished")
    options = parser.parse_args()
    folder = options.out / Path(options.model).stem
    try:
        if not options.tables:
            run(open_model(options.model), folder, Progress(enabled=True))
        print(tables(folder))
    except HoldfastError as error:
        sys.exit(f"error: {error}")


def run(model: Backend, folder: Path, progress: Progress) -> None:
    """Do what is missing of a model's parts."""
    personas = screened(model, folder, progress)
    for text in (*PLAN["controls"], *PLAN["later"]):
        if not rows_file(folder, text).exists():
            hold(model, personas, parse(text), folder, progress)


def screened(model: Backend, folder: Path, progress: Progress) -> tuple[str, ...]:
    """The ids of the personas that the model holds at round 0."""
    settings = ConversationSettings(
        suite=PLAN["suite"],
        seed=PLAN["screen_seed"],
        sampling=SAMPLING,
        screen=True,
        screen_at=PLAN["screen_at"],
    )
    screening = screen(settings, model, out=folder / "screening", progress=progress)
    assert screening is not None
    _write(folder / "personas.json", screening.summary)
    return screening.summary.personas


def hold(
    model: Backend, personas: Sequence[str], control: Control, folder: Path, progress: Progress
) -> None:
    """Hold the conversations of all seeds under a control, and write their rows."""
    if why := model.refusal(control):
        return _write(rows_file(folder, control.text), {"refused": why})
    rounds, measure = PLAN["rounds"], control == NONE
    setup, questions = set_up(model, personas, control, rounds=rounds, measure=measure)
    write_rows(rows_file(folder, control.text), setup, questions, progress)


def write_rows(
    file: Path, setup: ControlledSetup, questions: Questions, progress: Progress
) -> None:
    """Hold a plan's conversations, recorded in the folder beside `file`, and write their rows."""
    asked = {f"{c}@{r}": [q.prompt for q in of] for (c, r), of in questions.items()}
    described = setup.manifest("real-models", questions=asked)
    records = open_run(file.with_suffix(""), described, RoundRecord, JudgeVerdict)
    judged = setup.hold(records, progress)
    own = scores(judged, "own", setup.chat.protocol.rounds + 1)
    rows: list[dict[str, Any]] = [
        {
            "agent": c.agent.id,
            "category": c.agent.category,
            "user": c.user.id,
            "scores": [None if np.isnan(score) else float(score) for score in row],
            "share": [at.share for at in c.rounds],
            "recall": [],
        }
        for c, row in zip(judged, own, strict=True)
    ]
    for record in records.records:
        for question, answer in question_answers(record, record.conversation, questions):
            rows[record.conversation]["recall"].append(capability.right(question, answer.text))
    _write(file, {"rows": rows})


def set_up(
    model: Backend,
    personas: Sequence[str],
    control: Control,
    *,
    rounds: int,
    measure: bool,
) -> tuple[ControlledSetup, Questions]:
    """The conversations of all seeds as one plan, and what is asked after the last round."""
    settings = [_settings(seed, personas, rounds) for seed in PLAN["seeds"]]
    setups = [prepare(model, one, [control], rounds=rounds, measure=measure) for one in settings]
    questions: dict[tuple[int, int], Any] = {}
    conversations = [c for setup in setups for c in setup.plan.conversations]
    plan = ControlledPlan([replace(c, id=i) for i, c in enumerate(conversations)], [control])
    for i, one in enumerate(settings):
        some = plan.conversations[i * PLAN["pairs"] : (i + 1) * PLAN["pairs"]]
        drawn = plan_questions(one, "core", some).questions
        questions |= {at: [q for q in of if q.kind == "recall"] for at, of in drawn.items()}
    protocol = replace(setups[0].chat.protocol, batch=len(conversations))
    chat = replace(setups[0].chat, protocol=protocol, questions=questions)
    return replace(setups[0], chat=chat, plan=plan), questions


def _settings(seed: int, personas: Sequence[str], rounds: int) -> CompareSettings:
    return CompareSettings(
        suite=PLAN["suite"],
        agents=tuple(personas),
        pairs=PLAN["pairs"],
        rounds=rounds,
        runs=PLAN["runs"],
        each=PLAN["recall_questions"],
        seed=seed,
        sampling=SAMPLING,
    )


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(dumps(value, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    main()
