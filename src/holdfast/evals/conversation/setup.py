"""Who takes part in a run, what is refused before it starts, and what its manifest says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from holdfast.control.trained_files import digests, trained_on
from holdfast.core.backend import Backend
from holdfast.core.control import Control, parse
from holdfast.core.errors import ContextError, ControlError, HoldfastError
from holdfast.core.records import Record
from holdfast.core.version import __version__
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.evals.conversation.rounds import Protocol, Stage
from holdfast.persona.suite import Suite, load_suite, select

Pairs = int | Literal["all"]


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
    control = parse(protocol.control)
    if model is not None and (why := model.refusal(control)):
        raise ControlError(why)
    known = trained_on(control)
    for c in planned:
        if known is not None and c.agent.prompt not in known:
            raise ControlError(
                f"`{control.text}` was not trained on the persona {c.agent.id}: choose among "
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
    controls: Sequence[Control] = (),
) -> Record:
    """Everything that determines the records, as JSON; `controls` beside the protocol's."""
    files = digests([stage.control, *controls])
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
