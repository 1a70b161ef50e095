"""Replies per second of the drift protocol: the local backend against the reference way.

Both sides are the same code, `holdfast.evals.conversation`, on the same weights in the same
process, with the same arms and the same sampling; only the backend differs. The
reference answers one chat at a time, and stock `generate` encodes the whole history
again for every turn and probe. It shares no work between conversations, so it is timed on
a few of them (`--sample`) and compared per reply. The reference holds each round right after
ours, so that a slow moment of the machine hits both. Ours then goes on to more rounds, to
show what a round costs when the history is long.

    python bench/drift.py                  # mini at 64 × 8, and 100M parameters at 16 × 4
    python bench/drift.py --only mini --plain --threads 1

Prints Markdown tables; `--json` prints the same rows as one object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import transformers
from clock import AlternatingProgress, ClockedBackend, Side
from reference import Stock, random_llama
from tables import table

from holdfast.core.backend import Backend, Sampling
from holdfast.core.run import Run
from holdfast.evals.conversation.batches import ConversationRun, converse
from holdfast.evals.conversation.plan import plan
from holdfast.evals.conversation.rounds import OpenConversation, SelfChat
from holdfast.evals.conversation.settings import ConversationProtocol
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load
from holdfast.persona.suite import load_suite
from holdfast.results.conversation import RoundRecord
from holdfast.results.verdict import JudgeVerdict

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model, and how it is measured."""

    model: str
    """Its name."""
    conversations: int
    """Conversations that ours holds."""
    rounds: int
    """Rounds of both sides."""
    longest: int
    """Rounds that ours goes on to."""
    sample: int
    """Conversations that the reference holds."""
    target: int
    """The ratio that ours should reach."""
    sampling: Sampling
    """How replies are drawn."""


CASES = (
    Case("mini", 64, 8, 16, 4, 15, Sampling()),
    Case("random-100M", 16, 4, 4, 2, 4, Sampling(max_new_tokens=32)),
)


def measure(
    case: Case, backend: LocalBackend, protocol: ConversationProtocol
) -> dict[str, list[Row]]:
    """Hold the case's conversations on both sides, and make tables of the times."""
    suite, n = load_suite("mini"), case.conversations
    plans = plan(suite.personas, suite.personas, suite, pairs=n, seed=protocol.seed)
    sample_ids = {plans[i * n // case.sample].id for i in range(case.sample)}
    ours, stock = Side(case.rounds), Side(case.rounds)

    def self_chat(of: Backend, side: Side) -> SelfChat:
        agent, user = (
            ClockedBackend(of, side, "agent turns, twins"),
            ClockedBackend(of, side, "user turns"),
        )
        return SelfChat(agent, user, protocol, suite.fillers)

    reference = self_chat(Stock(backend), stock)
    records: list[RoundRecord] = []
    for start in range(0, n, protocol.batch):
        batch = plans[start : start + protocol.batch]
        sample = [OpenConversation(one) for one in batch if one.id in sample_ids]
        run: ConversationRun = Run(None, {}, RoundRecord, JudgeVerdict)
        converse(
            self_chat(backend, ours),
            batch,
            run,
            AlternatingProgress(ours, stock, reference, sample),
        )
        records += run.records
    name = f"{case.model}, {n} × {case.rounds}"
    return {
        "speed": [
            {
                "model": name,
                **_against(ours.rate(), stock.rate()),
                "target": case.target,
                "rows at once": backend.engine.batch_size,
            }
        ],
        "calls": [
            {"call": kind, "replies": a, "of the reference": b, **_against(a / s, b / t)}
            for kind, (a, s, b, t) in {
                k: ours.calls[k] + stock.calls[k] for k in stock.calls
            }.items()
        ],
        "rounds": [_round(number, ours, stock, records) for number in sorted(ours.by_round)],
        "replies": [
            {
                "reply": arm,
                "n": n,
                "prompt tokens": prompt,
                "of them cached": f"{cached / prompt:.1%}",
                "encoded each": (prompt - cached) / n,
                "generated each": completion / n,
            }
            for arm, (n, prompt, cached, completion) in _arms(records).items()
        ],
    }


def _against(ours: float, reference: float) -> Row:
    return {"ours /s": ours, "reference /s": reference, "ratio": ours / reference}


def _round(number: int, ours: Side, stock: Side, records: Sequence[RoundRecord]) -> Row:
    arms = _arms([record for record in records if record.round == number])
    n, prompt, cached, completion = map(sum, zip(*arms.values(), strict=True))
    replies, seconds = stock.by_round.get(number, [0, 0.0])
    return {
        "round": number,
        "seconds": ours.by_round[number][1],
        "replies": n,
        "prompt tokens": prompt,
        "encoded": prompt - cached,
        "generated": completion,
        "ms per reply": 1e3 * ours.by_round[number][1] / n,
        "reference ms per reply": 1e3 * seconds / replies if replies else "",
    }


def _arms(records: Sequence[RoundRecord]) -> dict[str, list[int]]:
    """By arm: replies, and their tokens in prompts, cached and generated."""
    arms: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for arm, tokens in (reply for record in records for reply in _replies(record)):
        arms[arm] = [a + b for a, b in zip(arms[arm], [1, *tokens], strict=True)]
    return arms


def _replies(record: RoundRecord) -> Iterator[tuple[str, tuple[int, int, int]]]:
    if record.agent and record.user:
        yield "agent turn", record.agent.tokens
        if record.round > 1:  # the first user message is the starter
            yield "user turn", record.user.tokens
    if record.filled:
        yield "twin's turn", record.filled.agent.tokens
    yield from ((f"probe: {answer.arm}", answer.tokens) for answer in record.answers)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--only", choices=[case.model for case in CASES])
    sizes = {"conversations": "held by ours", "rounds": "of both sides"}
    sizes |= {"longest": "rounds that ours goes on to", "sample": "of them held by the reference"}
    for name, meaning in sizes.items():
        add(f"--{name}", type=int, help=meaning)
    add(
        "--batch",
        type=int,
        default=ConversationProtocol().batch,
        help="conversations that ours holds side by side",
    )
    add("--threads", type=int, default=os.cpu_count(), help="torch's, for both sides")
    add("--plain", action="store_true", help="turns and one probe only, as in the paper")
    add("--share", action="store_true", help="ours measures the prompt share as well")
    add("--json", action="store_true", help="print one object instead of tables")
    return parser.parse_args()


def main() -> None:
    o = options()
    torch.set_num_threads(o.threads)
    protocol = ConversationProtocol(measure=o.share, batch=o.batch)
    if o.plain:
        protocol = replace(protocol, filler=False, history_floor=False, user_persona=False, runs=1)
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "threads": o.threads,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "batch": o.batch,
        "arms": "turns and one probe" if o.plain else "all",
        "prompt share": "measured" if o.share else "not measured",
    }
    tables: dict[str, dict[str, list[Row]]] = {}
    mini = load("mini")
    for case in CASES:
        if o.only in (None, case.model):
            sizes = {f.name: getattr(o, f.name, None) for f in fields(Case)}
            case = replace(case, **{name: size for name, size in sizes.items() if size})
            backend = mini if case.model == "mini" else random_llama(mini)
            p = replace(protocol, rounds=max(case.rounds, case.longest), sampling=case.sampling)
            warm = replace(case, conversations=2, rounds=1, sample=1)
            measure(warm, backend, replace(p, rounds=1))
            tables[case.model] = measure(case, backend, p)
            if not o.json:
                print(*map(table, tables[case.model].values()), sep="\n", flush=True)
    print(json.dumps(machine | tables) if o.json else table([machine]))


if __name__ == "__main__":
    main()
