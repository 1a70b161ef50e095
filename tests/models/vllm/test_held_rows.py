"""The held rows of a step, computed from blocks, against each row alone."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from holdfast.control.attention import two_part_attention
from holdfast.control.kernels import apply_weights, attention_scores
from holdfast.control.reference_attention import reference_weights
from holdfast.control.steering import RowSteering
from holdfast.core.control import parse
from holdfast.models.vllm import held_rows as held_rows_module
from holdfast.models.vllm.block_layout import BlockLayout
from holdfast.models.vllm.held_rows import HeldRows, step_rows
from holdfast.models.vllm.persona_mass import KernelRows, PersonaMass
from holdfast.models.vllm.prompt_share import HeldRow, ShareStore
from holdfast.models.vllm.rotary import VllmRotary

TOKENS, SIZE, HEADS, GROUPS = 16, 32, 4, 2
LENGTHS, QUERIES = (40, 21, 50, 30), (1, 1, 20, 1)  # the third is a prompt's second part
SPAN = (3, 9)


class PlainKernel:
    """Stands in for vLLM's operations: keys, then values of a block as they are."""

    def __init__(self) -> None:
        self.writes: list[int] = []

    def write(self, key: Tensor, value: Tensor, cache: Tensor, slots: Tensor) -> None:
        self.writes.append(len(slots))
        places = cache.view(len(cache), cache.shape[1], 2, TOKENS, SIZE)
        for i, states in enumerate((key, value)):
            places[slots // TOKENS, :, i, slots % TOKENS] = states

    def plan(self, starts: Tensor, lengths: Tensor) -> Tensor:
        return lengths

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, rows: KernelRows, scale: float
    ) -> Tensor:
        parts = []
        for i, length in enumerate(rows.lengths.tolist()):
            own = query[int(rows.starts[i]) : int(rows.starts[i + 1])].transpose(0, 1)[None]
            key, value = (
                cache.view(len(cache), GROUPS, 2, TOKENS, SIZE)[rows.blocks[i].long()][:, :, half]
                .transpose(0, 1)
                .reshape(1, GROUPS, -1, SIZE)[:, :, :length]
                for half, cache in enumerate((keys, values))
            )
            queries = own.shape[2]
            visible = torch.arange(length) <= torch.arange(length - queries, length)[:, None]
            weights, _ = reference_weights(own, key, visible[None, None], scale)
            parts.append(apply_weights(weights, value)[0].transpose(0, 1))
        return torch.cat(parts)


class Blocks:
    """A cache with the rows' keys and values in it, blocks out of order."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.kernel = PlainKernel()
        self.row_steerings: dict[tuple[int, str], RowSteering] = {}
        self.mass = PersonaMass(TOKENS, self.kernel)
        self.layout = BlockLayout(TOKENS, SIZE, torch.float32, self.kernel.write)
        self.cache = torch.randn(20, GROUPS, TOKENS, 2 * SIZE, generator=generator)
        order = torch.randperm(20, generator=generator)
        self.table = order[:16].view(4, 4)
        self.query = torch.randn(sum(QUERIES), HEADS, SIZE, generator=generator)
        self.common = SimpleNamespace(
            query_start_loc_cpu=torch.tensor([0, *torch.tensor(QUERIES).cumsum(0).tolist()]),
            seq_lens=torch.tensor(LENGTHS),
            num_reqs=4,
            req_idx=None,
            block_table_tensor=self.table,
        )

    def plain(self) -> Tensor:
        """What vLLM's kernel gives all rows."""
        common = self.common
        rows = KernelRows(common.query_start_loc_cpu, common.seq_lens, self.table, self.table)
        return self.kernel.attend(self.query, self.cache, self.cache, rows, SIZE**-0.5)

    def lse(self) -> Tensor:
        """The log-sum-exp of its scores, (all queries, H)."""
        keys, _ = self.layout.gather(self.cache, self.table)
        parts = []
        for i, own in enumerate(self.query.split(QUERIES)):
            length = int(self.common.seq_lens[i])
            score = attention_scores(own.transpose(0, 1)[None], keys[i : i + 1], None)
            last = torch.arange(length - len(own), length)[:, None]
            hidden = torch.arange(keys.shape[2]) > last
            parts.append(score.masked_fill(hidden, -torch.inf).logsumexp(-1)[0].T)
        return torch.cat(parts)

    def steerings(self, controls: dict[int, str]) -> dict[int, HeldRow]:
        """The held rows' steerings, the same ones at each call."""
        for i, text in controls.items():
            row = RowSteering(parse(text), SPAN, (0, 12), (12, 18))
            self.row_steerings.setdefault((i, text), row)
        return {i: HeldRow(self.row_steerings[i, text]) for i, text in controls.items()}

    def alone(self, i: int, share: str, lengths: Sequence[int] = LENGTHS) -> Tensor:
        """Row i's attention under a share, by itself: (Lq, H, D)."""
        length, queries = lengths[i], QUERIES[i]
        keys, values = self.layout.gather(self.cache, self.table[i : i + 1])
        first = sum(QUERIES[:i])
        own = self.query[first : first + queries].transpose(0, 1)[None]
        at = torch.arange(length - queries, length)
        visible = torch.arange(length) <= at[:, None]
        span = torch.zeros(1, length, dtype=torch.bool)
        span[:, SPAN[0] : SPAN[1]] = True
        out = two_part_attention(
            own, keys[:, :, :length], values[:, :, :length], span, share, visible[None, None]
        )[0]
        return out[0].transpose(0, 1)


def compute_step(blocks: Blocks, controls: dict[int, str], with_lse: bool = False) -> Tensor:
    """A step's output where some rows are held; `with_lse` by the kernel's log-sum-exp."""
    output = blocks.plain()
    rows = held_rows(blocks, controls, with_mass=not with_lse)
    lse = blocks.lse() if with_lse else None
    rows.attend(layer(), SIZE**-0.5, blocks.query, blocks.cache, output, lse)
    return output


def layer() -> nn.Module:
    module = nn.Module()
    module.layer_idx = 0  # type: ignore[assignment]
    return module


def held_rows(
    blocks: Blocks, controls: dict[int, str], before: HeldRows | None = None, with_mass: bool = True
) -> HeldRows:
    rows = step_rows(blocks.steerings(controls), blocks.common, TOKENS)
    mass = blocks.mass if with_mass else None
    return HeldRows(rows, before, blocks.layout, mass, VllmRotary(), ShareStore())


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def part(output: Tensor, i: int) -> Tensor:
    first = sum(QUERIES[:i])
    return output[first : first + QUERIES[i]]


@pytest.mark.parametrize("with_lse", [False, True])
def test_held_rows_of_any_length_equal_each_alone_and_others_are_untouched(with_lse: bool) -> None:
    blocks = Blocks()
    shares = {0: "split-softmax:0.7", 1: "boost:4", 2: "split-softmax:0.5"}
    output = compute_step(blocks, shares, with_lse)
    for i, share in shares.items():
        close(part(output, i), blocks.alone(i, share))
    assert torch.equal(part(output, 3), part(blocks.plain(), 3))


def test_a_row_that_goes_on_writes_its_new_token_and_uses_its_personas_keys_again() -> None:
    blocks = Blocks()
    shares = {0: "boost:4", 1: "boost:2", 3: "boost:4"}
    first = held_rows(blocks, shares)
    first.attend(layer(), SIZE**-0.5, blocks.query, blocks.cache, blocks.plain())
    assert blocks.kernel.writes[-1] == 40 + 21 + 30
    blocks.common.seq_lens = torch.tensor([41, 22, 50, 31])
    again = held_rows(blocks, shares, first)
    assert again.groups[0].persona is first.groups[0].persona
    output = blocks.plain()
    again.attend(layer(), SIZE**-0.5, blocks.query, blocks.cache, output)
    assert blocks.kernel.writes[-1] == 3
    for i, share in shares.items():
        close(part(output, i), blocks.alone(i, share, blocks.common.seq_lens.tolist()))


def test_a_prompts_single_token_before_its_persona_ends_is_left_alone() -> None:
    blocks = Blocks()
    blocks.common.seq_lens = torch.tensor([40, SPAN[1], 50, 30])
    plain = blocks.plain()
    output = compute_step(blocks, {0: "boost:4", 1: "boost:4"})
    assert torch.equal(part(output, 1), part(plain, 1))
    close(part(output, 0), blocks.alone(0, "boost:4"))


def test_blocks_that_were_anothers_are_written_whole() -> None:
    blocks = Blocks()
    compute_step(blocks, {0: "boost:4"})
    blocks.table[0] = blocks.table[0].flip(0)
    output = compute_step(blocks, {0: "boost:4"})
    assert blocks.kernel.writes[-1] == 40
    close(part(output, 0), blocks.alone(0, "boost:4"))


def test_a_query_whose_persona_loses_almost_all_under_anchor_is_computed_from_all_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Away:
        """Turned back, a query is at odds with all that it liked."""

        def turn_back(self, module: nn.Module, query: Tensor, shift: Tensor) -> Tensor:
            return -query

    blocks = Blocks()
    blocks.query *= 6
    whole = []
    for growth in (64.0, 0.0):
        monkeypatch.setitem(held_rows_module._GROWTH, torch.float32, growth)
        rows = step_rows(blocks.steerings({1: "anchor"}), blocks.common, TOKENS)
        step = HeldRows(rows, None, blocks.layout, blocks.mass, Away(), ShareStore())  # type: ignore[arg-type]
        output = blocks.plain()
        step.attend(layer(), SIZE**-0.5, blocks.query, blocks.cache, output)
        whole.append(part(output, 1))
    assert not torch.allclose(whole[0], part(blocks.plain(), 1), atol=1e-2)
    torch.testing.assert_close(*whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("text", ["boost:4@layers=1-2", "none"])
def test_a_layer_that_no_control_changes_keeps_vllms_output(text: str) -> None:
    blocks = Blocks()
    controls = {} if text == "none" else {0: text}
    if controls:
        assert torch.equal(compute_step(blocks, controls), blocks.plain())
    assert step_rows({}, blocks.common, TOKENS) == []


def test_a_row_is_found_by_its_place_in_the_second_runners_table() -> None:
    blocks = Blocks()
    blocks.common.req_idx = torch.tensor([5, 0, 9, 2])
    steering = RowSteering(parse("boost:4"), SPAN, (0, 12))
    rows = step_rows({9: HeldRow(steering)}, blocks.common, TOKENS)
    assert [(row.start, row.queries, row.length) for row in rows] == [(2, 20, 50)]
