"""A bench for ideas: one control against none on a real model, in minutes, paired by seeds.

    python studies/edge.py --model qwen-coder-05b --control restore:1 --quick --json
    python studies/edge.py --model smollm2 --control ideas.py:sharper --out DIR

Screened personas talk for a few rounds, once under no control and once under this one, with the
same users, starters, probes and seeds. After the last round the model is asked on branches to
recall what the user said (and core's other kinds of questions). Personas and seeds of development
and of confirmation are apart (`edge.toml`); whoever tries ideas stays with development.

A control is text, as everywhere, or `FILE.py:NAME`, a share function of one's own:

    def sharper(pi, layer):        # π (B, H, Lq) of a layer, to w of the same shape
        return pi ** 0.5

Prints `{control, stability, none, recall, recall_none, kept}`: the mean judge score over rounds 1
to R under the control and under none, the share of recall questions answered right, and `kept`,
the control's stability over round 0's. --out keeps the run, its page, and `changed.jsonl`, the
probe answers whose score changed most. A run of the same options resumes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fetch import MODELS, fetch
from torch import Tensor

from holdfast.control.steered_pass import SteeredPass
from holdfast.core.backend import Backend, Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.stats import mean, numbers
from holdfast.evals.compare.compare import Comparison, compare
from holdfast.models.load import load
from holdfast.persona.suite import Persona, Suite, load_suite
from holdfast.results.compare import ComparedConversation, ControlRow

CARRIER = "boost:1.0000001"
"""The control whose share function a function of one's own replaces."""
SEEDS = {"development": 100, "confirmation": 200}
PERSONAS: dict[str, dict[str, list[str]]] = tomllib.loads(
    Path(__file__).with_name("edge.toml").read_text(encoding="utf-8")
)
Row = dict[str, Any]


def main() -> None:
    """Run a control and print what it keeps."""
    options = _parser().parse_args()
    try:
        row = edge(options)
    except HoldfastError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(row) if options.json else "\n".join(f"{k}: {v}" for k, v in row.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="One control against none on a real model.")
    parser.add_argument("--model", default="qwen-coder-05b")
    parser.add_argument("--control", required=True, help="its text, or FILE.py:NAME")
    parser.add_argument("--pairs", type=int, default=24, help="conversations")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--part", choices=SEEDS, default="development")
    parser.add_argument("--seed", type=int, help="by default the part's own")
    quick = "12 conversations of 3 rounds, a probe each"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--out", type=Path, help="folder of the run; by default nothing is written")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def edge(options: argparse.Namespace) -> Row:
    """Measure a control beside none; what `main` prints."""
    pairs, rounds, runs = options.pairs, options.rounds, 2
    if options.quick:
        pairs, rounds, runs = 12, 3, 1
    model = open_model(options.model)
    with register_control(options.control) as control:
        comparison = compare(
            model,
            controls=["none", control],
            suite=load_suite("core"),
            persona=screen_personas(options.model, options.part),
            pairs=pairs,
            rounds=rounds,
            runs=runs,
            seed=SEEDS[options.part] if options.seed is None else options.seed,
            sampling=Sampling(max_new_tokens=80, temperature=0.7),
            out=options.out,
            progress=Progress(enabled=True),
        )
    if options.out:
        write_changed(options.out / "changed.jsonl", comparison, control)
    return summarise(options.control, control, comparison)


def open_model(name: str) -> Backend:
    """A model of `models.toml`, or any that `holdfast.load` takes."""
    return load(str(fetch(name)) if name in MODELS else name)


def screen_personas(model: str, part: str) -> Suite:
    """The personas of core that a model holds at round 0, of one part."""
    if model not in PERSONAS:
        raise HoldfastError(
            f"edge.toml has no personas for {model}: it has those of {', '.join(PERSONAS)}."
        )
    core, ids = load_suite("core"), PERSONAS[model][part]
    by_id: dict[str, Persona] = {persona.id: persona for persona in core.personas}
    missing = [one for one in ids if one not in by_id]
    if missing:
        raise HoldfastError(f"core has no {', '.join(missing)}: screen again, and mend edge.toml.")
    return Suite(f"core-{part}", tuple(by_id[one] for one in ids), core.starters, core.fillers)


@contextmanager
def register_control(control: str) -> Iterator[str]:
    """A control's text; for a function of one's own, a text that stands for it in the block."""
    file, colon, name = control.rpartition(":")
    if not colon or not file.endswith(".py"):
        yield control
        return
    with in_place_of_shares(_function(Path(file), name)) as text:
        yield text


@contextmanager
def in_place_of_shares(function: Callable[[Tensor, int], Tensor]) -> Iterator[str]:
    """A control's text that stands for a function of π and the layer in the block."""

    def share(self: SteeredPass, layer: int) -> Callable[[Tensor], Tensor]:
        return lambda pi: function(pi, layer)

    with with_share(share):
        yield CARRIER


@contextmanager
def with_share(share: Callable[[SteeredPass, int], Any]) -> Iterator[None]:
    """Within the block `share` is the method that gives a layer's share function."""
    own = SteeredPass.share
    SteeredPass.share = share  # type: ignore[method-assign]
    try:
        yield
    finally:
        SteeredPass.share = own  # type: ignore[method-assign]


def _function(file: Path, name: str) -> Callable[[Tensor, int], Tensor]:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.exists():
        raise HoldfastError(f"there is no {file}: give a control's text, or FILE.py:NAME.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[[Tensor, int], Tensor] | None = getattr(module, name, None)
    if function is None:
        raise HoldfastError(f"{file} has no {name}: name one of its functions.")
    return function


def summarise(name: str, control: str, comparison: Comparison) -> Row:
    """Stability and recall of both, and what the control keeps of round 0."""
    rows = {row.control: row for row in comparison.rows}
    none, other = rows["none"], rows[control]
    ceiling = _ceiling(comparison)
    return {
        "control": name,
        "stability": other.stability,
        "none": none.stability,
        "recall": _recall(other),
        "recall_none": _recall(none),
        "kept": numbers(np.divide(other.stability or 0.0, ceiling)) if ceiling else None,
        "ceiling": numbers(np.float64(ceiling)),
        "delta_interval": other.delta_interval,
        "late": other.late_stability,
        "late_none": none.late_stability,
        "capability": dict(other.capability_by_kind),
        "capability_none": dict(none.capability_by_kind),
        "time": other.relative_ms_per_token,
        "n": other.n,
    }


def _recall(row: ControlRow) -> float | None:
    return row.capability_by_kind.get("recall")


def _own(conversation: ComparedConversation, control: str) -> Iterator[tuple[int, int, Any]]:
    """The agent's own probe answers, each with its round and its number in the round."""
    for at in conversation.controls[control].rounds:
        own = [answer for answer in at.probes if answer.arm == "own"]
        yield from ((at.round, run, answer) for run, answer in enumerate(own))


def _ceiling(comparison: Comparison) -> float:
    """The mean score at round 0 under none."""
    scores = [
        answer.score
        for conversation in comparison.conversations
        for r, _, answer in _own(conversation, "none")
        if r == 0
    ]
    return float(mean(np.array(scores, float)))


def write_changed(path: Path, comparison: Comparison, control: str) -> None:
    """Write the probe answers whose score a control changed, the largest changes first."""
    changes = []
    for conversation in comparison.conversations:
        none = {(r, run): answer for r, run, answer in _own(conversation, "none")}
        for r, run, answer in _own(conversation, control):
            before = none.get((r, run))
            if before is not None and r and before.score != answer.score:
                changes.append(
                    {
                        "agent": conversation.agent.id,
                        "round": r,
                        "probe": answer.probe,
                        "none": before.answer,
                        "none_score": before.score,
                        "control": answer.answer,
                        "control_score": answer.score,
                    }
                )
    changes.sort(key=lambda one: -abs(one["control_score"] - one["none_score"]))
    lines = (json.dumps(one, ensure_ascii=False) for one in changes)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
