"""Every control on mini, settings chosen on some conversations and reported on others.

1. `develop`: the default set of `holdfast compare` on development conversations (seed 100)
   chooses one setting of each family, window, reminder, guidance, split-softmax, boost and
   spotlight: of those whose capability is at most .05 below none's, the one with the highest
   stability (`arms.choose`).
2. `measure --seed S`: the settings chosen and the fixed rows, on other conversations, over
   lengths of 2 to 16 rounds, capability asked at each. One process a seed, so two seeds can
   run side by side.
3. `report`: the seeds pooled, conversation by conversation, with intervals as everywhere
   (`arms.rows`: personas recur, so they are resampled), each seed's own values, and the
   same by length of the agent's prompt. Prints JSON and fills the tables of a page.

    python studies/controls.py develop --out DIR
    python studies/controls.py measure --out DIR --seed 1        # and 2, and 3
    python studies/controls.py report --out DIR --page docs/studies/controls.md

Each step resumes: a run folder of `holdfast compare` holds what it has done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pages
from arms import DEVELOPMENT, Arm, choose, rows

from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import as_record, dumps
from holdfast.evals.compare.compare import Comparison, compare
from holdfast.evals.compare.settings import DEFAULT_CONTROLS
from holdfast.evals.conversation.judging import scores
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.models import load as models
from holdfast.models.mini.world import world
from holdfast.persona.suite import load_suite
from holdfast.results.compare import CapabilityAnswer, ConversationUnderControl

Row = dict[str, Any]
LENGTHS = (2, 4, 8, 16)
FAMILIES = ("window", "reminder", "guidance", "split-softmax", "boost", "spotlight")
FIXED_CONTROLS = (
    "none",
    "window:1",
    "window:3",
    "reminder:1",
    "anchor",
    "anchor@span=content",
    "anchor+reminder:0.5",
)
LENGTH_NAMES = ("minimal", "half", "full")  # of prompts in the mini suite


def family(control: str) -> str | None:
    """The family of a single control, or None for none, anchor and what is joined."""
    name = control.partition(":")[0]
    return name if name in FAMILIES and "+" not in control else None


def choose_settings(table: Sequence[Row]) -> dict[str, str]:
    """One setting for each family, from development rows of which the first is none's."""
    return {
        name: str(choose([r for r in table if family(r["control"]) == name], table[0])["control"])
        for name in FAMILIES
    }


def controls_to_measure(settings: Mapping[str, str]) -> list[str]:
    """The controls that are measured: the fixed ones, those chosen, and anchor with a share."""
    anchor = f"anchor+{settings['split-softmax']}"
    return list(dict.fromkeys([*FIXED_CONTROLS, *settings.values(), anchor]))


def develop(model: str, out: Path, pairs: int) -> dict[str, str]:
    """Run the development stage and keep its choice beside it."""
    comparison = _compare(model, DEFAULT_CONTROLS, DEVELOPMENT, pairs, 8, out / "development")
    settings = choose_settings(as_record(comparison.rows))
    row: Row = {"chosen": settings, "rows": as_record(comparison.rows)}
    (out / "development.json").write_text(dumps(row) + "\n", encoding="utf-8")
    return settings


def _read_development(out: Path) -> Row:
    path = out / "development.json"
    if not path.exists():
        raise HoldfastError(f"{path} is missing: run `controls.py develop --out {out}` first")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def measure(model: str, out: Path, seed: int, pairs: int, lengths: Sequence[int]) -> Comparison:
    """One seed's conversations under every control that is reported."""
    controls = controls_to_measure(_read_development(out)["chosen"])
    return _compare(model, controls, seed, pairs, lengths, out / f"seed-{seed}")


def _compare(
    model: str,
    controls: Sequence[str],
    seed: int,
    pairs: int,
    rounds: int | Sequence[int],
    out: Path,
) -> Comparison:
    return compare(
        models.load(model),
        controls=controls,
        suite="mini",
        questions="mini",
        pairs=pairs,
        rounds=rounds,
        seed=seed,
        runs=1,
        each=1,
        out=out,
        progress=Progress(),
    )


def pool_seeds(by_seed: Mapping[int, Comparison], length: int) -> list[Arm]:
    """Every control over the first `length` rounds of all seeds' conversations, seed by seed."""
    talks = [talk for comparison in by_seed.values() for talk in comparison.conversations]
    return [
        _arm(control, [talk.controls[control] for talk in talks], length)
        for control in talks[0].controls
    ]


def _arm(control: str, under: Sequence[ConversationUnderControl], length: int) -> Arm:
    own = scores(under, "own", max(len(talk.rounds) for talk in under))[:, : length + 1]
    answers = [[q for q in talk.questions if q.round == length] for talk in under]
    kinds = tuple(dict.fromkeys(q.kind for of in answers for q in of))
    right = np.array([[_share(of, kind) for kind in kinds] for of in answers])
    return Arm(control, own, np.full_like(own, np.nan), right, kinds, 0.0)


def _share(answers: Sequence[CapabilityAnswer], kind: str) -> float:
    marks = [float(q.right) for q in answers if q.kind == kind]
    return float(np.mean(marks)) if marks else float("nan")


def add_costs(by_seed: Mapping[int, Comparison], of_all: Sequence[Row]) -> list[Row]:
    """The rows, with the means over seeds of tokens a reply and of the time a token takes."""
    names = ("tokens_per_reply", "relative_ms_per_token")
    with_costs = []
    for row in of_all:
        its_rows = [_row_of(as_record(c.rows), row["control"]) for c in by_seed.values()]
        with_costs.append(row | {name: _mean_of(its_rows, name) for name in names})
    return with_costs


def _row_of(table: Sequence[Row], control: str) -> Row:
    return next(row for row in table if row["control"] == control)


def _mean_of(table: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in table if row[name] is not None]
    return round(float(np.mean(values)), 3) if values else None


def plan_of_seeds(seeds: Sequence[int], pairs: int) -> list[Conversation]:
    """The conversations of all seeds, in the order of `pool_seeds`."""
    suite = load_suite("mini")
    return [
        conversation
        for seed in seeds
        for conversation in plan(suite.personas, suite.personas, suite, pairs=pairs, seed=seed)
    ]


def prompt_length(prompt: str) -> str:
    """Which of the three lengths one of mini's prompts has."""
    for name in ("full", "half"):
        if all(sentence in prompt for sentence in world()["padding"][name]):
            return name
    return "minimal"


def part(arm: Arm, at: Sequence[int]) -> Arm:
    """An arm on some of its conversations."""
    where = list(at)
    return replace(arm, scores=arm.scores[where], length=arm.length[where], right=arm.right[where])


def by_prompt(arms: Sequence[Arm], conversations: Sequence[Conversation]) -> dict[str, list[Row]]:
    """Rows for the conversations whose agent has a prompt of each length."""
    tables = {}
    for name in LENGTH_NAMES:
        at = [i for i, c in enumerate(conversations) if prompt_length(c.agent.prompt) == name]
        if at:
            tables[name] = rows([part(arm, at) for arm in arms], [conversations[i] for i in at])
    return tables


def report(model: str, out: Path, seeds: Sequence[int], pairs: int, lengths: Sequence[int]) -> Row:
    """All seeds together; what the page's tables are made of."""
    development = _read_development(out)
    by_seed = {seed: measure(model, out, seed, pairs, lengths) for seed in seeds}
    conversations = plan_of_seeds(seeds, pairs)
    values = ("stability", "late_stability", "capability")
    return {
        "seeds": list(seeds),
        "conversations": len(conversations),
        "lengths": list(lengths),
        "chosen": development["chosen"],
        "development": development["rows"],
        "by_rounds": {
            str(n): add_costs(by_seed, rows(pool_seeds(by_seed, n), conversations)) for n in lengths
        },
        "by_prompt": by_prompt(pool_seeds(by_seed, lengths[-1]), conversations),
        "by_seed": {
            str(seed): {r["control"]: {v: r[v] for v in values} for r in as_record(c.rows)}
            for seed, c in by_seed.items()
        },
        "recommendations": {str(s): c.recommendation for s, c in by_seed.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("step", choices=["develop", "measure", "report"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--pairs", type=int, default=100, help="conversations of each seed")
    parser.add_argument("--pairs-dev", type=int, default=60)
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)))
    parser.add_argument("--seed", type=int, default=1, help="of `measure`")
    parser.add_argument("--seeds", default="1,2,3", help="of `report`")
    parser.add_argument("--page", type=Path, help="a Markdown page whose tables are filled")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lengths = [int(length) for length in options.lengths.split(",")]
    if options.step == "develop":
        print(dumps(develop(options.model, options.out, options.pairs_dev)))
    elif options.step == "measure":
        comparison = measure(options.model, options.out, options.seed, options.pairs, lengths)
        print(comparison.recommendation, file=sys.stderr)
    else:
        seeds = [int(seed) for seed in options.seeds.split(",")]
        whole = report(options.model, options.out, seeds, options.pairs, lengths)
        text = dumps(whole)
        (options.out / "summary.json").write_text(text + "\n", encoding="utf-8")
        print(text)
        if options.page:
            pages.fill(options.page, pages.tables(whole) | pages.rivals(options.out))


if __name__ == "__main__":
    main()
