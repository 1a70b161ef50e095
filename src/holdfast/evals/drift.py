"""Persona drift: does a persona outlast a conversation?

The protocol of Li et al. (arXiv:2402.10962): an agent and a user model chat, each under a persona
of its own; the user speaks first, with a starter. After r complete rounds the agent is asked, on
a branch that the conversation never sees, a question that its persona decides. Stability at r is
the mean of the judge's scores,

    stability(r) = mean over conversations of judge(answer to the probe after r rounds)

and r = 0, the probe on the empty history, is the ceiling. The same conversations also
measure the probe without a system prompt on the empty history (floor) and on the same history
(history floor), the user's persona asked of the agent, and a twin conversation whose user says
neutral filler of equal length (filler).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from holdfast import report
from holdfast.core.backend import Backend
from holdfast.core.control import parse
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record, as_record
from holdfast.core.settings import changed_settings, option, require_at_least, settle
from holdfast.core.shards import Where, open_run
from holdfast.evals.conversation.batches import ConversationRun, converse
from holdfast.evals.conversation.costs import costs
from holdfast.evals.conversation.curves import curves
from holdfast.evals.conversation.estimate import estimate
from holdfast.evals.conversation.judging import judge_conversations, reach_judge_of
from holdfast.evals.conversation.prompt_share import prompt_share
from holdfast.evals.conversation.recorded import cast_history
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.screening import screen
from holdfast.evals.conversation.settings import ConversationProtocol, ConversationSettings
from holdfast.evals.conversation.setup import (
    Cast,
    Screening,
    check,
    draw_cast,
    manifest,
    note,
    setting,
)
from holdfast.evals.estimate import RunEstimate, add_costs
from holdfast.evals.full_length import full_length
from holdfast.evals.logs.formats import FORMAT_HELP
from holdfast.evals.tasks.model_judge import count_verdicts
from holdfast.models.fact_check import FactCheckedBackend
from holdfast.report.drift.headline import headline
from holdfast.report.words import low_ceiling
from holdfast.results.conversation import JudgedConversation, RoundRecord
from holdfast.results.drift import DriftSummary, ReferenceCurve
from holdfast.results.verdict import JudgeVerdict

_OF_SELF_CHAT = ("pairs", "users", "topic")
_OF_A_MODEL = ("seed", "runs", "control", "sampling", "reference", "batch", "resume")


@dataclass(frozen=True, kw_only=True)
class DriftSettings(ConversationSettings):
    """What a drift run does."""

    rounds: int | None = option(None, "Rounds of each conversation (8; all of a --history).")
    control: str = option("none", "What holds the persona: window:3, reminder:0.5, anchor…")
    history: Path | str | None = option(
        None,
        "A log of recorded chats in place of self-chat: OpenAI, ShareGPT, Langfuse, Inspect, "
        "promptfoo, Anthropic, SillyTavern, CSV or a server's own.",
        parse=Path,
        metavar="PATH",
    )
    """Recorded chats whose replies are judged, and probed where there is a model."""
    format: str | None = option(None, FORMAT_HELP)
    filler: bool = option(True, "A twin of each conversation with a neutral user.")
    """Hold a twin of each conversation, whose user says neutral filler of equal length."""
    history_floor: bool = option(True, "The probe on the same history without the persona.")
    user_persona: bool = True
    """Ask the agent the probe of the user's persona too."""
    measure: bool = option(True, "Measure the prompt share (local models).", "--share/--no-share")
    reference: bool = option(
        False, "As the paper's code: newlines folded, first point r = 1.", "--reference"
    )
    batch: int = option(64, "Conversations held side by side.")

    def __post_init__(self) -> None:
        super().__post_init__()
        parse(self.control)
        if self.format is not None and self.history is None:
            raise HoldfastError("`format` is that of a `history`: name one, or leave it.")
        if self.screen and self.history is not None:
            raise HoldfastError(
                "`screen` chooses who holds conversations, and those of a `history` are held: "
                "leave one of the two out."
            )
        if self.history is not None and (unread := changed_settings(self, *_OF_SELF_CHAT)):
            raise HoldfastError(
                f"{unread[0]} is for self-chat, and the chats of a `history` are recorded: leave "
                "it out."
            )
        require_at_least(1, self, "batch", "rounds")

    def require_model(self) -> None:
        """Refuse what is asked of a model where there is none, as for recorded chats alone."""
        if unread := changed_settings(self, *_OF_A_MODEL):
            raise HoldfastError(
                f"{unread[0]} is for a model, and none is asked: name one with `model`, or leave "
                "it out."
            )

    def protocol(self, rounds: int) -> ConversationProtocol:
        """What is asked in the rounds; recorded chats have no twins and no users' personas."""
        self_chat = self.history is None
        return ConversationProtocol(
            rounds=rounds,
            seed=self.seed,
            runs=self.runs,
            control=self.control,
            sampling=self.sampling,
            filler=self.filler and self_chat,
            history_floor=self.history_floor,
            user_persona=self.user_persona and self_chat,
            measure=self.measure,
            reference=self.reference,
            batch=self.batch,
        )


@dataclass(frozen=True)
class DriftResult:
    """What a drift run found."""

    summary: DriftSummary
    """The object that `holdfast drift --json` prints."""
    conversations: list[JudgedConversation]
    """Every message and judged answer, as the page shows them."""

    @property
    def stability(self) -> list[float | None]:
        """Mean judge score after r rounds, r = 0…R."""
        return list(self.summary.curves.stability)

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        return headline(self.summary)

    @property
    def records(self) -> list[Record]:
        """One flat record per probe answer, ready for `pandas.DataFrame`."""
        return [
            {
                "conversation": conversation.id,
                "round": at.round,
                "agent": conversation.agent.id,
                "category": conversation.agent.category,
                "user": conversation.user.id,
                **as_record(answer),
            }
            for conversation in self.conversations
            for at in conversation.rounds
            for answer in at.probes
        ]


def drift(
    model: Backend | None,
    settings: DriftSettings | None = None,
    *,
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    where: Where = None,
    **changes: Any,
) -> DriftResult:
    """Measure drift; what the command `holdfast drift` does.

    Args:
        model: the agent's model; None judges recorded chats without probes.
        settings: what to do; by default the defaults of `DriftSettings`.
        user_model: speaks for the users; by default `model`.
        judge_model: judges personas whose judge is a rubric.
        out: folder of the run and its page, which the same call resumes; by default none.
        command: shown on the page.
        progress: shows rounds and replies per second; by default nothing is shown.
        where: a shard or a pool that does the batches; by default this process does all.
        **changes: fields of `DriftSettings` in place of those in `settings`.

    Raises:
        HoldfastError: something the user can mend.
        ShardDone: `where` is a shard, and its part is done.
    """
    models = filter(None, (model, user_model, judge_model))
    settings = settle(settings, DriftSettings, changes, *models)
    progress, start = progress or Progress(enabled=False), time.monotonic()
    screening = screen(
        settings, model, judge_model=judge_model, out=out, progress=progress, where=where
    )
    cast, rounds = _cast(settings, model, screening, rubrics=judge_model is not None)
    plan = cast.conversations
    chat = SelfChat(model, user_model or model, settings.protocol(rounds), cast.fillers)
    check(model, judge_model, plan, chat.protocol)
    run_manifest = manifest("drift", chat, cast, judge_model)
    run = open_run(out, run_manifest, RoundRecord, JudgeVerdict, where)
    reach_judge_of(run, plan, judge_model)
    converse(chat, plan, run, progress, where=where, resume=settings.resume)
    conversations = judge_conversations(run, plan, judge_model)
    summary = _summarise(
        settings,
        chat,
        cast,
        run,
        conversations,
        command=command,
        **run.of_work(
            cost=_cost(model, user_model, judge_model),
            **_of_backend(model),
            **_pace(progress.replies, time.monotonic() - start),
        ),
        report=run.page,
    )
    run.finish(summary, partial(report.write_drift, summary, conversations))
    return DriftResult(summary, conversations)


def estimate_drift(
    model: Backend,
    settings: DriftSettings | None = None,
    *,
    user_model: Backend | None = None,
    rubrics: bool = False,
    **changes: Any,
) -> RunEstimate:
    """Measure one step of a run and say what the whole will take; `holdfast drift --plan`.

    Args:
        model: the agent's model.
        settings: what the run would do. No screening is done: all personas may be agents.
        user_model: speaks for the users; by default `model`.
        rubrics: whether the run has a judge model.
        **changes: fields of `DriftSettings` in place of those in `settings`.
    """
    settings = settle(settings, DriftSettings, changes, model, user_model or model)
    cast, rounds = _cast(settings, model, None, rubrics=rubrics)
    chat = SelfChat(model, user_model or model, settings.protocol(rounds), cast.fillers)
    return estimate(chat, cast.conversations)


def _summarise(
    settings: DriftSettings,
    chat: SelfChat,
    cast: Cast,
    run: ConversationRun,
    conversations: list[JudgedConversation],
    **process: Any,
) -> DriftSummary:
    """The summary of the records; `process` has its fields on the process and the page."""
    plan, rounds = cast.conversations, chat.protocol.rounds
    by_round = curves(conversations, plan, rounds)
    long = full_length(conversations, run.records, plan, rounds)
    of_run = setting(chat, cast)
    # Recorded chats are as they are: nobody can choose other personas for them.
    ceiling = long.curves.ceiling if long else by_round.ceiling
    spent, verdicts = costs(run.records), count_verdicts(run)
    low = low_ceiling(of_run, ceiling, spent.failures) if settings.history is None else None
    return DriftSummary(
        setting=of_run,
        control=settings.control,
        curves=by_round,
        share=prompt_share(run.records, plan, rounds),
        full_length=long,
        costs=spent,
        **process,
        verdicts=verdicts,
        history=cast.reading,
        note=note(of_run, low, spent.failures, verdicts),
        reference=_reference(by_round.stability) if settings.reference else None,
    )


def _pace(replies: int, seconds: float) -> dict[str, float | None]:
    """How long a process took, and the replies that it generated a second."""
    rate = round(replies / seconds, 1) if replies else None
    return {"seconds": round(seconds, 1), "replies_per_second": rate}


def _cost(*models: Backend | None) -> float | None:
    """What the tokens of all models cost, each counted once; None where none has a price."""
    # Of a model whose replies are checked, the user's side may be the model itself.
    inner = (one.backend if isinstance(one, FactCheckedBackend) else one for one in models)
    each = {id(one): one for one in inner}
    cost = add_costs(getattr(one, "cost", None) for one in each.values())
    return None if cost is None else round(cost, 6)


def _of_backend(model: Backend | None) -> dict[str, Any]:
    """What the backend could not do, where it knows that."""
    return {
        "dropped_parameters": getattr(model, "dropped_parameters", {}),
        "share_refusal": getattr(model, "share_refusal", None),
    }


def _cast(
    settings: DriftSettings, model: Backend | None, screening: Screening | None, *, rubrics: bool
) -> tuple[Cast, int]:
    """Who meets whom, in self-chat or in recorded chats, and for how many rounds."""
    if settings.history is None and model is None:
        raise HoldfastError("conversations need a `model`, unless they are those of a `history`.")
    if settings.history is None:
        rounds = 8 if settings.rounds is None else settings.rounds
        return draw_cast(settings, model, screening), rounds
    if model is None:
        settings.require_model()
    cast = cast_history(Path(settings.history), settings.format, settings, model, rubrics=rubrics)
    longest = max(len(c.script or ()) // 2 for c in cast.conversations)
    return cast, min(settings.rounds or longest, longest)


def _reference(stability: Sequence[float | None]) -> ReferenceCurve:
    """The curve as the paper's code numbers its points: from the first complete round on."""
    return ReferenceCurve([2 * r for r in range(1, len(stability))], list(stability[1:]))
