"""Who may do what: keys under a mount, other sites' pages, climbing paths, the upstream's key."""

from __future__ import annotations

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from attacks.place import KEY, USER, Attack, Place, Tally, chat, post, request
from attacks.upstream import SECRET
from holdfast.core.errors import ServiceError
from holdfast.serve.gateway import Upstream, create_gateway

GUARDED_PATHS = (
    "/v1/models",
    "/v1/chat/completions",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/holdfast",
)


async def keys(place: Place, tally: Tally) -> None:
    """Every path that needs a key, without one, with wrong ones, and with odd spellings."""
    wrong = ("", "Bearer ", "Bearer", "Basic x", f"Bearer {KEY}x", f"bearer{KEY}", "Bearer \xe9")
    for target in place.targets:
        for path in GUARDED_PATHS:
            for value in wrong:
                raw = request("GET", path, headers={"authorization": value})
                answer = await tally.send(target, raw)
                tally.expect(
                    answer.status in (401, 404) and SECRET.encode() not in answer.body,
                    f"{target.name}: {path} with {value!r} is {answer.status}",
                )
    try:
        create_gateway(Upstream("http://127.0.0.1:1/v1", SECRET), keys=[""])
        tally.findings.append("an empty key opens the gateway")
    except ServiceError:
        pass


async def mounted(place: Place, tally: Tally) -> None:
    """The gateway under a path of another application asks for its key all the same."""
    place.upstream.clear()
    gateway = create_gateway(
        Upstream(f"http://127.0.0.1:{place.upstream.port}/v1", SECRET), keys=[KEY]
    )
    app = Starlette(routes=[Mount("/bot", gateway)])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for path in GUARDED_PATHS:
            for method in ("GET", "POST"):
                answer = await client.request(method, f"/bot{path}", json={"messages": [USER]})
                tally.requests += 1
                tally.statuses[answer.status_code] += 1
                refused = answer.status_code in (401, 404, 405)
                tally.expect(refused, f"mounted: {method} {path} without a key is {answer}")
    tally.expect(not place.upstream.requests, "mounted: the upstream was asked without a key")


async def other_sites(place: Place, tally: Tally) -> None:
    """What a browser sends for a page of another site reaches neither model nor upstream."""
    place.upstream.clear()
    foreign = {"origin": "http://evil.example"}
    crossing = {**foreign, "sec-fetch-site": "cross-site"}
    body = b'{"model": "mini", "messages": [{"role": "user", "content": "Hi"}]}'
    for target in place.targets:
        for media in ("text/plain", "application/x-www-form-urlencoded", "", "text/json", "json"):
            for headers in ({}, foreign, crossing, {"sec-fetch-site": "same-site"}):
                raw = post("/v1/chat/completions", body, **{**headers, "content-type": media})
                answer = await tally.send(target, raw)
                is_refused = 400 <= answer.status < 500
                tally.expect(
                    is_refused, f"{target.name}: {media!r} of a foreign page: {answer.status}"
                )
        for headers in (foreign, crossing, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            answer = await tally.send(target, post("/v1/chat/completions", body, **headers))
            tally.expect(answer.status == 403, f"{target.name}: {headers}: {answer.status}")
        raw = request("GET", "/v1/models", headers={"sec-fetch-site": "cross-site"})
        answer = await tally.send(target, raw)
        tally.expect(answer.status == 403, f"{target.name}: a cross-site GET: {answer.status}")
        form = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
        for path in ("/v1/files", "/v1/chat/completions"):
            headers = {**foreign, "content-type": "multipart/form-data; boundary=x"}
            answer = await tally.send(target, post(path, form, **headers))
            is_refused = 400 <= answer.status < 500
            tally.expect(is_refused, f"{target.name}: a form to {path}: {answer.status}")
    tally.expect(not place.upstream.requests, "a foreign page's request reached the upstream")


CLIMBING = (
    "/v1/%2e%2e/%2e%2e/team-b/v1/models", "/v1/../team-b/v1/models", "/v1/..%2fteam-b",
    "/v1/%2E%2E%2Fteam-b", "/v1/models/../../team-b", "/v1/models%2f..%2f..%2fteam-b",
    "/v1/models/x%3fy=1", "/v1/models/x%23y", "/v1/models/%00", "/v1/models/..", "/v1/models/.",
    "/v1/models/%5c..%5c..", "/v1/models\\..\\team-b", "/v1/models/..;/x", "/v1//models",
    "/v1/models/", "//v1/models", "/v1/models/%252e%252e/x", "/v1/models/a%0d%0aX: y",
)  # fmt: skip


async def climbing(place: Place, tally: Tally) -> None:
    """No path reaches anything at the upstream but models below its base URL."""
    place.upstream.clear()
    for target in place.targets:
        for path in CLIMBING:
            for method in ("GET", "POST", "DELETE"):
                body = b"{}" if method == "POST" else b""
                await tally.send(target, request(method, path, body))
    for one in place.upstream.requests:
        segments = one.target.split("/")
        fine = one.target.startswith("/v1/models") and not {"..", "."} & set(segments)
        tally.expect(fine and one.method == "GET", f"the upstream got {one.method} {one.target}")


async def upstream_key(place: Place, tally: Tally) -> None:
    """The upstream's key is in no body, header, stream or metric that comes back."""
    secret = SECRET.encode()
    for mode, stream in (("echo", False), ("echo stream", True)):
        place.upstream.clear(mode)
        answer = await tally.ask(
            place.gateway, "/v1/chat/completions", chat(place.gateway, stream=stream)
        )
        whole = answer.body + b"".join(answer.headers.values())
        tally.expect(answer.status == 200, f"{mode}: {answer.status}")
        tally.expect(secret not in whole, f"{mode}: the upstream's key came back")
        tally.expect(
            bool(place.upstream.requests)
            and place.upstream.requests[-1].headers.get("authorization") == f"Bearer {SECRET}",
            f"{mode}: the upstream did not get its key",
        )
    place.upstream.clear()
    answer = await tally.send(place.gateway, request("GET", "/metrics"))
    tally.expect(secret not in answer.body, "the upstream's key is in the metrics")


async def own_key(place: Place, tally: Tally) -> None:
    """The key of the gateway goes no further, by no header."""
    place.upstream.clear()
    for headers in ({}, {"x-api-key": KEY}, {"api-key": KEY, "cookie": f"a={KEY}"}):
        await tally.send(
            place.gateway, post("/v1/chat/completions", chat(place.gateway), **headers)
        )
    await asyncio.sleep(0)
    for one in place.upstream.requests:
        tally.expect(KEY not in str(one.headers), f"the gateway's key went on: {one.headers}")


ATTACKS: tuple[Attack, ...] = (keys, mounted, other_sites, climbing, upstream_key, own_key)
