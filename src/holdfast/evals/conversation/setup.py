"""The set-up of a run: who takes part, what cannot work, and the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from holdfast.control.trained_files import digests, training_prompts
from holdfast.core.backend import Backend
from holdfast.core.control import Control, parse
from holdfast.core.errors import ContextError, ControlError, HoldfastError, PersonaError
from holdfast.core.settings import require_at_least
from holdfast.core.version import __version__
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.settings import ConversationProtocol, ConversationSettings
from holdfast.models.notes import NOTES, own_source
from holdfast.persona.every_reply import only_model_judges, why_no_score
from holdfast.persona.suite import Persona, Suite, load_suite, require_embeddings, select
from holdfast.report.words import describe_failures, describe_unread, notes
from holdfast.results.conversation import (
    ConversationManifest,
    Failures,
    SamplingSummary,
    Screened,
    Setting,
)
from holdfast.results.recorded.log import LogReading
from holdfast.results.verdict import VerdictCount


@dataclass(frozen=True)
class Screening:
    """The personas that a model holds at round 0 (`screening`)."""

    personas: tuple[Persona, ...]
    """Those that it holds, in the order of the suite."""
    summary: Screened
    """How many of which category."""


@dataclass(frozen=True)
class Cast:
    """Who meets whom."""

    conversations: Sequence[Conversation]
    """The plan."""
    suite: Suite
    """Where the agents' personas come from."""
    fillers: Sequence[str] = ()
    """Neutral messages of the users' suite."""
    screened: Screened | None = None
    """What a screening kept of the agents' personas."""
    reading: LogReading | None = None
    """What recorded chats were read as."""


def agents_of(
    settings: ConversationSettings, model: Backend | None
) -> tuple[tuple[Persona, ...], Suite]:
    """The personas that may be agents, and their suite."""
    suite = _read_suite(settings.persona or settings.suite or default_suite(model))
    return (select(suite, settings.agents) if settings.agents else suite.personas), suite


def draw_cast(
    settings: ConversationSettings, model: Backend | None, screening: Screening | None = None
) -> Cast:
    """Sample who meets whom; agents have only the personas that a screening kept."""
    personas, agents = agents_of(settings, model)
    users = _with_starters(_read_suite(settings.suite or default_suite(model)))
    conversations = plan(
        screening.personas if screening else personas,
        select(users, settings.users) if settings.users else users.personas,
        replace(users, starters=agents.starters or users.starters),
        pairs=settings.pairs,
        seed=settings.seed,
        topic=settings.topic,
    )
    return Cast(conversations, agents, users.fillers, screening.summary if screening else None)


def setting(chat: SelfChat, cast: Cast) -> Setting:
    """The settings of the run for its summary."""
    protocol, sampling = chat.protocol, chat.protocol.sampling
    return Setting(
        model=chat.agent.name if chat.agent else None,
        user_model=chat.other.name if chat.other else None,
        suite=cast.suite.name,
        seed=protocol.seed,
        runs=protocol.runs,
        conversations=len(cast.conversations),
        rounds=protocol.rounds,
        version=__version__,
        sampling=SamplingSummary(
            sampling.max_new_tokens, sampling.temperature, sampling.top_p, sampling.top_k
        ),
        screened=cast.screened,
    )


def note(
    of_run: Setting, low: str | None, failures: Failures, verdicts: VerdictCount | None
) -> str | None:
    """What to know of the model, of a low start and of replies that went wrong."""
    known = NOTES.get(of_run.model or "")
    return notes(known, low, describe_failures(failures), describe_unread(verdicts))


def default_suite(model: Backend | None) -> str:
    """`mini` speaks its own world; every other model is measured on `core`."""
    return own_source(model.name if model is not None else "")


def _read_suite(source: Suite | str | Path) -> Suite:
    """The suite itself, or the one with this name or path."""
    return source if isinstance(source, Suite) else load_suite(source)


def _with_starters(suite: Suite) -> Suite:
    """The suite, with the starters and fillers of `core` where it has none."""
    if suite.starters and suite.fillers:
        return suite
    core = load_suite("core")
    starters, fillers = suite.starters or core.starters, suite.fillers or core.fillers
    return replace(suite, starters=starters, fillers=fillers)


def check(
    model: Backend | None,
    judge_model: Backend | None,
    conversations: Sequence[Conversation],
    protocol: ConversationProtocol,
) -> None:
    """Raise an error now for a run that would fail half way."""
    require_at_least(1, protocol, "rounds")
    control = parse(protocol.control)
    if model is not None and (refusal := model.refusal(control)):
        raise ControlError(refusal)
    trained_prompts = training_prompts(control)
    for c in conversations:
        if trained_prompts is not None and c.agent.prompt not in trained_prompts:
            raise ControlError(
                f"`{control.text}` was not trained on the persona {c.agent.id}: choose among "
                "its own with `agents`."
            )
    judged = [c.agent for c in conversations]
    judged += [c.user for c in conversations] if protocol.user_persona else []
    refuse_unjudged(judged, judge_model)
    if model is not None:
        for c in conversations:
            if not c.agent.probes:
                raise PersonaError(f"the persona {c.agent.id} has no probes: give it one or more.")
            # A window cuts a recorded chat; in self-chat the user's model sees all of it.
            if c.script is None or control.window is None:
                _check_context(model, c, c.rounds(protocol.rounds))


def refuse_unjudged(personas: Sequence[Persona], judge_model: Backend | None) -> None:
    """Raise an error where a persona's judge needs a model, or an extra, that is not there."""
    personas = tuple(dict.fromkeys(personas))
    require_embeddings(personas)
    for persona in personas:
        if persona.needs_model and judge_model is None:
            if only_model_judges(persona):
                raise HoldfastError(why_no_score(persona))
            raise HoldfastError(
                f"the persona {persona.id} is judged by a rubric, which needs a model; "
                "name one with `judge_model`"
            )


def _check_context(backend: Backend, conversation: Conversation, rounds: int) -> None:
    """Raise an error where even replies of eight tokens would overflow the context."""
    if backend.context is None:
        return
    least = 8  # tokens of a short reply with its template tokens
    agent = conversation.agent
    texts = (agent.prompt, conversation.starter, conversation.probe(0))
    need = sum(map(backend.count, texts)) + least * 2 * rounds
    if need > backend.context:
        raise ContextError(
            f"{backend.name} sees {backend.context} tokens, and {rounds} rounds under the "
            f"persona {agent.id} need at least {need}; use fewer `rounds`, a "
            "shorter persona or a model with a longer context"
        )


def manifest(
    command: str,
    chat: SelfChat,
    cast: Cast,
    judge_model: Backend | None,
    controls: Sequence[Control] = (),
) -> ConversationManifest:
    """Everything that determines the records; `controls` are those beside the protocol's."""
    names = _name_personas(cast.conversations)
    return ConversationManifest(
        command=command,
        version=__version__,
        model=chat.agent.describe() if chat.agent else None,
        user_model=chat.other.describe() if chat.other else None,
        judge_model=judge_model.describe() if judge_model else None,
        suite=cast.suite.name,
        protocol=chat.protocol,
        conversations=tuple(
            (c.id, names[c.agent], names[c.user], c.starter, c.seed, c.script or ())
            for c in cast.conversations
        ),
        personas={name: asdict(persona) for persona, name in names.items()},
        fillers=tuple(chat.fillers) if chat.protocol.filler else (),
        control_files=digests([chat.control, *controls]) or None,
        screened=cast.screened,
    )


def _name_personas(conversations: Sequence[Conversation]) -> dict[Persona, str]:
    """The id of each persona; where an agent and a user share one, the later is "ID (2)"."""
    names: dict[Persona, str] = {}
    same_id = Counter[str]()
    for persona in dict.fromkeys(p for c in conversations for p in (c.agent, c.user)):
        same_id[persona.id] += 1
        n = same_id[persona.id]
        names[persona] = persona.id if n == 1 else f"{persona.id} ({n})"
    return names
