"""Why a persona drifts: what its share of attention and the model's own vectors do by round.

Li et al. (arXiv:2402.10962) say that the attention given to the system prompt decays, and
that a conversation opens directions which the prompt did not span. Both are measured here
on the conversations of a drift run, under each control:

    share       π of the probe's answer by layer and head, as the control left it, beside what
                plain attention would have given the same queries, and beside dilution: the
                prompt's tokens over all tokens in view
    dimension   of the value vectors in view (`value_vectors`), beside conversations without a
                persona and beside shuffled tokens
    score       the judge's; and whether the two go with it across conversations
                (`rank_correlation`)

A correlation across conversations is no cause: share, length and difficulty hang together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import report
from holdfast.core.backend import Backend
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import ControlError, ModelError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.core.settings import settle
from holdfast.evals.conversation.batches import ConversationRun, converse
from holdfast.evals.conversation.controlled import ControlledSetup, prepare
from holdfast.evals.conversation.costs import costs
from holdfast.evals.conversation.estimate import estimate
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.screening import screen
from holdfast.evals.conversation.settings import Resume
from holdfast.evals.conversation.setup import Screening, note
from holdfast.evals.estimate import RunEstimate
from holdfast.evals.explain.settings import ExplainSettings
from holdfast.evals.explain.summary import (
    NO_PERSONA,
    SHUFFLED,
    RecordsByControl,
    associations,
    control_explanations,
    dimension_summary,
)
from holdfast.evals.explain.value_vectors import (
    DRAWS,
    VectorSet,
    conversation_dimensions,
    prefix_dimensions,
    tokens_in_view,
    turns_of,
)
from holdfast.evals.tasks.model_judge import count_verdicts
from holdfast.report.explain.findings import findings
from holdfast.report.words import low_ceiling
from holdfast.results.conversation import RoundRecord
from holdfast.results.explain import ExplainSummary
from holdfast.results.verdict import JudgeVerdict

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend


@dataclass(frozen=True)
class Explanation:
    """What an explanation found."""

    summary: ExplainSummary
    """The object that `holdfast explain --json` prints."""

    @property
    def findings(self) -> list[str]:
        """What was found, a sentence each."""
        return self.summary.findings


def explain(
    model: Backend,
    settings: ExplainSettings | None = None,
    *,
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Explanation:
    """Measure what goes with drift; what the command `holdfast explain` does.

    Args:
        model: the agents' model, on this machine.
        settings: what to measure; by default the defaults of `ExplainSettings`.
        user_model: speaks for the users; by default `model`.
        judge_model: judges personas whose judge is a rubric.
        out: folder of the run and its page, which the same call resumes; by default none.
        command: shown on the page.
        progress: shows rounds and replies per second; by default nothing is shown.
        **changes: fields of `ExplainSettings` in place of those in `settings`.

    Raises:
        ModelError: the model's attention cannot be seen.
        HoldfastError: something else that the user can mend.
    """
    models = (model, user_model or model, judge_model or model)
    settings = settle(settings, ExplainSettings, changes, *models)
    local = _local(model)
    progress, start = progress or Progress(enabled=False), time.monotonic()
    screening = screen(settings, model, judge_model=judge_model, out=out, progress=progress)
    setup = _set_up(model, settings, screening, user_model, judge_model)
    manifest = setup.manifest("explain", draws=DRAWS)
    run = Run(out, manifest, RoundRecord, JudgeVerdict)
    conversations = setup.hold(run, progress, resume=settings.resume)
    records = RecordsByControl(setup.plan, settings.rounds, run.records, conversations)
    vectors = VectorMeasurement(local, records, run, manifest, progress)
    sets, counts, refusal = vectors.measure(
        _without_personas(setup, run, manifest, progress, settings.resume)
    )
    controls, failures = control_explanations(records), costs(run.records).failures
    setting = setup.setting()
    low = low_ceiling(setting, controls[0].stability[0], failures)
    summary = ExplainSummary(
        setting=setting,
        command=command,
        controls=controls,
        dimension=dimension_summary(records, sets, counts) if sets else None,
        association=associations(records, sets),
        dimension_refusal=refusal,
        **run.of_work(seconds=round(time.monotonic() - start, 1)),
        failures=failures,
        note=note(setting, low, failures, count_verdicts(run)),
        report=run.page,
        findings=[],
    )
    summary = replace(summary, findings=findings(summary))
    run.finish(summary, partial(report.write_explain, summary))
    return Explanation(summary)


def estimate_explain(
    model: Backend,
    settings: ExplainSettings | None = None,
    *,
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
    **changes: Any,
) -> RunEstimate:
    """Measure two steps and say what the conversations will take; `holdfast explain --plan`.

    The arguments are those of `explain`. No screening is done: all personas may be agents.
    """
    settings = settle(settings, ExplainSettings, changes, model)
    setup = _set_up(_local(model), settings, None, user_model, judge_model)
    return estimate(setup.chat, setup.plan.variants_of_all()).plus(estimate(*_bare(setup)))


def _set_up(
    model: Backend,
    settings: ExplainSettings,
    screening: Screening | None,
    user_model: Backend | None,
    judge_model: Backend | None,
) -> ControlledSetup:
    return prepare(
        model,
        settings,
        _controls(model, settings.controls),
        rounds=settings.rounds,
        measure=True,
        screening=screening,
        user_model=user_model,
        judge_model=judge_model,
    )


def _controls(model: Backend, texts: Sequence[str | Control]) -> list[Control]:
    """The controls, `none` first. Raises `ControlError` for one that the model refuses."""
    controls = list(dict.fromkeys([NONE, *map(parse, texts)]))
    for control in controls:
        if refusal := model.refusal(control):
            raise ControlError(refusal)
    return controls


def _local(model: Backend) -> LocalBackend:
    """The model, if it runs here and its attention can be seen."""
    if model.local:
        from holdfast.models.local.backend import LocalBackend

        if isinstance(model, LocalBackend):
            if model.share_refusal:
                raise ModelError(f"{model.name} cannot be explained: {model.share_refusal}.")
            return model
    raise not_here(model.name)


def not_here(name: str) -> ModelError:
    """What to say of a model that does not run on this machine."""
    return ModelError(
        f"{name} cannot be explained: attention and value vectors are read on this machine, so "
        "name a model that runs here."
    )


def _without_personas(
    setup: ControlledSetup,
    run: ConversationRun,
    manifest: Record,
    progress: Progress,
    resume: Resume,
) -> dict[int, list[str]]:
    """The turns of the same conversations where neither side has a system prompt."""
    chat, conversations = _bare(setup)
    folder = run.folder / "without" if run.folder else None
    without = Run(folder, {**manifest, "personas": None}, RoundRecord, JudgeVerdict)
    converse(chat, conversations, without, progress, resume=resume)
    return {c.id: turns_of(without.records, c.id) for c in conversations}


def _bare(setup: ControlledSetup) -> tuple[SelfChat, list[Conversation]]:
    """The conversations without system prompts, and how they are held."""
    conversations = [
        replace(c, agent=replace(c.agent, prompt=""), user=replace(c.user, prompt=""), floor=False)
        for c in setup.plan.conversations
    ]
    side_by_side = setup.chat.protocol.batch // len(setup.plan.controls)
    protocol = replace(setup.chat.protocol, runs=1, measure=False, batch=side_by_side)
    return replace(setup.chat, protocol=protocol), conversations


@dataclass(frozen=True)
class VectorMeasurement:
    """The value vectors of every conversation: under each control, and the two other sets."""

    model: LocalBackend
    records: RecordsByControl
    run: ConversationRun
    manifest: Record
    """The manifest of the run."""
    progress: Progress

    def measure(
        self, without: Mapping[int, Sequence[str]]
    ) -> tuple[list[VectorSet], dict[str, int], str | None]:
        """The dimensions of every set, the equal numbers of vectors, and why there are none.

        Args:
            without: the turns of the conversations without personas.
        """
        try:
            tokens = self._tokens()
            counts = _equal_counts(list(tokens.values()))
            folder = self.run.folder / "vectors" if self.run.folder else None
            vectors = Run(folder, {**self.manifest, "counts": counts}, VectorSet)
            keys_so_far = {(one.set, one.conversation) for one in vectors.records}
            conversations = self.records.plan.conversations
            names = [*map(str, self.records.plan.controls), NO_PERSONA, SHUFFLED]
            with self.progress.of(len(names) * len(conversations), "sets", "dimension"):
                for k, name in enumerate(names):
                    for c in conversations:
                        if (name, c.id) in keys_so_far:
                            self.progress.resume(1)
                            continue
                        self.model.forget()
                        vectors.append([self._set(k, name, c, tokens[c.id], counts, without)])
                        self.progress.advance(1, 0)
        except ModelError as error:
            return [], {}, str(error)
        return vectors.records, counts, None

    def _tokens(self) -> dict[int, list[int]]:
        """Tokens in view after each round of every conversation without a control."""
        self.model.forget()
        return {
            c.id: tokens_in_view(self.model, c, self.records.turns(0, c.id), NONE)
            for c in self.records.plan.conversations
        }

    def _set(
        self,
        k: int,
        name: str,
        c: Conversation,
        tokens: Sequence[int],
        counts: Mapping[str, int],
        without: Mapping[int, Sequence[str]],
    ) -> VectorSet:
        """One set of one conversation; k is the control's position where it is a control's."""
        if name == NO_PERSONA:
            bare = replace(c, agent=replace(c.agent, prompt=""))
            return prefix_dimensions(self.model, bare, without[c.id], tokens, counts, name)
        if name == SHUFFLED:
            turns = self.records.turns(0, c.id)
            return prefix_dimensions(self.model, c, turns, tokens, counts, name, shuffle=True)
        control, turns = self.records.plan.controls[k], self.records.turns(k, c.id)
        return conversation_dimensions(self.model, c, turns, control, counts)


def _equal_counts(tokens: Sequence[Sequence[int]]) -> dict[str, int]:
    """`few`: what the shortest system message has; `many`: the shortest chat after one round."""
    after_one = [of_rounds[1] for of_rounds in tokens if len(of_rounds) > 1]
    return {"few": min(of_rounds[0] for of_rounds in tokens), "many": min(after_one, default=0)}
