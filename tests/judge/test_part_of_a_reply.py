"""`part` judges what a pattern cuts out, `throughout` the parts that pass, `floor` rescales."""

from __future__ import annotations

import pytest

from holdfast import judge
from holdfast.core.errors import JudgeError

SUMMARY = {"name": "part", "pattern": r"\(([^()]*)\)\W*$", "of": {"name": "contains", "text": "hi"}}


def test_a_part_is_judged_by_itself() -> None:
    assert judge.build(SUMMARY)("Hola. (hi there)").value == 1.0
    assert judge.build(SUMMARY)("hi (hola)").value == 0.0
    assert judge.build(SUMMARY)("hi there").value == 0.0


def test_a_part_needs_one_group() -> None:
    with pytest.raises(JudgeError, match="one group"):
        judge.build({**SUMMARY, "pattern": "x"})


def test_throughout_counts_words_of_the_sentences_that_pass() -> None:
    spec = {"name": "throughout", "of": {"name": "contains", "text": "ahoy"}}
    reply = "Ahoy, my friend here. One two three four."
    assert judge.build(spec)(reply).value == 0.5
    assert judge.build({**spec, "share": 0.5})(reply).value == 1.0


def test_a_floor_takes_the_score_of_a_reply_that_keeps_its_form_in_half_of_its_sentences() -> None:
    spec = {"name": "ends_with", "text": "over", "each": "sentence", "floor": 0.5}
    assert judge.build(spec)("Yes, over. No, over.").value == 1.0
    assert judge.build(spec)("Yes, over. No.").value == 0.0


def test_options_have_aliases_and_a_letter_after_its_noun_is_an_option() -> None:
    ride = {"name": "choice", "options": ["bus", "cable car"], "answer": "cable car"}
    aliases = {"cable car": ["gondola"]}
    assert judge.build({**ride, "aliases": aliases})("You're taking the gondola.").value == 1.0
    cake = {"name": "choice", "options": ["A", "B", "C"], "answer": "C", "letters": True}
    assert judge.build(cake)("Cake A gets my vote. C is charming, though.").value == 0.0
    with pytest.raises(JudgeError, match="aliases"):
        judge.build({**ride, "aliases": {"tram": ["trolley"]}})
