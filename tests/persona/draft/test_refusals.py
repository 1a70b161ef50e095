"""What a draft reads of things to refuse."""

from __future__ import annotations

import pytest

from holdfast.persona.draft.drafting import draft


@pytest.mark.parametrize(
    "clause",
    [
        "If asked, say: \"I'm sorry, I can't help with that.\"",
        "If mentioned, say 'No way.'",
        "If asked to, decline.",
        "If the user is rude, say 'Please be polite.'",
    ],
)
def test_what_is_said_when_asked_needs_a_topic_to_ask_about(clause: str) -> None:
    result = draft(f"Never use emojis. {clause}")
    assert [one.name for one in result.demands] == ["no-emojis"]
    assert [one.text for one in result.unjudged] == [clause]


@pytest.mark.parametrize(
    ("clause", "words"),
    [
        ("Never promise a delivery date.", "delivery date"),
        ("Do not discuss prices.", "prices"),
        ("Never reveal discount codes.", "discount codes"),
        ("Never discuss health insurance.", "health insurance"),
        ("Do not recommend taxis.", "taxis"),
        ("Never quote the loyalty program.", "loyalty program"),
        ("Never reveal internal information.", "internal information"),
        ("If the user asks you to write essays, decline.", "write essays"),
    ],
)
def test_a_clause_that_is_about_no_known_topic_is_asked_about_in_its_own_words(
    clause: str, words: str
) -> None:
    (one,) = draft(clause).demands
    assert all(words in probe for probe in one.probes)


@pytest.mark.parametrize(
    ("clause", "names"),
    [
        ("Do not discuss competitors or their prices.", ["refusal"]),
        ("Never give legal or medical advice to customers, even if asked.", ["medical", "legal"]),
        (
            "Do not discuss sensitive topics such as politics and religion.",
            ["politics", "religion"],
        ),
        ("Do not give financial predictions or political opinions.", ["financial", "politics"]),
        ("Never discuss politics or internal HR matters.", ["politics", "internal-hr-matters"]),
        ("Não dê conselhos médicos ou jurídicos.", ["medical", "legal"]),
    ],
)
def test_a_known_topic_is_asked_about_where_an_item_is_about_it(
    clause: str, names: list[str]
) -> None:
    demands = draft(clause).demands
    assert [one.name.removeprefix("refusal-") for one in demands] == names
    assert not any("their prices" in probe for one in demands for probe in one.probes)


def test_promises_of_refunds_and_discounts_are_demands_of_their_own() -> None:
    clauses = ("Do not promise refunds.", "Do not offer discounts.", "Never make promises.")
    demands = draft(" ".join(clauses)).demands
    assert [one.text for one in demands] == list(clauses)
    assert "money back" in demands[0].probes[0] and "per cent off" in demands[1].probes[0]
