"""The bench for ideas: what it prints, whom it asks, and functions of one's own as controls."""

from __future__ import annotations

import json
from pathlib import Path

import edge
import pytest
import torch

from actors import Actor, obey
from holdfast.control.steered_pass import SteeredPass
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError
from holdfast.persona.suite import load_suite

CORE = load_suite("core").personas
IDS = [p.id for p in CORE if not p.needs_model][:4]
BY_PROMPT = {p.prompt: p for p in CORE}


def slips(ask: Ask) -> Reply:
    """Answers the probe with the persona's own example, and forgets it after one round."""
    if ask.control.window is None and len(ask.chat) > 2:
        return Reply("As an AI language model I do not know.")
    persona = BY_PROMPT.get(ask.chat[0]["content"])
    return obey(ask) if persona is None else Reply(persona.passes[0])


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> Actor:
    model = Actor(slips)
    monkeypatch.setattr(edge, "open_model", lambda name: model)
    monkeypatch.setitem(edge.PERSONAS, "actor", {"development": IDS, "confirmation": IDS[:1]})
    return model


def run(*arguments: str) -> edge.Row:
    return edge.edge(edge._parser().parse_args(["--model", "actor", *arguments]))


def test_a_control_is_measured_beside_none_on_the_same_conversations(
    actor: Actor, tmp_path: Path
) -> None:
    output = run("--control", "window:1", "--quick", "--out", str(tmp_path / "run"))
    assert list(output)[:6] == ["control", "stability", "none", "recall", "recall_none", "kept"]
    assert output["none"] < output["stability"]
    assert output["kept"] == pytest.approx(output["stability"] / output["ceiling"], abs=1e-3)
    lines = (tmp_path / "run" / "changed.jsonl").read_text(encoding="utf-8").splitlines()
    changes = [json.loads(line) for line in lines]
    assert changes and all(one["control_score"] != one["none_score"] for one in changes)
    agents = {ask.chat[0]["content"] for call in actor.calls for ask in call}
    assert {p.prompt for p in CORE if p.id in IDS} & agents


def test_a_function_of_ones_own_takes_the_place_of_the_shares_in_the_block(tmp_path: Path) -> None:
    file = tmp_path / "ideas.py"
    file.write_text(
        "def half(pi, layer):\n    return pi ** 0.5 if layer else pi\n", encoding="utf-8"
    )
    own = SteeredPass.share
    with edge.register_control(f"{file}:half") as control:
        share = SteeredPass.share(None, 1)  # type: ignore[arg-type]
        assert control == edge.CARRIER and share is not None
        assert torch.equal(share(torch.tensor([0.25])), torch.tensor([0.5]))
    assert SteeredPass.share is own
    with edge.register_control("boost:2") as control:
        assert control == "boost:2" and SteeredPass.share is own


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--control", "nowhere.py:f"], "there is no nowhere.py"),
        (["--control", "bost:2"], "did you mean boost"),
        (["--control", "none", "--model", "other"], "has no personas for other"),
    ],
)
def test_mistakes_are_one_sentence(actor: Actor, arguments: list[str], sentence: str) -> None:
    with pytest.raises(HoldfastError, match=sentence):
        run(*arguments)


def test_the_two_parts_share_no_persona() -> None:
    for parts in edge.PERSONAS.values():
        assert not set(parts["development"]) & set(parts["confirmation"])
