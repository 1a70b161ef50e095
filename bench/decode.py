"""What a control costs at decoding: seconds per step under it, against none.

A random Llama of 100M parameters continues prompts of 2,000 tokens that begin with a
persona of 256. Their keys and values are cached, so a call is one short prefill and then
`--steps` steps. Controls take turns, so that a slow moment of the machine hits all of them. The
ratio is that of the medians over the turns.

    python bench/decode.py
    python bench/decode.py --rows 1 --controls none,anchor --tokens 8000

Prints a Markdown table; `--json` prints the same rows as one object.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time

import torch
from reference import random_llama
from tables import table

from holdfast.control.steering import RowSteering
from holdfast.core.backend import Sampling
from holdfast.core.control import parse
from holdfast.models.engine.engine import Engine, Guide, Request
from holdfast.models.local.load import load

CONTROLS = "none,split-softmax:0.7,boost:4,spotlight:0.2,anchor,anchor+boost:4,guidance:1.5"
TEMPLATE, PERSONA, TURN = 8, 256, 100  # tokens


def request(text: str, tokens: int, seed: int, *, ragged: bool) -> Request:
    """A prompt of turns of `TURN` tokens (`ragged`: of up to a tenth fewer tokens in all)."""
    rng = random.Random(seed)
    length = tokens - (rng.randrange(tokens // 10) if ragged else 0)
    ids = tuple(rng.randrange(300, 1500) for _ in range(length))
    control, end = parse(text), TEMPLATE + PERSONA
    steering = None
    if control.steers:
        turns = tuple(range(end, length, TURN))
        steering = RowSteering(control, (TEMPLATE, end), (1, end), turns)
    guide = Guide(ids[end:], control.guidance) if control.guidance else None
    return Request(ids, seed, state=control.state, steering=steering, guide=guide)


def measure(args: argparse.Namespace) -> list[dict[str, object]]:
    backend = random_llama(load("mini"))
    engine = Engine(backend.engine.model, batch_size=2 * args.rows)
    sampling = Sampling(max_new_tokens=args.steps)
    names = args.controls.split(",")
    requests = {
        name: [request(name, args.tokens, i, ragged=args.ragged) for i in range(args.rows)]
        for name in names
    }
    for name in names:  # fills the cache, and warms up
        engine.generate(requests[name], sampling)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(args.repeats):
        for name in names:
            began = time.perf_counter()
            engine.generate(requests[name], sampling)
            times[name].append((time.perf_counter() - began) / args.steps)
    base = statistics.median(times[names[0]])
    return [
        {
            "control": name,
            "ms per step": 1e3 * statistics.median(spent),
            f"of {names[0]}": statistics.median(spent) / base,
        }
        for name, spent in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--controls", default=CONTROLS, help="the first is what the others are divided by")
    add("--rows", type=int, default=4)
    add("--ragged", action="store_true", help="rows of different lengths, hence padded")
    add("--tokens", type=int, default=2000)
    add("--steps", type=int, default=16)
    add("--repeats", type=int, default=7)
    add("--threads", type=int, default=torch.get_num_threads())
    add("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = measure(args)
    what = "ragged" if args.ragged else "even"
    print(
        json.dumps({"threads": args.threads, "rows": rows})
        if args.json
        else f"{args.rows} {what} rows of {args.tokens} tokens, {args.threads} threads, "
        f"torch {torch.__version__}\n\n{table(rows)}"
    )


if __name__ == "__main__":
    main()
