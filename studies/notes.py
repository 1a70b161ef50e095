"""At which depth does a note hold a persona, and what does it cost in recomputed prefix?

`note:d` says the prompt again d messages before the end of the chat. Whatever is after the place
where the note was in the turn before has to be computed again. The study puts depths 0 to 8 beside
none, reminders, windows and anchor on the same conversations, by `holdfast compare`, and counts

    prompt tokens       of an agent's turn
    recomputed tokens   content tokens of the messages, as the control rewrites them, behind those
                        that the turn before and its reply have in common with them; rounds 2 to R
    beyond none         recomputed tokens less those of none

The second is counted from the recorded texts: in a comparison the rows of all controls share one
cache, so that what the engine reports depends on the other controls. An attention control rewrites
nothing.

    python studies/notes.py run --out DIR                          # mini; --model NAME for others
    python studies/notes.py report --out DIR --page docs/studies/notes.md

`run` resumes; `report` prints a JSON line for each control and fills the table of the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pages

from holdfast import load
from holdfast.control.rewrite import rewrite
from holdfast.core.backend import Sampling
from holdfast.core.chat import agent_view
from holdfast.core.progress import Progress
from holdfast.core.records import as_record, dumps
from holdfast.evals.compare.compare import Comparison, compare
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.run_folder import RecordedRun, read_run
from holdfast.results.conversation import RoundRecord

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
        sampling=Sampling(options.max_new_tokens),
        batch=options.batch,
        out=options.out,
        progress=Progress(stage="notes"),
        **settings,
    )


def costs(past: RecordedRun, count: Callable[[str], int]) -> dict[str, Row]:
    """Tokens of an agent's turn by control, means over rounds of the means over conversations."""
    prompts: dict[str, list[int]] = {}
    again: dict[str, dict[int, list[int]]] = {}
    by_conversation: dict[int, list[RoundRecord]] = {}
    for record in past.run.records:
        by_conversation.setdefault(record.conversation, []).append(record)
    for plan in past.plans:
        turns = [one for one in by_conversation[plan.id] if one.user and one.agent]
        control = str(plan.control)
        prompts.setdefault(control, []).extend(one.agent.tokens[0] for one in turns if one.agent)
        for n, tokens in count_recomputed(plan, turns, count):
            again.setdefault(control, {}).setdefault(n, []).append(tokens)
    return {control: _cost(prompts[control], again[control]) for control in prompts}


def count_recomputed(
    plan: Conversation, turns: Sequence[RoundRecord], count: Callable[[str], int]
) -> Iterator[tuple[int, int]]:
    """Rounds from 2 on, and the tokens of each behind what the turn before left in a cache."""
    texts: list[str] = []
    cache: list[tuple[str, str]] = []
    for record in turns:
        assert record.user and record.agent and plan.control
        texts.append(record.user.text)
        view = agent_view(plan.agent.prompt, texts, note=plan.agent.authors_note)
        chat = [(m["role"], m["content"]) for m in rewrite(view, plan.control)]
        pairs = zip(chat, cache, strict=False)
        common = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(chat), len(cache)))
        if record.round > 1:
            yield record.round, sum(count(text) for _, text in chat[common:])
        cache = [*chat, ("assistant", record.agent.text)]
        texts.append(record.agent.text)


def _cost(prompts: Sequence[int], again: dict[int, list[int]]) -> Row:
    by_round = [float(np.mean(of)) for _, of in sorted(again.items())]
    return {
        "prompt_tokens": round(float(np.mean(prompts)), 1),
        "recomputed_tokens": round(float(np.mean(by_round)), 1),
        "recomputed_by_round": [round(value, 1) for value in by_round],
    }


def report(rows: Sequence[Row], of: dict[str, Row]) -> Iterator[Row]:
    """The rows of the comparison with what each control costs."""
    none = of["none"]["recomputed_tokens"]
    for row in rows:
        cost = of[row["control"]]
        beyond = round(cost["recomputed_tokens"] - none, 1)
        columns = {
            key: row[key]
            for key in (
                "control", "n", "stability", "interval", "late_stability", "late_interval",
                "late_delta", "late_delta_interval", "relative_ms_per_token",
            )
        }  # fmt: skip
        yield {**columns, **cost, "recomputed_beyond_none": beyond}


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
        f"{round(row['recomputed_beyond_none']):+d}".replace("-", "−"),
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
    parser.add_argument("--max-new-tokens", type=int, default=Sampling().max_new_tokens)
    parser.add_argument("--batch", type=int, help="conversations side by side; a run resumes here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="page whose table is filled")
    options = parser.parse_args(arguments)
    if options.step == "run":
        print(hold(options).recommendation)
        return
    summary = json.loads((options.out / "summary.json").read_text(encoding="utf-8"))
    of = costs(read_run(options.out, ("compare",)), load(options.model).count)
    lines = list(report(summary["rows"], of))
    for row in lines:
        print(dumps(as_record(row)), flush=True)
    if options.page:
        pages.fill(options.page, {f"notes-{options.model}": table(lines)})


if __name__ == "__main__":
    main()
