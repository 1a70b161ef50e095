"""Every control on the same conversations: what holds, what it costs, which one to use.

The plan of a drift run is held once under each control, with the same personas, starters,
probes and seeds. Controls take turns round by round, so that a slow machine hits all alike.
Capability questions are asked on branches after some rounds, under the control, the same
under every control. `by_control` makes arrays of the records, `tradeoff` makes rows of the
arrays, and `recommendation` says which control to use.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from holdfast import report
from holdfast.control.trained_files import training_prompts
from holdfast.core.backend import Backend, clock_of
from holdfast.core.control import ALSO, NONE, Control, parse
from holdfast.core.progress import Progress
from holdfast.core.records import Record, as_record
from holdfast.core.settings import settle
from holdfast.core.shards import Where, open_run
from holdfast.core.stats import mean, numbers
from holdfast.evals.compare.by_control import Measurements, measurements
from holdfast.evals.compare.questions import QuestionPlan, capability_answers, plan_questions
from holdfast.evals.compare.recommendation import Recommendation, recommend
from holdfast.evals.compare.settings import DEFAULT_CONTROLS, CompareSettings
from holdfast.evals.compare.tradeoff import control_rows
from holdfast.evals.conversation.batches import ConversationRun
from holdfast.evals.conversation.controlled import ControlledPlan, ControlledSetup, prepare
from holdfast.evals.conversation.costs import costs
from holdfast.evals.conversation.estimate import estimate
from holdfast.evals.conversation.judging import scores
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.screening import screen
from holdfast.evals.conversation.setup import Screening, default_suite, note
from holdfast.evals.estimate import RunEstimate
from holdfast.evals.tasks.model_judge import count_verdicts
from holdfast.models.model_group import ModelGroup
from holdfast.report.words import low_ceiling, too_low
from holdfast.results.compare import (
    CapabilityAnswer,
    ComparedConversation,
    CompareSummary,
    ControlRow,
    ConversationUnderControl,
)
from holdfast.results.conversation import JudgedConversation, RoundRecord
from holdfast.results.verdict import JudgeVerdict


@dataclass(frozen=True)
class Comparison:
    """What a comparison found."""

    summary: CompareSummary
    """The object that `holdfast compare --json` prints."""
    conversations: list[ComparedConversation]
    """Every message, judged answer and capability question under each control."""

    @property
    def recommendation(self) -> str:
        """Which control to use, and why it and no higher one."""
        return self.summary.recommendation

    @property
    def rows(self) -> list[ControlRow]:
        """One row per control, over the longest conversations."""
        return self.summary.rows

    @property
    def records(self) -> list[Record]:
        """One flat record per probe answer and per question, ready for `pandas.DataFrame`."""
        return [
            {
                "conversation": conversation.id,
                "control": control,
                "agent": conversation.agent.id,
                "category": conversation.agent.category,
                "user": conversation.user.id,
                **answer,
            }
            for conversation in self.conversations
            for control, under in conversation.controls.items()
            for answer in _flat(under)
        ]


def _flat(under: ConversationUnderControl) -> list[Record]:
    """Probe answers, then questions as the arm `question`, scored 1 or 0, None without room."""
    probes = [{"round": at.round, **as_record(a)} for at in under.rounds for a in at.probes]
    questions = [
        {
            "round": q.round,
            "arm": "question",
            "kind": q.kind,
            "probe": q.question,
            "answer": q.answer,
            "score": None if q.right is None else float(q.right),
            "stop": q.stop,
        }
        for q in under.questions
    ]
    return probes + questions


def compare(
    model: Backend,
    settings: CompareSettings | None = None,
    *,
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
    also: Sequence[Backend] = (),
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    where: Where = None,
    **changes: Any,
) -> Comparison:
    """Compare controls; what the command `holdfast compare` does.

    Args:
        model: the agents' model.
        settings: what to do; by default the defaults of `CompareSettings`.
        user_model: speaks for the users; by default `model`.
        judge_model: judges personas whose judge is a rubric.
        also: other models, trained checkpoints for instance: each is a row `also:NAME` on the
            same conversations.
        out: folder of the run, which the same call resumes and which holds the page; by default
            nothing is written.
        command: shown on the page.
        progress: shows rounds and replies per second; by default nothing is shown.
        where: a shard or a pool that does the batches; by default this process does all.
        **changes: fields of `CompareSettings` in place of those in `settings`.

    Raises:
        HoldfastError: something that the user can mend. A control that the model refuses, before
            the run or in it, is left out and named in the summary.
        ShardDone: `where` is a shard, and its part is done.
    """
    models = (model, user_model or model, judge_model or model, *also)
    settings = settle(settings, CompareSettings, changes, *models)
    group = ModelGroup(model, also) if also else model
    controls, refusals = _controls(group, settings, also)
    start, progress = time.monotonic(), progress or Progress(enabled=False)
    screening = screen(
        settings, model, judge_model=judge_model, out=out, progress=progress, where=where
    )
    users = user_model or model
    setup, questions = _set_up(group, settings, controls, users, judge_model, screening)
    scoring = settings.scoring if questions.questions else None
    manifest = setup.manifest("compare", questions=questions.as_records(), scoring=scoring)
    run = open_run(out, manifest, RoundRecord, JudgeVerdict, where)
    results = setup.hold(
        run, progress, timed=True, where=where, skip_refused=True, resume=settings.resume
    )
    refusals |= setup.plan.refusals(run.records)
    summary = _summary(setup, questions, results, run, settings, refusals, command, start)
    conversations = _by_conversation(setup.plan, results, run, questions, refusals)
    run.finish(summary, partial(report.write_compare, summary, conversations))
    return Comparison(summary, conversations)


def estimate_compare(
    model: Backend,
    settings: CompareSettings | None = None,
    *,
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
    also: Sequence[Backend] = (),
    **changes: Any,
) -> RunEstimate:
    """Measure one step of a comparison and say what the whole takes; `holdfast compare --plan`.

    The arguments are those of `compare`. No screening is done: all personas may be agents.
    """
    settings = settle(settings, CompareSettings, changes, model)
    group = ModelGroup(model, also) if also else model
    controls, _ = _controls(group, settings, also)
    setup, _ = _set_up(group, settings, controls, user_model or model, judge_model, None)
    return estimate(setup.chat, setup.plan.variants_of_all())


def _set_up(
    model: Backend,
    settings: CompareSettings,
    controls: Sequence[Control],
    user_model: Backend,
    judge_model: Backend | None,
    screening: Screening | None,
) -> tuple[ControlledSetup, QuestionPlan]:
    """The conversations with their questions; refuses what would fail half way."""
    setup = prepare(
        model,
        settings,
        controls,
        rounds=settings.lengths()[-1],
        measure=False,
        screening=screening,
        side_by_side=settings.batch,
        user_model=user_model,
        judge_model=judge_model,
    )
    if settings.scoring == "likelihood":
        model.likelihoods((), ())  # refuses where only text comes back
    source = str(settings.questions or default_suite(model))
    questions = plan_questions(settings, source, setup.plan.conversations)
    chat = replace(
        setup.chat,
        questions=questions.under_every_control(setup.plan),
        likelihood=settings.scoring == "likelihood",
    )
    return replace(setup, chat=chat), questions


def _controls(
    model: Backend, settings: CompareSettings, also: Sequence[Backend]
) -> tuple[list[Control], dict[str, str]]:
    """The controls to run, `none` first, and those that the model refuses, with the reason."""
    names = DEFAULT_CONTROLS if settings.controls is None else settings.controls
    texts = [*names, *(f"{ALSO}{one.name}" for one in also)]
    controls = [NONE, *(parse(text, models=bool(also)) for text in texts)]
    refusals = {control.text: why for control in controls if (why := model.refusal(control))}
    return [one for one in dict.fromkeys(controls) if one.text not in refusals], refusals


def _summary(
    setup: ControlledSetup,
    questions: QuestionPlan,
    results: Sequence[JudgedConversation],
    run: ConversationRun,
    settings: CompareSettings,
    refusals: dict[str, str],
    command: str | None,
    start: float,
) -> CompareSummary:
    lengths, plan, model = settings.lengths(), setup.plan, setup.chat.agent
    assert model is not None
    rows, advice = _rows(plan, results, run, questions, refusals)
    first_score = rows[lengths[-1]][0].curve[0]
    failures, of_run = costs(run.records).failures, setup.setting()
    low, verdicts = low_ceiling(of_run, first_score, failures), count_verdicts(run)
    return CompareSummary(
        setting=of_run,
        lengths=lengths,
        command=command,
        rows=rows[lengths[-1]],
        by_rounds={str(length): of_length for length, of_length in rows.items()},
        recommended=None if low else advice.control,
        recommendation=too_low(first_score) if low else advice.sentence,
        chosen_on=advice.chosen_on,
        reported_on=advice.reported_on,
        floor=numbers(mean(scores(results[:: len(plan.controls)], "floor", 1)[:, 0])),
        question_source=questions.source if questions.questions else None,
        scoring=settings.scoring if questions.questions else None,
        capability_rounds=questions.rounds,
        questions=questions.count_by_kind(lengths[-1]),
        refused=refusals,
        failures=failures,
        clock=clock_of(model),
        verdicts=verdicts,
        **run.of_work(seconds=round(time.monotonic() - start, 1)),
        note=note(of_run, low, failures, verdicts),
        report=run.page,
    )


def _rows(
    plan: ControlledPlan,
    results: Sequence[JudgedConversation],
    run: ConversationRun,
    questions: QuestionPlan,
    refusals: Mapping[str, str],
) -> tuple[dict[int, list[ControlRow]], Recommendation]:
    """The rows of every length, and what they recommend over the longest."""
    scored_rounds, longest = questions.counted_rounds, max(questions.counted_rounds)
    by_control = [
        _of_its_personas(one, plan.conversations)
        for one in measurements(plan, longest, results, run.records, run.times, questions.questions)
        if one.control.text not in refusals
    ]
    rows = {
        length: control_rows(by_control, plan.conversations, length, rounds)
        for length, rounds in scored_rounds.items()
    }
    advice = recommend(
        by_control, plan.conversations, longest, scored_rounds[longest], rows[longest]
    )
    return rows, advice


def _of_its_personas(one: Measurements, conversations: Sequence[Conversation]) -> Measurements:
    """The measurements on the personas that the control was trained on; all for most."""
    personas = training_prompts(one.control)
    if personas is None:
        return one
    return one.mask([c.agent.prompt in personas for c in conversations])


def _by_conversation(
    plan: ControlledPlan,
    results: Sequence[JudgedConversation],
    run: ConversationRun,
    questions: QuestionPlan,
    refusals: Mapping[str, str],
) -> list[ComparedConversation]:
    """The conversations, each under every control, as the page shows them."""
    by_id = {one.id: one for one in results}
    answers = defaultdict[int, list[CapabilityAnswer]](list)
    for record in run.records:
        _, conversation = plan.locate(record.conversation)
        answers[record.conversation] += capability_answers(
            record, conversation, questions.questions
        )
    controls = [(k, one.text) for k, one in enumerate(plan.controls) if one.text not in refusals]

    def under(id_: int) -> ConversationUnderControl:
        return ConversationUnderControl(by_id[id_].rounds, tuple(answers[id_]))

    return [
        ComparedConversation(
            id=c.id,
            agent=by_id[c.id].agent,
            user=by_id[c.id].user,
            starter=by_id[c.id].starter,
            controls={text: under(plan.record_id(k, c.id)) for k, text in controls},
        )
        for c in plan.conversations
    ]
