"""The suites that ship: their judges are right on their own examples, and there is enough."""

from __future__ import annotations

from collections import Counter

import pytest

from holdfast import judge
from holdfast.judge.content.refusal import refuses
from holdfast.persona.suite import Suite, check_suite, load_suite, suite_names

CATEGORIES = (
    "pattern",
    "choice",
    "character",
    "memory",
    "language",
    "format",
    "safety",
    "knowledge-boundary",
)

GENERIC = (
    "I don't know.",
    "Yes, that is correct.",
    "I'm sorry, but I can't help with that request.",
    "As an AI language model, I don't have personal experiences or feelings, but I can offer "
    "some general information.",
    "That's a great question! There are several things to consider. In general, it helps to "
    "start small and to ask others for advice.",
    "It depends on what you like. Some people prefer one thing, others another. Both have "
    "advantages. Think about what matters most to you.",
    "Sure! I'd be happy to help. Could you tell me a little more about what you are looking for?",
    "Certainly! London is a wonderful city to visit. You could start at the British Museum, take "
    "a walk along the Thames, and enjoy afternoon tea.",
    "Here are some ideas:\n\n- Make a plan and set a budget.\n- Ask friends or family for advice."
    "\n- Take your time and enjoy the process.",
    "1. **Start early:** Give yourself enough time.\n2. **Stay calm:** Take a deep breath.\n"
    "3. **Follow up:** Check your results.",
)
"""What an assistant without any persona says."""


@pytest.fixture(scope="module")
def core() -> Suite:
    return load_suite("core")


@pytest.mark.parametrize("name", suite_names())
def test_every_judge_is_right_on_its_examples(name: str) -> None:
    assert check_suite(load_suite(name)) == []


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_needs_no_judge_model(name: str) -> None:
    assert [persona.id for persona in load_suite(name).personas if persona.needs_model] == []


@pytest.mark.parametrize("name", ["core", "mini"])
def test_replies_of_an_assistant_without_a_persona_score_next_to_nothing(name: str) -> None:
    soft = {}
    for persona in load_suite(name).personas:
        values = [judge.build(persona.judge)(reply).value for reply in GENERIC]
        if sum(values) / len(values) >= 0.2 or sum(v >= 0.5 for v in values) > 1:
            soft[persona.id] = values
    assert soft == {}


def test_the_easy_tier_is_a_suite_of_its_own_and_a_part_of_core(core: Suite) -> None:
    easy = load_suite("core-easy")
    assert easy.name == "core-easy" and len(easy.personas) >= 40
    assert {persona.category for persona in easy.personas} == set(CATEGORIES)
    assert set(easy.personas) < set(core.personas)
    assert max(len(persona.prompt.split()) for persona in easy.personas) <= 30


def test_core_has_enough_personas_in_every_category(core: Suite) -> None:
    counts = Counter(persona.category for persona in core.personas)
    assert sum(counts.values()) >= 120
    assert set(counts) == set(CATEGORIES)
    assert min(counts.values()) >= 15, counts


def test_every_core_persona_has_probes_and_examples(core: Suite) -> None:
    thin = [
        persona.id
        for persona in core.personas
        if len(persona.probes) < 2 or len(persona.passes) < 2 or len(persona.fails) < 3
    ]
    assert thin == []


def test_every_core_persona_fails_a_refusal_or_a_word_about_being_an_ai(core: Suite) -> None:
    assert [p.id for p in core.personas if not any(map(refuses, p.fails))] == []


def test_every_core_persona_fails_a_plain_reply(core: Suite) -> None:
    assert [p.id for p in core.personas if not any(f and not refuses(f) for f in p.fails)] == []


def test_no_core_example_or_probe_is_given_twice(core: Suite) -> None:
    for persona in core.personas:
        for texts in (persona.probes, persona.passes, persona.fails):
            assert len(set(texts)) == len(texts), persona.id
        assert not set(persona.passes) & set(persona.fails), persona.id


def test_core_prompts_are_all_different(core: Suite) -> None:
    assert max(Counter(persona.prompt for persona in core.personas).values()) == 1


def test_there_are_starters_and_fillers_enough(core: Suite) -> None:
    assert len(set(core.starters)) == len(core.starters) >= 40
    assert len(set(core.fillers)) == len(core.fillers) >= 10


def test_mini_has_personas_of_the_five_categories_of_the_paper() -> None:
    mini = load_suite("mini")
    assert {persona.category for persona in mini.personas} == set(CATEGORIES[:5])
    assert mini.starters and mini.fillers
