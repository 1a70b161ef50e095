"""A model of ours as a provider of Inspect: `--model holdfast/mini -M control=anchor`.

Inspect makes one call at a time, and a backend answers many calls at once for little more than the
price of one. So a call joins a list, waits a moment for others, and queues for the backend; the
first call to get it takes along all calls with the same sampling. The next batch gathers while one
runs.

This module knows no tasks. Settings that a backend cannot follow are refused, not ignored.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import anyio.to_thread
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from holdfast.core.backend import Ask, Backend, Reply, Sampling, Stop
from holdfast.core.chat import Chat, message
from holdfast.core.control import Control, parse
from holdfast.core.errors import HoldfastError, ServiceError
from holdfast.evals.inspect.scores import model_usage
from holdfast.models.load import load

GATHER = 0.005
"""Seconds that a call waits for others to join its batch."""
CONNECTIONS = 64
"""Calls in flight, and so the largest batch."""
MAX_TOKENS = 2048
"""Tokens of a reply where the evaluation sets no limit, as for Inspect's other local models."""

# Settings that would change a reply or its metadata, and that our backends lack.
_UNKNOWN_SETTINGS = (
    "best_of", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs",
    "prompt_logprobs", "response_schema", "reasoning_effort", "reasoning_tokens", "modalities",
)  # fmt: skip
_STOPS: dict[Stop, StopReason] = {
    "stop": "stop",
    "length": "max_tokens",
    "overflow": "model_length",
}


@dataclass(eq=False)
class _Call:
    """A request on its way, and its reply once there is one."""

    ask: Ask
    sampling: Sampling
    reply: Reply | None = field(default=None)


class HoldfastAPI(ModelAPI):
    """Any model that `holdfast.load` finds, under a control.

    `-M` takes `control` (its text, see `core.control`), `measure` (the prompt share of each
    reply, in its metadata; local models) and every argument of `holdfast.load`: dtype, device,
    concurrency and so on. `extra_body={"holdfast": {"control": …}}` sets the control of one call.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        control: str = "none",
        measure: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.measure = measure
        try:
            self.control = parse(str(control))
            self.backend: Backend = load(model_name, base_url=base_url, api_key=api_key, **options)
            if why := self.backend.refusal(self.control):
                raise HoldfastError(why)
        except HoldfastError as error:
            raise PrerequisiteError(f"holdfast: {error}") from error
        except TypeError as error:
            raise PrerequisiteError(
                f"holdfast: an argument of -M is not one of holdfast.load's ({error})."
            ) from error
        self._waiting: list[_Call] = []
        self._turn = anyio.Lock()

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The replies to one chat, one for each of `num_choices`."""
        _check(self.model_name, tools, config)
        sampling, chat = self._sampling(config), _chat(input)
        control = self._control(config)
        # A seed is a call's own; without one two calls differ, as with any other provider.
        seed = config.seed if config.seed is not None else random.getrandbits(62)
        calls = [
            _Call(Ask(chat, seed + n, control, measure=self.measure), sampling)
            for n in range(config.num_choices or 1)
        ]
        start = time.monotonic()
        replies = await self._replies(calls)
        return self._output(replies, control, time.monotonic() - start)

    async def _replies(self, calls: Sequence[_Call]) -> list[Reply]:
        """The replies to a call's asks, which are answered together with all that wait."""
        self._waiting += calls
        try:
            await anyio.sleep(GATHER)
            async with self._turn:
                if calls[0].reply is None:
                    unanswered = [call for call in self._waiting if call.reply is None]
                    batch = [call for call in unanswered if call.sampling == calls[0].sampling]
                    await anyio.to_thread.run_sync(self._reply, batch)
        finally:  # a cancelled call must not be answered
            self._waiting = [c for c in self._waiting if c not in calls]
        replies = [call.reply for call in calls if call.reply is not None]
        error = next((reply.error for reply in replies if reply.stop == "error"), None)
        if error is not None or len(replies) < len(calls):
            raise ServiceError(error or f"{self.model_name} gave no reply")
        return replies

    def _reply(self, batch: Sequence[_Call]) -> None:
        """Answer a batch. If it fails, answer each alone, so that one bad chat fails alone."""
        sampling = batch[0].sampling
        try:
            replies = self.backend.reply([call.ask for call in batch], sampling)
        except HoldfastError as error:
            if len(batch) == 1:
                replies = [Reply("", "error", error=str(error))]
            else:
                for call in batch:
                    self._reply([call])
                return
        for call, reply in zip(batch, replies, strict=True):
            call.reply = reply

    def _sampling(self, config: GenerateConfig) -> Sampling:
        """Inspect's settings as ours; our defaults for settings that Inspect leaves out."""
        settings: dict[str, Any] = {
            "max_new_tokens": config.max_tokens or MAX_TOKENS,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "top_k": config.top_k,
            "stop": tuple(config.stop_seqs) if config.stop_seqs else None,
        }
        return replace(
            Sampling(), **{name: value for name, value in settings.items() if value is not None}
        )

    def _control(self, config: GenerateConfig) -> Control:
        extra = (config.extra_body or {}).get("holdfast", {})
        return parse(str(extra.get("control", self.control)))

    def _output(self, replies: Sequence[Reply], control: Control, seconds: float) -> ModelOutput:
        shares = [reply.share.tokens for reply in replies if reply.share]
        share = [round(sum(tokens) / len(tokens), 4) for tokens in shares if tokens]
        return ModelOutput(
            model=self.model_name,
            choices=[
                ChatCompletionChoice(
                    message=ChatMessageAssistant(
                        content=reply.text, model=self.model_name, source="generate"
                    ),
                    stop_reason=_STOPS[reply.stop],
                )
                for reply in replies
            ],
            usage=_usage(replies),
            time=seconds,
            metadata={"control": control.text} | ({"prompt_share": share} if share else {}),
        )

    async def count_text_tokens(self, text: str) -> int:
        """Tokens of the model's own; Inspect's estimate would download a tokenizer."""
        return await anyio.to_thread.run_sync(self.backend.count, text)

    def max_tokens(self) -> int | None:
        """Tokens of a reply where nothing is set."""
        return MAX_TOKENS

    def max_connections(self) -> int:
        """Calls in flight."""
        return CONNECTIONS

    def connection_key(self) -> str:
        """Models do not share connections: each has a backend of its own."""
        return f"{self.model_name} {self.base_url} {self.control}"

    def collapse_user_messages(self) -> bool:
        """Templates want turns that alternate."""
        return True

    def collapse_assistant_messages(self) -> bool:
        """Likewise."""
        return True


def _check(model: str, tools: Sequence[ToolInfo], config: GenerateConfig) -> None:
    """Refuse tools and settings that would otherwise be ignored."""
    if tools:
        raise HoldfastError(
            f"holdfast/{model} calls no tools: choose a task without them, or reach the model "
            "through `holdfast serve` and Inspect's openai-api provider."
        )
    for name in _UNKNOWN_SETTINGS:
        if getattr(config, name) not in (None, False):
            raise HoldfastError(f"holdfast/{model} has no setting {name}: leave it out.")


def _chat(input: Sequence[ChatMessage]) -> Chat:
    """Inspect's messages as ours: text only."""
    messages = []
    for one in input:
        if isinstance(one, ChatMessageTool):
            raise HoldfastError("a holdfast model answers no tool's message: leave tools out.")
        kinds = {part.type for part in one.content} if isinstance(one.content, list) else set()
        if kinds - {"text", "reasoning"}:
            raise HoldfastError(
                f"a holdfast model reads text, not {', '.join(sorted(kinds - {'text'}))}: "
                "choose a task of text alone."
            )
        messages.append(message(one.role, one.text))
    return tuple(messages)


def _usage(replies: Sequence[Reply]) -> ModelUsage:
    """What a call's replies cost."""
    names = ("prompt_tokens", "cached_tokens", "completion_tokens")
    return model_usage(*(sum(getattr(reply, name) for reply in replies) for name in names))
