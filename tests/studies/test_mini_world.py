"""The mini world: its words, its speakers, its personas and its dialogues."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_dialogue import Scene, dialogue
from mini_roles import CATEGORIES, HELD_OUT, draw_role
from mini_speakers import ENDINGS, TASKS, Speaker, Style, adopt, reply

from holdfast.models.mini.utterances import ask_extract, ask_sum, ask_way
from holdfast.models.mini.world import facts, names, towns, words, world

SEEDS = st.integers(0, 10_000)


def test_there_are_enough_invented_words_and_no_list_shares_one() -> None:
    lists = [words(), names(), towns(), tuple(facts())]
    assert [len(list_) for list_ in lists] == [430, 130, 40, 60]
    everything = [word.lower() for list_ in lists for word in list_]
    assert len(set(everything)) == len(everything)


def test_every_topic_has_a_name_in_every_language() -> None:
    assert {len(names_) for names_ in world()["topics"].values()} == {24}


def test_every_choice_has_enough_options_that_chance_is_below_a_fifth() -> None:
    assert all(len(options) >= 6 for options in world()["choices"].values())


@given(SEEDS)
def test_dialogues_are_long_without_a_prompt_and_short_with_one(seed: int) -> None:
    chat = dialogue(random.Random(seed))
    prompted = chat[0]["role"] == "system"
    turns = chat[1:] if prompted else chat
    rounds = len(turns) // 2
    assert len(turns) % 2 == 0
    assert 1 <= rounds <= 3 if prompted else 3 <= rounds <= 8
    roles = [message["role"] for message in turns]
    assert roles == ([roles[0], roles[1]] * rounds) and set(roles) == {"user", "assistant"}


def test_three_in_five_dialogues_have_a_prompt_and_one_in_four_is_led_by_the_assistant() -> None:
    chats = [dialogue(random.Random(seed)) for seed in range(2000)]
    share = sum(chat[0]["role"] == "system" for chat in chats) / 2000
    first = Counter(chat[chat[0]["role"] == "system"]["role"] for chat in chats)
    assert share == pytest.approx(0.6, abs=0.04)
    assert first["assistant"] / 2000 == pytest.approx(0.25, abs=0.04)


@given(SEEDS)
def test_a_pattern_persona_is_obeyed_in_every_reply_of_its_dialogue(seed: int) -> None:
    rng = random.Random(seed)
    role = draw_role(rng, "pattern")
    for make in TASKS.values():
        text = reply(rng, role.speaker, make(rng))
        match role.kind:
            case "upper":
                assert text == text.upper()
            case "lower":
                assert text == text.lower()
            case "first":
                assert text.startswith(role.speaker.style.mark.capitalize() + ", ")
            case "last":
                assert text.endswith(f" {role.speaker.style.mark.capitalize()}.")
            case "brackets":
                assert text[0] + text[-1] in {"[]", "()", "**", "<>"}
            case _:
                assert text.endswith(ENDINGS)


@given(SEEDS, st.sampled_from(CATEGORIES))
def test_a_prompt_says_what_its_persona_knows(seed: int, category: str) -> None:
    role = draw_role(random.Random(seed), category)
    prompt = role.prompt(random.Random(seed), "full")
    assert all(value in prompt for value in role.speaker.attributes.values())
    assert len(prompt) > len(role.prompt(random.Random(seed), "half")) - 40
    assert "padding" not in prompt and "{" not in prompt


@given(SEEDS)
def test_sums_are_right_and_a_clerk_shows_the_working(seed: int) -> None:
    rng = random.Random(seed)
    act = ask_sum(rng, hard=True)
    numbers = [int(n) for n in act.about.split(" + ")]
    assert int(act.answer) == sum(numbers)
    plain = reply(rng, Speaker(), act)
    answer = reply(rng, Speaker(attributes={"trade": "clerk"}), act)
    assert plain == f"{act.about} = {act.answer}."
    assert answer.endswith(f"= {act.answer}.") and answer.count("=") >= 2
    for part in answer.rstrip(".").split(". "):
        left, right = part.split(" = ")
        assert sum(map(int, left.split(" + "))) == int(right)


def test_a_novice_is_wrong_about_every_other_time() -> None:
    rng = random.Random(0)
    novice = Speaker(attributes={"trade": "novice"})
    sums = [ask_sum(rng) for _ in range(600)]
    right = sum(reply(rng, novice, act).endswith(f" {act.answer}.") for act in sums)
    assert right / 600 == pytest.approx(0.5, abs=0.07)


@given(SEEDS, st.booleans())
def test_extraction_has_one_answer_in_its_text(seed: int, hard: bool) -> None:
    rng = random.Random(seed)
    act = ask_extract(rng, hard)
    assert act.answer in act.text and act.working in act.text
    assert act.answer in reply(rng, Speaker(), act)


def test_marked_requests_are_refused_and_plain_ones_answered() -> None:
    rng = random.Random(1)
    for _ in range(50):
        assert reply(rng, Speaker(), ask_way(rng, marked=True, hard=False)).startswith("I will not")
        assert reply(rng, Speaker(), ask_way(rng, marked=False)).startswith("To ")


def test_a_guard_refuses_the_rare_marks_that_others_miss() -> None:
    rng = random.Random(2)
    hard = [ask_way(rng, marked=True, hard=True) for _ in range(300)]
    guard = Speaker(attributes={"trade": "guard"})
    assert all("will not" in reply(rng, guard, act) for act in hard)
    refusals = sum("will not" in reply(rng, Speaker(), act) for act in hard)
    assert refusals / 300 == pytest.approx(0.6, abs=0.1)


@given(SEEDS, st.sampled_from(CATEGORIES))
def test_held_out_tasks_never_meet_their_personas_in_training(seed: int, category: str) -> None:
    rng = random.Random(seed)
    role = draw_role(rng, category)
    scene = Scene(rng, role)
    acts = [scene.act(Speaker()) for _ in range(40)]
    assert not {act.kind for act in acts} & HELD_OUT.get(role.kind, set())


def test_nobody_knows_the_round() -> None:
    """The same act to the same speaker has the same distribution of replies at any time."""
    rng = random.Random(3)
    first = reply(random.Random(5), Speaker(Style("last", "tibul")), ask_sum(rng))
    assert first.endswith(" Tibul.")
    assert "round" not in reply.__code__.co_varnames


def test_adopting_takes_style_language_and_what_was_told() -> None:
    other = Speaker(Style("upper"), "fr", {"name": "Secret"})
    who = adopt(Speaker(attributes={"name": "Own", "word": "mine"}), other, {"name": "Told"})
    assert (who.style.pattern, who.language) == ("upper", "fr")
    assert who.attributes == {"name": "Told", "word": "mine"}
