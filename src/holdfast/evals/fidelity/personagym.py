"""PersonaGym's protocol (arXiv:2407.18416), from questions to grades.

For each person: questions in five tasks, from files or written by a model; the model's answers,
under the paper's prompt; an example answer for every grade, written for the very question; and
every judge's grade of each answer, 1 to 5, one answer and one rubric to a call.

    answer's score = mean over judges of the mean over calls of the grade

A call without a grade counts as the lowest one and is counted. Rubrics are our own and the judges
are whoever is named, so that scores do not compare with the published table.

This module asks and records. `score` says what a score is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path

from holdfast.core.backend import Ask, Backend
from holdfast.core.errors import HoldfastError
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.evals.fidelity import author, questionnaire
from holdfast.evals.fidelity.answers import (
    FAILED_STOPS,
    ROWS,
    Measurement,
    ask_under,
    count_failures,
    grade,
    record_answers,
)
from holdfast.evals.fidelity.questionnaire import GRADES, Questionnaire
from holdfast.evals.fidelity.score import Graded, persona_scores, with_weakest
from holdfast.evals.fidelity.settings import GENERATE, FidelitySettings, QuestionnaireSettings
from holdfast.evals.tasks.model_judge import reach_judge
from holdfast.judge.rubric import Item, Verdict
from holdfast.results.fidelity import (
    JudgeScores,
    PersonaScores,
    QuestionnaireAnswer,
    QuestionnaireDetails,
    QuestionnaireManifest,
    QuestionnaireVerdict,
    WeakestAnswer,
    WrittenTexts,
)

SCALE = (1, GRADES)
"""Lowest and highest grade."""
_PLAIN = "What do you do on a free afternoon, and why?"  # stands for questions not yet written
QuestionnaireRun = Run[QuestionnaireAnswer | WrittenTexts, QuestionnaireVerdict]


def measure_questionnaire(
    measurement: Measurement, author_model: Backend | None
) -> tuple[QuestionnaireRun, PersonaScores, QuestionnaireDetails]:
    """Ask a questionnaire, have the answers graded, and score the persons.

    Args:
        measurement: who is measured, by whom, and where the records go.
        author_model: writes questions and example answers; by default the first judge.

    Raises:
        HoldfastError: what the user can mend.
    """
    judges, settings = measurement.judges, measurement.settings
    options, seed = settings.questionnaire, settings.seed
    if not judges:
        raise HoldfastError("answers to a questionnaire are graded by a model: add `judge_model`.")
    writer = author_model or judges[0]
    people, sheets = _people_and_sheets(settings)
    run: QuestionnaireRun = Run(
        measurement.out,
        QuestionnaireManifest(
            **vars(measurement.manifest),
            personas=people,
            questions=tuple(asdict(sheet) for sheet in sheets),
            author=writer.describe() if options.examples or people else None,
            examples=options.examples,
            n=options.questions_per_task,
            calls=options.calls,
            prompt=options.prompt,
        ),
        QuestionnaireAnswer | WrittenTexts,  # type: ignore[arg-type]
        QuestionnaireVerdict,
    )
    writes = [writer] if options.examples and writer not in judges else []
    for one in (*judges, *writes):
        reach_judge(run, one, needed=True)
    failed_requests = 0
    if people:
        n = options.questions_per_task or author.USUAL
        sheets, failed_requests = author.write_questionnaires(run, writer, people, n, seed)
    if not any(sheet.items for sheet in sheets):
        raise HoldfastError(
            f"{writer.name} wrote no questions in the form that it was asked for: name another "
            "`author_model`, or a folder with `questions`."
        )
    questions = _questions(sheets, options.prompt, settings.samples, seed)
    with measurement.progress.of(len(questions), "answers", tokens=measurement.tokens):
        record_answers(measurement, run, questions, ROWS)
        if options.examples:
            author.write_examples(run, writer, sheets, seed)
        for judge in judges:
            _grade(run, judge, sheets, options)
    return run, *_summarise(run, sheets, judges, failed_requests)


def questionnaire_asks(measurement: Measurement) -> tuple[list[Ask], int]:
    """Some of what the model is asked, and how much that is.

    Questions that are still to be written are counted, and a plain one stands for them.
    """
    settings = measurement.settings
    options = settings.questionnaire
    people, sheets = _people_and_sheets(settings)
    if not people:
        pairs = _questions(sheets, options.prompt, settings.samples, settings.seed)
        return [ask for _, ask in pairs], len(pairs)
    asks = [
        ask_under(_prompt(options.prompt, one), _PLAIN, seed_of("gym", settings.seed, one))
        for one in people
    ]
    n = options.questions_per_task or author.USUAL
    return asks, len(people) * len(questionnaire.tasks()) * n * settings.samples


def _people_and_sheets(
    settings: FidelitySettings,
) -> tuple[tuple[str, ...], tuple[Questionnaire, ...]]:
    """The people that questions are generated for, or else the questionnaires."""
    options, questions = settings.questionnaire, settings.questions
    if str(questions) == GENERATE:
        if options.personas is None:
            raise HoldfastError(
                "questions are generated for persons: name a text file with one description on "
                "each line with `personas`."
            )
        everybody = questionnaire.read_descriptions(options.personas)
        return tuple(questionnaire.draw_people(everybody, options.people, settings.seed)), ()
    if isinstance(questions, str | Path):
        n, people = options.questions_per_task, options.people
        return (), questionnaire.load(questions, n=n, people=people, seed=settings.seed)
    return (), tuple(questions or ())


def _questions(
    sheets: Sequence[Questionnaire], prompt: str, samples: int, seed: int
) -> list[tuple[QuestionnaireAnswer, Ask]]:
    return [
        (
            answer,
            ask_under(_prompt(prompt, sheet.persona), question, seed_of("gym", seed, *answer.key)),
        )
        for sheet in sheets
        for task, i, question in sheet.items
        for sample in range(samples)
        for answer in [QuestionnaireAnswer("answer", sheet.persona, task, i, sample)]
    ]


def _prompt(prompt: str, persona: str) -> str:
    return prompt.replace("{persona}", persona)


def _answers(run: QuestionnaireRun) -> list[QuestionnaireAnswer]:
    return [record for record in run.records if isinstance(record, QuestionnaireAnswer)]


def _texts(sheets: Sequence[Questionnaire]) -> dict[tuple[str, str, int], str]:
    """The text of every question by person, task and index."""
    return {(sheet.persona, task, i): q for sheet in sheets for task, i, q in sheet.items}


def _grade(
    run: QuestionnaireRun,
    judge: Backend,
    sheets: Sequence[Questionnaire],
    options: QuestionnaireSettings,
) -> None:
    """Have a judge grade every answer, a task at a time; grades are recorded as they come."""
    questions = _texts(sheets)
    examples = {
        (record.persona, record.place): record.written or ()
        for record in run.records
        if isinstance(record, WrittenTexts) and record.step == "examples"
    }
    items = [
        (
            answer.key,
            answer.task,
            Item(
                _prompt(options.prompt, answer.persona),
                questions[answer.key[:3]],
                answer.text,
                examples.get((answer.persona, f"{answer.task} {answer.question}"), ()),
            ),
        )
        for answer in _answers(run)
        if answer.stop not in FAILED_STOPS
    ]

    def record(key: tuple[str, str, int, int], verdict: Verdict) -> QuestionnaireVerdict:
        return QuestionnaireVerdict(
            answer=key,
            judge=judge.name,
            grades=verdict.grades,
            score=round(1 + (GRADES - 1) * verdict.value, 4),
            why=verdict.why,
        )

    grade(judge, options.calls, items, run.verdict_file, record, attrgetter("answer"))


def _summarise(
    run: QuestionnaireRun,
    sheets: Sequence[Questionnaire],
    judges: Sequence[Backend],
    question_failures: int,
) -> tuple[PersonaScores, QuestionnaireDetails]:
    """PersonaScore, by task and by judge, and everything that failed."""
    names = [judge.name for judge in judges]
    questions, records = _texts(sheets), _answers(run)
    verdicts: dict[object, dict[str, QuestionnaireVerdict]] = {}
    for verdict in run.verdicts:
        verdicts.setdefault(verdict.answer, {})[verdict.judge] = verdict
    grades: dict[str, list[Graded]] = {name: [] for name in ("", *names)}
    parsed_grades: list[Graded] = []
    answers: list[tuple[str, WeakestAnswer]] = []
    for record in records:
        by_judge = verdicts.get(record.key, {})
        # Where the model gave no reply there is nothing to grade: the lowest score.
        scores = {name: by_judge[name].score if name in by_judge else 1.0 for name in names}
        score = sum(scores.values()) / len(scores)
        for name, value in {"": score, **scores}.items():
            grades[name].append(Graded(record.persona, record.task, value))
        if by_judge and all(None not in by_judge[name].grades for name in names):
            parsed_grades.append(grades[""][-1])
        answer = WeakestAnswer(
            task=record.task,
            question=questions[record.key[:3]],
            text=record.text,
            score=score,
            why="; ".join(f"{name}: {one.why}" for name, one in by_judge.items()),
            prompt=record.persona,
        )
        answers.append((record.persona, answer))
    calls = [call for verdict in run.verdicts for call in verdict.grades]
    return with_weakest(persona_scores(grades[""], SCALE), answers), QuestionnaireDetails(
        scale=SCALE,
        by_judge={name: _judge_scores(grades[name]) for name in names},
        parse_failures=sum(call is None for call in calls),
        judge_calls=len(calls),
        score_parsed=persona_scores(parsed_grades, SCALE).score if parsed_grades else None,
        answers_parsed=len(parsed_grades),
        example_failures=sum(
            isinstance(one, WrittenTexts) and one.step == "examples" and one.written is None
            for one in run.records
        ),
        **count_failures(records),
        question_failures=question_failures,
    )


def _judge_scores(grades: Sequence[Graded]) -> JudgeScores:
    scores = persona_scores(grades, SCALE)
    return JudgeScores(scores.score, scores.interval, scores.by_task)
