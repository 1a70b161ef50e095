"""The servers that `vllm.py` puts beside each other, and what their clients see."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from http_load import Draw, Load, Server, measure, rates, ready, running, times

Chat = list[dict[str, str]]
SLOTS, CONTEXT = 64, 1024
_VLLM = (
    ("VLLM_CPU_KVCACHE_SPACE", "1"),
    ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
    ("VLLM_LOGGING_LEVEL", "ERROR"),
)


@dataclass(frozen=True)
class Contender:
    """A server, and which of its chats ask to be held: every so manieth, 0 for none."""

    name: str
    server: Server
    every: int = 0


def contenders(python: Path, folder: str, control: str, llama: Path | None, gguf: str) -> Any:
    """All of them.

    Args:
        python: of the environment with vLLM and the plugin; this one has transformers' server.
        folder: the model's.
        control: of the chats that are held.
        llama: an interpreter with `xllamacpp`; without it llama.cpp is left out.
        gguf: the file that llama.cpp reads.
    """
    here = Path(sys.executable)
    serve = (str(python.with_name("vllm")), "serve", folder, "--dtype", "bfloat16")
    serve += ("--enforce-eager", "--max-model-len", str(CONTEXT), "--max-num-seqs", str(SLOTS))
    plain = Server("vLLM", serve, folder, (*_VLLM, ("VLLM_PLUGINS", "")))
    plugin = Server("vLLM with the plugin", serve, folder, (*_VLLM, ("VLLM_PLUGINS", "holdfast")))
    own = (str(here), "-m", "holdfast", "serve", "--model", folder, "--dtype", "bfloat16")
    theirs = (str(here.with_name("transformers")), "serve", folder, "--device", "cpu")
    theirs += ("--dtype", "bfloat16")
    batches = ("--continuous-batching", "--cb-num-blocks", "2048")
    sides = [
        Contender("vLLM without the plugin", plain),
        Contender("with it, nothing held", plugin),
        Contender("with it, every second chat held", plugin, 2),
        Contender("with it, every chat held", plugin, 1),
        Contender("holdfast serve", Server("holdfast", own, folder)),
        Contender(
            "holdfast serve, every chat held",
            Server("holdfast, held", (*own, "--control", control), folder),
        ),
        Contender("transformers serve", Server("transformers", theirs, folder)),
        Contender(
            "transformers serve, continuous batching",
            Server("transformers, batches", (*theirs, *batches), folder),
        ),
    ]
    if llama is None:
        print("llama.cpp is left out: --llama names a Python with xllamacpp.", file=sys.stderr)
        return sides
    script = str(Path(__file__).with_name("llama_server.py"))
    command = (str(llama), script, "--model", gguf, "--threads", "1")
    command += ("--slots", str(SLOTS), "--tokens", str(CONTEXT // 2))
    return [*sides, Contender("llama.cpp, 4 bits", Server("llama.cpp", command, "any"))]


def drawing(chat: Callable[[random.Random], Chat], every: int, control: str, tokens: int) -> Draw:
    """Bodies of new chats, every so manieth of them held."""
    number = itertools.count()

    def draw(rng: random.Random) -> dict[str, Any]:
        is_steered = every and next(number) % every == 0
        body: dict[str, Any] = {"messages": chat(rng), "max_tokens": tokens, "temperature": 0}
        return body | ({"vllm_xargs": {"holdfast": control}} if is_steered else {})

    return draw


def compare(
    some: list[Contender],
    chat: Callable[[random.Random], Chat],
    control: str,
    tokens: int,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Rows of a table: every contender under every load, in turns.

    Servers start one after the other, since starts are what takes memory and time. An idle one
    takes no processor.
    """
    loads: dict[tuple[int, str], list[Load]] = {}
    with contextlib.ExitStack() as stack:
        up = {}
        for server in dict.fromkeys(one.server for one in some):
            up[server] = stack.enter_context(running(server, options.threads))
            ready(up[server])
            print(f"{server.name} is up", file=sys.stderr)
        draws = {one: drawing(chat, one.every, control, tokens) for one in some}
        for one in some:
            measure(up[one.server], draws[one], 2, 1, seed=1)  # warms up
        # No chat comes twice, or the second would be in a cache of prefixes.
        seeds = itertools.count(1000, 1000)
        for turn in range(options.rounds):
            for clients in options.clients:
                for one in some:
                    load = measure(
                        up[one.server], draws[one], clients, options.seconds, next(seeds)
                    )
                    loads.setdefault((clients, one.name), []).append(load)
                    count = f"{len(load.whole)} replies in {load.seconds:.1f} s"
                    print(f"{clients} clients, {turn}, {one.name}: {count}", file=sys.stderr)
    return [_row(clients, one, loads) for clients in options.clients for one in some]


def _row(clients: int, one: Contender, loads: dict[tuple[int, str], list[Load]]) -> dict[str, Any]:
    own = loads[clients, one.name]
    first = next(each for (size, _), each in loads.items() if size == clients)
    (rate, by_cpu), (_, plain) = rates(own), rates(first)
    return {
        "server": one.name,
        "clients": clients,
        "replies/s": rate,
        "replies/CPU s": by_cpu,
        "CPU / the first's": plain / by_cpu if by_cpu else "",
        **times(own),
    }
