"""Injected faults of simulated users are found, and users without a fault are left alone."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from holdfast.evals.consistency.dialogues import Dialogue
from holdfast.evals.consistency.simulated_user import KINDS, find_faults

# A name, a trade, a thing, and how the user is to be.
CAST = [
    ("Marta", "florist", "refrigerator", "angry"),
    ("Henrik", "carpenter", "bicycle", "patient"),
    ("Aiko", "pharmacist", "suitcase", "skeptical of everything"),
    ("Luis", "schoolteacher", "telescope", "shy"),
    ("Priya", "architect", "headphones", "rude and impatient"),
    ("Owen", "fisherman", "raincoat", "curious"),
    ("Zofia", "translator", "keyboard", "frustrated"),
    ("Samir", "electrician", "tent", "chatty"),
]
OPENERS = ["My {thing} broke after two days.", "It's about the {thing} I bought from you."]
PLAIN = [
    "I bought the {thing} for my work as a {trade}.",
    "It was delivered on Tuesday.",
    "No, I did not keep the box.",
    "What happens with the {thing} then?",
    "It says error seven and stays dark.",
    "I'm {name}, the {trade} from the corner shop.",
]
HARD = ["That is unacceptable.", "I don't believe you.", "This is ridiculous, I want the manager."]
AGENT = [
    "I'm sorry to hear that. Could you tell me your order number?",
    "Thank you. Have you tried to switch it off and on again?",
    "I can offer you a replacement within five working days.",
    "The warranty covers this; we will send a courier to your address.",
    "Please describe what you see on the display at the moment.",
]
# What assistants say, in words of its own.
SERVICE = [
    "Hello! How can I help you today?",
    "I'd be happy to walk you through the return process step by step.",
    "Is there anything else I can help you with?",
    "As an AI, I cannot own things, but here are some options.",
    "Thank you for reaching out! I'm here to assist with your order.",
    "I understand you're upset, and I will help you find the best solution.",
    "Please don't hesitate to contact us again.",
    "We apologize for any inconvenience this has caused.",
]
SIDES = ("user", "assistant")
GENERIC = ["Hi there.", "Okay.", "Can you tell me more?", "Yes, please.", "What now?", "Hm, right."]
GENTLE = [
    "Thank you so much, that is very kind of you.",
    "You're right, a voucher is fine with me.",
    "Great, I appreciate your patience with me.",
    "No problem at all, take your time.",
    "Sounds good, I'm happy with that.",
]


def prompt(one: tuple[str, str, str, str]) -> str:
    name, trade, thing, manner = one
    return f"You are {name}, a {trade} who is {manner}. Your {thing} is broken; ask for a refund."


def dialogues(n: int, seed: int = 0) -> list[Dialogue]:
    rng = random.Random(seed)
    log = []
    for i in range(n):
        one = CAST[i % len(CAST)]
        about = dict(zip(("name", "trade", "thing"), one, strict=False))
        hard = one[3] in ("angry", "skeptical of everything", "rude and impatient", "frustrated")
        lines = [rng.choice(OPENERS), *rng.sample(PLAIN, 4)]
        if hard:
            lines = [f"{line} {rng.choice(HARD)}" for line in lines]
        turns = []
        for line, reply in zip(lines, rng.sample(AGENT, 5), strict=True):
            turns += [("user", line.format(**about)), ("assistant", reply)]
        log.append(Dialogue(f"conversation {i}", tuple(turns), "You help.", prompt(one)))
    return log


def with_lines(one: Dialogue, lines: list[str]) -> Dialogue:
    """The same with the user's last lines replaced."""
    new = iter([*one.lines("user")[: 5 - len(lines)], *lines])
    turns = tuple((who, next(new) if who == "user" else text) for who, text in one.turns)
    return replace(one, turns=turns)


def inject(kind: str, one: Dialogue, others: list[Dialogue], rng: random.Random) -> Dialogue:
    """The dialogue with one fault, in one of two ways."""
    first_way = rng.random() < 0.5
    if kind == "assistant":
        own = [rng.choice(SERVICE)] if first_way else [rng.choice(one.lines("assistant"))]
        return with_lines(one, [*own, "Right."])
    if kind == "persona":
        stranger = rng.choice([other for other in others if other.user_prompt != one.user_prompt])
        return with_lines(one, rng.sample(GENERIC, 5) if first_way else stranger.lines("user"))
    return with_lines(one, rng.sample(GENTLE, 3 if first_way else 4))


def test_users_without_a_fault_are_left_alone() -> None:
    faults, counts = find_faults(dialogues(200))
    assert len(faults) <= 2
    assert counts == {"assistant": 200, "persona": 200, "soft": 100}


@pytest.mark.parametrize("kind", KINDS)
def test_injected_faults_are_found_at_95_percent(kind: str) -> None:
    clean, rng = dialogues(200, seed=1), random.Random(2)
    hit = [i for i in range(0, 200, 2) if kind != "soft" or "soft" in _kinds_of(clean[i])]
    faulty = [inject(kind, one, clean, rng) if i in hit else one for i, one in enumerate(clean)]
    faults, _ = find_faults(faulty)
    runs = {fault.run for fault in faults if fault.kind == kind}
    faulty_runs = {faulty[i].where for i in hit}
    assert len(faulty_runs) >= 50
    assert len(runs & faulty_runs) >= 0.95 * len(faulty_runs)
    assert len(runs - faulty_runs) <= 2


def _kinds_of(one: Dialogue) -> set[str]:
    return {kind for kind, n in find_faults([one])[1].items() if n}


def test_lines_that_sound_like_the_logs_assistants_are_found_without_a_known_phrase() -> None:
    """Words that no rule knows: the sides of the log teach them."""
    rng = random.Random(3)
    ask, tell = ["wend", "bram", "torl", "fipp"], ["osk", "mund", "drell", "yast"]

    def line(words: list[str]) -> str:
        return " ".join(rng.choices(words, k=6))

    log = [
        Dialogue(f"{i}", tuple((who, line(ask if who == "user" else tell)) for who in SIDES * 5))
        for i in range(40)
    ]
    assert find_faults(log)[0] == []
    faulty = [
        with_lines(one, [line(tell), line(ask)]) if i < 20 else one for i, one in enumerate(log)
    ]
    faults, _ = find_faults(faulty)
    runs = {fault.run for fault in faults if fault.line == 4}
    assert len(runs) >= 19 and runs <= {f"{i}" for i in range(20)}
    alike = [replace(one, turns=tuple((who, line(ask)) for who, _ in one.turns)) for one in log]
    assert find_faults(alike)[0] == []  # nobody can tell, so nobody is flagged


def test_the_work_grows_with_the_log_and_not_with_its_square() -> None:
    """Every line has words of its own, so that a log twice as long has twice the vocabulary."""

    def seconds(n: int) -> float:
        words = ["".join(rng.choices("bcdfghkl", k=8)) for _ in range(10 * n)]
        lines = [list(zip(SIDES * 5, words[i : i + 10], strict=True)) for i in range(0, 10 * n, 10)]
        log = [Dialogue(f"{i}", tuple(turns)) for i, turns in enumerate(lines)]
        start = time.process_time()
        find_faults(log)
        return time.process_time() - start

    rng = random.Random(4)
    seconds(20)  # what is built once
    # The least of some: what else a process does, as collecting garbage, is in others.
    assert min(seconds(800) for _ in range(4)) < 8 * min(seconds(200) for _ in range(4))


def test_a_fault_names_the_line_and_what_was_seen() -> None:
    one = with_lines(dialogues(1)[0], ["How may I assist you?", "Okay."])
    (fault,) = find_faults([one])[0]
    assert (fault.kind, fault.line, fault.why) == ("assistant", 4, "“How may I assist”")


def test_without_a_prompt_only_the_role_is_looked_at() -> None:
    bare = [replace(one, user_prompt=None) for one in dialogues(4)]
    assert find_faults(bare)[1] == {"assistant": 4, "persona": 0, "soft": 0}


def test_a_short_prompt_is_looked_for_by_the_form_that_it_asks_for_alone() -> None:
    def count_faults(prompt: str, line: str) -> tuple[int, int]:
        turns = (("user", line), ("assistant", "I see.")) * 4
        faults, counts = find_faults([Dialogue("x", turns, None, prompt)])
        return counts["persona"], len(faults)

    assert count_faults("Always write in capital letters.", "WHAT A DAY.") == (1, 0)
    assert count_faults("Always write in capital letters.", "What a day.") == (1, 1)
    assert count_faults("Your favourite colour is teal.", "What a day.") == (0, 0)


def test_thanks_at_the_end_soften_nobody() -> None:
    one = with_lines(dialogues(1)[0], ["Thank you."])
    assert not [fault for fault in find_faults([one])[0] if fault.kind == "soft"]
