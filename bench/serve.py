"""Replies per second of a server: `holdfast serve` against `transformers serve`.

All servers run the same weights (mini) on the same machine, each in a process of its own,
and take turns under the same load, so that a slow moment of the machine hits all of them.
Clients are thin (asyncio, one connection each, no HTTP library): each sends a streamed
chat, waits for its end, and sends the next. A chat has a persona and two earlier rounds.
On a machine that does other work too, read the replies per second of a server's own
processor time, not those per second of the clock.

    python bench/serve.py                     # 16 and 64 clients, 10 seconds each
    python bench/serve.py --soak 10           # ours alone: errors, and growth in memory

Prints Markdown tables; `--json` prints the same rows as one object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

from http_load import Load, Server, measure, rates, ready, running, times
from processes import memory
from tables import table

import holdfast
from holdfast.persona.suite import load_suite

WEIGHTS = Path(holdfast.__file__).parent / "models" / "mini" / "weights"
TOKENS = 40  # of a reply at most

THEIRS = (str(Path(sys.executable).parent / "transformers"), "serve", str(WEIGHTS))
OURS = (sys.executable, "-m", "holdfast", "serve", "--model", "mini")
SERVERS = (
    Server("holdfast, none", OURS, "mini"),
    Server("holdfast, anchor", (*OURS, "--control", "anchor"), "mini"),
    Server("transformers", (*THEIRS, "--device", "cpu"), str(WEIGHTS)),
    Server(
        "transformers, continuous batching",
        # As many blocks as 64 chats need several times over; the default takes all memory.
        (*THEIRS, "--device", "cpu", "--continuous-batching", "--cb-num-blocks", "1024"),
        str(WEIGHTS),
    ),
)


def chats() -> list[list[dict[str, str]]]:
    """A persona, two rounds, and what the user says next."""
    suite, rng = load_suite("mini"), random.Random(0)
    chats = []
    for persona in suite.personas:
        texts = rng.sample(suite.starters, 3)
        chat = [{"role": "system", "content": persona.prompt}]
        for text in texts[:2]:
            chat += [{"role": "user", "content": text}]
            chat += [{"role": "assistant", "content": rng.choice(persona.passes)}]
        chats.append([*chat, {"role": "user", "content": texts[2]}])
    return chats


CHATS = chats()


def draw(rng: random.Random) -> dict[str, Any]:
    """The body of a request."""
    return {"messages": rng.choice(CHATS), "max_tokens": TOKENS, "temperature": 1.0}


def row(
    server: Server, clients: int, loads: list[Load], best: tuple[float, float]
) -> dict[str, Any]:
    """One line of the table; `best` are the best rates of the other servers."""
    rate = rates(loads)
    ratios = [f"{a / b:.3g}" if b else "" for a, b in zip(rate, best, strict=True)]
    return {
        "server": server.name,
        "clients": clients,
        "replies/s": rate[0],
        "× best of theirs": ratios[0],
        "replies/CPU s": rate[1],
        "× best": ratios[1],
        **times(loads),
    }


def compare(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every server under every load, in turns."""
    loads: dict[tuple[int, Server], list[Load]] = {}
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running(server, args.threads)) for server in SERVERS]
        for at in servers:
            ready(at)
            measure(at, draw, 4, 3)  # warms up
        for _ in range(args.rounds):
            for clients in args.clients:
                for at in servers:
                    load = measure(at, draw, clients, args.seconds / args.rounds)
                    loads.setdefault((clients, at.server), []).append(load)
    rows = []
    for clients in args.clients:
        theirs = [loads[clients, server] for server in SERVERS if "transformers" in server.name]
        each = [rates(some) for some in theirs]
        best = max(rate for rate, _ in each), max(rate for _, rate in each)
        rows += [row(server, clients, loads[clients, server], best) for server in SERVERS]
    return rows


def soak(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours under load for minutes, in ten parts: what is answered, and what memory is held."""
    rows = []
    # A small cache of prefixes is full soon: what grows after that is a leak.
    server = Server("holdfast, anchor", (*SERVERS[1].command, "--cache", "16"), "mini")
    with running(server, args.threads) as at:
        ready(at)
        measure(at, draw, args.clients[0], 3)
        for part in range(10):
            load = measure(at, draw, args.clients[0], args.soak * 6)
            rows.append(
                {
                    "minute": (part + 1) * args.soak / 10,
                    "replies": len(load.whole),
                    "errors": len(load.errors),
                    "memory, MiB": memory(at.process),
                }
            )
            print(rows[-1], file=sys.stderr)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--clients", type=int, nargs="+", default=[16, 64])
    add("--seconds", type=float, default=10.0, help="of load on each server, at each size")
    add("--rounds", type=int, default=2, help="parts that the seconds are cut into")
    add("--threads", type=int, default=os.cpu_count(), help="torch's, for every server")
    add("--soak", type=float, help="minutes of load on ours alone")
    add("--json", action="store_true")
    args = parser.parse_args()
    rows = soak(args) if args.soak else compare(args)
    what = f"{args.threads} threads, {os.cpu_count()} processors"
    print(json.dumps({"machine": what, "rows": rows}) if args.json else f"{what}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
