"""Clauses that make the language of a reply depend on the user's."""

from __future__ import annotations

import pytest

from holdfast import judge
from holdfast.judge.language import probability
from holdfast.persona.draft.drafting import draft
from holdfast.persona.every_reply import only_model_judges


@pytest.mark.parametrize(
    ("prompt", "replies"),
    [
        (
            "You answer in the language the customer writes in, English or German.",
            {"en": ["en"], "de": ["de"]},
        ),
        ("You answer in the language the customer writes in.", {"es": ["es"], "fr": ["fr"]}),
        (
            "Reply in German if the customer writes German, else in English.",
            {"de": ["de"], "en": ["en", "es", "fr"]},
        ),
        (
            "Answer in English. If the customer writes in German, answer in German.",
            {"en": ["en", "es", "fr"], "de": ["de"]},
        ),
        (
            "Answer in English unless the customer writes in German.",
            {"de": ["de"], "en": ["en", "es", "fr"]},
        ),
        ("For any other language than German you answer in English.", {"en": ["es", "fr"]}),
        (
            "Reply to German customers in German and to French customers in French.",
            {"de": ["de"], "fr": ["fr"]},
        ),
        (
            "Answer in German if they write German and in French if they write French.",
            {"de": ["de"], "fr": ["fr"]},
        ),
        ("If the user writes in Spanish, answer in English.", {"en": ["es"]}),
    ],
)
def test_a_language_that_depends_on_the_users_is_judged_by_its_probes_alone(
    prompt: str, replies: dict[str, list[str]]
) -> None:
    result = draft(prompt)
    assert {one.name.removeprefix("language-") for one in result.demands} == set(replies)
    for one in result.demands:
        users = replies[one.name.removeprefix("language-")]
        likely = [
            max(("en", "de", "es", "fr"), key=lambda c: probability(p, c)) for p in one.probes
        ]
        assert list(dict.fromkeys(likely)) == users
    assert result.suite.every_reply == ()
    assert only_model_judges(result.whole)
    assert result.problems() == []


@pytest.mark.parametrize(
    "prompt",
    [
        "Always answer in German, even if the user writes in English.",
        "Even if the user writes in English, answer in German.",
        "Regardless of the language the customer writes in, answer in German.",
        "Reply in German rather than in the user's language.",
    ],
)
def test_a_language_for_whatever_the_user_writes_is_judged_in_every_reply(prompt: str) -> None:
    result = draft(prompt)
    assert [one.name for one in result.demands] == ["language"]
    assert result.suite.every_reply == tuple(one.id for one in result.suite.personas)
    whole = judge.build(result.whole.judge)
    assert whole("Das Wetter ist heute schön.").value > 0.5 > whole("Nice weather today.").value


def test_a_language_without_questions_is_listed() -> None:
    result = draft("Never use emojis. If the user writes in Welsh, answer in Welsh.")
    assert [one.text for one in result.unjudged] == [
        "If the user writes in Welsh, answer in Welsh."
    ]
    assert "cy" in result.unjudged[0].why


def test_what_is_refused_is_read_in_english_where_english_customers_get_english() -> None:
    prompt = "Reply in German if the customer writes German, else in English. No slang. {}"
    refusal = draft(prompt.format("Never give medical advice.")).demands[-1]
    assert refusal.judge == {"name": "refusal", "expect": True}
