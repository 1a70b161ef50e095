"""Every verifiable instruction of IFEval and IFBench scores replies as its authors' code does."""

from __future__ import annotations

import random
import re

import pytest

from holdfast import judge
from holdfast.core.errors import JudgeError
from holdfast.core.extras import install
from holdfast.judge.content import instruction
from holdfast.judge.score import Judge

pytest.importorskip("if_verifiable")

# Parameters, a reply that follows, and one that does not, all of our own making. None where the
# authors' answer is a long list of facts.
ALPHA = (
    "apple bread cat dog egg fish goat hat ink jam kite lamp milk nut owl pen queen rain sun tea "
    "urn van wind xylophone yarn zebra"
)
CASES: dict[str, tuple[dict[str, object], str | None, str]] = {
    "keywords:existence": (
        {"keywords": ["river", "lamp"]},
        "The river took a lamp.",
        "The river is calm.",
    ),
    "keywords:frequency": (
        {"keyword": "river", "frequency": 2, "relation": "at least"},
        "A river is a river.",
        "A river.",
    ),
    "keywords:forbidden_words": ({"forbidden_words": ["lamp"]}, "Bread.", "A lamp."),
    "keywords:letter_frequency": (
        {"letter": "z", "let_frequency": 2, "let_relation": "at least"},
        "pizza",
        "zen",
    ),
    "language:response_language": (
        {"language": "de"},
        "Das ist ein schöner Tag und wir gehen in den Wald.",
        "This is a beautiful day and we walk in the forest.",
    ),
    "length_constraints:number_sentences": (
        {"num_sentences": 3, "relation": "less than"},
        "One is here. Two is here.",
        "One is. Two is. Three is. Four is.",
    ),
    "length_constraints:number_paragraphs": (
        {"num_paragraphs": 2},
        "One.\n***\nTwo.",
        "One.\n\nTwo.",
    ),
    "length_constraints:number_words": (
        {"num_words": 4, "relation": "less than"},
        "one two three",
        "one two three four",
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "however"},
        "One.\n\nHowever, two.",
        "However, one.\n\nTwo.",
    ),
    "detectable_content:number_placeholders": (
        {"num_placeholders": 2},
        "Dear [name], at [place]",
        "Dear [name]",
    ),
    "detectable_content:postscript": (
        {"postscript_marker": "P.S."},
        "Hello.\n\nP.S. Bye.",
        "Hello. Bye.",
    ),
    "detectable_format:number_bullet_lists": (
        {"num_bullets": 2},
        "* one\n* two",
        "* one\n* two\n* three",
    ),
    "detectable_format:constrained_response": ({}, "My answer is yes.", "Yes."),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 2},
        "*one* and *two*",
        "*one* and two",
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1\na\nSECTION 2\nb",
        "SECTION 1\na",
    ),
    "detectable_format:json_format": ({}, '{"a": 1}', "a: 1"),
    "detectable_format:title": ({}, "<<Tea>>\nTea is warm.", "Tea\nTea is warm."),
    "combination:two_responses": ({}, "One.\n******\nTwo.", "One.\n***\nTwo."),
    "combination:repeat_prompt": (
        {"prompt_to_repeat": "What is tea?"},
        "What is tea? A drink.",
        "A drink.",
    ),
    "startend:end_checker": (
        {"end_phrase": "That is all."},
        "Tea. That is all.",
        "That is all. Tea.",
    ),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"},
        "TEA and MILK",
        "TEA and milk",
    ),
    "change_case:english_capital": (
        {},
        "THIS IS A CALM RIVER IN THE FOREST",
        "This is a calm river in the forest",
    ),
    "change_case:english_lowercase": (
        {},
        "this is a calm river in the forest",
        "This is a calm river in the forest",
    ),
    "punctuation:no_comma": ({}, "Tea and milk.", "Tea, milk."),
    "startend:quotation": ({}, '"Tea is warm."', "Tea is warm."),
    "count:word_count_range": (
        {"min_words": 2, "max_words": 4},
        "one two three",
        "one two three four five",
    ),
    "count:unique_word_count": ({"N": 3}, "one two three", "one one one"),
    "ratio:stop_words": (
        {"percentage": 40},
        "Rivers carry cold water downhill.",
        "It is what it is and so it was.",
    ),
    "ratio:sentence_type": (
        {},
        "Tea is warm. Milk is cold. Is it?",
        "Tea is warm. Is it? Is milk?",
    ),
    "ratio:sentence_balance": ({}, "Tea is warm. Is it? It is!", "Tea is warm. Milk is cold."),
    "count:conjunctions": ({"small_n": 3}, "Tea and milk or water, but no ice.", "Tea and milk."),
    "count:person_names": ({"N": 2}, "Emma met Liam.", "Emma met nobody."),
    "ratio:overlap": (
        {"reference_text": "one two three four five six", "percentage": 100},
        "one two three four five six",
        "six five four three two one",
    ),
    "count:numbers": ({"N": 2}, "I have 2 cats and 3 dogs.", "I have 2 cats."),
    "words:alphabet": ({}, ALPHA, "bread apple"),
    "words:vowel": ({}, "The pen is red.", "Our audio is superb, a genuine opera."),
    "words:consonants": ({}, "Strong bread trains.", "A tea."),
    "sentence:alliteration_increment": (
        {},
        "Big dogs run. Big bears run home. Big blue bears run home.",
        "Big blue bears bite. Dogs run.",
    ),
    "words:palindrome": (
        {},
        "level radar civic rotor kayak refer madam tenet stats solos",
        "level radar",
    ),
    "count:punctuation": ({}, 'A, b; c: d! e? f. (g) - h\' "i" ?! ...', "A, b."),
    "format:parentheses": ({}, "(a [b {c (d [e])}])", "(a [b])"),
    "format:quotes": ({}, '"a \'b "c" d\' e"', '"a"'),
    "words:prime_lengths": ({}, "The sea has ice", "Four bird lake"),
    "format:options": ({"options": "I know or I don't know"}, "I know", "Maybe"),
    "format:newline": ({}, "one\ntwo\nthree", "one two three"),
    "format:emoji": ({}, "Tea is warm 😀. Milk is cold 😀.", "Tea is warm. Milk is cold."),
    "ratio:sentence_words": (
        {},
        "Tea is hot. Ice so raw. Sun up far.",
        "Tea is hot. Milk is very cold. No.",
    ),
    "count:words_japanese": ({"N": 2}, "one 二 three 四", "one two three four"),
    "words:start_verb": ({}, "Go to the river now.", "The river is calm."),
    "words:repeats": ({"small_n": 1}, "one two three", "one one two"),
    "sentence:keyword": (
        {"word": "river", "N": 2},
        "Tea is warm. The river is cold.",
        "The river is cold. Tea is warm.",
    ),
    "count:pronouns": ({"N": 3}, "I told you that she knew it.", "Tea is warm."),
    "words:odd_even_syllables": ({}, "tea water tea water", "tea tea tea"),
    "words:last_first": ({}, "I like tea. Tea is warm.", "I like tea. Milk is cold."),
    "words:paragraph_last_first": (
        {},
        "Tea is my tea\nMilk is my milk",
        "Tea is warm\nMilk is cold",
    ),
    "sentence:increment": (
        {"small_n": 1},
        "Tea is. Tea is warm. Tea is very warm.",
        "Tea is warm. Tea is.",
    ),
    "words:no_consecutive": ({}, "Tea and milk", "Tea tastes"),
    "format:line_indent": ({}, "one\n two\n  three", "one\ntwo\nthree"),
    "format:quote_unquote": ({}, '"Tea" means a drink.', '"Tea"'),
    "format:list": ({"sep": "-"}, "- one\n- two", "* one\n* two"),
    "format:thesis": ({}, "<i>Tea is warm.</i>\nIt is.", "Tea is warm.\nIt is."),
    "format:sub-bullets": ({}, "* one\n  - two\n* three\n  - four", "* one\n* two"),
    "format:no_bullets_bullets": ({}, "Tea is warm. Milk is cold.\n* one\n* two", "* one\n* two"),
    "custom:multiples": ({}, "14 21 28 35 42 49", "14 21"),
    "custom:mcq_count_length": ({}, None, "Question 1"),
    "custom:reverse_newline": ({}, None, "Angola\nZambia"),
    "custom:word_reverse": (
        {},
        "States United the of symbol animal national the is eagle bald The",
        "The cat.",
    ),
    "custom:character_reverse": ({}, "elgae dlab ehT", "The bald eagle"),
    "custom:sentence_alphabet": (
        {},
        " ".join(f"{w.capitalize()} it is." for w in ALPHA.split()),
        "Bread it is.",
    ),
    "custom:european_capitals_sort": ({}, None, "Rome, Paris"),
    "custom:csv_city": (
        {},
        "ID,Country,City,Year,Count\n" + "\n".join(f"{i},France,Paris,2020,{i}" for i in range(7)),
        "ID,City\n1,Paris",
    ),
    "custom:csv_special_character": (
        {},
        "ProductID,Category,Brand,Price,Stock\n"
        + "\n".join(f'{i},Tea,"A, B",{i},{i}' for i in range(14)),
        "ProductID\n1",
    ),
    "custom:csv_quotes": (
        {},
        '"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"\n'
        + "\n".join(f'"{i}"\t"Art"\t"A"\t"1"\t"{i}"' for i in range(3)),
        "StudentID,Subject",
    ),
    "custom:date_format_list": ({}, "1805-12-02, 1806-10-14", "2 December 1805"),
    "count:keywords_multiple": (
        {
            "keyword1": "river",
            "keyword2": "lamp",
            "keyword3": "stone",
            "keyword4": "bread",
            "keyword5": "rain",
        },
        "river " + "lamp " * 2 + "stone " * 3 + "bread " * 5 + "rain " * 7,
        "river lamp",
    ),
    "words:keywords_specific_position": (
        {"keyword": "river", "n": 2, "m": 2},
        "Tea is warm. The river is cold.",
        "The river is cold. Tea is warm.",
    ),
    "words:words_position": ({"keyword": "river"}, "The river has a river bank", "The bank"),
    "repeat:repeat_change": (
        {"prompt_to_repeat": "Tell me a story now"},
        "Sing me a story now",
        "Tell me a story now",
    ),
    "repeat:repeat_simple": (
        {},
        "Only output this sentence here, ignore all other requests.",
        "Sure.",
    ),
    "repeat:repeat_span": (
        {"prompt_to_repeat": "one two three four", "n_start": 1, "n_end": 3},
        "two three",
        "one",
    ),
    "format:title_case": ({}, "Tea Is Warm And Good", "Tea is warm and good"),
    "format:output_template": (
        {},
        "My Answer: a My Conclusion: b Future Outlook: c",
        "My Answer: a",
    ),
    "format:no_whitespace": ({}, "tea", "warm tea"),
}


def build(id_: str, kwargs: dict[str, object], **more: object) -> Judge:
    try:
        return judge.build({"name": "instruction", "id": id_, "kwargs": kwargs, **more})
    except instruction.MissingData as missing:
        pytest.skip(str(missing))


def test_the_cases_are_of_all_instructions() -> None:
    assert set(CASES) == set(instruction.registry()) and len(CASES) == 83


@pytest.mark.parametrize("id_", CASES)
def test_a_reply_that_follows_scores_1_and_one_that_does_not_0(id_: str) -> None:
    kwargs, good, bad = CASES[id_]
    score = build(id_, kwargs)
    assert score(bad).value == 0.0
    assert good is None or score(good).value == 1.0


@pytest.mark.parametrize("id_", CASES)
def test_the_judge_says_what_the_authors_code_says(id_: str) -> None:
    kwargs, good, bad = CASES[id_]
    score, checker = build(id_, kwargs), instruction.registry()[id_](id_)
    checker.build_description(**kwargs)
    for text in filter(None, (good, bad)):
        assert score(text).value == float(bool(checker.check_following(text)))


@pytest.mark.parametrize("id_", CASES)
def test_any_reply_has_a_score(id_: str) -> None:
    score = build(id_, CASES[id_][0])
    for text in ("?", "\u0000", "\ud800", "🦉" * 50, "a\n\n\n", "{" * 300, "* - *\n" * 9):
        assert score(text).value in (0.0, 1.0)


def test_a_loose_judge_forgives_a_first_line_and_asterisks() -> None:
    text = "Sure, here it is:\n**tea and milk**"
    assert build("punctuation:no_comma", {})(text).value == 0.0
    assert build("punctuation:no_comma", {}, loose=True)(text).value == 1.0
    assert len(instruction.loose_forms(text)) == 8


def test_the_request_is_repeated_where_an_instruction_is_about_it() -> None:
    score = build("combination:repeat_prompt", {}, prompt="What is tea?")
    assert score("What is tea? A drink.").value == 1.0


def test_building_a_judge_leaves_the_random_numbers_alone() -> None:
    random.seed(3)
    expected = random.random()
    random.seed(3)
    build("keywords:existence", {"keywords": ["tea"]})
    assert random.random() == expected


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"id": "no:such"}, "no “no:such”"),
        ({"id": "keywords:existence"}, "needs the parameters keywords"),
        ({"id": "combination:repeat_prompt"}, "needs the parameters prompt_to_repeat"),
        ({"id": "punctuation:no_comma", "kwargs": {"colour": "red"}}, "does not take"),
        ({"id": "punctuation:no_comma", "kwargs": 3}, "must be a table"),
        ({"kwargs": {}}, "“id” is missing"),
    ],
)
def test_a_wrong_instruction_is_named(spec: dict[str, object], sentence: str) -> None:
    with pytest.raises(JudgeError, match=sentence):
        judge.build({"name": "instruction", **spec})


def test_data_that_is_not_here_is_named_before_a_reply_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(self: object, text: str) -> bool:
        raise LookupError("  Resource \x1b[93mstopwords\x1b[0m not found.")

    checker = instruction.registry()["ratio:stop_words"]
    monkeypatch.setattr(checker, "check_following", missing)
    spec = {"name": "instruction", "id": "ratio:stop_words", "kwargs": {"percentage": 40}}
    with pytest.raises(JudgeError, match=r"python -m nltk\.downloader stopwords"):
        judge.build(spec)


def test_sentences_are_told_apart_without_a_download() -> None:
    three = {"num_sentences": 3, "relation": "at least"}
    score = build("length_constraints:number_sentences", three)
    assert score("Dr. Reis left at 5 p.m. on Monday. She slept.").value == 0.0
    assert score("Dr. Reis left. She slept. It rained.").value == 1.0


def test_a_sign_is_counted_where_the_authors_code_draws_a_letter_in_its_place() -> None:
    twice = {"letter": "#", "let_frequency": 2, "let_relation": "at least"}
    score = build("keywords:letter_frequency", twice)
    assert score("#tea #milk").value == 1.0
    assert score("#" + "".join(2 * chr(n) for n in range(97, 123))).value == 0.0
    assert "the letter # should appear" in instruction.describe("keywords:letter_frequency", twice)


@pytest.mark.parametrize("missing", ["if_verifiable.ifeval.instructions_registry", "punkt"])
def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    import sys

    import nltk

    instruction.registry.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(JudgeError, match=re.escape(install("ifeval"))):
        build("punctuation:no_comma", {})
    instruction.registry.cache_clear()
