"""One chat completion: its plan becomes jobs of the engine, and their pieces become the response.

Beside `usage` a response has

    holdfast: {control, prompt_share, score?, ignored?}

Both numbers are means over the choices. `prompt_share` is null without a system prompt, and for a
model whose attention cannot be observed. `score` is there if the persona's judge needs no model.
`ignored` lists the fields of the request that changed nothing.

This module knows chats and the engine's terms. It knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from holdfast.core.version import __version__
from holdfast.models.engine.request import Continuation, Logprob, Request
from holdfast.models.local.tool_calls import read_calls
from holdfast.models.thinking import ThoughtSplitter
from holdfast.serve.detokenize import token_bytes
from holdfast.serve.engine.thread import EngineDown, Inbox, Job, Piece
from holdfast.serve.engine.worker import reply_text
from holdfast.serve.http_errors import RequestError, unavailable
from holdfast.serve.live.reply import LiveReply
from holdfast.serve.metrics import label
from holdfast.serve.requests import CompletionContext, CompletionPlan

LOG = logging.getLogger("holdfast.serve")
RETRY = 5  # seconds after which a lost engine may be back
_FINISH = {"stop": "stop", "length": "length", "overflow": "length"}


class Completion:
    """A completion in progress; its rows are free once nobody reads `whole` or `chunks` any more.

    Args:
        context: what all completions of the server share.
        plan: the request, read.

    Raises:
        RequestError: the engine does not run or is being restarted.
    """

    def __init__(self, context: CompletionContext, plan: CompletionPlan) -> None:
        self.context, self.plan, self.body = context, plan, plan.body
        body, request, choices = plan.body, plan.request, plan.choices
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.arrival = time.time()
        self.created = int(self.arrival)
        self.began = time.perf_counter()
        self._has_text = False
        self._pieces: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        sampling, backend = context.sampling(body, request), context.backend
        inbox = Inbox(asyncio.get_running_loop(), self._pieces)
        self.jobs = [
            Job(
                i,
                replace(request, seed=request.seed + i),
                sampling,
                reply_text(backend, request, sampling),
                bool(body.stream),
                inbox,
            )
            for i in range(choices)
        ]
        self.texts, self.thoughts = [""] * choices, [""] * choices
        opened = backend.thoughts.opens(request.ids)
        self._splitters = [ThoughtSplitter(opened=opened) for _ in range(choices)]
        self._steps = [0] * choices  # tokens of the replies so far
        self.results: dict[int, Continuation] = {}
        self.scores: dict[int, float] = {}
        try:
            context.engine.submit(self.jobs)
        except EngineDown as error:
            raise unavailable(str(error), RETRY) from error

    @property
    def tokens(self) -> int:
        """Tokens of the prompt and of the replies, as far as they have come."""
        return _prompt(self.jobs[0].request) + sum(self._steps)

    async def whole(self) -> dict[str, Any]:
        """The response in one piece."""
        last: dict[int, Piece] = {}
        async with aclosing(self._arrivals()) as arrivals:
            async for index, piece in arrivals:
                last[index] = piece
        choices = [
            {
                "index": i,
                "message": {"role": "assistant", **message, "refusal": None},
                "logprobs": self._logprobs(last[i].logprobs),
                "finish_reason": finish,
                **({"holdfast": self._measures([i])} if len(last) > 1 else {}),
            }
            for i in sorted(last)
            for message, finish in [self._outcome(i)]
        ]
        return {
            **self._frame("chat.completion", choices),
            "usage": self._usage(),
            "holdfast": self._summary(),
        }

    async def chunks(self) -> AsyncGenerator[dict[str, Any]]:
        """The response in chunks as tokens come, with `holdfast` in the last one.

        With `include_usage` the last chunk has the usage, and `usage` is null in those before it.
        """
        options = self.body.stream_options
        usage = options is not None and options.include_usage
        no_usage = {"usage": None} if usage else {}
        for job in self.jobs:
            yield self._chunk(job.index, {"role": "assistant", "content": ""}) | no_usage
        async with aclosing(self._arrivals()) as arrivals:
            async for index, piece in arrivals:
                for chunk in self._piece_chunks(index, piece, summarise=not usage):
                    yield chunk | no_usage
        if usage:
            yield {
                **self._frame("chat.completion.chunk", []),
                "usage": self._usage(),
                "holdfast": self._summary(),
            }

    def _piece_chunks(self, index: int, piece: Piece, summarise: bool) -> Iterator[dict[str, Any]]:
        """A piece as chunks; with `summarise` the last chunk of all has `holdfast`."""
        # A reply that may call tools is read at its end: only then is it known to be no call.
        text = "" if self.plan.tools else piece.text
        delta = {"reasoning_content": piece.thought} if piece.thought else {}
        if text or not delta:
            delta["content"] = text
        if text or piece.thought or piece.logprobs:
            yield self._chunk(index, delta, self._logprobs(piece.logprobs))
        if piece.result is not None:
            message, finish = self._outcome(index)
            if self.plan.tools:
                message.pop("reasoning_content", None)
                calls = [{"index": i, **one} for i, one in enumerate(message.pop("tool_calls", []))]
                yield self._chunk(index, {**message, **({"tool_calls": calls} if calls else {})})
            end = self._chunk(index, {}, finish=finish)
            if summarise and len(self.results) == len(self.jobs):
                end["holdfast"] = self._summary()
            yield end

    def _outcome(self, index: int) -> tuple[dict[str, Any], str]:
        """A finished reply's content and tool calls, and why it ended."""
        text, finish = self.texts[index], _FINISH[self.results[index].stop]
        kind = self.plan.tools
        content, calls = read_calls(text, kind) if kind else (text, [])
        message: dict[str, Any] = {"content": content}
        if thought := self.thoughts[index].strip():
            message["reasoning_content"] = thought
        return (message | {"tool_calls": calls}, "tool_calls") if calls else (message, finish)

    async def _arrivals(self) -> AsyncGenerator[tuple[int, Piece]]:
        """Pieces until every choice has ended."""
        try:
            while len(self.results) < len(self.jobs):
                index, piece = await self._pieces.get()
                if piece.error is not None:
                    raise _piece_error(piece, piece.error)
                self._steps[index] = piece.result.steps if piece.result else piece.steps
                piece = self._without_thought(index, piece)
                if not self._has_text:
                    self._has_text = True
                    self.context.metrics.first.observe(time.perf_counter() - self.began)
                if piece.result is not None:
                    await self._finish_choice(index, piece.result)
                    if len(self.results) == len(self.jobs):
                        self._watch()
                yield index, piece
        finally:
            self.context.engine.drop(self.jobs)

    def _without_thought(self, index: int, piece: Piece) -> Piece:
        """The piece with its text as thought and reply."""
        splitter = self._splitters[index]
        pieces = [splitter.feed(piece.text)]
        if piece.result is not None:
            pieces.append(splitter.end())
        thought, reply = ("".join(parts) for parts in zip(*pieces, strict=True))
        self.thoughts[index] += thought
        self.texts[index] += reply
        return piece._replace(text=reply, thought=thought)

    async def _finish_choice(self, index: int, result: Continuation) -> None:
        self.results[index] = result
        judge = self.context.judge
        if judge is not None:
            try:
                score = await asyncio.to_thread(judge, self.texts[index])
            except Exception:  # the client has its reply all the same
                LOG.exception("%s: the persona's judge failed on a reply", self.id)
            else:
                self.scores[index] = score.value
        self._observe(index, result)

    def _watch(self) -> None:
        """Hand the first choice to the watch, as a reply of its conversation."""
        live = self.context.live
        if live is None or not self.body.options.watch:
            return
        message, finish = self._outcome(0)
        usage = self._usage()
        live.reply(
            LiveReply(
                turns=[(one.role, one.text()) for one in self.body.messages],
                text=message["content"] or "",
                control=self.plan.control,
                model=self.context.backend.name,
                id=self.plan.conversation,
                score=self.scores.get(0),
                began=self.arrival,
                tokens=(usage["prompt_tokens"], usage["completion_tokens"]),
                finish=finish,
            )
        )

    def _observe(self, index: int, result: Continuation) -> None:
        metrics, name = self.context.metrics, label(self.plan.control)
        metrics.replies.labels(name, _FINISH[result.stop]).inc()
        request = self.jobs[index].request
        metrics.tokens.labels("prompt").inc(_prompt(request))
        metrics.tokens.labels("cached").inc(result.cached_tokens)
        metrics.tokens.labels("completion").inc(result.steps)
        metrics.whole.observe(time.perf_counter() - self.began)
        if not self.body.options.watch:
            return
        if (share := _share(result)) is not None:
            metrics.share.labels(name).observe(share)
        if index in self.scores:
            metrics.score.labels(name).observe(self.scores[index])

    def _frame(self, kind: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.context.backend.name,
            "system_fingerprint": f"holdfast-{__version__}",
            "choices": choices,
        }

    def _chunk(
        self,
        index: int,
        delta: Mapping[str, Any],
        logprobs: Mapping[str, Any] | None = None,
        finish: str | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._frame("chat.completion.chunk", [choice])

    def _usage(self) -> dict[str, Any]:
        """Tokens; the prompt counts once, however many choices there are."""
        prompt = _prompt(self.jobs[0].request)
        completion = sum(result.steps for result in self.results.values())
        cached_tokens = min((result.cached_tokens for result in self.results.values()), default=0)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
        }

    def _summary(self) -> dict[str, Any]:
        extra = {"ignored": sorted(self.plan.ignored)} if self.plan.ignored else {}
        return {"control": self.plan.control.text, **self._measures(list(self.results)), **extra}

    def _measures(self, indices: Sequence[int]) -> dict[str, Any]:
        """Mean prompt share and score of some choices."""
        shares = [one for i in indices if (one := _share(self.results[i])) is not None]
        scores = [self.scores[i] for i in indices if i in self.scores]
        share: dict[str, Any] = {"prompt_share": _mean(shares)}
        return share | ({"score": _mean(scores)} if scores else {})

    def _logprobs(self, logprobs: Sequence[Logprob]) -> dict[str, Any] | None:
        if not self.body.logprobs:
            return None
        backend = self.context.backend

        def entry(token: int, value: float) -> dict[str, Any]:
            text = backend.decode([token])
            content = token_bytes(str(backend.tokenizer.convert_ids_to_tokens(token)), text)
            return {"token": text, "logprob": max(value, -9999.0), "bytes": list(content)}

        content = [
            {**entry(one.token, one.value), "top_logprobs": [entry(*pair) for pair in one.top]}
            for one in logprobs
        ]
        return {"content": content, "refusal": None}


def _piece_error(piece: Piece, why: str) -> RequestError:
    """The error of a reply that the engine has given up."""
    if piece.lost:
        return unavailable(why, RETRY)
    if piece.refused:
        return RequestError(400, f"{why}: make it simpler.", code="unsupported_value")
    return RequestError(500, why, code="model_error")


def _prompt(request: Request) -> int:
    return len(request.ids) + (len(request.guide.ids) if request.guide else 0)


def _share(result: Continuation) -> float | None:
    if result.share is None or not result.share.tokens:
        return None
    return sum(result.share.tokens) / len(result.share.tokens)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 5) if values else None
