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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from holdfast import __version__, report
from holdfast.backend import Backend
from holdfast.cluster import Where, opened
from holdfast.control import digests, trained_on
from holdfast.conversation import Protocol, Stage, batches, converse
from holdfast.curve import Result, costs, curves, judged, prompt_share
from holdfast.errors import ContextError, ControlError, HoldfastError
from holdfast.history import read_history
from holdfast.persona import Suite, load_suite, select
from holdfast.plan import Conversation, plan
from holdfast.progress import Progress
from holdfast.run import Record
from holdfast.verdict import counted, verdicts

NOTES = {
    "mini": "mini is a model organism: a 2.7M-parameter model of a small synthetic world, made "
    "so that every instrument moves on a laptop. It says nothing about large models."
}
Pairs = int | Literal["all"]


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


def cast(
    suite: Suite | str | Path,
    persona: Suite | str | Path | None,
    agents: Sequence[str],
    users: Sequence[str],
    *,
    topic: str | None,
    pairs: Pairs,
    seed: int,
) -> tuple[tuple[Conversation, ...], Suite, Suite]:
    """Who meets whom: the plan, the suite of the agents, and the suite of the users."""
    whole = _talkative(_suite(suite))
    own = whole if persona is None else _suite(persona)
    chosen = select(own, agents) if agents else own.personas
    others = select(whole, users) if users else whole.personas
    return plan(chosen, others, whole, pairs=pairs, seed=seed, topic=topic), own, whole


def setting(stage: Stage, planned: Sequence[Conversation], suite: str) -> Record:
    """What was run, as the summary states it."""
    p, other = stage.protocol, stage.other
    return {
        "model": stage.agent.name if stage.agent else None,
        "user_model": other.name if other else None,
        "suite": suite,
        "seed": p.seed,
        "runs": p.runs,
        "conversations": len(planned),
        "rounds": p.rounds,
        "version": __version__,
        "sampling": {k: v for k, v in asdict(p.sampling).items() if k != "stop"},
    }


def default_suite(model: Backend | None) -> str:
    """`mini` speaks its own world; every other model is measured on `core`."""
    return "mini" if model is not None and model.name == "mini" else "core"


def _suite(source: Suite | str | Path) -> Suite:
    return source if isinstance(source, Suite) else load_suite(source)


def _talkative(suite: Suite) -> Suite:
    """The suite; one of personas alone takes its starters and fillers from `core`."""
    if suite.starters and suite.fillers:
        return suite
    core = load_suite("core")
    starters, fillers = suite.starters or core.starters, suite.fillers or core.fillers
    return replace(suite, starters=starters, fillers=fillers)


def check(
    model: Backend | None,
    judge_model: Backend | None,
    planned: Sequence[Conversation],
    protocol: Protocol,
) -> None:
    """Refuse what would fail half way."""
    if model is not None and (why := model.refusal(protocol.control)):
        raise ControlError(why)
    known = trained_on(protocol.control)
    for c in planned:
        if known is not None and c.agent.prompt not in known:
            raise ControlError(
                f"`{protocol.control}` was not trained on the persona {c.agent.id}: choose among "
                "its own with --agent."
            )
    for persona in {p.id: p for c in planned for p in (c.agent, c.user)}.values():
        if persona.needs_model and judge_model is None:
            raise HoldfastError(
                f"the persona {persona.id} is judged by a rubric, which needs a model; "
                "name one with --judge-model"
            )
    if model is not None:
        check_context(model, planned, protocol.rounds)


def check_context(backend: Backend, plan: Sequence[Conversation], rounds: int) -> None:
    """Refuse, with numbers, a plan that cannot fit: replies of eight tokens would overflow."""
    if backend.context is None:
        return
    least = 8  # tokens of a short reply with its template tokens
    for conversation in plan:
        fixed = sum(
            backend.count(text)
            for text in (conversation.agent.prompt, conversation.starter, conversation.probe(0))
        )
        needed = fixed + least * 2 * rounds
        if needed > backend.context:
            raise ContextError(
                f"{backend.name} sees {backend.context} tokens, and {rounds} rounds under the "
                f"persona {conversation.agent.id} need at least {needed}; use fewer --rounds, a "
                "shorter persona or a model with a longer context"
            )


def manifest(
    stage: Stage,
    planned: Sequence[Conversation],
    suite: str,
    judge: Backend | None,
    controls: Sequence[str] = (),
) -> Record:
    """Everything that determines the records, as JSON; `controls` beside the protocol's."""
    files = digests([stage.protocol.control, *controls])
    personas = {p.id: asdict(p) for c in planned for p in (c.agent, c.user)}
    talks = [
        [c.id, c.agent.id, c.user.id, c.starter, c.seed, list(c.script or ())] for c in planned
    ]
    return {
        "command": "drift",
        "version": __version__,
        "model": stage.agent.describe() if stage.agent else None,
        "user_model": stage.other.describe() if stage.other else None,
        "judge_model": judge.describe() if judge else None,
        "suite": suite,
        "protocol": asdict(stage.protocol),
        "conversations": talks,
        "personas": personas,
        "fillers": list(stage.fillers) if stage.protocol.filler else [],
        **({"control_files": files} if files else {}),
    }
