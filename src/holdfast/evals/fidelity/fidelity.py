"""How well a model stays in character: its answers to questions that a persona decides.

Two protocols, one summary (`score`):

    a suite           every persona's own probes, judged by its own judge: a score in [0, 1],
                      by category, beside a floor, the same probes without the system prompt
    a questionnaire   PersonaGym's five tasks (`personagym`): grades 1 to 5 by any number of judge
                      models, by task

A reply that failed or is empty has the lowest score and is counted, never dropped, and so does a
judge's call that gave no grade.

This module plans and runs, for suites. It knows no equations.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
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
from holdfast.core.settings import settle
from holdfast.core.version import __version__
from holdfast.evals.fidelity import personagym
from holdfast.evals.fidelity.score import Graded, persona_scores
from holdfast.evals.fidelity.settings import FidelitySettings
from holdfast.judge.by_model import judge_answers
from holdfast.judge.rubric import Item
from holdfast.models.notes import NOTES
from holdfast.persona.suite import Persona, load_suite
from holdfast.results.fidelity import (
    FidelitySummary,
    PersonaFidelity,
    PersonaScores,
    QuestionnaireDetails,
    SuiteDetails,
    WeakestAnswer,
)

ROWS = 256  # replies asked for side by side
_FAILED = {"overflow", "error"}
Key = tuple[str, int, str, int]  # persona, probe, arm, sample: an answer


@dataclass(frozen=True)
class Fidelity:
    """The result of `fidelity`."""

    summary: FidelitySummary
    """The object that `holdfast fidelity --json` prints."""

    @property
    def score(self) -> float:
        """Mean over personas of the mean over their tasks."""
        return float(self.summary.scores.score or 0.0)

    @property
    def rows(self) -> tuple[PersonaFidelity, ...]:
        """One row per persona."""
        return self.summary.scores.rows


def fidelity(
    model: Backend,
    settings: FidelitySettings | None = None,
    *,
    judges: Sequence[Backend] = (),
    author_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Fidelity:
    """Measure how well a model stays in character, as `holdfast fidelity` does.

    Args:
        model: the model to measure.
        settings: what is asked, and how often.
        judges: models that grade where no rule can; none of them `model`. A questionnaire needs
            at least one.
        author_model: writes questions and example answers; by default the first judge.
        out: folder of the run, which the same call resumes; None keeps everything in memory.
        command: the command line, for the summary and the page.
        progress: shows how far the run is.
        **changes: fields of `settings` to change.

    Raises:
        HoldfastError: what the user can mend.
    """
    began = time.monotonic()
    settings = settle(settings, FidelitySettings, changes)
    _check(model, judges, settings)
    shown = progress or Progress(enabled=False, step="answers")
    manifest: Record = {
        "command": "fidelity",
        "version": __version__,
        "model": model.describe(),
        "judges": [judge.describe() for judge in judges],
        "samples": settings.samples,
        "seed": settings.seed,
        "sampling": asdict(settings.sampling),
    }
    scores: PersonaScores
    details: SuiteDetails | QuestionnaireDetails
    if settings.questions is not None:
        run, scores, details = personagym.measure(
            model,
            settings.questions,
            judges,
            manifest,
            settings.sampling,
            out,
            shown,
            settings.questionnaire,
            author_model,
        )
    else:
        source = settings.suite or ("mini" if model.name == "mini" else "core")
        people = load_suite(source).personas
        run, scores, details = _suite(
            model, people, judges, manifest, settings.sampling, out, shown
        )
    page = run.folder / "report.html" if run.folder else None
    summary = FidelitySummary(
        model=model.name,
        command=command,
        scores=scores,
        details=details,
        judges=tuple(judge.name for judge in judges),
        samples=settings.samples,
        seed=settings.seed,
        seconds=round(time.monotonic() - began, 1),
        note=NOTES.get(model.name),
        report=str(page) if page else None,
    )
    run.finish(summary)
    if page:
        report.write_fidelity(summary, page)
    return Fidelity(summary)


def _check(model: Backend, judges: Sequence[Backend], settings: FidelitySettings) -> None:
    if settings.samples < 1:
        raise HoldfastError(f"at least 1 sample of each answer is needed, not {settings.samples}")
    names = [judge.name for judge in judges]
    if model.name in names:
        raise HoldfastError(
            f"{model.name} cannot judge its own replies: name another --judge-model."
        )
    if len(set(names)) < len(names):
        raise HoldfastError(f"each judge is named once, not {', '.join(names)}.")


# --- suites ---------------------------------------------------------------------


def _suite(
    model: Backend,
    people: Sequence[Persona],
    judges: Sequence[Backend],
    described: Record,
    sampling: Sampling,
    out: Path | str | None,
    shown: Progress,
) -> tuple[Run, PersonaScores, SuiteDetails]:
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
    return run, *_summarise(run, people, seed)


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


def _summarise(
    run: Run, people: Sequence[Persona], seed: int
) -> tuple[PersonaScores, SuiteDetails]:
    """Scores by category and persona, and the floor."""
    at = {persona.id: persona for persona in people}
    graded: dict[str, list[Graded]] = {"own": [], "none": []}
    told: dict[str, list[float]] = {}
    for verdict in run.verdicts:
        told.setdefault(str(verdict["answer"]), []).append(verdict["value"])
    weakest: dict[str, WeakestAnswer] = {}
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
            _keep_weakest(weakest, persona, record, score, why)
    own, floor = (persona_scores(graded[arm]) for arm in ("own", "none"))
    rows = tuple(replace(row, answer=weakest[row.persona]) for row in own.rows)
    return replace(own, rows=rows), SuiteDetails(
        floor=floor.score,
        floor_interval=floor.interval,
        floor_by_task=floor.by_task,
        parse_failures=sum(verdict["failures"] for verdict in run.verdicts),
        judge_calls=sum(verdict["calls"] for verdict in run.verdicts),
        failed_replies=sum(record["stop"] in _FAILED for record in run.records),
        empty_replies=sum(
            not record["text"].strip() and record["stop"] not in _FAILED for record in run.records
        ),
    )


def _keep_weakest(
    weakest: dict[str, WeakestAnswer], persona: Persona, record: Record, score: float, why: str
) -> None:
    """Keep a persona's lowest answer, which the page shows."""
    other = weakest.get(persona.id)
    if other is None or score < other.score:
        weakest[persona.id] = WeakestAnswer(
            question=persona.probes[record["probe"]],
            text=record["text"],
            score=round(score, 4),
            why=why,
            prompt=persona.prompt,
        )
