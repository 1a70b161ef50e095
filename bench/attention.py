"""Two-part attention against what it replaces, on random tensors.

The geometry is that of an 8B model: 32 heads of 128 on 8 key heads. A persona of 256
tokens follows 8 template tokens; the queries are the last tokens of the sequence, one
(decoding) or 256 (a prefill). The contenders take turns:

- *fused*: `scaled_dot_product_attention`, grouped heads, which has no persona;
- *two-part*: `two_part_attention` under split-softmax, on the same tensors and mask;
- *matrix*: the attention matrix reweighted after its softmax, as a hook on transformers'
  `eager` attention does it (heads repeated, softmax in float32, a mask for the span);
- *in place*: the same without needless copies, and with a slice as the span;
- *padded*: two-part again, where rows begin at different columns, against fused with
  the same padding masked.

On CUDA also *slices*: two-part attention without a mask, as in the prefill of a whole prompt,
against the flash kernel that SDPA uses for a causal mask that ends at the last key.

    python bench/attention.py
    python bench/attention.py --device cuda --keys 2048,8192,32768 --dtypes bfloat16

Prints a Markdown table: medians in milliseconds, and medians of the ratio of two contenders at
each turn. `--json` prints the same as one object. Outputs are compared first, so that no contender
is fast because it computes something else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch
from tables import table
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

from holdfast.control.attention import Queries, sliced_attention, two_part_attention
from holdfast.control.kernels import additive_mask
from holdfast.control.share_functions import SplitSoftmax

TEMPLATE, PERSONA = 8, 256
HEADS, GROUPS, SIZE = 32, 8, 128
SHARE, OFF = SplitSoftmax(0.7), SplitSoftmax(1.0)
Contenders = dict[str, Callable[[SplitSoftmax], Tensor]]


def case(
    keys: int, queries: int, args: argparse.Namespace, dtype: torch.dtype
) -> dict[str, object]:
    """Medians of one size, and their ratios."""
    entries = contenders(keys, queries, args, dtype)
    for name, against in AGAINST.items():
        if name in entries:
            torch.testing.assert_close(
                entries[name](OFF), entries[against](OFF), atol=2e-2, rtol=2e-2
            )
    seconds = time_in_turns(entries, args.repeats, args.device)
    ratios = {
        f"{a} / {b}": statistics.median(x / y for x, y in zip(seconds[a], seconds[b], strict=True))
        for a, b in RATIOS
        if a in seconds
    }
    print(f"{keys} keys, {queries} queries, {dtype}: {ratios}", file=sys.stderr)
    return {
        "keys": keys,
        "queries": queries,
        "dtype": str(dtype).removeprefix("torch."),
        **{f"{name}, ms": 1e3 * statistics.median(times) for name, times in seconds.items()},
        **ratios,
    }


# What each contender replaces; with the share function off, their outputs are equal.
AGAINST = {
    "two-part": "fused",
    "matrix": "fused",
    "in place": "fused",
    "padded": "fused, padded",
    "slices": "flash",
}
RATIOS = (
    ("two-part", "fused"),
    ("matrix", "two-part"),
    ("in place", "two-part"),
    ("padded", "fused, padded"),
    ("slices", "flash"),
)


def contenders(keys: int, queries: int, args: argparse.Namespace, dtype: torch.dtype) -> Contenders:
    """The contenders by name; each computes its attention once, under a share if it can."""
    rows, device = args.rows, args.device
    make = torch.Generator(device).manual_seed(0)

    def random_tensor(heads: int, tokens: int) -> Tensor:
        shape = (rows, heads, tokens, SIZE)
        return torch.randn(shape, generator=make, device=device).to(dtype)

    query, key, value = (
        random_tensor(HEADS, queries),
        random_tensor(GROUPS, keys),
        random_tensor(GROUPS, keys),
    )
    at = torch.arange(keys, device=device)
    causal = (at <= torch.arange(keys - queries, keys, device=device)[:, None])[None, None]
    bias = additive_mask(causal, query)
    mask = causal if queries > 1 else None  # one query sees everything, and needs none
    pads = torch.arange(rows, device=device)[:, None] * 5
    span = ((at >= TEMPLATE) & (at < TEMPLATE + PERSONA)).expand(rows, keys)
    late = (at >= TEMPLATE + pads) & (at < TEMPLATE + PERSONA + pads)
    visible = (at >= pads)[:, None, None] & causal

    def attend(mask: Tensor | None) -> Tensor:
        return scaled_dot_product_attention(query, key, value, mask, enable_gqa=True)

    def two_part(span: Tensor, share: SplitSoftmax, mask: Tensor | None) -> Tensor:
        return two_part_attention(query, key, value, span, share, mask)[0]

    entries: Contenders = {
        "fused": lambda _: attend(mask),
        "two-part": lambda share: two_part(span, share, mask),
        "matrix": lambda share: matrix(query, key, value, span, share, bias),
        "in place": lambda share: in_place(query, key, value, share, mask),
        "fused, padded": lambda _: attend(visible),
        "padded": lambda share: two_part(late, share, visible),
    }
    if device.startswith("cuda"):
        columns = TEMPLATE, TEMPLATE + PERSONA
        ending = causal_lower_right(queries, keys) if queries > 1 else None
        entries["flash"] = lambda _: attend(ending)
        entries["slices"] = lambda share: sliced_attention(
            Queries(query, query), key, value, columns, share, causal=True
        )[0]
    return entries


def matrix(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    span: Tensor,
    share: SplitSoftmax,
    bias: Tensor | None,
) -> Tensor:
    """The reweighted matrix, after `eager_attention_forward` of transformers' models."""
    key, value = (x.repeat_interleave(HEADS // GROUPS, 1) for x in (key, value))
    scores = query @ key.transpose(-1, -2) * SIZE**-0.5
    scores = scores if bias is None else scores + bias
    weights = scores.softmax(-1, dtype=torch.float32)
    inside = span[:, None, None]
    pi = (weights * inside).sum(-1, keepdim=True)
    w = share(pi)
    weights = weights * torch.where(inside, w / pi, (1 - w) / (1 - pi))
    out: Tensor = weights.to(query.dtype) @ value
    return out


def in_place(
    query: Tensor, key: Tensor, value: Tensor, share: SplitSoftmax, mask: Tensor | None
) -> Tensor:
    """The reweighted matrix without needless copies."""
    rows, heads, queries, size = query.shape
    products = query.reshape(rows, key.shape[1], -1, size) @ key.transpose(-1, -2)
    scores = products.reshape(rows, heads, queries, -1).mul_(size**-0.5)
    if mask is not None:
        scores = scores.masked_fill_(~mask, -torch.inf)
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    persona = weights[..., TEMPLATE : TEMPLATE + PERSONA]
    pi = persona.sum(-1, dtype=torch.float32)
    w = share(pi)
    up, down = (x[..., None].to(query.dtype) for x in (w / pi, (1 - w) / (1 - pi)))
    persona.mul_(up)
    weights[..., :TEMPLATE].mul_(down)
    weights[..., TEMPLATE + PERSONA :].mul_(down)
    out = weights.reshape(rows, key.shape[1], -1, key.shape[2]) @ value
    return out.reshape(rows, heads, queries, size)


def time_in_turns(
    entries: Mapping[str, Callable[[SplitSoftmax], Tensor]], repeats: int, device: str
) -> dict[str, list[float]]:
    """Seconds of each contender at each turn; they take turns in order."""
    times: dict[str, list[float]] = {name: [] for name in entries}
    for turn in range(repeats + 2):
        for name, run in entries.items():
            began = time.perf_counter()
            _ = run(SHARE)
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            if turn > 1:  # the first two warm up
                times[name].append(time.perf_counter() - began)
    return times


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
        rows = [
            case(int(keys), int(queries), args, getattr(torch, dtype))
            for keys in args.keys.split(",")
            for queries in args.queries.split(",")
            for dtype in args.dtypes.split(",")
        ]
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device
    setting = f"{where}, {args.threads} threads, {args.rows} rows, torch {torch.__version__}"
    print(json.dumps({"setting": setting, "rows": rows}) if args.json else setting)
    if not args.json:
        print("\n" + table(rows))


if __name__ == "__main__":
    main()
