"""What a gate and an adapter cost at inference: the same batch with them and without.

The adapter and the gate have random weights, which costs the same. The sides take turns:

- *base*: the model alone;
- *off*: the gate reads every prompt and switches the adapter on for none;
- *half*, *on*: the same, and on for every second row, or for all.

    python bench/prism.py
    python bench/prism.py --model Qwen/Qwen3-0.6B --rows 8 --tokens 512

The model is `mini`, a Llama of 100M random parameters (`--model random-100M`), or any other
Llama-like model. Prints a Markdown table of medians, and of the ratios at each turn.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from functools import partial

import torch
from reference import random_llama
from tables import table

from holdfast.core.backend import Sampling
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.request import Request
from holdfast.models.local import gate
from holdfast.models.local.load import load
from holdfast.models.local.lora import Lora, RowLora
from holdfast.training.prism.distillation import linear_names


def lora(model: torch.nn.Module, rank: int = 16) -> Lora:
    """A LoRA with random matrices on all seven projections of layers 1 and up."""
    matrices, names = {}, linear_names(model, "layers")
    for path, module in model.named_modules():
        if path.split(".")[-1] in names and ".layers.0." not in path:
            outputs, inputs = module.weight.shape
            matrices[path] = torch.randn(rank, inputs) / 100, torch.randn(outputs, rank) / 100
    return Lora(matrices, 2.0)


def call_with_gate(
    engine: Engine, rows: RowLora, requests: list[Request], sampling: Sampling, on: str
) -> None:
    """One call in which the gate reads layer 0, and `on` overrules its decision."""
    gate.compute_features(engine.model, [request.ids for request in requests])
    switches = [on == "on" or (on == "half" and i % 2 == 0) for i in range(len(requests))]
    engine.adapters = {"on": rows}
    engine.generate(
        [
            Request(r.ids, r.seed, keep=False, adapter="on" if a else "", state="on" if a else "")
            for r, a in zip(requests, switches, strict=True)
        ],
        sampling,
    )
    engine.adapters = {}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=64, help="tokens generated")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    name = args.model
    backend = random_llama(load("mini")) if name == "random-100M" else load(name)
    engine = Engine(backend.engine.model, batch_size=args.rows)
    rows = RowLora(engine.model, lora(engine.model))
    rng = random.Random(0)
    requests = [
        Request(tuple(rng.randrange(300, 1500) for _ in range(args.prompt)), i, keep=False)
        for i in range(args.rows)
    ]
    sampling = Sampling(max_new_tokens=args.tokens)
    sides = {
        "base": partial(engine.generate, requests, sampling),
        "off": partial(call_with_gate, engine, rows, requests, sampling, "off"),
        "half": partial(call_with_gate, engine, rows, requests, sampling, "half"),
        "on": partial(call_with_gate, engine, rows, requests, sampling, "on"),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(args.repeats + 1):
        for side, run in sides.items():
            began = time.perf_counter()
            run()
            if turn:  # the first warms up
                seconds[side].append(time.perf_counter() - began)
    print(
        f"{name}, {args.rows} rows of {args.prompt} + {args.tokens} tokens, {args.threads} "
        f"threads, torch {torch.__version__}\n"
    )
    print(
        table(
            [
                {
                    "adapter": side,
                    "ms": 1000 * statistics.median(times),
                    "of base": statistics.median(
                        a / b for a, b in zip(times, seconds["base"], strict=True)
                    ),
                }
                for side, times in seconds.items()
            ]
        )
    )


if __name__ == "__main__":
    main()
