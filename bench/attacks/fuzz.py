"""Random requests, right, wrong and broken: no 5xx of ours, no hang, and memory stays flat."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

from attacks.place import KEY, Answer, Place, Tally, Target, exchange, request

WARM = 0.3  # of the requests; growth is measured after them
FLAT = 48.0  # MiB that a server may grow after its warm-up
CLIENTS = 12
FEWEST = 500  # requests that a busy machine answers too, where time is bounded
TEXTS = ("Hi", "", " ", "é", "日本語", "\u202e", "\x00", "\ud800", "<|end|>", "<|system|>", "{{x}}",
         "a" * 300, "🏴" * 9, "\r\n\r\n", "%00", "null", "../..", "'\"<script>")  # fmt: skip
NUMBERS = (0, 1, -1, 2, 0.5, 1e-310, 1e308, -(2**63), 2**63, 2**70, 10**400, 1e-4, True)
NAMES = (
    "model", "messages", "temperature", "top_p", "top_k", "min_p", "n", "seed", "stop", "stream",
    "stream_options", "logprobs", "top_logprobs", "tools", "tool_choice", "response_format",
    "holdfast", "max_completion_tokens", "repetition_penalty", "chat_template_kwargs", "metadata",
    "logit_bias", "guided_json", "reasoning_effort", "user", "input", "system", "instructions",
)  # fmt: skip
CONTROLS = (
    "none", "anchor", "window:1", "reminder:1", "guidance:1.5", "split-softmax:0.7", "boost:4",
    "spotlight:0.2", "anchor+window:2", "window:0", "x", "", "anchor:9",
)  # fmt: skip
PATHS = ("/v1/chat/completions",) * 40 + (
    "/v1/responses", "/v1/messages", "/v1/completions", "/v1/models", "/v1/models/mini", "/health",
    "/ready", "/metrics", "/holdfast", "/", "/docs", "/openapi.json", "/page/page.js", "/v1/x/../y",
    "/v1/models/%2e%2e", "/v1/%00", "/nowhere", "*", "/v1/models/" + "x" * 500,
)  # fmt: skip
METHODS = ("POST",) * 40 + ("GET", "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "X")


def value(rng: random.Random, depth: int = 0) -> Any:
    """Anything that JSON can hold."""
    kind = rng.randrange(6 if depth < 3 else 4)
    if kind == 0:
        return rng.choice(TEXTS)
    if kind == 1:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice((None, True, False))
    if kind == 3:
        return rng.choice(CONTROLS)
    if kind == 4:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    keys = [
        rng.choice((*NAMES, *TEXTS, "type", "role", "content")) for _ in range(rng.randrange(4))
    ]
    return {key: value(rng, depth + 1) for key in keys}


def message(rng: random.Random) -> Any:
    """A message, mostly a right one."""
    if rng.random() < 0.02:
        return value(rng)
    one: dict[str, Any] = {
        "role": rng.choice(("user",) * 12 + ("assistant",) * 8 + ("system", "developer", "tool")),
        "content": rng.choice(TEXTS),
    }
    if rng.random() < 0.15:
        one["content"] = [{"type": "text", "text": rng.choice(TEXTS)}]
    if rng.random() < 0.05:
        one[rng.choice(("name", "tool_calls", "tool_call_id", "content", "x"))] = value(rng)
    return one


def body(rng: random.Random, model: str) -> bytes:
    """A body: a chat with some fields changed, or bytes that are none."""
    fields: dict[str, Any] = {
        "model": model,
        "messages": [message(rng) for _ in range(rng.randrange(1, 5))],
    }
    for _ in range(rng.choice((0, 0, 0, 1, 2, 3))):
        fields[rng.choice(NAMES)] = value(rng)
    if rng.random() < 0.3:
        fields["holdfast"] = {"control": rng.choice(CONTROLS)}
    if rng.random() < 0.3:
        fields["stream"] = rng.random() < 0.7
    # Long replies are a client's right and nobody's test.
    fields["max_tokens"] = rng.choice((1, 2, 3))
    fields.pop("max_completion_tokens", None)
    if isinstance(fields.get("n"), int) and fields["n"] > 3:
        fields["n"] = 9
    content = json.dumps(fields, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    chance = rng.random()
    if chance < 0.03:
        return content[: rng.randrange(len(content))]
    if chance < 0.06:
        place = rng.randrange(len(content))
        return content[:place] + rng.randbytes(rng.randrange(1, 5)) + content[place + 1 :]
    return content


def raw_request(rng: random.Random, model: str) -> bytes:
    """A request, mostly one that HTTP allows."""
    method, path = rng.choice(METHODS), rng.choice(PATHS)
    content = body(rng, model) if method not in ("GET", "HEAD") or rng.random() < 0.05 else b""
    headers: dict[str, str] = {}
    if rng.random() < 0.05:
        headers["authorization"] = rng.choice(("", "Bearer x", f"bearer  {KEY}", "é"))
    if rng.random() < 0.05:
        headers["content-type"] = rng.choice(("", "text/plain", "application/json; charset=x", "é"))
    if rng.random() < 0.05:
        headers["x-title"] = rng.choice(("Café", "a\tb", "x" * 2000))
    if rng.random() < 0.03:
        headers["origin"] = rng.choice(("null", "http://evil.example", ""))
    if rng.random() < 0.02:
        headers["content-length"] = rng.choice(("-1", "x", "0", "3", "1e3"))
    raw = request(method, path, content, headers)
    if rng.random() < 0.02:
        place = rng.randrange(min(len(raw), 200))
        raw = raw[:place] + rng.randbytes(3) + raw[place:]
    return raw


def incomplete(raw: bytes) -> bool:
    """True if a server has a right to wait for more of a request."""
    head, _, content = raw.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2].strip() for line in head.lower().split(b"\r\n")
               if line.startswith(b"content-length:")]  # fmt: skip
    return not (len(lengths) == 1 and lengths[0] == b"%d" % len(content)) and bool(content)


async def fuzz(place: Place, tally: Tally, target: Target, count: int, seconds: float) -> None:
    """Send random requests from several clients, until there were enough or time is up."""
    place.upstream.clear()
    place.upstream.keep = False
    began, count_sent, warm = time.monotonic(), 0, 0.0

    async def client(number: int) -> None:
        nonlocal count_sent, warm
        rng = random.Random(number)
        while count_sent < count and time.monotonic() < began + seconds:
            count_sent += 1
            part = max(count_sent / count, (time.monotonic() - began) / seconds)
            if not warm and part > WARM:
                warm = target.memory
            raw = raw_request(rng, target.model)
            answer = await exchange(target.port, raw, 2.0 if incomplete(raw) else 30.0)
            if answer.status == -1 and incomplete(raw):
                answer = Answer(0)
            tally.count(answer, f"{target.name}: {raw[:60]!r}…{raw[-300:]!r}")
            if (
                answer.status >= 400
                and answer.body
                and answer.headers.get(b"content-type", b"").startswith(b"application/json")
            ):
                error = (answer.json or {}).get("error")
                fine = isinstance(error, dict) and bool(error.get("message"))
                tally.expect(
                    fine, f"{target.name}: an error without OpenAI's shape: {answer.body!r}"
                )

    await asyncio.gather(*(client(i) for i in range(CLIENTS)))
    place.upstream.keep = True
    grown = target.memory - warm if warm else float("nan")
    tally.figures |= {
        f"{target.name}, requests": count_sent,
        f"{target.name}, MiB after warm-up": round(target.memory),
        f"{target.name}, growth in MiB": round(grown, 1),
    }
    tally.expect(not warm or grown < FLAT, f"{target.name} grew by {grown:.0f} MiB")
    tally.expect(
        count_sent >= FEWEST, f"{target.name}: only {count_sent} requests in {seconds:.0f} s"
    )
