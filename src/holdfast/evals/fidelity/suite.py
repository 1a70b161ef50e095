"""A suite's own probes: every persona is asked them with its prompt and without.

A persona's own judge scores each answer in [0, 1]. The floor is the score of the same probes
without the system prompt, from the same seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from holdfast.core.backend import Ask, Backend
from holdfast.core.errors import HoldfastError
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.core.settings import require_name
from holdfast.evals.fidelity.answers import (
    FAILED_STOPS,
    Measurement,
    ask_under,
    count_failures,
    record_answers,
)
from holdfast.evals.fidelity.score import Graded, persona_scores, with_weakest
from holdfast.evals.fixed_batches import ask_missing
from holdfast.evals.tasks.model_judge import reach_judge
from holdfast.judge.by_model import judge_answers
from holdfast.judge.rubric import Item
from holdfast.models.notes import own_source
from holdfast.persona.suite import Persona, Suite, load_suite, require_embeddings
from holdfast.results.fidelity import (
    PersonaScores,
    SuiteAnswer,
    SuiteDetails,
    SuiteManifest,
    SuiteVerdict,
    WeakestAnswer,
)

ROWS = 256
"""Probes that are asked side by side."""
SCALE = (0, 1)
"""Lowest and highest score of an answer."""
SuiteRun = Run[SuiteAnswer, SuiteVerdict]
AnswerKey = tuple[str, int, str, int]
"""Persona, probe, arm and sample: what identifies an answer."""


def measure_suite(measurement: Measurement) -> tuple[SuiteRun, PersonaScores, SuiteDetails]:
    """Ask every persona's probes, have them judged, and score the personas.

    Raises:
        HoldfastError: a persona needs a judge model, and there is none, or a category is unknown.
    """
    settings, judges = measurement.settings, measurement.judges
    personas = _personas(measurement)
    if not judges and (rubric := next((p for p in personas if p.needs_model), None)):
        raise HoldfastError(
            f"the persona “{rubric.id}” is judged by a model: name one with `judge_model`."
        )
    persona_records = tuple(asdict(persona) for persona in personas)
    manifest = SuiteManifest(**vars(measurement.manifest), personas=persona_records)
    run = Run(measurement.out, manifest, SuiteAnswer, SuiteVerdict)
    for judge in judges:
        reach_judge(run, judge, any(one.needs_model for one in personas))
    questions = list(_questions(personas, settings.samples, settings.seed))
    with measurement.progress.of(len(questions), "answers", tokens=measurement.tokens):
        record_answers(measurement, run, questions, ROWS)
    _judge(run, personas, judges)
    return run, *_summarise(run, personas)


def _of_categories(personas: Sequence[Persona], names: Sequence[str]) -> Sequence[Persona]:
    categories = list(dict.fromkeys(persona.category for persona in personas))
    for name in names:
        require_name("category", name, categories)
    return [persona for persona in personas if not names or persona.category in names]


def suite_asks(measurement: Measurement) -> list[Ask]:
    """Everything that the model is asked."""
    settings = measurement.settings
    return [ask for _, ask in _questions(_personas(measurement), settings.samples, settings.seed)]


def _personas(measurement: Measurement) -> Sequence[Persona]:
    source = measurement.settings.suite or own_source(measurement.model.name)
    suite = source if isinstance(source, Suite) else load_suite(source)
    personas = _of_categories(suite.personas, measurement.settings.category)
    require_embeddings(personas)
    return personas


def _questions(
    personas: Sequence[Persona], samples: int, seed: int
) -> Iterator[tuple[SuiteAnswer, Ask]]:
    """Every probe, with the system prompt (`own`) and without (`none`), from the same seeds."""
    for persona in personas:
        for p, probe in enumerate(persona.probes):
            for sample in range(samples):
                own_seed = seed_of("fidelity", seed, persona.id, p, sample)
                own = SuiteAnswer(persona.id, p, "own", sample)
                yield own, ask_under(persona.prompt, probe, own_seed)
                floor = SuiteAnswer(persona.id, p, "none", sample)
                yield floor, ask_under("", probe, own_seed)


def _judge(run: SuiteRun, personas: Sequence[Persona], judges: Sequence[Backend]) -> None:
    """Have the judge models score what only a model can, persona by persona."""
    answers = [answer for answer in run.records if answer.stop not in FAILED_STOPS]
    for persona in personas:
        for judge in judges if persona.needs_model else ():
            batch = {
                (one.key, judge.name): Item(persona.prompt, persona.probes[one.probe], one.text)
                for one in answers
                if one.persona == persona.id
            }
            ask = partial(_ask_judge, persona, judge)
            ask_missing([batch], run.verdict_file, judge, ask, key_of=lambda v: (v.answer, v.judge))


def _ask_judge(
    persona: Persona, judge: Backend, items: Mapping[tuple[AnswerKey, str], Item]
) -> Iterator[SuiteVerdict]:
    """A judge model's verdicts on answers of a persona."""
    verdicts = judge_answers(persona.judge, list(items.values()), judge)
    for (answer, _), verdict in zip(items, verdicts, strict=True):
        yield SuiteVerdict(
            answer=answer,
            judge=judge.name,
            value=verdict.value,
            why=verdict.why,
            failures=verdict.failures,
            calls=len(verdict.grades),
        )


def _summarise(run: SuiteRun, personas: Sequence[Persona]) -> tuple[PersonaScores, SuiteDetails]:
    """Scores by category and persona, and the floor."""
    by_id = {persona.id: persona for persona in personas}
    scorers = {persona.id: persona.build_judge() for persona in personas}
    by_model: dict[object, list[float]] = {}
    for verdict in run.verdicts:
        by_model.setdefault(verdict.answer, []).append(verdict.value)
    grades: dict[str, list[Graded]] = {"own": [], "none": []}
    answers: list[tuple[str, WeakestAnswer]] = []
    for record in run.records:
        persona, scorer = by_id[record.persona], scorers[record.persona]
        if record.stop in FAILED_STOPS:
            score, why = 0.0, f"no reply ({record.stop})"
        elif scorer is None:  # a model judges
            values = by_model[record.key]
            score, why = sum(values) / len(values), ""
        else:
            score, why = scorer(record.text)
        grades[record.arm].append(Graded(persona.id, persona.category, score))
        if record.arm == "own":
            answer = WeakestAnswer(
                question=persona.probes[record.probe],
                text=record.text,
                score=score,
                why=why,
                prompt=persona.prompt,
            )
            answers.append((persona.id, answer))
    floor = persona_scores(grades["none"], SCALE)
    return with_weakest(persona_scores(grades["own"], SCALE), answers), SuiteDetails(
        scale=SCALE,
        floor=floor.score,
        floor_interval=floor.interval,
        floor_by_task=floor.by_task,
        parse_failures=sum(verdict.failures for verdict in run.verdicts),
        judge_calls=sum(verdict.calls for verdict in run.verdicts),
        **count_failures(run.records),
    )
