"""Every control on the same conversations: what holds, what it costs, which one to use.

The plan of a drift run is held once under each control, with the same personas, starters,
probes and seeds. Controls take turns round by round, so that a slow machine hits all alike.
Capability questions are asked on branches after some rounds, under the control, the same
under every control. `by_control` makes arrays of the records, `tradeoff` makes rows of the
arrays, and `recommendation` says which control to use.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast import report
from holdfast.control.trained_files import trained_on
from holdfast.core.backend import Backend, Sampling
from holdfast.core.clock import clock_of
from holdfast.core.control import ALSO, DEFAULT_CONTROLS, NONE, Control, parse
from holdfast.core.errors import ControlError, HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record, as_record
from holdfast.core.shards import Where, open_run
from holdfast.core.stats import mean, numbers
from holdfast.evals.compare.by_control import Measurements, measurements
from holdfast.evals.compare.questions import (
    Questions,
    count_by_kind,
    described,
    draw_questions,
    question_answers,
    rounds_with_questions,
    under_every_control,
)
from holdfast.evals.compare.recommendation import recommend
from holdfast.evals.compare.tradeoff import control_rows
from holdfast.evals.conversation.batches import ConversationRun
from holdfast.evals.conversation.controlled import (
    ControlledPlan,
    default_side_by_side,
    hold_under_controls,
)
from holdfast.evals.conversation.costs import costs
from holdfast.evals.conversation.judging import count_verdicts, scores
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.settings import ConversationProtocol, ConversationSettings, Pairs
from holdfast.evals.conversation.setup import check, default_suite, draw_cast, manifest, setting
from holdfast.evals.tasks import answers as capability
from holdfast.models.model_group import ModelGroup
from holdfast.models.notes import NOTES
from holdfast.persona.suite import Suite
from holdfast.results.compare import (
    CapabilityAnswer,
    ComparedConversation,
    CompareSummary,
    ControlRow,
    ConversationUnderControl,
)
from holdfast.results.conversation import JudgedConversation, RoundRecord
from holdfast.results.verdict import JudgeVerdict

SCORING = ("generation", "likelihood")
"""How multiple choice is answered; everything else is generated."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison found."""

    summary: CompareSummary
    """The object that `holdfast compare --json` prints."""
    conversations: list[ComparedConversation]
    """Every message, judged answer and capability question under each control."""

    @property
    def recommendation(self) -> str:
        """Which control to use, in one sentence."""
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
    """Probe answers, then questions as the arm `question`, scored 1 or 0."""
    probes = [{"round": at.round, **as_record(a)} for at in under.rounds for a in at.probes]
    questions = [
        {
            "round": q.round,
            "arm": "question",
            "kind": q.kind,
            "probe": q.question,
            "answer": q.answer,
            "score": float(q.right),
            "stop": q.stop,
        }
        for q in under.questions
    ]
    return probes + questions


def compare(
    model: Backend,
    *,
    controls: Sequence[str | Control] | None = None,
    suite: Suite | str | Path | None = None,
    persona: Suite | str | Path | None = None,
    agents: Sequence[str] = (),
    users: Sequence[str] = (),
    topic: str | None = None,
    pairs: Pairs = 24,
    rounds: int | Sequence[int] = 8,
    seed: int = 0,
    runs: int = 2,
    sampling: Sampling | None = None,
    questions: str | Path | None = None,
    each: int = 2,
    question_rounds: Sequence[int] = (),
    scoring: str = SCORING[0],
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
    also: Sequence[Backend] = (),
    batch: int | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    where: Where = None,
) -> Comparison:
    """Compare controls; what the command `holdfast compare` does.

    `controls` are texts (`core.control`), by default `DEFAULT_CONTROLS` but for those that
    the model refuses; `none` is always the first. `rounds` may be several lengths: one run
    to the longest serves all. `questions` is a source of `capability.load` ("none" asks
    nothing; by default `mini` for the embedded model and `core` for others), `each` how
    many of a kind every conversation is asked at a time, and `question_rounds` after which
    rounds (by default the last of every length). `scoring` "likelihood" answers multiple
    choice with the likeliest letter. `also` are other models, trained checkpoints for
    instance: each is a row `also:NAME` of the same conversations, whose users `user_model`, by
    default the first model, speaks for. `batch` conversations are held side by side, each
    under every control. The rest is as in `drift`. Raises `ControlError` for a control
    that is named and cannot be had, and HoldfastError for what else the user can mend.
    """
    lengths = _lengths(rounds)
    user = user_model or model
    if also:
        model = ModelGroup(model, also)
    chosen, refused = _controls(model, controls, [f"{ALSO}{one.name}" for one in also])
    side_by_side = default_side_by_side(len(chosen)) if batch is None else batch
    protocol = ConversationProtocol(
        rounds=lengths[-1],
        seed=seed,
        runs=runs,
        sampling=sampling or Sampling(),
        filler=False,
        history_floor=False,
        user_persona=False,
        measure=False,
        batch=side_by_side * len(chosen),
    )
    settings = ConversationSettings(
        suite=suite,
        persona=persona,
        agents=tuple(agents),
        users=tuple(users),
        topic=topic,
        pairs=pairs,
        seed=seed,
    )
    cast = draw_cast(settings, model)
    conversations = cast.conversations
    check(model, judge_model, conversations, protocol)
    _check_scoring(model, scoring)
    counted_rounds = rounds_with_questions(lengths, question_rounds)
    asked_rounds = sorted({r for of_length in counted_rounds.values() for r in of_length})
    source = str(questions or default_suite(model))
    asked = draw_questions(source, conversations, asked_rounds, each, seed)
    plan = ControlledPlan(conversations, chosen)
    chat = SelfChat(
        model,
        user,
        protocol,
        questions=under_every_control(asked, plan),
        likelihood=scoring == "likelihood",
    )
    described_run = as_record(
        manifest("compare", chat, conversations, cast.suite.name, judge_model, chosen)
    ) | {
        "controls": [control.text for control in chosen],
        "questions": described(asked),
        "scoring": scoring if asked else None,
    }
    run = open_run(out, described_run, RoundRecord, JudgeVerdict, where)
    began = time.monotonic()
    judged = hold_under_controls(
        chat,
        plan,
        run,
        progress or Progress(enabled=False),
        judge_model,
        timed=True,
        where=where,
    )
    page = run.folder / "report.html" if run.folder else None
    summary = CompareSummary(
        **vars(setting(chat, conversations, cast.suite.name)),
        lengths=lengths,
        command=command,
        **_rows(plan, judged, run, asked, counted_rounds),
        floor=numbers(mean(scores(judged[:: len(chosen)], "floor", 1)[:, 0])),
        question_source=source if asked else None,
        scoring=scoring if asked else None,
        capability_rounds=asked_rounds if asked else [],
        questions=count_by_kind(asked, counted_rounds[lengths[-1]]),
        refused=refused,
        failures=vars(costs(run.records).failures),
        clock=clock_of(model),
        verdicts=count_verdicts(run),
        seconds=round(time.monotonic() - began, 1),
        note=NOTES.get(model.name),
        report=str(page) if page else None,
    )
    comparison = Comparison(summary, _by_conversation(plan, judged, run.records, asked))
    run.finish(summary)
    if page:
        report.write_compare(summary, comparison.conversations, page)
    return comparison


def _lengths(rounds: int | Sequence[int]) -> list[int]:
    lengths = sorted({rounds} if isinstance(rounds, int) else {*rounds})
    if not lengths or lengths[0] < 1:
        raise HoldfastError(f"rounds must be at least 1, not {lengths[0] if lengths else 'none'}")
    return lengths


def _controls(
    model: Backend, chosen: Sequence[str | Control] | None, also: Sequence[str] = ()
) -> tuple[list[Control], dict[str, str]]:
    """The controls to run, `none` first, and those of the default set that the model refuses."""
    named = [*(DEFAULT_CONTROLS if chosen is None else chosen), *also]
    controls = [NONE, *(parse(one, models=bool(also)) for one in named)]
    refused = {control.text: why for control in controls if (why := model.refusal(control))}
    if refused and chosen is not None:
        raise ControlError(next(iter(refused.values())))
    return [one for one in dict.fromkeys(controls) if one.text not in refused], refused


def _check_scoring(model: Backend, scoring: str) -> None:
    if scoring not in SCORING:
        raise HoldfastError(f"--scoring is {' or '.join(SCORING)}, not {scoring!r}")
    if scoring == "likelihood":
        model.likelihoods((), ())  # refuses where only text comes back


def _rows(
    plan: ControlledPlan,
    judged: Sequence[JudgedConversation],
    run: ConversationRun,
    questions: Questions,
    counted_rounds: Mapping[int, Sequence[int]],
) -> Record:
    """The rows of every length, and what they recommend over the longest."""
    longest = max(counted_rounds)
    measured = [
        _of_its_personas(one, plan.conversations)
        for one in measurements(plan, longest, judged, run.records, run.times, questions)
    ]
    by_rounds = {
        str(length): control_rows(measured, plan.conversations, length, rounds)
        for length, rounds in counted_rounds.items()
    }
    advice = recommend(measured, plan.conversations, longest, counted_rounds[longest])
    return {
        "rows": by_rounds[str(longest)],
        "by_rounds": by_rounds,
        "recommended": advice.control,
        "recommendation": advice.sentence,
        "chosen_on": advice.chosen_on,
        "reported_on": advice.reported_on,
    }


def _of_its_personas(one: Measurements, conversations: Sequence[Conversation]) -> Measurements:
    """The measurements on the personas that the control was trained on; all for most."""
    personas = trained_on(one.control)
    if personas is None:
        return one
    return one.masked([c.agent.prompt in personas for c in conversations])


def _by_conversation(
    plan: ControlledPlan,
    judged: Sequence[JudgedConversation],
    records: Sequence[RoundRecord],
    questions: Questions,
) -> list[ComparedConversation]:
    """The conversations, each under every control, as the page shows them."""
    by_id = {one.id: one for one in judged}
    answers: dict[int, list[CapabilityAnswer]] = {}
    for record in records:
        _, conversation = plan.locate(record.conversation)
        answers.setdefault(record.conversation, []).extend(
            CapabilityAnswer(
                round=record.round,
                kind=question.kind,
                question=question.asked,
                plant=question.plant,
                expected=question.answer,
                answer=answer.text,
                right=capability.right(question, answer.text),
                stop=answer.stop,
            )
            for question, answer in question_answers(record, conversation, questions)
        )
    return [
        ComparedConversation(
            id=c.id,
            agent=by_id[c.id].agent,
            user=by_id[c.id].user,
            starter=by_id[c.id].starter,
            controls={
                control.text: ConversationUnderControl(
                    by_id[id_].rounds, tuple(answers.get(id_, ()))
                )
                for k, control in enumerate(plan.controls)
                for id_ in (plan.record_id(k, c.id),)
            },
        )
        for c in plan.conversations
    ]
