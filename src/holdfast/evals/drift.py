"""Persona drift: does a persona outlast a conversation?

The protocol of Li et al. (arXiv:2402.10962): an agent and a user model chat, each
under a persona of its own; the user speaks first, with a starter. After r complete
rounds the agent is asked, on a branch that the conversation never sees, a question
that its persona decides. Stability at r is the mean of the judge's scores,

    stability(r) = mean over conversations of judge(answer to the probe after r rounds)

and r = 0, the probe on the empty history, is the ceiling. Beside it, on the same
conversations: the probe without a system prompt on the empty history (floor) and on
the same history (history floor), the user's persona asked of the agent, and a twin
conversation whose user says neutral filler of equal length (filler).

This module plans, runs (`conversation`) and sums up (`curve`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast import report
from holdfast.core.backend import Backend
from holdfast.core.progress import Progress
from holdfast.core.shards import Where, opened
from holdfast.evals.conversation.recorded import read_history
from holdfast.evals.conversation.rounds import Protocol, Stage, batches, converse
from holdfast.evals.conversation.scores import Result, costs, curves, judged, prompt_share
from holdfast.evals.conversation.setup import (
    Pairs,
    _suite,
    cast,
    check,
    default_suite,
    manifest,
    setting,
)
from holdfast.evals.conversation.verdicts import counted, verdicts
from holdfast.models.notes import NOTES
from holdfast.persona.suite import Suite, select


def drift(
    model: Backend | None,
    *,
    user_model: Backend | None = None,
    suite: Suite | str | Path | None = None,
    persona: Suite | str | Path | None = None,
    agents: Sequence[str] = (),
    users: Sequence[str] = (),
    topic: str | None = None,
    history: Path | str | None = None,
    pairs: Pairs = 24,
    rounds: int | None = None,
    protocol: Protocol | None = None,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    where: Where = None,
    **settings: Any,
) -> Result:
    """Measure drift; what the command `holdfast drift` does.

    `suite` names the personas (by default `mini` for the embedded model and `core` for
    others); `persona` is a file of your own whose personas the agent takes, the users
    still coming from the suite; `agents` and `users` choose by id. `history` takes
    recorded chats in place of self-chat; their replies are judged, and probed where
    there is a model. `rounds` are the protocol's 8 by default, those of the longest chat
    with `history`. `settings` are the fields of `Protocol` (seed, runs, sampling, …).
    With `out` the run is a folder that can be resumed and holds the page, which shows
    `command`. `where` is a shard or a pool that does the batches (`cluster`). Raises
    HoldfastError for what the user can mend, and `ShardDone` where a shard has done its part.
    """
    p = protocol or Protocol(**settings)
    if rounds is not None:
        p = replace(p, rounds=rounds)
    source = suite or default_suite(model)
    if history is not None:
        whole = own = _suite(source if persona is None else persona)
        planned = read_history(
            Path(history), select(own, agents) if agents else own.personas, p.seed
        )
        longest = max(len(c.script or ()) // 2 for c in planned)
        rounds = min(rounds or longest, longest)
        p = replace(p, rounds=rounds, filler=False, user_persona=False)
    else:
        planned, own, whole = cast(
            source, persona, agents, users, topic=topic, pairs=pairs, seed=p.seed
        )
    check(model, judge_model, planned, p)
    stage = Stage(model, user_model or model, p, whole.fillers)
    run = opened(out, manifest(stage, planned, own.name, judge_model), where)
    shown = progress or Progress(enabled=False)
    began = time.monotonic()
    with shown.of(batches(planned, p) * (p.rounds + 1)):
        converse(stage, planned, run, shown, where=where)
    talks = judged(run.records, planned, verdicts(run, planned, judge_model))
    seconds = time.monotonic() - began
    page = run.folder / "report.html" if run.folder else None
    summary = {
        **setting(stage, planned, own.name),
        "control": p.control,
        "command": command,
        **curves(talks, planned, p.rounds),
        **prompt_share(run.records, planned, p.rounds),
        **costs(run.records),
        "cost": getattr(model, "cost", None),
        "dropped_parameters": getattr(model, "dropped_parameters", {}),
        "share_refusal": getattr(model, "share_refusal", None),
        "seconds": round(seconds, 1),
        "replies_per_second": round(shown.replies / seconds, 1) if shown.replies else None,
        "verdicts": counted(run) if run.verdicts else None,
        "note": NOTES.get(model.name) if model else None,
        "report": str(page) if page else None,
    }
    if p.reference:
        turns = [2 * r for r in range(1, p.rounds + 1)]
        summary["reference"] = {"turns": turns, "stability": summary["stability"][1:]}
    run.finish(summary)
    if page:
        report.write_drift(summary, talks, page)
    return Result(summary, talks)
