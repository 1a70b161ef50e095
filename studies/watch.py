"""How soon does `holdfast watch` see a persona break, and how often is it wrong?

Conversations of `mini` under one persona: the user says small talk of the suite, the model replies
at temperature 1. In the broken ones the chat loses its beginning from a known round on, system
prompt and all, as where a client cuts long chats from the front: the model sees the last message
only. Broken and unbroken conversations are the same up to there.

    python studies/watch.py --persona upper-1 --conversations 1000 --out DIR

writes DIR/unbroken.jsonl and DIR/broken.jsonl, which `holdfast watch` reads, and prints JSON lines:
what the watch finds in either; and over `--orders` random orders of the conversations, where a
share of them breaks from the middle of the log on, how many orders have a false alarm before that,
and how many conversations after it the first alarm comes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from holdfast import load
from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.chat import agent_view
from holdfast.core.records import dumps
from holdfast.core.seeds import seed_of
from holdfast.evals.watch.traffic import Traffic
from holdfast.evals.watch.watch import watch
from holdfast.evals.watch.watcher import Watcher
from holdfast.persona.suite import Persona, Suite, load_suite, select
from holdfast.results.watch import ReplyRecord

BATCH = 250  # conversations side by side
SAMPLING = Sampling(max_new_tokens=40)
SHARES = (1.0, 0.5, 0.25, 0.1)
Turns = list[str]


@dataclass(frozen=True)
class Simulation:
    """The conversations to be had."""

    model: Backend
    persona: Persona
    suite: Suite
    rounds: int
    seed: int

    def converse(self, ids: Sequence[int], turns: Sequence[Turns], broken: bool) -> None:
        """Go on with conversations up to their last round."""
        for r in range(len(turns[0]) // 2 + 1, self.rounds + 1):
            asks = []
            for i, one in zip(ids, turns, strict=True):
                choice = random.Random(seed_of(self.seed, "user", i, r))
                one.append(choice.choice([*self.suite.starters, *self.suite.fillers]))
                chat = (
                    agent_view(None, one[-1:]) if broken else agent_view(self.persona.prompt, one)
                )
                asks.append(Ask(chat, seed_of(self.seed, "agent", i, r)))
            for one, reply in zip(turns, self.model.reply(asks, SAMPLING), strict=True):
                one.append(reply.text)

    def pairs(self, count: int, break_at: int) -> Iterator[tuple[list[Turns], list[Turns]]]:
        """Unbroken and broken conversations, batch by batch."""
        for first in range(0, count, BATCH):
            ids = range(first, min(first + BATCH, count))
            unbroken: list[Turns] = [[] for _ in ids]
            self.converse(ids, unbroken, False)
            broken = [one[: 2 * break_at - 2] for one in unbroken]
            self.converse(ids, broken, True)
            print(f"{ids[-1] + 1} of {count} conversations", file=sys.stderr, flush=True)
            yield unbroken, broken


def write(path: Path, conversations: Sequence[Turns]) -> None:
    """A log with a conversation a line."""
    with path.open("w", encoding="utf-8") as log:
        for i, turns in enumerate(conversations):
            roles = ("user", "assistant")
            messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]
            log.write(json.dumps({"id": f"conversation {i}", "messages": messages}) + "\n")


def summary_of(log: Path, persona: Persona, break_at: int | None) -> dict[str, Any]:
    """What `holdfast watch` says of a log; delays count the broken rounds up to the alarm."""
    summary = watch(log, persona).summary
    state = summary.state
    late = [slip.round - break_at + 1 for slip in summary.slipped] if break_at else []
    return {
        "log": log.stem,
        "conversations": state.conversations,
        "first": state.first,
        "rounds": {row.rounds: row.score for row in state.rounds},
        "alarms": state.alarm_count,
        "alarm_conversation": state.alarms[0].conversations if state.alarms else None,
        "alarm_rounds": state.alarms[0].round - break_at + 1 if state.alarms and break_at else None,
        "slips": state.slips,
        "slip_rounds_median": median(late) if late else None,
        "slips_within_two_rounds": sum(0 < rounds <= 2 for rounds in late),
    }


def order(
    persona: Persona,
    unbroken: Sequence[Sequence[float]],
    broken: Sequence[Sequence[float]],
    share: float,
    seed: int,
) -> tuple[int, int | None]:
    """False alarms before the break in one order, and conversations from it to the alarm.

    Half the conversations come before the break, unbroken; after it a share is broken.
    """
    rng = random.Random(seed_of("order", seed))
    ids = rng.sample(range(len(unbroken)), len(unbroken))
    half = len(ids) // 2
    watcher, false = Watcher(persona), 0
    for n, i in enumerate(ids):
        scores = broken[i] if n >= half and rng.random() < share else unbroken[i]
        for r, score in enumerate(scores, 1):
            alarm = watcher.add(
                ReplyRecord(
                    conversation=str(i), round=r, score=score, persona=persona.id, control="none"
                )
            )
            if alarm and n >= half:
                return false, n - half + 1
            false += alarm is not None
    return false, None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--suite", default="mini")
    parser.add_argument("--persona", default="upper-1")
    parser.add_argument("--conversations", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--break-at", type=int, default=5, help="the first broken round")
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of the two logs")
    options = parser.parse_args()
    suite = load_suite(options.suite)
    (persona,) = select(suite, [options.persona])
    options.out.mkdir(parents=True, exist_ok=True)
    logs = {name: options.out / f"{name}.jsonl" for name in ("unbroken", "broken")}
    if not all(log.exists() for log in logs.values()):
        simulation = Simulation(load(options.model), persona, suite, options.rounds, options.seed)
        batches = list(simulation.pairs(options.conversations, options.break_at))
        for n, log in enumerate(logs.values()):
            write(log, [turns for batch in batches for turns in batch[n]])
    for name, log in logs.items():
        figures = summary_of(log, persona, options.break_at if name == "broken" else None)
        print(dumps({"persona": persona.id, **figures}), flush=True)
    for row in delays(persona, logs, options.orders):
        print(dumps({"persona": persona.id, **row}), flush=True)


def delays(persona: Persona, logs: dict[str, Path], orders: int) -> Iterator[dict[str, Any]]:
    """The figures over all orders, by the share of the conversations that break."""
    traffic = Traffic(persona)
    scores = {
        name: [
            [traffic.score(one["content"]) or 0.0 for one in json.loads(line)["messages"][1::2]]
            for line in log.read_text(encoding="utf-8").splitlines()
        ]
        for name, log in logs.items()
    }
    for share in SHARES:
        results = [order(persona, *scores.values(), share, n) for n in range(orders)]
        late = sorted(delay if delay is not None else len(scores["broken"]) for _, delay in results)
        yield {
            "share": share,
            "orders": orders,
            "orders_with_a_false_alarm": sum(false > 0 for false, _ in results),
            "unseen": sum(delay is None for _, delay in results),
            "delay_median": median(late),
            "delay_90": late[int(0.9 * len(late))],
        }


if __name__ == "__main__":
    main()
