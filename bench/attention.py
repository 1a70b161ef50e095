"""Two-part attention against what it replaces, on random tensors.

The geometry is that of an 8B model: 32 heads of 128 on 8 key heads. A persona of 256
tokens stands after 8 template tokens; queries are the last of the sequence, one
(decoding) or 256 (a prefill). Measured side by side, taking turns:

- *fused*: `scaled_dot_product_attention`, grouped heads, which knows no persona;
- *two-part*: `two_part_attention` under split-softmax, on the same tensors;
- *matrix*: the attention matrix made, reweighted after its softmax, and applied;
- *padded*: two-part again, where rows begin at different columns, against fused with
  the same padding masked.

    python bench/attention.py
    python bench/attention.py --device cuda --keys 2048,8192,32768 --dtypes bfloat16

Prints a Markdown table of milliseconds and ratios; `--json` the same as one object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from tables import table
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from holdfast.attention import SplitSoftmax, plain_weights, two_part_attention
from holdfast.kernels import applied

TEMPLATE, PERSONA = 8, 256
HEADS, GROUPS, SIZE = 32, 8, 128
SHARE = SplitSoftmax(0.7)


def case(
    keys: int, queries: int, args: argparse.Namespace, dtype: torch.dtype
) -> dict[str, object]:
    """Medians of one size, and their ratios."""
    rows, device = args.rows, args.device
    make = torch.Generator(device).manual_seed(0)

    def drawn(heads: int, tokens: int) -> Tensor:
        shape = (rows, heads, tokens, SIZE)
        return torch.randn(shape, generator=make, device=device).to(dtype)

    query, key, value = drawn(HEADS, queries), drawn(GROUPS, keys), drawn(GROUPS, keys)
    at = torch.arange(keys, device=device)
    place = torch.arange(keys - queries, keys, device=device)[:, None]
    # One query sees everything, and needs no mask.
    mask = (at <= place)[None, None] if queries > 1 else None
    pads = torch.arange(rows, device=device)[:, None] * 5
    span = ((at >= TEMPLATE) & (at < TEMPLATE + PERSONA)).expand(rows, keys)
    late = (at >= TEMPLATE + pads) & (at < TEMPLATE + PERSONA + pads)
    seen = (at >= pads)[:, None, None] & ((at <= place)[None, None] if queries > 1 else True)
    took = interleaved(
        {
            "fused": lambda: scaled_dot_product_attention(query, key, value, mask, enable_gqa=True),
            "two-part": lambda: two_part_attention(query, key, value, span, SHARE, mask)[0],
            "matrix": lambda: applied(
                plain_weights(query, key, mask, None, span, SHARE)[0].to(dtype), value
            ),
            "fused, padded": lambda: scaled_dot_product_attention(
                query, key, value, seen, enable_gqa=True
            ),
            "two-part, padded": lambda: two_part_attention(query, key, value, late, SHARE, seen)[0],
        },
        args.repeats,
        device,
    )
    return {
        "keys": keys,
        "queries": queries,
        "dtype": str(dtype).removeprefix("torch."),
        **{f"{name}, ms": 1e3 * took[name] for name in ("fused", "two-part", "matrix")},
        "two-part / fused": took["two-part"] / took["fused"],
        "matrix / two-part": took["matrix"] / took["two-part"],
        "padded / fused": took["two-part, padded"] / took["fused, padded"],
    }


def interleaved(
    sides: Mapping[str, Callable[[], Tensor]], repeats: int, device: str
) -> dict[str, float]:
    """The median seconds of each side, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 2):
        for name, run in sides.items():
            began = time.perf_counter()
            _ = run()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            if turn > 1:  # the first two warm up
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(spent) for name, spent in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--keys", default="2048,8192")
    add("--queries", default="1,256")
    add("--dtypes", default="float32,bfloat16")
    add("--rows", type=int, default=2)
    add("--repeats", type=int, default=15)
    add("--device", default="cpu")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        found = [
            case(int(keys), int(queries), args, getattr(torch, dtype))
            for keys in args.keys.split(",")
            for queries in args.queries.split(",")
            for dtype in args.dtypes.split(",")
        ]
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device
    setting = f"{where}, {args.threads} threads, {args.rows} rows, torch {torch.__version__}"
    print(json.dumps({"setting": setting, "rows": found}) if args.json else setting)
    if not args.json:
        print("\n" + table(found))


if __name__ == "__main__":
    main()
