"""Attacks on the server and on the gateway: what a security review would try, and random requests.

Everything runs on the loopback: `holdfast serve` of mini with a pinned persona and a key, two
gateways before an API that this script plays, and the clients. Each attack sends requests and
says what is wrong with what came back: a 5xx of ours, a hang, a persona that was left out, a key
that came through, memory that grew.

    python bench/attack.py                # all attacks, and 10,000 random requests at each side
    python bench/attack.py --quick        # the same in under five minutes, with fewer if slow
    python bench/attack.py --only forgery # one attack

Prints a Markdown table of counts; `--json` prints one object. Exits with 1 if there is a finding.
Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import processes
from attacks import access, bounds, failures, fields, fuzz, persona
from attacks.place import PERSONA, Attack, Place, Tally, Target, listen, ready, serve
from attacks.upstream import SECRET, Upstream
from tables import table

ATTACKS: tuple[Attack, ...] = (
    *access.ATTACKS, *persona.ATTACKS, *fields.ATTACKS, *bounds.ATTACKS, *failures.ATTACKS,
)  # fmt: skip
FUZZ = "fuzz"
QUICK, ENDING = 290.0, 25.0  # seconds of --quick in all, and of what follows the random requests
MAX_FINDINGS = 5  # findings of an attack that the table's notes show


async def run_attack(attack: Attack, place: Place) -> Tally:
    """One attack; what it raises is a finding."""
    tally, began = Tally(attack.__name__), time.perf_counter()
    print(f"{attack.__name__}: {(attack.__doc__ or '').splitlines()[0]}", file=sys.stderr)
    try:
        await attack(place, tally)
    except Exception as error:
        tally.findings.append(f"the attack ended early: {type(error).__name__}: {error}")
    tally.figures["seconds"] = round(time.perf_counter() - began, 1)
    for finding in tally.findings[:MAX_FINDINGS]:
        print(f"  FINDING {finding}", file=sys.stderr)
    return tally


async def run_fuzz(place: Place, count: int, seconds: float) -> list[Tally]:
    """Random requests at the server and at the gateway."""
    tallies = []
    for target in place.targets:

        async def attack(place: Place, tally: Tally, target: Target = target) -> None:
            """Random requests."""
            await fuzz.fuzz(place, tally, target, count, seconds)

        attack.__name__ = f"{FUZZ}, {target.name}"
        tallies.append(await run_attack(attack, place))
    return tallies


async def run(args: argparse.Namespace) -> list[Tally]:
    """Start the servers and run the attacks."""
    began, upstream = time.monotonic(), Upstream()
    await upstream.start()
    address = ("--upstream", f"http://127.0.0.1:{upstream.port}/v1", "--persona", PERSONA)
    own = {"HOLDFAST_UPSTREAM_KEY": SECRET}
    targets: list[Target] = []
    try:
        for options in (
            (
                "server",
                "mini",
                "--model",
                "mini",
                "--persona",
                PERSONA,
                "--no-lock",
                # A small cache of prefixes is full soon: what grows after that is a leak.
                "--cache",
                "16",
            ),
            ("gateway", "there", *address),
            ("verifying gateway", "there", *address, "--verify", "neutral"),
        ):
            targets.append(serve(*options, **own))
            # In a thread: the API that the gateways talk to is in this loop.
            await asyncio.to_thread(listen, targets[-1])
        place = Place(*targets, upstream, args.quick)
        if not await ready(place.local):
            sys.exit("the server does not get ready")
        attacks = [one for one in ATTACKS if not args.only or one.__name__ in args.only]
        tallies = [await run_attack(one, place) for one in attacks]
        if not args.only or FUZZ in args.only:
            rest = QUICK - (time.monotonic() - began) - ENDING
            seconds = max(15.0, min(50.0, rest / 2)) if args.quick else 900.0
            tallies += await run_fuzz(place, args.requests, seconds)
        last = [one for one in failures.LAST if not args.only or one.__name__ in args.only]
        tallies += [await run_attack(one, place) for one in last]
        if any(one.findings for one in tallies):
            for target in targets:
                print(f"The log of the {target.name} ends:\n{target.log_tail()}", file=sys.stderr)
        return tallies
    finally:
        for target in targets:
            processes.kill(target.process)


def row(tally: Tally) -> dict[str, Any]:
    """One line of the table."""
    kinds = {"2xx": 200, "4xx": 400, "5xx": 500}
    counts = {
        name: sum(n for status, n in tally.statuses.items() if start <= status < start + 100)
        for name, start in kinds.items()
    }
    unanswered = sum(n for status, n in tally.statuses.items() if status <= 0)
    figures = "; ".join(f"{name} {value:g}" for name, value in tally.figures.items())
    return {"attack": tally.name, "requests": tally.requests, **counts, "none": unanswered,
            "findings": len(tally.findings), "figures": figures}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="under five minutes")
    add("--requests", type=int, default=10_000, help="random requests at each side")
    add("--only", nargs="+", help="names of attacks; fuzz is the random requests")
    add("--json", action="store_true")
    args = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):  # the servers are ended all the same
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    tallies = asyncio.run(run(args))
    findings = [f"{one.name}: {what}" for one in tallies for what in one.findings]
    total = sum(one.requests for one in tallies)
    if args.json:
        report = {
            "requests": total,
            "findings": findings,
            "attacks": [asdict(one) for one in tallies],
        }
        print(json.dumps(report))
    else:
        print(
            f"{table([row(one) for one in tallies])}\n\n{total} requests, {len(findings)} findings"
        )
        for finding in findings:
            print(f"- {finding}")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
