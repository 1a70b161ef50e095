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
