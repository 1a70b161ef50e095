"""The drift benchmark as a task of Inspect, for any model that Inspect can reach.

    inspect eval holdfast/drift --model holdfast/mini -M control=anchor -T rounds=8
    inspect eval holdfast/drift --model openai/gpt-4o --model-role user=openai/gpt-4o-mini

The protocol is that of `drift`: same plan, starters, probes, judges and seeds. A sample is a
conversation. After r rounds its probes are asked on branches that it never sees; `scores` judges
the answers. The user model is never under the control of the agent's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.event import ModelEvent
from inspect_ai.log import transcript
from inspect_ai.model import (
    CachePolicy,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import collect

from holdfast.core.backend import Sampling
from holdfast.core.chat import Chat, agent_view, user_view
from holdfast.core.errors import HoldfastError
from holdfast.core.records import Record, dumps
from holdfast.core.seeds import seed_of
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.settings import (
    ConversationProtocol,
    ConversationSettings,
    read_pairs,
)
from holdfast.evals.conversation.setup import check, draw_cast
from holdfast.evals.inspect.provider import HoldfastAPI
from holdfast.evals.inspect.scores import ROUNDS, conversation_of, persona_judge, sample_id

_MESSAGES = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


@task
def drift(
    suite: str | None = None,
    pairs: int | str = 24,
    rounds: int = 8,
    runs: int = 2,
    seed: int = 0,
    agent: str | list[str] | None = None,
    user: str | list[str] | None = None,
    topic: str | None = None,
    cache: bool = False,
) -> Task:
    """Persona drift in self-chat (arXiv:2402.10962), one sample per conversation.

    Args:
        suite: core, mini, a TOML file or a folder of them; by default mini for holdfast/mini, and
            core for other models.
        pairs: pairs of personas to draw, or "all".
        rounds: rounds of each conversation.
        runs: probe answers drawn at each point.
        seed: decides everything that is drawn.
        agent: only agents with these ids.
        user: only users with these ids.
        topic: starter of every conversation.
        cache: keep every reply in Inspect's cache, so that a retry goes on within a conversation.
    """
    sampling = Sampling()
    try:
        settings = ConversationSettings(
            suite=suite or _default_suite(),
            agents=_names(agent),
            users=_names(user),
            topic=topic,
            pairs=read_pairs(str(pairs)),
            seed=seed,
        )
        cast = draw_cast(settings, None)
        protocol = ConversationProtocol(rounds=rounds, seed=seed, runs=runs)
        check(None, None, cast.conversations, protocol)
    except HoldfastError as error:
        raise PrerequisiteError(f"holdfast: {error}") from error
    return Task(
        dataset=MemoryDataset([_sample(c) for c in cast.conversations], name=cast.suite.name),
        solver=self_chat(rounds, runs, cache),
        scorer=persona_judge(rounds),
        config=GenerateConfig(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_new_tokens,
        ),
        metadata={"protocol": "arXiv:2402.10962", "suite": cast.suite.name},
    )


def _default_suite() -> str:
    api = get_model().api
    return "mini" if isinstance(api, HoldfastAPI) and api.model_name == "mini" else "core"


def _names(ids: str | list[str] | None) -> tuple[str, ...]:
    return (ids,) if isinstance(ids, str) else tuple(ids or ())


def _sample(conversation: Conversation) -> Sample:
    c = conversation
    return Sample(
        id=sample_id(c),
        input=c.starter,
        metadata={
            "conversation": c.id,
            "agent": asdict(c.agent),
            "user": asdict(c.user),
            "seed": c.seed,
        },
    )


@solver
def self_chat(rounds: int, runs: int, cache: bool = False) -> Solver:
    """Two models talk; the agent is probed on a branch after every round."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        chat = SelfChatSample(conversation_of(state.metadata, state.input_text), state, runs, cache)
        await chat.run(rounds)
        return state

    return solve


class SelfChatSample:
    """One sample in progress: its models, the turns so far, and their records."""

    def __init__(
        self, conversation: Conversation, state: TaskState, runs: int, cache: bool
    ) -> None:
        self.plan, self.state, self.runs, self.cache = conversation, state, runs, cache
        self.agent, self.user = get_model(), get_model(role="user")
        self.turns: list[str] = []
        self.records: list[Record] = []

    async def run(self, rounds: int) -> None:
        """Hold every round, or those that fit the context; raises if not even one fits."""
        opening: str | None = self.plan.starter
        await self._probes(0, last=True)
        for number in range(1, rounds + 1):
            if opening is None:
                break
            self.turns.append(opening)
            output = await self._agent(
                agent_view(self.plan.agent.prompt, self.turns), "agent", number
            )
            if output.stop_reason == "model_length":
                self.turns.pop()
                break
            self.turns.append(output.completion)
            self.state.output = output
            opening = await self._probes(number, last=number == rounds)
        self._finish()

    async def _probes(self, number: int, *, last: bool) -> str | None:
        """Ask the probes after a round and, beside them, for the user's next turn."""
        plan, floor = self.plan, number == 0
        probes = [
            (arm, run, plan.probe(run))
            for run in range(self.runs)
            for arm in (["own", "floor"] if floor else ["own"])
        ]
        calls = [
            self._agent(
                agent_view(plan.agent.prompt if arm == "own" else None, self.turns, probe),
                *("probe", number, arm, run),
            )
            for arm, run, probe in probes
        ]
        outputs = await collect(*calls, *([] if last else [self._user(number + 1)]))
        answers = [
            {"arm": arm, "run": run, "probe": probe, "text": o.completion, "stop": _stop(o)}
            for (arm, run, probe), o in zip(probes, outputs, strict=False)
        ]
        record: Record = {"conversation": plan.id, "round": number, "answers": answers}
        if number:
            user, agent = self.turns[-2:]
            record |= {"user": {"text": user}, "agent": {"text": agent}}
        self.records.append(record)
        after = outputs[len(probes) :]
        if last or after[0].stop_reason == "model_length":
            return None
        return str(after[0].completion)

    def _agent(self, view: Chat, *path: object) -> Any:
        return self._generate(self.agent, view, path)

    def _user(self, number: int) -> Any:
        api = self.user.api
        folded = isinstance(api, HoldfastAPI) and api.backend.user_first
        view = user_view(self.plan.user.prompt, self.turns, folded=folded)
        return self._generate(self.user, view, ("user", number))

    async def _generate(self, model: Model, view: Chat, path: Sequence[object]) -> ModelOutput:
        """One call, with the seed that `holdfast drift` has for it."""
        config = GenerateConfig(seed=seed_of(self.plan.seed, *path))
        if model is self.user and path[0] == "user" and isinstance(model.api, HoldfastAPI):
            config.extra_body = {"holdfast": {"control": "none"}}
        messages: list[ChatMessage] = [_MESSAGES[m["role"]](content=m["content"]) for m in view]
        return await model.generate(messages, config=config, cache=self._policy(model, path))

    def _policy(self, model: Model, path: Sequence[object]) -> CachePolicy | bool:
        """What a cached reply belongs to: Inspect's own key has neither sample nor model."""
        if not self.cache:
            return False
        scopes = {"sample": sample_id(self.plan), "call": dumps(path)}
        if isinstance(model.api, HoldfastAPI):
            description = {**model.api.backend.describe(), "control": model.api.control.text}
            scopes["model"] = dumps(description)
        return CachePolicy(expiry=None, scopes=scopes)

    def _finish(self) -> None:
        """Store the conversation. One that never began is an error, never a zero."""
        if not self.turns:
            raise HoldfastError(
                f"{self.agent} has no room for a round of {sample_id(self.plan)}: choose a model "
                "with a longer context or a shorter persona."
            )
        _assert_sent(self.plan, began=len(self.turns) > 2)
        view = agent_view(self.plan.agent.prompt, self.turns[:-1])
        last = ChatMessageAssistant(content=self.turns[-1], source="generate")
        self.state.messages = [*(_MESSAGES[m["role"]](content=m["content"]) for m in view), last]
        self.state.store.set(ROUNDS, self.records)


def _stop(output: ModelOutput) -> str:
    return {"max_tokens": "length", "model_length": "overflow"}.get(output.stop_reason, "stop")


def _assert_sent(plan: Conversation, *, began: bool) -> None:
    """Both system prompts must be in what Inspect sent, or there was no experiment."""
    prompts = {
        message.text
        for event in transcript().events
        if isinstance(event, ModelEvent)
        for message in event.input
        if message.role == "system"
    }
    for side, persona in (("agent", plan.agent), ("user", plan.user)):
        if persona.prompt not in prompts and (side == "agent" or began):
            raise RuntimeError(f"the {side}'s system prompt was not sent: {persona.id}")
