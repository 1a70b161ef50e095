"""Ollama's API over the same engine: `/api/chat`, `/api/generate`, and what clients ask before.

A request becomes a chat completion, so that persona, control and limits are those of
`/v1/chat/completions`; its chunks become lines of JSON. What Ollama has and this server has not
(`mirostat`, `num_ctx`, …) is named in the last line's `holdfast.ignored`. A raw prompt
(`raw: true`, as SillyTavern sends it) is continued without a chat template where the server pins no
persona; under a persona it becomes the user's message, or it would go round the persona. A thought
is `thinking`, apart from the reply, whatever `think` says.

Sources: ollama/ollama, docs/api.md and docs/capabilities/thinking.mdx. This module knows Ollama's
messages. It knows no engine.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from holdfast.core.version import __version__
from holdfast.models.local.tool_calls import find_call_format
from holdfast.models.thinking import shows_thoughts
from holdfast.serve.completion import Completion
from holdfast.serve.http_errors import RequestError
from holdfast.serve.json_body import Json, read_object, write_json
from holdfast.serve.limits import KEY_NAME, ROUTE
from holdfast.serve.live.reply import conversation_id
from holdfast.serve.ollama.requests import read_chat, read_prompt, with_ollamas_name
from holdfast.serve.requests import CompletionContext, CompletionPlan
from holdfast.serve.stream import StreamingAnswer, until_client_leaves, with_end
from holdfast.serve.tenants.live import LiveTenants

NDJSON = {"content-type": "application/x-ndjson"}
TAG = ":latest"
_VISIBLE = ("content", "reasoning_content", "tool_calls")
"""Fields of a chunk that a client shows."""
_TEXTS = ("content", "response", "thinking")
"""Fields whose texts are joined where nothing is streamed."""
Read = Callable[[dict[str, Any], CompletionContext], "CompletionPlan | None"]
"""Reads a request's plan; None for one that only wants the model loaded."""
LineFormat = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Makes a line of a reply from the model's name and its fields."""
ContextPick = Callable[[object, str | None, str], tuple[CompletionContext, str | None]]
"""The context of a request by its model, route and key, and the alias that decides it."""


@dataclass(frozen=True)
class Ollama:
    """Ollama's routes over the server's own chats."""

    context: CompletionContext
    """The server's own persona and control."""
    pick: ContextPick
    """Finds what a request is under."""
    on_end: Callable[[Completion, str], None]
    """Takes every completion at its end, with the request's key."""
    tenants: LiveTenants
    """The model's other names, and which of them a key may use."""

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        self._add_model_routes(app)

        @app.post("/api/chat", tags=["ollama"], summary="A chat, as Ollama takes it")
        async def chat(request: Request) -> Response:
            return await self._answer(request, read_chat, _chat_line)

        @app.post("/api/generate", tags=["ollama"], summary="A prompt, as Ollama takes it")
        async def generate(request: Request) -> Response:
            return await self._answer(request, read_prompt, _prompt_line)

    def _add_model_routes(self, app: FastAPI) -> None:
        """Add /api/tags, /api/ps, /api/show and /api/version."""
        card, own = _model_card(self.context), self.context.backend.name

        @app.get("/api/tags", tags=["ollama"], summary="The model that is served, and its aliases")
        async def models(request: Request) -> Json:
            every = (own, *self.tenants.current.aliases)
            names = self.tenants.visible(every, request.scope[KEY_NAME])
            return Json({"models": [_name_card(card, name) for name in names]})

        @app.get("/api/ps", tags=["ollama"], summary="The model in memory")
        async def running() -> Json:
            state = {"expires_at": "2100-01-01T00:00:00Z", "size_vram": 0}
            return Json({"models": [_name_card(card, own) | state]})

        @app.get("/api/version", tags=["ollama"], summary="Holdfast's version")
        async def version() -> Json:
            return Json({"version": __version__})

        @app.post("/api/show", tags=["ollama"], summary="What is known of the model")
        async def show(request: Request) -> Json:
            context = self._context(read_object(await request.body()), request)
            return Json(_about(context, card))

    def _context(self, fields: Mapping[str, Any], request: Request) -> CompletionContext:
        """What a request is under. Raises `RequestError` if there is no such model."""
        name = _model_name(fields).removesuffix(TAG)
        context, alias = self.pick(name, request.scope[ROUTE], request.scope[KEY_NAME])
        if name not in (context.backend.name, alias):
            own = context.backend.name
            raise RequestError(404, f"model '{name[:200]}' not found: this server has {own}.")
        return context

    async def _answer(self, request: Request, read: Read, line: LineFormat) -> Response:
        start, key = time.perf_counter(), request.scope[KEY_NAME]
        fields = read_object(await request.body())
        context, name = self._context(fields, request), _model_name(fields)
        try:
            plan = await asyncio.to_thread(read, fields, context)
        except RequestError as error:
            raise with_ollamas_name(error) from error
        if plan is None:  # without a prompt the client asks for the model to be loaded
            return Json(line(name, {"delta": {}, "done": True, "done_reason": "load"}))
        plan = replace(plan, conversation=conversation_id(request.headers, fields))
        completion = Completion(context, plan)
        end = partial(self.on_end, completion, key)
        lines = with_end(_lines(completion, name, line, start), end)
        if fields.get("stream", True):
            timeout = context.limits.write_timeout
            return StreamingAnswer(_encode_lines(lines), timeout, headers=NDJSON)
        return Json(await until_client_leaves(request.receive, _join_lines(lines)))


def _model_name(fields: Mapping[str, Any]) -> str:
    """The model that a request names, as older clients name it too."""
    return str(fields.get("model") or fields.get("name") or "")


def _model_card(context: CompletionContext) -> dict[str, Any]:
    backend, count = context.backend, _count_parameters(context)
    model = backend.engine.model
    family = str(getattr(model.config, "model_type", ""))
    digest = hashlib.sha256(f"{backend.name} {count}".encode()).hexdigest()
    return {
        "modified_at": _now(),
        "size": count * model.dtype.itemsize,
        "digest": digest,
        "details": {
            "parent_model": "",
            "format": "safetensors",
            "family": family,
            "families": [family],
            "parameter_size": f"{count / 1e6:.1f}M",
            "quantization_level": str(model.dtype).removeprefix("torch."),
        },
    }


def _count_parameters(context: CompletionContext) -> int:
    return sum(one.numel() for one in context.backend.engine.model.parameters())


def _about(context: CompletionContext, card: Mapping[str, Any]) -> dict[str, Any]:
    family, template = card["details"]["family"], str(context.backend.tokenizer.chat_template)
    return {
        "modelfile": f"FROM {context.backend.name}",
        "parameters": "",
        "template": template,
        "details": card["details"],
        "model_info": {
            "general.architecture": family,
            "general.parameter_count": _count_parameters(context),
            f"{family}.context_length": context.backend.context,
        },
        "capabilities": _capabilities(template),
        "holdfast": {
            "control": context.control.text,
            "persona": context.persona.id if context.persona else None,
        },
    }


def _capabilities(template: str) -> list[str]:
    """What a model's chat template lets it do, by Ollama's names."""
    tools = ["tools"] if find_call_format(template) else []
    return ["completion", *tools, *(["thinking"] if shows_thoughts(template) else [])]


async def _lines(
    completion: Completion, name: str, line: LineFormat, start: float
) -> AsyncGenerator[dict[str, Any]]:
    """A completion's chunks as Ollama's lines; the last has the counts and times."""
    first, reason = None, "stop"
    async with aclosing(completion.chunks()) as chunks:
        async for chunk in chunks:
            for choice in chunk["choices"]:
                delta = choice["delta"]
                reason = choice["finish_reason"] or reason
                if any(delta.get(field) for field in _VISIBLE):
                    first = first or time.perf_counter()
                    yield line(name, {"delta": delta, "done": False})
            if chunk.get("usage"):
                yield line(name, _end(chunk, reason, start, first or time.perf_counter()))


def _end(chunk: Mapping[str, Any], reason: str, start: float, first: float) -> dict[str, Any]:
    now, usage = time.perf_counter(), chunk["usage"]
    return {
        "delta": {},
        "done": True,
        "done_reason": "length" if reason == "length" else "stop",
        "total_duration": _nanoseconds(now - start),
        "load_duration": 0,
        "prompt_eval_count": usage["prompt_tokens"],
        "prompt_eval_duration": _nanoseconds(first - start),
        "eval_count": usage["completion_tokens"],
        "eval_duration": _nanoseconds(now - first),
        "holdfast": chunk["holdfast"],
    }


async def _join_lines(lines: AsyncGenerator[dict[str, Any]]) -> dict[str, Any]:
    """All lines as one."""
    texts, calls, last = dict[str, str](), [], {}
    async with aclosing(lines):
        async for one in lines:
            part = one.get("message", one)
            texts |= {name: texts.get(name, "") + part[name] for name in _TEXTS if name in part}
            calls += part.get("tool_calls", [])
            last = one
    if thought := texts.pop("thinking", "").strip():
        texts["thinking"] = thought
    if "message" not in last:
        return {**last, **texts}
    message = {"role": "assistant", **texts, **({"tool_calls": calls} if calls else {})}
    return {**last, "message": message}


async def _encode_lines(lines: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[bytes]:
    """Lines of JSON; an error on the way is the last of them."""
    async with aclosing(lines):
        try:
            async for one in lines:
                yield write_json(one) + b"\n"
        except RequestError as error:
            yield write_json({"error": error.message}) + b"\n"


def _chat_line(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A line of /api/chat."""
    rest = dict(fields)
    delta = rest.pop("delta")
    message = {"role": "assistant", "content": delta.get("content") or "", **_thinking(delta)}
    if calls := delta.get("tool_calls"):
        message["tool_calls"] = [{"function": _call(one["function"])} for one in calls]
    return {"model": name, "created_at": _now(), "message": message, **rest}


def _prompt_line(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A line of /api/generate."""
    rest = dict(fields)
    delta = rest.pop("delta")
    reply = {"response": delta.get("content") or "", **_thinking(delta)}
    return {"model": name, "created_at": _now(), **reply, **rest}


def _thinking(delta: Mapping[str, Any]) -> dict[str, Any]:
    """What a chunk has of a thought, by Ollama's name; nothing where it has none."""
    thought = delta.get("reasoning_content")
    return {"thinking": thought} if thought else {}


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call with its arguments as an object."""
    arguments = function.get("arguments")
    fields = json.loads(arguments) if isinstance(arguments, str) and arguments else arguments or {}
    return {"name": function["name"], "arguments": fields}


def _name_card(card: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A card under a name with a tag, which Ollama's clients add where there is none."""
    full_name = name if ":" in name.rpartition("/")[2] else name + TAG
    return {"name": full_name, "model": full_name, **card}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
