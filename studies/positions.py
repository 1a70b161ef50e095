"""Is mini's drift a matter of distances at which it never saw a persona?

Training shows `mini` a persona for one to three rounds only, so that in the eighth round the
persona stands further back than it ever did. `anchor` moves it near again: its gain may be the
repair of that, and of nothing else. So the shipped weights are trained on for a few hundred
steps, each variant from the same start, with the same number of steps and tokens:

    shipped    not at all
    control    the same mixture
    gaps       the same dialogues, those under a persona with random gaps in their positions
               before each round, up to 1,000 in all: every distance has been seen, no long
               conversation has
    long       dialogues under a persona of 1–8 rounds, as long as those without
    longer     … of 1–16 rounds
    base       the same mixture, rotary base 100,000 in place of 10,000
    linear     the same mixture, positions divided by 4 (position interpolation)

and none, anchor and reminder:1 are measured on each. Where anchor's gain goes once distances
(`gaps`) or long conversations (`long`, `longer`) are known, that is what it was.

    python studies/positions.py --out DIR
    python studies/positions.py --out DIR --variants control,gaps --steps 200 --pairs 40

Weights go to DIR, one folder a variant, and a variant that is there is not trained again.
Prints JSON lines: rows, and each variant's gain beside the control's.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mini_train as train
import torch
from arms import Arm, Case, by_conversation, rows
from mini_dialogue import dialogue
from mini_tokenizer import SPECIAL
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from holdfast.core.chat import Chat
from holdfast.core.errors import RunError
from holdfast.core.records import dumps
from holdfast.core.seeds import seed_of
from holdfast.core.stats import Array, mean, numbers
from holdfast.evals.conversation.curves import sample_of
from holdfast.models.local import files
from holdfast.models.local.backend import LocalBackend
from holdfast.persona.suite import load_suite

CONTROLS = ("none", "anchor", "reminder:1")
REACH = 1000  # positions that gaps add up to at most
_SYSTEM, _USER = SPECIAL.index("<|system|>"), SPECIAL.index("<|user|>")


@dataclass(frozen=True)
class Variant:
    """A way to train on: how long dialogues under a persona are, gaps, and the rotary embedding."""

    under_prompt: tuple[int, int] = (1, 3)
    gaps: bool = False
    rope: Mapping[str, Any] | None = None

    def dialogue(self, rng: random.Random) -> Chat:
        return dialogue(rng, self.under_prompt)


VARIANTS: Mapping[str, Variant | None] = {
    "shipped": None,
    "control": Variant(),
    "gaps": Variant(gaps=True),
    "long": Variant((1, 8)),
    "longer": Variant((1, 16)),
    "base": Variant(rope={"rope_type": "default", "rope_theta": 100_000.0}),
    "linear": Variant(rope={"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}),
}


def recipe(steps: int) -> train.TrainingSettings:
    """Smaller steps than the first training's, and a lower rate."""
    widths = (*train.TrainingSettings.widths, 512)
    return train.TrainingSettings(
        seed=1,
        steps=steps,
        cosine=steps,
        tokens=3072,
        parts=2,
        widths=widths,
        learning_rate=5e-4,
        warmup=20,
    )


def draw_positions(ids: Tensor, rng: random.Random) -> Tensor:
    """Positions (B, W) of dialogues, with a gap before each user turn of those under a persona.

    A row's gaps add up to a number drawn from 0 to REACH, shared out at random.
    """
    positions = torch.arange(ids.shape[1]).repeat(len(ids), 1)
    for row in range(len(ids)):
        if _SYSTEM not in ids[row]:
            continue
        turns = (ids[row] == _USER).nonzero().flatten().tolist()
        shares = [rng.expovariate(1) for _ in turns]
        whole = rng.randint(0, REACH) / (sum(shares) or 1)
        for turn, share in zip(turns, shares, strict=True):
            positions[row, turn:] += round(share * whole)
    return positions


def train_variant(
    start: Path, tokenizer: PreTrainedTokenizerFast, variant: Variant, steps: int
) -> LlamaForCausalLM:
    """The weights in `start`, trained on."""
    r, rng = recipe(steps), random.Random(seed_of("gaps"))
    config = AutoConfig.from_pretrained(start)
    if variant.rope is not None:
        config.rope_parameters = dict(variant.rope)
    torch.manual_seed(r.seed)
    model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(start, config=config)
    model.train()
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=r.learning_rate, betas=(0.9, 0.95), weight_decay=r.weight_decay
    )
    for step, parts in enumerate(train.batches(tokenizer, r, draw=variant.dialogue)):
        if step == steps:
            break
        for group in optimiser.param_groups:
            group["lr"] = train.rate(r, step)
        loss = 0.0
        tokens = sum(int((labels[:, 1:] != -100).sum()) for _, labels in parts)
        for ids, labels in parts:
            positions = draw_positions(ids, rng) if variant.gaps else None
            part = _loss(model, ids, labels, positions) / tokens
            part.backward()
            loss += part.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), r.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {loss:.3f}", file=sys.stderr, flush=True)
    return model


def _loss(model: LlamaForCausalLM, ids: Tensor, labels: Tensor, positions: Tensor | None) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(ids, position_ids=positions).logits
    return F.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
    )


def folder(name: str, start: Path, steps: int, out: Path) -> Path:
    """Where the variant's weights are; trains them if they are not there yet."""
    variant = VARIANTS[name]
    if variant is None:
        return start
    at, note = out / name, out / name / "variant.json"
    record = json.loads(dumps({"variant": asdict(variant), "recipe": asdict(recipe(steps))}))
    record["start"] = files.hash_files(str(start))
    if note.exists():
        if json.loads(note.read_text(encoding="utf-8")) != record:
            raise RunError(f"{at} holds weights of another start or recipe; choose another --out")
        return at
    began = time.monotonic()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
    train.save(train_variant(start, tokenizer, variant, steps), tokenizer, at)
    print(f"{name}: trained in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    note.write_text(dumps(record) + "\n", encoding="utf-8")
    return at


def backend_of(at: Path, name: str) -> LocalBackend:
    model = LlamaForCausalLM.from_pretrained(at)
    return LocalBackend(model, PreTrainedTokenizerFast.from_pretrained(at), name)


def gains(by_variant: Mapping[str, Sequence[Arm]], case: Case) -> list[dict[str, Any]]:
    """Each variant's gain by anchor, overall and late, and how it differs from control's."""
    sample = sample_of(case.conversations)
    lines = []
    for name, arms in by_variant.items():
        line: dict[str, Any] = {"part": "gain", "variant": name}
        for what in ("stability", "late"):
            own, reference = (_gain(of, what) for of in (arms, by_variant.get("control", arms)))
            line[what] = numbers(mean(own))
            line[f"{what}_interval"] = numbers(sample.mean_interval(own))
            line[f"{what}_beyond_control"] = numbers(mean(own - reference))
            line[f"{what}_beyond_control_interval"] = numbers(sample.mean_interval(own - reference))
        lines.append(line)
    return lines


def _gain(arms: Sequence[Arm], what: str) -> Array:
    none, anchor = (by_conversation(arms[CONTROLS.index(c)], what) for c in ("none", "anchor"))
    return anchor - none


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--start", default="mini", help="the weights that are trained on")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    suite, start = load_suite("mini"), Path(files.find_source(options.start).path)
    names = options.variants.split(",")
    case = Case.of(suite, suite.personas, options.pairs, options.rounds, options.seed)
    by_variant: dict[str, list[Arm]] = {}
    for name in names:
        backend = backend_of(folder(name, start, options.steps, options.out), name)
        by_variant[name] = [case.hold(c, backend, backend, control=c) for c in CONTROLS]
        for row in rows(by_variant[name], case.conversations):
            print(dumps({"part": "rows", "variant": name, **row}), flush=True)
    for line in gains(by_variant, case):
        print(dumps(line), flush=True)


if __name__ == "__main__":
    main()
