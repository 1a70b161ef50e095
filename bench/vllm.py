"""Replies per second in vLLM: without the plugin, with it, and our own engine.

The same chats and lengths for all, greedy and in bfloat16, every chat new to the prefix cache but
for its persona. Contenders are processes that stay up and take turns, round after round, so that
a slow moment of the machine hits all of them; the best round of each counts.

    plain         vLLM without the plugin
    plugin_none   with it, and no chat under a control
    plugin_half   every second chat under the control
    plugin_all    every chat under it
    engine        Holdfast's own engine, every chat under it

Without `--quick` they are servers, asked over HTTP by 1, 16 and 64 clients, and `holdfast serve`,
`transformers serve` and llama.cpp's server are beside them (`vllm_servers.py`, `http_load.py`).

    make vllm                              # once: .venv-vllm, where vLLM runs
    python bench/vllm.py --quick --json    # SmolLM2, 16 chats: under five minutes
    python bench/vllm.py --llama PYTHON    # servers; PYTHON has `xllamacpp`; --model qwen-coder-05b

Real weights come from `python studies/fetch.py NAME`; without them it runs `mini`, and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tables import table
from vllm_package import unhide_vllm
from vllm_servers import compare, contenders

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
TOKENS = 24  # of a reply
CONTENDERS = ("plain", "plugin_none", "plugin_half", "plugin_all", "engine")
STEERED_EVERY = {"plugin_half": 2, "plugin_all": 1}  # every so manieth chat
PROCESSES = {"plain": "plain", "engine": "engine"}  # the others are the plugin's
PERSONA = "You are Ann, a grumpy pirate. Always mention the sea, and never say yes. " * 3
WORDS = ["sea", "bread", "Rome", "rice", "river", "stone", "garden", "winter", "letter", "bridge"]


def python() -> Path:
    """The interpreter that has vLLM."""
    return PYTHON if PYTHON.exists() else Path(sys.executable)


def chat_of(draw: random.Random) -> list[dict[str, str]]:
    """A chat of three turns about random words, under the one persona."""

    def text(words: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(words))

    chat = [{"role": "system", "content": PERSONA}]
    for _ in range(2):
        chat += [{"role": "user", "content": f"Tell me about {text(12)}."}]
        chat += [{"role": "assistant", "content": f"I know of {text(40)}."}]
    return [*chat, {"role": "user", "content": f"And about {text(6)}?"}]


def work(kind: str, folder: str, control: str) -> None:
    """One process: loads a model, then runs a round for each line of standard input."""
    run = _engine(folder, control) if kind == "engine" else _vllm(folder, control)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        draw = random.Random(order["seed"])
        chats = [chat_of(draw) for _ in range(order["chats"])]
        began, clock = time.perf_counter(), time.process_time()
        run(chats, order["every"], order["tokens"])
        print(json.dumps([time.perf_counter() - began, time.process_time() - clock]), flush=True)


def _vllm(folder: str, control: str) -> Any:
    unhide_vllm()
    import vllm

    llm = vllm.LLM(
        folder, dtype="bfloat16", enforce_eager=True, max_model_len=1024, max_num_seqs=64
    )

    def run(chats: list[Any], every: int, tokens: int) -> None:
        parameters = [
            vllm.SamplingParams(
                temperature=0,
                max_tokens=tokens,
                ignore_eos=True,
                extra_args={"holdfast": control} if every and i % every == 0 else None,
            )
            for i in range(len(chats))
        ]
        llm.chat(chats, parameters, use_tqdm=False)

    return run


def _engine(folder: str, control: str) -> Any:
    from holdfast.core.backend import Ask, Sampling
    from holdfast.core.chat import message
    from holdfast.core.control import parse
    from holdfast.models.load import load

    model = load(folder, dtype="bfloat16")
    model.ends = frozenset()  # every reply has its full length, as above

    def run(chats: list[Any], every: int, tokens: int) -> None:
        asks = [
            Ask(
                tuple(message(m["role"], m["content"]) for m in chat),
                i,
                parse(control if every and i % every == 0 else "none"),
            )
            for i, chat in enumerate(chats)
        ]
        model.reply(asks, Sampling(max_new_tokens=tokens, temperature=0.0))

    return run


class Contender:
    """A process at the other end of a pipe."""

    def __init__(self, kind: str, folder: str, control: str) -> None:
        environment = {
            "OMP_NUM_THREADS": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "HF_HUB_OFFLINE": "1",
            **os.environ,
            "VLLM_PLUGINS": "" if kind == "plain" else "holdfast",
        }
        self.process = subprocess.Popen(
            [str(python()), __file__, "--work", kind, "--model", folder, "--control", control],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("VERBOSE") else subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def wait(self) -> Any:
        """The next line that is an answer; vLLM prints others."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                return json.loads(line)
            except ValueError:
                continue
        raise SystemExit("a contender ended: run again with VERBOSE=1 to see why.")

    def round(self, **order: int) -> tuple[float, float]:
        """Seconds of the clock and of the processor for one round."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        seconds, clock = self.wait()
        return seconds, clock


def folder_of(model: str) -> tuple[str, str]:
    """The folder of a model in the other environment, unpacked there once, and its GGUF file."""
    code = (
        "import sys; from holdfast.models.vllm.folder import dense_folder;"
        "from holdfast.models.fetch import cache_folder; name = sys.argv[1];"
        "file = cache_folder() / 'studies' / name / f'{name}.gguf';"
        "print(dense_folder(str(file) if file.exists() else name)); print(file)"
    )
    process = subprocess.run(
        [str(python()), "-c", code, model], capture_output=True, text=True, check=False
    )
    if process.returncode:
        print(f"{model} is not here, so this is mini: studies/fetch.py {model}.", file=sys.stderr)
        return folder_of("mini")
    folder, gguf = process.stdout.strip().splitlines()[-2:]
    return folder, gguf


def measure(folder: str, control: str, size: int, rounds: int) -> dict[str, list[float]]:
    """Replies per second of each contender, by the clock and by its own processor time."""
    kinds = {name: PROCESSES.get(name, "plugin") for name in CONTENDERS}
    # One after the other, since starts are what takes memory and time.
    running: dict[str, Contender] = {}
    for kind in dict.fromkeys(kinds.values()):
        running[kind] = Contender(kind, folder, control)
        running[kind].wait()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
    try:
        for turn in range(rounds + 1):  # the first warms up
            for name in CONTENDERS:
                every = 1 if name == "engine" else STEERED_EVERY.get(name, 0)
                seed = size * 1000 + turn * 10 + CONTENDERS.index(name)
                took = running[kinds[name]].round(chats=size, seed=seed, every=every, tokens=TOKENS)
                if turn:
                    times[name].append(took)
                note = f"{took[0]:.2f} s, {took[1]:.2f} s of its processor"
                print(f"round {turn}, {name}: {note}", file=sys.stderr)
    finally:
        for one in running.values():
            one.process.terminate()
    return {name: [size / min(each) for each in zip(*times[name], strict=True)] for name in times}


def main() -> None:
    """Read the arguments and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", default="smollm2", help="a model of studies/models.toml, or any")
    add("--control", default="split-softmax:0.7", help="of the chats that are held")
    add("--quick", action="store_true", help="16 chats at once, in process, without servers")
    add("--rounds", type=int, help="rounds that count; by default 3 of quick ones, 1 of servers")
    add("--clients", type=int, nargs="+", default=[1, 16, 64])
    add("--seconds", type=float, default=10.0, help="of load on each server, at each size")
    add("--threads", type=int, default=1, help="of each server")
    add("--only", nargs="+", help="servers whose names contain one of these, if memory is short")
    add("--llama", type=Path, help="a Python with xllamacpp; llama.cpp is left out otherwise")
    add("--json", action="store_true", help="print one object")
    add("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.model, options.control)
        return
    folder, gguf = folder_of(options.model)
    if options.quick:
        rates = measure(folder, options.control, 16, options.rounds or 3)
        if options.json:
            print(json.dumps({name: round(rate[0], 3) for name, rate in rates.items()}))
            return
        rows = [
            {"contender": name, "replies/s": wall, "replies/s of its processor": own}
            for name, (wall, own) in rates.items()
        ]
    else:
        some = contenders(python(), folder, options.control, options.llama, gguf)
        if options.only:
            some = [one for one in some if any(part in one.name for part in options.only)]
        options.rounds = options.rounds or 1
        rows = compare(some, chat_of, options.control, TOKENS, options)
    print(json.dumps(rows) if options.json else table(rows))


if __name__ == "__main__":
    main()
