"""Where a persona is in token ids: as the template that rendered it says."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from holdfast.core.chat import message
from holdfast.core.errors import ControlError
from holdfast.models.local.persona_span import (
    AnySystemMessage,
    ExactPersona,
    PersonaSpan,
    any_system_message,
    exact_persona,
    find_occurrences,
)
from holdfast.models.local.template import Template
from tiny_models import SPECIALS, TEMPLATES, tokenizer

WITH_BORDERS = ["chatml", "defaulting", "llama2", "llama3", "forgetful", "silent"]
PERSONAS = ("You are Ann.", "Say <b>no</b>!\n\n1. Be brief.\n2. Be kind.", "é ¿qué? 好", "x")
CHAT = (message("user", "Hi."), message("assistant", "Yes?"), message("user", "Who are you?"))


@cache
def anything(template: str) -> AnySystemMessage:
    return any_system_message(tokenizer(template))


def render(template: str, persona: str) -> tuple[list[int], PersonaSpan]:
    """A chat's ids, and the place that the template itself knows of."""
    tokens = tokenizer(template)
    chat = Template(tokens).render((message("system", persona), *CHAT))
    assert chat.content and chat.template
    first = max(int(chat.ids[0] == tokens.bos_token_id), chat.template[0])
    return [*chat.ids], PersonaSpan(chat.content, (first, chat.template[1]))


@pytest.mark.parametrize("persona", PERSONAS)
@pytest.mark.parametrize("template", WITH_BORDERS)
def test_any_system_message_is_found_where_the_template_put_it(template: str, persona: str) -> None:
    ids, place = render(template, persona)
    assert anything(template)(ids) == place


@pytest.mark.parametrize("persona", PERSONAS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_text_is_found_where_the_template_put_it(template: str, persona: str) -> None:
    ids, place = render(template, persona)
    assert exact_persona(persona, tokenizer(template))(ids) == place


@settings(max_examples=25)
@given(st.text("ab<> \n.", min_size=1).filter(lambda text: text == text.strip()))
def test_any_text_is_found_as_written_and_between(text: str) -> None:
    ids, place = render("chatml", f"Q{text}")
    assert anything("chatml")(ids) == place
    assert exact_persona(f"Q{text}", tokenizer("chatml"))(ids) == place


def merging(template: str) -> PreTrainedTokenizerFast:
    """A tokenizer that joins punctuation with line breaks, as those of Llama 3 and Qwen do."""
    inner = Tokenizer(BPE())
    pieces = Regex(r" ?\p{L}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+|\p{N}")
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pieces, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIALS),
        show_progress=False,
    )
    inner.train_from_iterator(["You.\n<</SYS>>\n\nYes!\n\nNo.\n<<SYS>>\n- me\n\n"] * 40, trainer)
    tokens = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    tokens.add_special_tokens({"additional_special_tokens": list(SPECIALS[3:])})
    tokens.chat_template = TEMPLATES[template]
    return tokens


@pytest.mark.parametrize("persona", [*PERSONAS, "You are Ann.\n", "\n\nNo!", "- me\n- you"])
@pytest.mark.parametrize("template", WITH_BORDERS)
def test_tokens_that_reach_over_a_personas_border_are_the_personas(
    template: str, persona: str
) -> None:
    tokens = merging(template)
    assert len(tokens(".\n")["input_ids"]) == 1
    chat = Template(tokens).render((message("system", persona), *CHAT))
    assert chat.content and chat.template
    place = PersonaSpan(chat.content, (int(chat.ids[0] == tokens.bos_token_id), chat.template[1]))
    assert exact_persona(persona, tokens)([*chat.ids]) == place
    # Line breaks at its start may join a tag that is plain text, which is then not seen.
    hidden = template == "llama2" and persona.startswith("\n")
    assert any_system_message(tokens)([*chat.ids]) == (None if hidden else place)


@pytest.mark.parametrize("template", WITH_BORDERS)
def test_chats_without_a_system_message_have_no_persona(template: str) -> None:
    tokens = tokenizer(template)
    text = tokens.apply_chat_template([dict(m) for m in CHAT], tokenize=False)
    ids = [*tokens(text, add_special_tokens=False)["input_ids"]]
    place = anything(template)(ids)
    # A template may put one there by itself.
    assert (place is not None) == (template == "defaulting")
    assert exact_persona("You are Ann.", tokens)(ids) is None


@pytest.mark.parametrize("template", WITH_BORDERS)
def test_what_is_found_does_not_depend_on_what_follows(template: str) -> None:
    ids, place = render(template, "You are Ann.")
    any_, this = anything(template), exact_persona("You are Ann.", tokenizer(template))
    for end in range(len(ids)):
        assert this(ids[:end]) == (place if end >= place.content[1] else None)
        assert any_(ids[:end]) in (place, None)
        if end >= place.message[1]:
            assert any_(ids[:end]) == place


def test_a_text_outside_of_a_system_message_is_its_own_message() -> None:
    tokens = tokenizer("chatml")
    ids = [*tokens("Once there was Ann, who baked.", add_special_tokens=False)["input_ids"]]
    assert exact_persona("Ann", tokens)(ids) == PersonaSpan((15, 18), (15, 18))
    assert exact_persona("Ann", tokenizer(None))(ids) == PersonaSpan((15, 18), (15, 18))


def test_a_template_that_folds_the_prompt_into_the_users_message_needs_the_text() -> None:
    with pytest.raises(ControlError, match="give `span`"):
        any_system_message(tokenizer("gemma"))


def test_the_first_place_counts_and_the_longest_spelling() -> None:
    find = ExactPersona(((5, 6), (5, 6, 7), (9,)), head=(1,), tail=(2, 3), after_tail=(4,))
    assert find([5, 6, 7, 9]) == PersonaSpan((0, 3), (0, 3))
    assert find([1, 5, 6, 2, 3, 8]) == PersonaSpan((1, 3), (0, 5))
    assert find([1, 5, 6, 2, 3, 4]) == PersonaSpan((1, 3), (0, 6))
    assert find([0, 5, 6, 8]) == PersonaSpan((1, 3), (1, 3))
    # The row ends within what closes the message: the rest is taken to follow.
    assert find([1, 5, 6, 2]) == PersonaSpan((1, 3), (0, 6))
    assert find([0, 1, 2]) is None
    assert ExactPersona(((),))([1, 2]) is None


def test_an_empty_system_message_is_no_persona() -> None:
    find = AnySystemMessage((1, 2), (8,), (8,), (3,), ())
    assert find([1, 2, 8, 3, 5]) is None
    assert find([1, 2, 8, 6, 8, 3, 5]) == PersonaSpan((3, 4), (0, 6))
    assert find([1, 2, 6, 3, 5]) == PersonaSpan((2, 3), (0, 4))
    assert find([1, 2, 6]) is None


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2), min_size=1, max_size=3))
def test_occurrences_are_all_there_are(row: list[int], part: list[int]) -> None:
    every = [i for i in range(len(row)) if row[i : i + len(part)] == part]
    assert find_occurrences(tuple(part), row) == every
    assert find_occurrences(tuple(part), row, 1) == every[:1]
    assert find_occurrences(tuple(part), row, since=3) == [i for i in every if i >= 3]


def test_a_bos_that_opens_every_message_belongs_to_the_message() -> None:
    tokens = tokenizer("chatml")
    tokens.bos_token = "<|im_start|>"
    ids = [*Template(tokens).render((message("system", "You are Ann."), *CHAT)).ids]
    place = any_system_message(tokens)(ids)
    assert place == exact_persona("You are Ann.", tokens)(ids)
    assert place is not None and place.message[0] == 0
    other = [*Template(tokens).render((message("user", "system\nYou are Ann."),)).ids]
    assert any_system_message(tokens)(other) is None
