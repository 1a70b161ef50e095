"""The rules are tried on the log itself, by faults that are put into it."""

from __future__ import annotations

import random
from dataclasses import replace

from evals.consistency.test_simulated_user import dialogues
from holdfast.evals.consistency.dialogues import Dialogue
from holdfast.evals.consistency.planted import ENOUGH, FEWEST, try_rules
from holdfast.results.recorded.consistency import Fault


def alike(n: int) -> list[Dialogue]:
    """Conversations whose sides and users cannot be told from each other."""
    rng = random.Random(0)
    words = [
        "bread",
        "milk",
        "river",
        "stone",
        "lamp",
        "rain",
        "wool",
        "tea",
        "glass",
        "boat",
        "field",
        "hill",
    ]
    turns = tuple(("user", "assistant") * 4)

    def line() -> str:
        return f"The {rng.choice(words)} is by the {rng.choice(words)} again."

    return [
        Dialogue(
            f"conversation {i}",
            tuple((who, line()) for who in turns),
            user_prompt=f"You are a neighbour who likes the {words[i % 12]}, {words[i % 7]}, "
            f"{words[i % 5]}, evening walks, quiet mornings, gardens and old songs.",
        )
        for i in range(n)
    ]


def test_where_sides_and_prompts_differ_planted_faults_are_seen() -> None:
    by_kind = try_rules(dialogues(60), [])
    assert by_kind.keys() == {"assistant", "persona"}
    assert all(ENOUGH <= one.of <= 60 for one in by_kind.values())
    assert all(one.seen >= 0.9 * one.of for one in by_kind.values())


def test_where_nothing_tells_them_apart_hardly_any_is_seen() -> None:
    by_kind = try_rules(alike(60), [])
    assert by_kind["assistant"].of >= ENOUGH
    assert by_kind["assistant"].seen <= 0.2 * by_kind["assistant"].of
    assert by_kind["persona"].seen <= 0.5 * by_kind["persona"].of


def test_a_short_log_is_not_tried_and_one_without_prompts_by_the_role_alone() -> None:
    assert try_rules(dialogues(FEWEST - 1), []) == {}
    bare = [replace(one, user_prompt=None) for one in dialogues(20)]
    assert try_rules(bare, []).keys() == {"assistant"}


def test_the_log_stays_as_it_is_and_trying_twice_says_the_same() -> None:
    log = dialogues(20)
    before = list(log)
    assert try_rules(log, []) == try_rules(log, [])
    assert log == before


def test_a_conversation_that_is_flagged_as_it_is_proves_nothing() -> None:
    log = dialogues(20)
    flags = [Fault(one.where, "assistant", 1, "seen before") for one in log[:12]]
    by_kind = try_rules(log, flags)
    assert (by_kind["assistant"].of, by_kind["persona"].of) == (8, 20)
