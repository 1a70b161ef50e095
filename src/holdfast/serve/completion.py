"""One chat completion: from an order to jobs of the worker, and from their pieces back.

Beside `usage` a reply has

    holdfast: {control, prompt_share, score?, ignored?}

with the mean over its choices: `prompt_share` is null where there is no system prompt, or
where the model's attention cannot be observed; `score` is the persona's judge's, where it
has one that needs no model; `ignored` are fields that changed nothing.

This module knows chats and the engine's terms. It knows no HTTP.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from holdfast.core.version import __version__
from holdfast.models.engine.row import Logprob, Request, Result
from holdfast.serve.detokenize import Text
from holdfast.serve.engine_thread import Inbox, Job, Piece
from holdfast.serve.http_errors import Refusal
from holdfast.serve.metrics import label
from holdfast.serve.requests import Completions, Order

_FINISH = {"stop": "stop", "length": "length", "overflow": "length"}


class Completion:
    """A completion under way. `drop` it where nobody waits for it any more."""

    def __init__(self, home: Completions, order: Order) -> None:
        self.home, self.body, self.control = home, order.body, order.control
        self.ignored, body, request, choices = (
            order.ignored, order.body, order.request, order.choices,
        )  # fmt: skip
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.began = time.perf_counter()
        self._seen = False
        self._pieces: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        sampling, decode = home.sampling(body, request), home.backend.decode
        inbox = Inbox(asyncio.get_running_loop(), self._pieces)
        self.jobs = [
            Job(
                i,
                replace(request, seed=request.seed + i),
                sampling,
                Text(decode, sampling.stop),
                bool(body.stream),
                inbox,
            )
            for i in range(choices)
        ]
        self.texts = [""] * choices
        self.results: dict[int, Result] = {}
        self.scores: dict[int, float] = {}
        home.worker.submit(self.jobs)

    def drop(self) -> None:
        """Nobody waits for this: free its rows."""
        self.home.worker.drop(self.jobs)

    async def whole(self) -> dict[str, Any]:
        """The reply in one piece."""
        last: dict[int, Piece] = {}
        async with aclosing(self._arriving()) as arriving:
            async for index, piece in arriving:
                last[index] = piece
        choices = [
            {
                "index": i,
                "message": {"role": "assistant", "content": self.texts[i], "refusal": None},
                "logprobs": self._logprobs(last[i].logprobs),
                "finish_reason": _FINISH[self.results[i].stop],
                **({"holdfast": self._held([i])} if len(last) > 1 else {}),
            }
            for i in sorted(last)
        ]
        return {
            **self._frame("chat.completion", choices),
            "usage": self._usage(),
            "holdfast": self._summary(),
        }

    async def chunks(self) -> AsyncGenerator[dict[str, Any]]:
        """The reply as it comes, `holdfast` in the last chunk."""
        options = self.body.stream_options
        usage = options is not None and options.include_usage
        for job in self.jobs:
            yield self._chunk(job.index, {"role": "assistant", "content": ""})
        async with aclosing(self._arriving()) as arriving:
            async for index, piece in arriving:
                for chunk in self._told(index, piece, holding=not usage):
                    yield chunk
        if usage:
            yield {
                **self._frame("chat.completion.chunk", []),
                "usage": self._usage(),
                "holdfast": self._summary(),
            }

    def _told(self, index: int, piece: Piece, holding: bool) -> Iterator[dict[str, Any]]:
        """The chunks that a piece makes; the very last has `holdfast` where `holding` says so."""
        if piece.text or piece.logprobs:
            yield self._chunk(index, {"content": piece.text}, self._logprobs(piece.logprobs))
        if piece.result is not None:
            end = self._chunk(index, {}, finish=_FINISH[piece.result.stop])
            if holding and len(self.results) == len(self.jobs):
                end["holdfast"] = self._summary()
            yield end

    async def _arriving(self) -> AsyncGenerator[tuple[int, Piece]]:
        """Pieces until all choices have ended."""
        try:
            while len(self.results) < len(self.jobs):
                index, piece = await self._pieces.get()
                if piece.error is not None:
                    raise Refusal(500, piece.error, code="model_error")
                self.texts[index] += piece.text
                self._first()
                if piece.result is not None:
                    await self._ended(index, piece.result)
                yield index, piece
        finally:
            self.drop()

    def _first(self) -> None:
        if not self._seen:
            self._seen = True
            self.home.metrics.first.observe(time.perf_counter() - self.began)

    async def _ended(self, index: int, result: Result) -> None:
        self.results[index] = result
        judged = self.home.judge
        if judged is not None:
            score = await asyncio.to_thread(judged, self.texts[index])
            self.scores[index] = score.value
        self._count(index, result)

    def _count(self, index: int, result: Result) -> None:
        metrics, name = self.home.metrics, label(self.control)
        metrics.replies.labels(name, _FINISH[result.stop]).inc()
        request = self.jobs[index].request
        metrics.tokens.labels("prompt").inc(_prompt(request))
        metrics.tokens.labels("cached").inc(result.cached)
        metrics.tokens.labels("completion").inc(result.steps)
        metrics.whole.observe(time.perf_counter() - self.began)
        if (share := _share(result)) is not None:
            metrics.share.labels(name).observe(share)
        if index in self.scores:
            metrics.score.labels(name).observe(self.scores[index])

    def _frame(self, kind: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.home.backend.name,
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
        """Tokens, the prompt counted once though it may have several choices."""
        prompt = _prompt(self.jobs[0].request)
        completion = sum(result.steps for result in self.results.values())
        cached = min((result.cached for result in self.results.values()), default=0)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def _summary(self) -> dict[str, Any]:
        ignored = {"ignored": sorted(self.ignored)} if self.ignored else {}
        return {"control": self.control.text, **self._held(list(self.results)), **ignored}

    def _held(self, indices: Sequence[int]) -> dict[str, Any]:
        """Prompt share and score of some choices: their means."""
        shares = [share for i in indices if (share := _share(self.results[i])) is not None]
        scores = [self.scores[i] for i in indices if i in self.scores]
        held: dict[str, Any] = {"prompt_share": _mean(shares)}
        return held | ({"score": _mean(scores)} if scores else {})

    def _logprobs(self, logprobs: Sequence[Logprob]) -> dict[str, Any] | None:
        if not self.body.logprobs:
            return None
        decode = self.home.backend.decode

        def shown(token: int, value: float) -> dict[str, Any]:
            text = decode([token])
            return {"token": text, "logprob": max(value, -9999.0), "bytes": list(text.encode())}

        content = [
            {**shown(one.token, one.value), "top_logprobs": [shown(*pair) for pair in one.top]}
            for one in logprobs
        ]
        return {"content": content, "refusal": None}


def _prompt(request: Request) -> int:
    return len(request.ids) + (len(request.guide.ids) if request.guide else 0)


def _share(result: Result) -> float | None:
    if result.share is None or not result.share.tokens:
        return None
    return sum(result.share.tokens) / len(result.share.tokens)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 5) if values else None
