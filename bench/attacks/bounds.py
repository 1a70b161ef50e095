"""Nothing is unbounded: heads, connections, bodies, depth, errors of the upstream, caches."""

from __future__ import annotations

import asyncio
import json
import resource
from contextlib import suppress

from attacks.place import (
    USER,
    Answer,
    Attack,
    Place,
    Tally,
    Target,
    chat,
    exchange,
    post,
    read_answer,
    request,
    watched_health,
)

GROWTH = 64.0  # MiB that a server may grow under an attack that should cost it nothing


async def endless(target: Target, pieces: int, head: bytes, piece: bytes) -> Answer:
    """Send a head and many pieces, and read what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    try:
        with suppress(OSError):
            writer.write(head)
            for _ in range(pieces):
                writer.write(piece)
                await writer.drain()
        async with asyncio.timeout(30):
            return await read_answer(reader)
    except TimeoutError:
        return Answer(-1)
    except (OSError, asyncio.IncompleteReadError, ValueError):
        return Answer(0)
    finally:
        writer.close()


async def heads(place: Place, tally: Tally) -> None:
    """One endless header line, very many headers, and a head without an end."""
    line = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: "
    many = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    for target in place.targets:
        before = target.memory
        async with watched_health(target, tally):
            for head, piece in ((line, b"x" * (1 << 20)), (many, b"A: b\r\n" * 10_000),
                                (b"GET /" + b"x" * 99, b"x" * (1 << 20))):  # fmt: skip
                answer = await endless(target, 150, head, piece)
                tally.count(answer, f"{target.name}: an endless head")
                tally.expect(answer.status in (0, 400, 431), f"{target.name}: {answer.status}")
        grown = target.memory - before
        tally.expect(grown < GROWTH, f"{target.name}: endless heads cost {grown:.0f} MiB")


async def half_sent(place: Place, tally: Tally) -> None:
    """1,100 connections that send half a request keep nobody out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    for target in place.targets:
        writers = []
        async with watched_health(target, tally):
            for i in range(1100):
                _, writer = await asyncio.open_connection("127.0.0.1", target.port)
                writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"[: 20 + i % 30])
                writers.append(writer)
                tally.requests += 1
            answer = await tally.send(target, request("GET", "/health"))
            tally.expect(answer.status == 200, f"{target.name}: /health is {answer.status}")
        for writer in writers:
            writer.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def large_bodies(place: Place, tally: Tally) -> None:
    """100 MB under every method, with and without a length, is a 413 and costs no memory."""
    megabyte = b" " * (1 << 20)
    for target in place.targets:
        before = target.memory
        async with watched_health(target, tally):
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                head = request(
                    method,
                    "/v1/chat/completions",
                    headers={"content-length": str(100 << 20), "content-type": "application/json"},
                )
                answer = await endless(target, 100, head, megabyte)
                tally.count(answer, f"{target.name}: {method} of 100 MB")
                tally.expect(answer.status in (0, 413), f"{target.name}: {method}: {answer.status}")
                head = request(
                    method,
                    "/v1/chat/completions",
                    headers={"transfer-encoding": "chunked", "content-type": "application/json"},
                )
                head = head.replace(b"Content-Length: 0\r\n", b"")
                answer = await endless(target, 100, head, b"100000\r\n" + megabyte + b"\r\n")
                tally.count(answer, f"{target.name}: {method} of 100 MB in pieces")
                tally.expect(answer.status in (0, 413), f"{target.name}: {method}: {answer.status}")
        grown = target.memory - before
        tally.expect(grown < GROWTH, f"{target.name}: large bodies cost {grown:.0f} MiB")


async def depth(place: Place, tally: Tally) -> None:
    """Deeply nested values, anywhere in a body, are a 400."""
    for target in place.targets:
        for levels in (90, 101, 500, 990, 2000, 100_000):
            for opening, closing in (("[", "]"), ('{"a":', "}")):
                deep = opening * levels + ("1" if opening != "[" else "") + closing * levels
                calls = json.dumps(
                    {"role": "assistant", "tool_calls": [{"function": {"arguments": deep}}]}
                )
                for text in (
                    f'{{"model": "mini", "messages": [], "x": {deep}}}',
                    f'{{"model": "mini", "messages": {deep}}}',
                    deep,
                    f'{{"model": "mini", "messages": [{calls}]}}',
                    f'{{"model": "mini", "messages": [{{"role": "user", "content": "", "x": {deep}}}], "max_tokens": 1}}',  # noqa: E501
                ):
                    await tally.send(target, post("/v1/chat/completions", text.encode()))


async def many_names(place: Place, tally: Tally) -> None:
    """A body of almost 2 MB that has its last name twice is refused at once."""
    names = [f'"k{i}":1' for i in range(150_000)]
    body = f"{{{','.join([*names, names[-1]])}}}".encode()
    for target in place.targets:
        async with watched_health(target, tally):
            answer = await tally.send(target, post("/v1/chat/completions", body))
        tally.expect(answer.status == 400, f"{target.name}: a name twice: {answer.status}")


async def refused_prompts(place: Place, tally: Tally) -> None:
    """Twenty prompts of almost 2 MB that are too long leave nothing behind."""
    local = place.local
    for phase in ("warm-up", "measured"):
        before = local.memory
        async with watched_health(local, tally):
            for i in range(6 if phase == "warm-up" else 20):
                text = f"{i} " + "tea and cats " * 150_000
                body = chat(local, messages=[{"role": "user", "content": text}])
                answer = await tally.ask(local, "/v1/chat/completions", body)
                tally.expect(answer.status in (400, 429), f"a long prompt is {answer.status}")
        grown = local.memory - before
    tally.figures["refused prompts, MiB"] = grown
    tally.expect(grown < GROWTH, f"twenty refused prompts cost {grown:.0f} MiB")


async def chunked_chat(place: Place, tally: Tally) -> None:
    """A chat of 2 MB in pieces is not read on the event loop."""
    words = [{"role": "user", "content": "x"}] * 40_000
    for target in place.targets:
        body = json.dumps(chat(target, messages=words)).encode()[: (2 << 20) - 10]
        raw = request(
            "POST",
            "/v1/chat/completions",
            headers={"transfer-encoding": "chunked", "content-type": "application/json"},
        )
        raw = raw.replace(b"Content-Length: 0\r\n", b"")
        raw += b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        async with watched_health(target, tally):
            await asyncio.gather(*(tally.send(target, raw) for _ in range(4)))


async def upstream_bodies(place: Place, tally: Tally) -> None:
    """An error of 200 MB and a gzip bomb of 300 MB are cut."""
    for mode in ("long error", "bomb"):
        place.upstream.clear(mode)
        before = place.gateway.memory
        async with watched_health(place.gateway, tally):
            raw = post("/v1/chat/completions", chat(place.gateway))
            answer = await tally.send(place.gateway, raw, ours=False)
        grown = place.gateway.memory - before
        tally.figures[f"{mode}, MiB"] = grown
        tally.expect(len(answer.body) < 2 << 20, f"{mode}: {len(answer.body)} bytes came through")
        tally.expect(grown < GROWTH, f"{mode}: the gateway grew by {grown:.0f} MiB")
    place.upstream.clear()


async def slow_bodies(place: Place, tally: Tally) -> None:
    """Bodies that never come, under four methods, are given up."""

    async def one(target: Target, method: str) -> None:
        raw = request(
            method,
            "/v1/chat/completions",
            headers={"content-length": "99", "content-type": "application/json"},
        )
        answer = await exchange(target.port, raw + b"{", 45)
        tally.count(answer, f"{target.name}: a body that never comes")
        tally.expect(answer.status in (0, 408), f"{target.name}: {method}: {answer.status}")

    methods = ("POST", "PUT", "PATCH", "DELETE")
    await asyncio.gather(*(one(target, m) for target in place.targets for m in methods))


async def numbers(place: Place, tally: Tally) -> None:
    """Numbers out of all bounds are refused, or mean what they say."""
    long = "9" * 150
    controls = ("guidance:" + long, "window:" + long, "boost:" + long, "reminder:" + long,
                "window:٣", "guidance:1e400", "guidance:nan", "split-softmax:-1", "anchor+anchor",
                "window:1\r\nX: y", "\ud800")  # fmt: skip
    for target in place.targets:
        for text in controls:
            body = chat(target, holdfast={"control": text})
            answer = await tally.ask(target, "/v1/chat/completions", body)
            tally.expect(
                answer.status in (200, 400, 403), f"{target.name}: {text[:20]!r}: {answer.status}"
            )
    for field, values in {
        "temperature": (1e-310, 1e-5, 1e308, -1, float("nan")),
        "top_p": (1e-310, 0, 2), "top_k": (2**40, -1), "n": (0, 10**9), "seed": (2**70, -(2**63)),
        "max_tokens": (0, -1, 2**40), "top_logprobs": (21, -1),
    }.items():  # fmt: skip
        for value in values:
            body = chat(place.local, **{field: value})
            await tally.ask(place.local, "/v1/chat/completions", body)
    greedy = [
        (
            await tally.ask(place.local, "/v1/chat/completions", chat(place.local, temperature=t))
        ).json
        for t in (0, 1e-4)
    ]
    texts = [one and one["choices"][0]["message"]["content"] for one in greedy]
    tally.expect(texts[0] == texts[1], f"the lowest temperature is not greedy: {texts}")


async def flood(place: Place, tally: Tally) -> None:
    """500 requests at once: answered, or told to come back in a second, when there is room."""
    for target in place.targets:
        body = post("/v1/chat/completions", chat(target, messages=[USER], max_tokens=2))
        async with watched_health(target, tally):
            answers = await asyncio.gather(*(exchange(target.port, body, 120) for _ in range(500)))
        for answer in answers:
            tally.count(answer, f"{target.name}: a flood")
            fine = answer.status == 200 or (
                answer.status == 429 and b"retry-after" in answer.headers
            )
            tally.expect(fine, f"{target.name}: a flood is {answer.status}")
        await asyncio.sleep(1)  # as Retry-After says
        answer = await tally.send(target, body)
        tally.expect(answer.status == 200, f"{target.name}: after a flood it is {answer.status}")


ATTACKS: tuple[Attack, ...] = (
    heads, half_sent, large_bodies, depth, many_names, refused_prompts, chunked_chat,
    upstream_bodies, slow_bodies, numbers, flood,
)  # fmt: skip
