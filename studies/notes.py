"""At which depth does a note hold a persona, and what does it cost in recomputed prefix?

`note:d` says the prompt again d messages before the end of the chat. Whatever is after the place
of the note is computed again in every turn, since the note moves on: the deeper, the more.
The study puts depths 0 to 8 beside none, reminders, windows and anchor on the same conversations,
by `holdfast compare`, and counts for the agents' turns

    prompt tokens       of a turn's prompt
    recomputed tokens   those of them that were not in the cache of the turn before
    beyond none         recomputed tokens less those of none, round by round, mean over turns

    python studies/notes.py run --out DIR                          # mini; --model NAME for others
    python studies/notes.py report --out DIR --page docs/studies/notes.md

`run` resumes; `report` prints a JSON line for each control and fills the table of the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pages

from holdfast import load
from holdfast.core.progress import Progress
from holdfast.core.records import as_record, dumps
from holdfast.evals.compare.compare import Comparison, compare
from holdfast.evals.conversation.run_folder import RecordedRun, read_run

Row = dict[str, Any]
DEPTHS = range(9)
RIVALS = ("none", "reminder:0.5", "reminder:1", "window:1", "window:3", "anchor")
CONTROLS = (*RIVALS[:1], *(f"note:{d}" for d in DEPTHS), *RIVALS[1:])


def hold(options: argparse.Namespace) -> Comparison:
    """The conversations under every control; what is recorded is not held again."""
    settings: Row = {"suite": options.suite} if options.suite else {}
    return compare(
        load(options.model),
        controls=CONTROLS,
        pairs=options.pairs,
        rounds=options.rounds,
        seed=options.seed,
        runs=1,
        questions="none",
        screen=options.screen,
        out=options.out,
        progress=Progress(stage="notes"),
        **settings,
    )


def costs(recorded: RecordedRun) -> dict[str, Row]:
    """Tokens of an agent's turn by control: of its prompt, computed again, and generated."""
    of = len(recorded.run.manifest["conversations"])
    controls = recorded.controls
    tokens: dict[str, dict[int, list[tuple[int, int, int]]]] = {name: {} for name in controls}
    for record in recorded.run.records:
        if record.agent is not None and record.agent.stop != "overflow":
            control = controls[record.conversation // of]
            tokens[control].setdefault(record.round, []).append(record.agent.tokens)
    return {name: _cost(turns) for name, turns in tokens.items()}


def _cost(turns: dict[int, list[tuple[int, int, int]]]) -> Row:
    """The mean over rounds of the mean over conversations."""
    means = np.array([np.mean(of, axis=0) for _, of in sorted(turns.items())])
    prompt, cached, generated = means.mean(axis=0)
    return {
        "prompt_tokens": round(float(prompt), 1),
        "recomputed_tokens": round(float(prompt - cached), 1),
        "generated_tokens": round(float(generated), 1),
        "recomputed_by_round": [round(float(v), 1) for v in means[:, 0] - means[:, 1]],
    }


def report(rows: Sequence[Row], of: dict[str, Row]) -> Iterator[Row]:
    """The rows of the comparison with what each control costs."""
    none = of["none"]["recomputed_tokens"]
    for row in rows:
        cost = of[row["control"]]
        beyond = round(cost["recomputed_tokens"] - none, 1)
        kept = {
            key: row[key]
            for key in (
                "control", "n", "stability", "interval", "late_stability", "late_interval",
                "late_delta", "late_delta_interval", "relative_ms_per_token",
            )
        }  # fmt: skip
        yield {**kept, **cost, "recomputed_beyond_none": beyond}


def table(rows: Sequence[Row]) -> str:
    """The report as the page shows it."""
    head = ["control", "stability", "late", "late − none's", "prompt tokens", "recomputed"]
    head += ["beyond none", "time a token ÷ none's"]
    return pages.table(head, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    return [
        pages.code(row["control"]),
        pages.with_band(row, "stability", "interval"),
        pages.with_band(row, "late_stability", "late_interval"),
        pages.with_band(row, "late_delta", "late_delta_interval", signed=True),
        f"{row['prompt_tokens']:.0f}",
        f"{row['recomputed_tokens']:.0f}",
        f"{row['recomputed_beyond_none']:+.0f}".replace("-", "−"),
        pages.number(row["relative_ms_per_token"]),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("step", choices=("run", "report"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the comparison")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--suite", help="by default mini's, or core for other models")
    parser.add_argument("--screen", action="store_true", help="only personas that it holds")
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="page whose table is filled")
    options = parser.parse_args(arguments)
    if options.step == "run":
        print(hold(options).recommendation)
        return
    summary = json.loads((options.out / "summary.json").read_text(encoding="utf-8"))
    found = list(report(summary["rows"], costs(read_run(options.out, ("compare",)))))
    for row in found:
        print(dumps(as_record(row)), flush=True)
    if options.page:
        pages.fill(options.page, {f"notes-{options.model}": table(found)})


if __name__ == "__main__":
    main()
