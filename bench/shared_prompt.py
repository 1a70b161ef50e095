"""What it saves to compute once what prompts share: seconds with and without, side by side.

Sixty-four exercises are asked of experts at full length, a few exercises an expert, each twice. In
one turn rows copy what they begin with alike (`models.engine.sharing`), in the next every row
computes its own prompt. The ratio is that of the medians over the turns.

    python bench/shared_prompt.py
    python bench/shared_prompt.py --model mini --experts 1,4

Prints a Markdown table; `--json` prints the same rows as one object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
from tables import table

from holdfast import load
from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.chat import message
from holdfast.evals.tasks.exercises import exercises
from holdfast.models.engine import batch
from holdfast.models.engine.request import Row
from holdfast.persona.experts import load_experts

SAMPLES = 2  # of an exercise


@contextmanager
def sharing(on: bool) -> Iterator[None]:
    """With `on` as it is; without, every row that joins computes its own prompt."""

    def apart(there: Sequence[Row], rows: Sequence[Row]) -> list[list[Row]]:
        return [sorted(rows, key=lambda row: (row.new, len(row.ids), row.index))]

    with patch.object(batch, "plan_waves", batch.plan_waves if on else apart):
        yield


def questions(experts: int, count: int) -> list[Ask]:
    """Exercises, each asked `SAMPLES` times, by turns of the first experts of core."""
    personas = [expert.prompt("full") for expert in load_experts("core")[:experts]]
    texts = [exercise.text for exercise in exercises(count // 8)][: count // SAMPLES]
    chats = [
        (message("system", personas[i % experts]), message("user", text))
        for i, text in enumerate(texts)
    ]
    return [Ask(chat, k, keep=False) for k, chat in enumerate(chats * SAMPLES)]


def measure(model: Backend, experts: int, args: argparse.Namespace) -> dict[str, object]:
    """Seconds of the same asks with sharing and without, in turns."""
    asks = questions(experts, args.asks)
    sampling = Sampling(args.max_new_tokens, 0.7)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    cached = 0
    for turn in range(1 + args.repeats):  # the first warms up
        for on in (True, False):
            model.forget()
            began = time.perf_counter()
            with sharing(on):
                replies = model.reply(asks, sampling)
            if turn:
                seconds[on].append(time.perf_counter() - began)
            cached = sum(reply.cached_tokens for reply in replies) if on else cached
    with_it, without = (statistics.median(seconds[on]) for on in (True, False))
    return {
        "experts": experts,
        "prompt tokens": sum(reply.prompt_tokens for reply in replies),
        "of them copied": cached,
        "shared, s": with_it,
        "each its own, s": without,
        "each / shared": without / with_it,
    }


def main() -> None:
    """Measure every number of experts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--model", default="smollm2")
    add("--experts", default="1,4,12", help="numbers of experts, with commas between")
    add("--asks", type=int, default=64)
    add("--max-new-tokens", type=int, default=16)
    add("--repeats", type=int, default=3)
    add("--threads", type=int, default=torch.get_num_threads())
    add("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load(args.model)
    rows = [measure(model, int(count), args) for count in args.experts.split(",")]
    if args.json:
        print(json.dumps({"model": args.model, "threads": args.threads, "rows": rows}))
    else:
        print(f"{args.model}, {args.threads} threads, torch {torch.__version__}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
