"""How well a model stays in character: its answers to questions that a persona decides.

Two protocols, one summary (`personascore`):

    a suite           every persona's own probes, judged by its own judge: a score in [0, 1],
                      by category, beside a floor, the same probes without the system prompt
    a questionnaire   PersonaGym's five tasks (`gym`): grades 1 to 5 by any number of judge
                      models, by task

A reply that failed or is empty has the lowest score and is counted, never dropped, and so does a
judge's call that gave no grade.

This module plans and runs, for suites. It knows no equations.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast import judge as judges_
from holdfast import report
from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.chat import Chat, message
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.core.version import __version__
from holdfast.evals.fidelity import personagym as gym
from holdfast.evals.fidelity import score as personascore
from holdfast.evals.fidelity.questionnaire import Questionnaire
from holdfast.evals.fidelity.score import Graded
from holdfast.judge.by_model import judge_answers
from holdfast.judge.rubric import Item
from holdfast.models.notes import NOTES
from holdfast.persona.suite import Persona, load_suite

ROWS = 256  # replies asked for side by side
_FAILED = {"overflow", "error"}
Key = tuple[str, int, str, int]  # persona, probe, arm, sample: an answer


@dataclass(frozen=True)
class Fidelity:
    """What was found. `summary` is the object that `holdfast fidelity --json` prints."""

    summary: Record

    @property
    def score(self) -> float:
        """Mean over personas of the mean over their tasks."""
        return float(self.summary["score"])

    @property
    def rows(self) -> list[Record]:
        """One row per persona."""
        return list(self.summary["rows"])


def fidelity(
    model: Backend,
    *,
    suite: str | Path | None = None,
    questions: str | Path | Sequence[Questionnaire] | None = None,
    judges: Sequence[Backend] = (),
    samples: int = 1,
    seed: int = 0,
    sampling: Sampling | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    **protocol: Any,
) -> Fidelity:
    """Measure how well a model stays in character; what the command `holdfast fidelity` does.

    `suite` is one of `persona.load_suite`, by default `mini` for the embedded model and `core`
    for others. `questions` asks PersonaGym's tasks instead, which takes `judges`; `protocol` are
    the options of `gym.Protocol`. Raises HoldfastError for what the user can mend.
    """
    if samples < 1:
        raise HoldfastError(f"at least 1 sample of each answer is needed, not {samples}")
    if twice := next((j.name for j in judges if j.name == model.name), None):
        raise HoldfastError(f"{twice} cannot judge its own replies: name another --judge-model.")
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise HoldfastError(f"each judge is named once, not {', '.join(names)}.")
    began = time.monotonic()
    shown = progress or Progress(enabled=False, step="answers")
    drawn = sampling or Sampling(max_new_tokens=512)
    described: Record = {
        "command": "fidelity",
        "version": __version__,
        "model": model.describe(),
        "judges": [judge.describe() for judge in judges],
        "samples": samples,
        "seed": seed,
        "sampling": asdict(drawn),
    }
    if questions is not None:
        run, found = gym.measured(
            model, questions, judges, described, drawn, out, shown, **protocol
        )
    else:
        people = load_suite(suite or ("mini" if model.name == "mini" else "core")).personas
        run, found = _suite(model, people, judges, described, drawn, out, shown)
    page = run.folder / "report.html" if run.folder else None
    summary: Record = {
        "model": model.name,
        "command": command,
        **found,
        "judges": names,
        "samples": samples,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "note": NOTES.get(model.name),
        "report": str(page) if page else None,
    }
    run.finish(summary)
    if page:
        report.write_fidelity(summary, page)
    return Fidelity(summary)


# --- suites ---------------------------------------------------------------------


def _suite(
    model: Backend,
    people: Sequence[Persona],
    judges: Sequence[Backend],
    described: Record,
    sampling: Sampling,
    out: Path | str | None,
    shown: Progress,
) -> tuple[Run, Record]:
    """Every persona's probes, with and without its prompt, by its own judge."""
    if not judges and (graded := next((p for p in people if p.needs_model), None)):
        raise HoldfastError(
            f"the persona “{graded.id}” is judged by a model: name one with --judge-model."
        )
    run = Run(out, {**described, "personas": [asdict(one) for one in people]})
    samples, seed = described["samples"], described["seed"]
    done = {_key(record) for record in run.records}
    asked = [one for one in _asked(people, samples, seed) if one[0] not in done]
    with shown.of(len(asked) + len(done)):
        shown.advance(len(done), 0)
        for start in range(0, len(asked), ROWS):
            batch = asked[start : start + ROWS]
            model.forget()
            replies = model.reply([ask for _, ask in batch], sampling)
            run.append(
                {**dict(zip(_KEY, key, strict=True)), "text": reply.text, "stop": reply.stop}
                for (key, _), reply in zip(batch, replies, strict=True)
            )
            shown.advance(len(batch), len(batch))
    _judge(run, people, judges)
    return run, _summed(run, people, seed)


_KEY = ("persona", "probe", "arm", "sample")


def _key(record: Record) -> Key:
    return record["persona"], record["probe"], record["arm"], record["sample"]


def _asked(people: Sequence[Persona], samples: int, seed: int) -> Iterator[tuple[Key, Ask]]:
    """Every probe, with the system prompt (`own`) and without (`none`), from the same seeds."""
    for persona in people:
        for p, probe in enumerate(persona.probes):
            for sample in range(samples):
                drawn = seed_of("fidelity", seed, persona.id, p, sample)
                for arm, prompt in (("own", persona.prompt), ("none", "")):
                    yield (persona.id, p, arm, sample), Ask(chat(prompt, probe), drawn, keep=False)


def chat(prompt: str, question: str) -> Chat:
    """A question under a system prompt, or under none."""
    system = (message("system", prompt),) if prompt else ()
    return (*system, message("user", question))


def _judge(run: Run, people: Sequence[Persona], judges: Sequence[Backend]) -> None:
    """Have the judge models score what only a model can, persona by persona."""
    known = {(*verdict["answer"], verdict["judge"]) for verdict in run.verdicts}
    for persona in people:
        for judge in judges if persona.needs_model else ():
            mine = [
                record
                for record in run.records
                if record["persona"] == persona.id and (*_key(record), judge.name) not in known
            ]
            items = [Item(persona.prompt, persona.probes[r["probe"]], r["text"]) for r in mine]
            given = judge_answers(persona.judge, items, judge) if items else []
            run.add_verdicts(
                {
                    "answer": list(_key(record)),
                    "judge": judge.name,
                    "value": verdict.value,
                    "why": verdict.why,
                    "failures": verdict.failures,
                    "calls": len(verdict.grades),
                }
                for record, verdict in zip(mine, given, strict=True)
            )


def _summed(run: Run, people: Sequence[Persona], seed: int) -> Record:
    """Scores by category and persona, and the floor."""
    at = {persona.id: persona for persona in people}
    graded: dict[str, list[Graded]] = {"own": [], "none": []}
    told: dict[str, list[float]] = {}
    for verdict in run.verdicts:
        told.setdefault(str(verdict["answer"]), []).append(verdict["value"])
    examples: dict[str, Record] = {}
    for record in run.records:
        persona = at[record["persona"]]
        if record["stop"] in _FAILED:
            score, why = 0.0, f"no reply ({record['stop']})"
        elif persona.needs_model:
            values = told[str(list(_key(record)))]
            score, why = sum(values) / len(values), ""
        else:
            score, why = judges_.build(persona.judge)(record["text"])
        graded[record["arm"]].append(Graded(persona.id, persona.category, score))
        if record["arm"] == "own":
            _shown(examples, persona, record, score, why)
    own, floor = (personascore.summed(graded[arm], seed) for arm in ("own", "none"))
    return {
        **own,
        "scale": [0, 1],
        "floor": floor["score"],
        "floor_interval": floor["interval"],
        "floor_by_task": floor["by_task"],
        "parse_failures": sum(verdict["failures"] for verdict in run.verdicts),
        "judge_calls": sum(verdict["calls"] for verdict in run.verdicts),
        "failed_replies": sum(record["stop"] in _FAILED for record in run.records),
        "empty_replies": sum(
            not record["text"].strip() and record["stop"] not in _FAILED for record in run.records
        ),
        "protocol": "suite",
        "rows": [{**row, "answer": examples[row["persona"]]} for row in own["rows"]],
    }


def _shown(
    examples: dict[str, Record], persona: Persona, record: Record, score: float, why: str
) -> None:
    """Keep a persona's lowest answer, which the page shows."""
    held = examples.get(persona.id)
    if held is None or score < held["score"]:
        examples[persona.id] = {
            "question": persona.probes[record["probe"]],
            "text": record["text"],
            "score": round(score, 4),
            "why": why,
            "prompt": persona.prompt,
        }
