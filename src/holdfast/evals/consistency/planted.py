"""How many faults the rules would see in a log: some are put into it, and looked for.

How well simulated users can be told from assistants, and from each other, depends on the log: on
some logs the rules see every fault, on others next to none. So they are tried on the log itself. In
every fifth conversation a user's line becomes what the assistant says in another conversation, or
all of its lines become those of a user with another prompt; five times over, or until there are
fifty such faults.

This module knows conversations and the rules' verdicts. It knows no rule.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from holdfast.evals.consistency.dialogues import Dialogue
from holdfast.evals.consistency.simulated_user import find_faults
from holdfast.results.recorded.consistency import Fault, Planted

EVERY = 5
"""One conversation of so many has a fault, so that most of the log stays as it is."""
ENOUGH = 50
"""Faults after which no more are put in: their share is known to about a seventh."""
FEWEST = 10
"""Conversations from which on the rules are tried."""
LINES = 3
"""Lines of a user from which on a fault is put into its conversation."""
Plant = Callable[[Dialogue, Dialogue, random.Random], list[str]]


def try_rules(dialogues: Sequence[Dialogue], faults: Sequence[Fault]) -> dict[str, Planted]:
    """The faults put into a log by kind, and how many of them the rules see; empty for a short log.

    Args:
        dialogues: the log's conversations.
        faults: what the rules find in them as they are; no such conversation gets a fault.
    """
    if len(dialogues) < FEWEST:
        return {}
    by_kind = {}
    for kind, plant in _PLANTS.items():
        flagged_runs = {fault.run for fault in faults if fault.kind == kind}
        by_kind[kind] = list(_rounds(dialogues, flagged_runs, kind, plant))
    return {
        kind: Planted(sum(hits for hits, _ in pairs), sum(of for _, of in pairs))
        for kind, pairs in by_kind.items()
        if any(of for _, of in pairs)
    }


def _rounds(
    dialogues: Sequence[Dialogue], flagged_runs: Collection[str], kind: str, plant: Plant
) -> Iterator[tuple[int, int]]:
    """How many faults of each round were found, and how many were planted."""
    total = 0
    speakers = [two for two in dialogues if two.lines("assistant") and two.lines("user")]
    for start in range(EVERY):
        if total >= ENOUGH:
            return
        rng = random.Random(start)
        log = list(dialogues)
        planted_runs = set()
        for i in range(start, len(log), EVERY):
            one = dialogues[i]
            strangers = [two for two in speakers if _strange(two, one, kind)]
            if one.where not in flagged_runs and len(one.lines("user")) >= LINES and strangers:
                lines = iter(plant(one, rng.choice(strangers), rng))
                turns = tuple(
                    (who, next(lines) if who == "user" else text) for who, text in one.turns
                )
                log[i] = replace(one, turns=turns)
                planted_runs.add(one.where)
        fault_runs = {fault.run for fault in find_faults(log)[0] if fault.kind == kind}
        total += len(planted_runs)
        yield len(fault_runs & planted_runs), len(planted_runs)


def _strange(two: Dialogue, one: Dialogue, kind: str) -> bool:
    """Whether what is said in another conversation would be a fault in this one."""
    if two.where == one.where:
        return False
    both = one.user_prompt and two.user_prompt
    return bool(kind == "assistant" or (both and two.user_prompt != one.user_prompt))


def _turn(one: Dialogue, other: Dialogue, rng: random.Random) -> list[str]:
    """The user's lines with one in the middle that another conversation's assistant says."""
    lines = one.lines("user")
    lines[len(lines) // 2] = rng.choice(other.lines("assistant"))
    return lines


def _swap(one: Dialogue, other: Dialogue, rng: random.Random) -> list[str]:
    """As many lines of a user with another prompt."""
    lines = other.lines("user")
    return [lines[i % len(lines)] for i in range(len(one.lines("user")))]


_PLANTS: dict[str, Plant] = {"assistant": _turn, "persona": _swap}
