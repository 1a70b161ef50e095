"""Ideas change a control's shares at some heads, or in the first tokens of a reply, alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ideas
import torch
from real_plan import read_plan

from actors import Actor, obey, suite
from holdfast.control.steered_pass import SteeredPass
from holdfast.control.steering import RowSteering, Steering
from holdfast.core.control import parse
from holdfast.core.progress import Progress

CONTROLS = ["none", ideas.CONTROL]
SMALL = replace(
    read_plan(), seeds=[1], suites=[suite()], pairs=4, rounds=4, controls=CONTROLS, later=[]
)


def a_pass(column: int, queries: int) -> SteeredPass:
    """A pass over a row with a persona, a turn, a reply at 20 and one at 40."""
    row = RowSteering(parse(ideas.CONTROL), (2, 6), (1, 7), (10, 30), (20, 40))
    return SteeredPass(Steering([row]), column, queries)


def shares(steered: SteeredPass) -> torch.Tensor:
    """What becomes of π = .1 with half of the rest on earlier turns, (1, 2, Lq)."""
    pi = torch.full((1, 2, steered.queries), 0.1)
    share = steered.share(0)
    assert share is not None
    result: torch.Tensor = share(pi, torch.full_like(pi, 0.5))  # type: ignore[call-arg]
    return result


def test_only_the_first_tokens_of_a_reply_are_changed() -> None:
    whole = shares(a_pass(35, 20))
    with ideas.change_shares(ideas.at_first_tokens):
        part = shares(a_pass(35, 20))
    assert (whole > 0.1).all()
    columns = (part > 0.1)[0, 0].nonzero().flatten() + 35
    assert columns.tolist() == list(range(40, 40 + ideas.FIRST))
    assert torch.equal(part[part > 0.1], whole[part > 0.1])
    assert torch.equal(shares(a_pass(35, 20)), whole)  # as it was


def test_only_some_heads_are_changed() -> None:
    whole = shares(a_pass(35, 3))
    with ideas.change_shares(ideas.at_heads(torch.tensor([[False, True]]))):
        part = shares(a_pass(35, 3))
    assert torch.equal(part[:, 1], whole[:, 1])
    assert torch.equal(part[:, 0], torch.full_like(part[:, 0], 0.1))


def test_other_shares_stay_as_they_are() -> None:
    row = RowSteering(parse("boost:4"), (2, 6), (1, 7))
    steered, pi = SteeredPass(Steering([row]), 35, 2), torch.full((1, 2, 2), 0.1)
    with ideas.change_shares(ideas.at_heads(torch.tensor([[False, False]]))):
        share = steered.share(0)
        assert share is not None
        assert (share(pi) > pi).all()


def test_the_power_is_taken_where_it_is_higher_and_own_replies_can_give_it() -> None:
    steered, pi = a_pass(35, 2), torch.tensor([[[0.1, 0.1]], [[0.9, 0.9]]])
    c = torch.tensor([1.0, 0.5]).expand_as(pi)  # without and with earlier turns
    with ideas.change_shares(ideas.at_least_power(0.7)):
        share = steered.share(0)
        assert share is not None
        w = share(pi, c)  # type: ignore[call-arg]
    torch.testing.assert_close(w[..., 0], pi[..., 0])
    torch.testing.assert_close(w[..., 1], torch.tensor([[0.1**0.7], [0.9 / 0.95]]))


def test_ideas_are_run_after_the_controls_and_have_rows_in_their_tables(tmp_path: Path) -> None:
    ideas.run_all(Actor(obey, share=True), SMALL, tmp_path, Progress(enabled=False))
    text = ideas.all_tables(tmp_path, SMALL)
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    names = ["none", ideas.CONTROL, *(i.name for i in ideas.ideas(tmp_path, SMALL))]
    assert rows[: len(names)] == names
    again = Actor(obey, share=True)
    ideas.run_all(again, SMALL, tmp_path, Progress(enabled=False))
    assert not again.calls


def test_the_third_with_the_highest_values_is_chosen() -> None:
    heads = ideas.most(torch.arange(9).reshape(3, 3).numpy())
    assert heads.flatten().tolist() == [False] * 6 + [True] * 3
