"""The prompt router: learned from texts, saved as JSON, and a control on any model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from holdfast.control import router
from holdfast.control.rewrite import rewrite
from holdfast.core.chat import agent_view
from holdfast.core.control import parse
from holdfast.core.errors import ControlError, ModelError
from holdfast.training.prism.router_training import train_router

NAMES = [f"What is your name, number {i}?" for i in range(12)]
SUMS = [f"What is {i} + {i}?" for i in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own_router = train_router([*NAMES, *SUMS], [True] * 12 + [False] * 12)
    return own_router.save(tmp_path_factory.mktemp("router")).parent


def test_queries_of_the_kinds_it_was_trained_on_are_told_apart(folder: Path) -> None:
    own_router = router.read(str(folder))
    assert own_router.on("Tell me, what is your name?")
    assert not own_router.on("What is 40 + 2?")
    chances = own_router.chances([*NAMES, *SUMS])
    assert ((chances >= 0) & (chances <= 1)).all()
    assert json.loads((folder / router.NAME).read_text(encoding="utf-8"))["threshold"] == 0.5


def test_as_a_control_it_leaves_the_system_prompt_out_of_what_it_says_no_to(folder: Path) -> None:
    control = parse(f"route:{folder}")
    assert not control.needs_weights and not control.steers
    name_chat = agent_view("You are Ann.", [], "What is your name?")
    sum_chat = agent_view("You are Ann.", [], "What is 3 + 4?")
    assert rewrite(name_chat, control) == name_chat
    assert rewrite(sum_chat, control) == sum_chat[1:]
    bare = sum_chat[1:]
    assert rewrite(bare, control) == bare


def test_it_joins_others_and_a_window_keeps_to_its_own_rule(folder: Path) -> None:
    control = parse(f"route:{folder}+window:1")
    chat = agent_view("You are Ann.", ["Hi", "Hello"], "What is your name?")
    assert [m["role"] for m in rewrite(chat, control)] == ["system", "user"]
    messages = agent_view("You are Ann.", ["Hi", "Hello"], "What is 3 + 4?")
    assert [m["content"] for m in rewrite(messages, control)] == ["What is 3 + 4?"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("route:", "names no folder"), ("route", "names no folder"), ("none+route:x", "joins none")],
)
def test_a_wrong_control_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ControlError, match=sentence):
        parse(text)


def test_no_router_and_too_few_of_a_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no router in"):
        rewrite(agent_view("You are Ann.", [], "Hi"), parse(f"route:{tmp_path}"))
    with pytest.raises(ModelError, match="two queries of each kind"):
        train_router(NAMES, [True] * 11 + [False])


def test_copies_of_a_query_do_not_make_it_look_better_than_it_is() -> None:
    """Labels are random, so no router can rank queries that it has not seen."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefghijklm"), 6)) for _ in range(40)]
    labels = [bool(x) for x in rng.integers(0, 2, 40)]
    once = train_router(texts, labels).auc
    copy_auc = train_router(texts * 4, labels * 4).auc
    assert once < 0.7 and copy_auc < 0.7
