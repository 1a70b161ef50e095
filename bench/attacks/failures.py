"""What fails behind the server: its engine, killed and stopped, and the gateway's upstream."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import processes

from attacks.place import (
    Answer,
    Attack,
    Place,
    Tally,
    chat,
    exchange,
    post,
    ready,
    request,
    watched_health,
)


async def metric(place: Place, name: str) -> float:
    """The sum of a metric of the gateway."""
    answer = await exchange(place.gateway.port, request("GET", "/metrics"))
    lines = [line for line in answer.body.decode().splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def gateway(place: Place, tally: Tally) -> None:
    """Odd headers, packed and broken answers, and bodies that are no completions."""
    there, here, path = place.upstream, place.gateway, "/v1/chat/completions"
    there.clear()
    answer = await tally.send(here, post(path, chat(here), **{"x-title": "Café 東京"}))
    tally.expect(answer.status == 200, f"a header that is not ASCII: {answer.status}")
    there.clear("gzip")
    answer = await tally.ask(here, path, chat(here))
    tally.expect(bool(answer.json), "a packed answer arrives unreadable")
    there.clear("no choices")
    answer = await tally.ask(here, path, chat(here, stream=True))
    tally.expect(answer.status == 200, f"an answer without choices: {answer.status}")
    there.clear("broken")
    before = await metric(place, "holdfast_upstream_errors_total")
    answer = await exchange(here.port, post(path, chat(here, stream=True)))
    tally.count(answer, "a stream that breaks")
    after = await metric(place, "holdfast_upstream_errors_total")
    tally.expect(after == before + 1, "a broken stream is not counted")
    there.clear()
    for text in ("window:1\r\nSet-Cookie: a=b", "window:٣", "reminder:\u2028"):
        await tally.ask(here, path, chat(here, holdfast={"control": text}))
    tally.expect(not there.requests, "a control's text was checked after it was paid for")


async def verify(place: Place, tally: Tally) -> None:
    """--verify keeps prompts out of its check, and the draft where the check fails."""
    there, here, path = place.upstream, place.verifying, "/v1/chat/completions"
    messages = [{"role": "developer", "content": "A secret prompt."},
                {"role": "user", "content": "Where is Ulm?"}]  # fmt: skip
    there.clear()
    await tally.ask(here, path, chat(here, messages=messages))
    tally.expect(len(there.requests) > 1, "there was no check")
    for one in there.requests[1:]:
        tally.expect(b"A secret prompt." not in one.body, "a prompt is in the neutral check")
    for mode in ("failing check", "no choices", "picky"):
        for stream in (False, True):
            there.clear(mode)
            fields = chat(here, messages=messages, stream=stream)
            if mode == "picky":
                del fields["max_tokens"]
                fields["max_completion_tokens"] = 9
            answer = await tally.ask(here, path, fields)
            tally.expect(answer.status == 200, f"{mode}: {answer.status} {answer.body[:80]!r}")
    there.clear()


async def begin_streams(place: Place, count: int) -> list[asyncio.Task[bytes]]:
    """Streams that have begun; each ends with its body."""
    body = chat(place.local, stream=True, max_tokens=150, temperature=1.5)
    began = asyncio.Semaphore(0)

    async def read() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.local.port)
        writer.write(post("/v1/chat/completions", body))
        await reader.readuntil(b"\r\n\r\n")
        began.release()
        try:
            async with asyncio.timeout(90):
                return await reader.read()
        finally:
            writer.close()

    streams = [asyncio.create_task(read()) for _ in range(count)]
    for _ in streams:
        await began.acquire()
    return streams


async def killed_engine(place: Place, tally: Tally) -> None:
    """kill -9: what is under way ends with a sentence, and the engine comes back."""
    local = place.local
    streams = await begin_streams(place, 30)
    for kid in processes.children(local.process.pid):
        os.kill(kid, signal.SIGKILL)
    losses = 0
    for text in await asyncio.gather(*streams):
        tally.count(Answer(200), "a stream of a killed engine")
        losses += b"engine_unavailable" in text
        tally.expect(b"data: [DONE]" in text, f"a stream broke off: {text[-100:]!r}")
    tally.figures["replies that were lost, of 30"] = losses
    tally.expect(losses > 0, "the engine was killed too late to matter")
    answer = await exchange(local.port, post("/v1/chat/completions", chat(local)))
    tally.count(answer, "just after the engine was killed", ours=False)
    tally.expect(answer.status == 503, f"without an engine: {answer.status}")
    began = time.monotonic()
    async with watched_health(local, tally):
        tally.expect(await ready(local), "the engine does not come back")
    tally.figures["the engine is back after, s"] = round(time.monotonic() - began, 1)
    answer = await tally.ask(local, "/v1/chat/completions", chat(local))
    tally.expect(answer.status == 200, f"after the restart: {answer.status}")


async def stopped_engine(place: Place, tally: Tally) -> None:
    """A stopped engine: /health stays quick, /ready says so, and it is replaced."""
    local = place.local
    for kid in processes.children(local.process.pid):
        os.kill(kid, signal.SIGSTOP)
    body = post("/v1/chat/completions", chat(local))
    async with watched_health(local, tally):
        flying = [asyncio.create_task(exchange(local.port, body, 90)) for _ in range(120)]
        await asyncio.sleep(5)
        answer = await exchange(local.port, request("GET", "/ready"))
        tally.expect(answer.status == 503, f"/ready of a stopped engine is {answer.status}")
        for answer in await asyncio.gather(*flying):
            tally.count(answer, "the engine was stopped", ours=False)
            tally.expect(answer.status in (200, 503), f"the engine was stopped: {answer.status}")
        tally.expect(await ready(local), "a stopped engine is not replaced")


async def leaving_clients(place: Place, tally: Tally) -> None:
    """100 clients that leave in mid-stream free their rows."""
    local = place.local
    body = post("/v1/chat/completions", chat(local, stream=True, max_tokens=200, temperature=1.5))
    for _ in range(100):
        reader, writer = await asyncio.open_connection("127.0.0.1", local.port)
        writer.write(body)
        await reader.readline()
        writer.transport.abort()
        tally.requests += 1
    await asyncio.sleep(1)
    answer = await exchange(local.port, request("GET", "/metrics"))
    rows = [line for line in answer.body.decode().splitlines()
            if line.startswith("holdfast_rows_running")]  # fmt: skip
    tally.expect(rows[0].endswith(" 0.0"), f"rows are left behind: {rows}")


async def signalled(place: Place, tally: Tally) -> None:
    """SIGTERM to the process group: all 30 streams end as they should. The last attack."""
    local = place.local
    streams = await begin_streams(place, 30)
    os.killpg(local.process.pid, signal.SIGTERM)
    whole = 0
    for text in await asyncio.gather(*streams):
        tally.count(Answer(200), "a stream at SIGTERM")
        whole += b"data: [DONE]" in text and b'"error"' not in text
    tally.figures["streams that ended whole, of 30"] = whole
    tally.expect(whole == 30, f"SIGTERM broke {30 - whole} of 30 streams")
    for _ in range(400):
        if local.process.poll() is not None:
            return
        await asyncio.sleep(0.1)
    tally.findings.append("the server did not exit after SIGTERM")


ATTACKS: tuple[Attack, ...] = (gateway, verify, leaving_clients, killed_engine, stopped_engine)
LAST: tuple[Attack, ...] = (signalled,)
