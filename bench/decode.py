"""What a control costs at decoding: seconds per step under it, against none.

A random Llama of 100M parameters continues prompts of 2,000 tokens that begin with a
persona of 256. Their keys and values are cached, so a call is one short prefill and then
`--steps` steps. Controls take turns, so that a slow moment of the machine hits all of them. The
ratio is that of the medians over the turns. With `--measure` every control takes a second turn in
which the prompt share is recorded, as the server does, and `measuring` is what that costs: the
median over the turns of that turn's ratio to the one without.

    python bench/decode.py
    python bench/decode.py --measure --dtype bfloat16 --controls none,split-softmax:0.7,anchor
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
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.request import Guide, Request, Spans
from holdfast.models.local.load import load

CONTROLS = (
    "none,split-softmax:0.7,boost:4,spotlight:0.2,anchor,anchor+boost:4,restore:1,anchor+restore:1,"
    "guidance:1.5"
)
TEMPLATE, PERSONA, TURN = 8, 256, 100  # tokens


def request(text: str, tokens: int, seed: int, *, ragged: bool, measure: bool) -> Request:
    """A prompt of turns of `TURN` tokens (`ragged`: of up to a tenth fewer tokens in all)."""
    rng = random.Random(seed)
    length = tokens - (rng.randrange(tokens // 10) if ragged else 0)
    ids = tuple(rng.randrange(300, 1500) for _ in range(length))
    control, end = parse(text), TEMPLATE + PERSONA
    steering = None
    if control.steers:
        turns = tuple(range(end, length, TURN))
        replies = tuple(at + TURN // 2 for at in turns)
        steering = RowSteering(control, (TEMPLATE, end), (1, end), turns, replies)
    guide = Guide(ids[end:], control.guidance) if control.guidance else None
    return Request(
        ids,
        seed,
        state=control.state,
        steering=steering,
        guide=guide,
        spans=Spans((TEMPLATE, end), (1, end)),
        measure=measure,
        plain_share=False,
    )


def measure(args: argparse.Namespace) -> list[dict[str, object]]:
    backend = random_llama(load("mini"))
    dtype = getattr(torch, args.dtype)
    engine = Engine(backend.engine.model.to(dtype), batch_size=2 * args.rows)
    sampling = Sampling(max_new_tokens=args.steps)
    clock = time.process_time if args.processor else time.perf_counter
    names = args.controls.split(",")
    turns = [(name, measured) for name in names for measured in ((False, True)[: 1 + args.measure])]
    requests = {
        (name, measured): [
            request(name, args.tokens, i, ragged=args.ragged, measure=measured)
            for i in range(args.rows)
        ]
        for name, measured in turns
    }
    for turn in turns:  # fills the cache, and warms up
        engine.generate(requests[turn], sampling)
    times: dict[tuple[str, bool], list[float]] = {turn: [] for turn in turns}
    for _ in range(args.repeats):
        for turn in turns:
            began = clock()
            engine.generate(requests[turn], sampling)
            times[turn].append((clock() - began) / args.steps)
    base = statistics.median(times[names[0], False])
    rows: list[dict[str, object]] = []
    for name in names:
        plain = times[name, False]
        row: dict[str, object] = {
            "control": name,
            "ms per step": 1e3 * statistics.median(plain),
            f"of {names[0]}": statistics.median(plain) / base,
        }
        if args.measure:
            pairs = zip(times[name, True], plain, strict=True)
            row["measuring"] = statistics.median(a / b for a, b in pairs)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--controls", default=CONTROLS, help="the first is what the others are divided by")
    add("--rows", type=int, default=4)
    add("--ragged", action="store_true", help="rows of different lengths, hence padded")
    add("--tokens", type=int, default=2000)
    add("--steps", type=int, default=16)
    add("--repeats", type=int, default=7)
    add("--dtype", default="float32", choices=("float32", "bfloat16"))
    add("--processor", action="store_true", help="processor time, where the machine is busy")
    add("--measure", action="store_true", help="what recording the prompt share costs")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = measure(args)
    what = "ragged" if args.ragged else "even"
    print(
        json.dumps({"threads": args.threads, "dtype": args.dtype, "rows": rows})
        if args.json
        else f"{args.rows} {what} rows of {args.tokens} tokens, {args.dtype}, "
        f"{args.threads} threads, torch {torch.__version__}\n\n{table(rows)}"
    )


if __name__ == "__main__":
    main()
