"""What a chat template must show of turns and replies for a control that needs it."""

from __future__ import annotations

from holdfast.core.control import parse
from holdfast.models.local.template import Template
from holdfast.models.local.turns import turns_refusal
from tiny_models import tokenizer


def test_a_template_without_turns_is_refused_where_a_control_needs_them() -> None:
    chatml, mistral = Template(tokenizer("chatml")), Template(tokenizer("mistral"))
    for text in ("none", "boost:2", "anchor", "restore:1", "restore:1@from=all"):
        assert turns_refusal(parse(text), chatml, (1,)) is None
    assert turns_refusal(parse("boost:2"), mistral, ()) is None
    for text in ("anchor", "restore:1@from=all", "anchor+boost:2"):
        assert "moves the persona" in str(turns_refusal(parse(text), mistral, (1,)))
    assert "where replies begin" in str(turns_refusal(parse("restore:1"), chatml, ()))
