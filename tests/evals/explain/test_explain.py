"""An explanation as a whole, on a small random model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import FalconConfig, FalconForCausalLM

from actors import Actor, rewrite_summary, suite
from holdfast.core.backend import Sampling
from holdfast.core.errors import ControlError, ModelError, RunError
from holdfast.core.records import as_record
from holdfast.evals.explain.explain import Explanation, explain
from holdfast.models.local.backend import LocalBackend
from tiny_models import SHAPE, model, tokenizer

SMALL = suite()
SHORT = Sampling(max_new_tokens=6)
CONTROLS = ("split-softmax:0.5", "anchor")


def backend() -> LocalBackend:
    return LocalBackend(model("llama"), tokenizer(), "small", batch_size=16)


def explain_small(out: Path | None = None, controls: tuple[str, ...] = CONTROLS) -> Explanation:
    return explain(
        backend(), controls=controls, suite=SMALL, pairs=4, rounds=2, sampling=SHORT, out=out
    )


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Explanation, Path]:
    folder = tmp_path_factory.mktemp("explain") / "run"
    return explain_small(folder), folder


def test_share_is_given_before_and_after_each_control(
    finished_run: tuple[Explanation, Path],
) -> None:
    none, split, anchor = finished_run[0].summary.controls
    assert [one.control for one in (none, split, anchor)] == ["none", *CONTROLS]
    for one in (none, split, anchor):
        assert len(one.share.prompt_share) == len(one.stability) == 3
        assert np.shape(one.share.share_detail.heads) == np.shape(one.before.heads)
        assert np.shape(one.before.heads) == (3, 2, 4)
    assert none.before.prompt_share == none.share.prompt_share
    pairs = zip(split.before.prompt_share, split.share.prompt_share, strict=True)
    assert all(before < after for before, after in pairs)
    assert split.share_delta.value > 0 == none.share_delta.value
    assert anchor.before.prompt_share[2] != anchor.share.prompt_share[2]
    detail = none.share.share_detail
    assert detail.dilution == sorted(detail.dilution, reverse=True)


def test_the_note_says_that_a_run_begins_low_and_that_replies_were_cut(
    finished_run: tuple[Explanation, Path],
) -> None:
    summary = finished_run[0].summary
    assert summary.note and "below 0.30 a curve says nothing" in summary.note
    assert 0 < summary.failures.length < summary.failures.of
    assert f"{summary.failures.length} cut at the token limit" in summary.note


def test_dimension_is_counted_in_every_set_and_set_beside_other_text(
    finished_run: tuple[Explanation, Path],
) -> None:
    dimension = finished_run[0].summary.dimension
    names = [one.set for one in dimension.sets]
    assert names == ["none", *CONTROLS, "no persona", "shuffled"]
    few, many = dimension.vectors["few"], dimension.vectors["many"]
    assert 4 < few < many
    own, shuffled = dimension.sets[0], dimension.sets[4]
    assert own.tokens == shuffled.tokens == sorted(own.tokens)
    assert own.participation["few"].mean[0] <= few - 1
    assert own.participation["many"].mean[0] is None
    # The first layer's values know their token alone: in any order they are the same set.
    layers = [np.array(one.participation["all"].layers) for one in (own, shuffled)]
    assert layers[0][2, 0] == pytest.approx(layers[1][2, 0], abs=1e-3)
    growth = [one for one in dimension.growth if one.set == "none"]
    assert {(one.measure, one.count) for one in growth} == {
        (measure, count) for measure in ("participation", "components") for count in ("few", "many")
    }
    assert all(set(one.beyond) == {"no persona", "shuffled"} for one in growth)


def test_the_summary_is_json_and_has_a_page_with_the_findings(
    finished_run: tuple[Explanation, Path],
) -> None:
    result, folder = finished_run
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary == json.loads(json.dumps(as_record(result.summary), allow_nan=False))
    page = Path(summary["report"]).read_text(encoding="utf-8")
    sentences = [sentence.split(" (")[0].rstrip(".") for sentence in result.findings]
    assert sentences and all(sentence in page for sentence in sentences)


def test_a_run_goes_on_where_it_was_cut_off(
    finished_run: tuple[Explanation, Path], tmp_path: Path
) -> None:
    result, folder = finished_run
    copy = tmp_path / "run"
    for name in ("manifest.json", "records.jsonl"):
        for place in ("", "vectors", "without"):
            text = (folder / place / name).read_text(encoding="utf-8")
            if name == "records.jsonl":
                lines = text.splitlines(keepends=True)
                text = "".join(lines[: len(lines) // 2 if place else None])
            (copy / place).mkdir(parents=True, exist_ok=True)
            (copy / place / name).write_text(text, encoding="utf-8")
    again = explain_small(copy)
    for place in ("", "vectors", "without"):
        one, other = ((f / place / "records.jsonl").read_bytes() for f in (folder, copy))
        assert one == other
    for name in ("controls", "dimension", "association", "findings"):
        assert getattr(again.summary, name) == getattr(result.summary, name)
    rewrite_summary(copy, seconds=99.5)
    assert explain_small(copy).summary.seconds == 99.5


def test_another_run_is_not_gone_on_with(finished_run: tuple[Explanation, Path]) -> None:
    with pytest.raises(RunError, match="holds another run"):
        explain_small(finished_run[1], controls=("anchor",))


def test_a_model_that_is_not_on_this_machine_is_refused() -> None:
    for actor in (Actor(local=False), Actor()):
        with pytest.raises(ModelError, match="name a model that runs here"):
            explain(actor, suite=SMALL)


def test_a_model_whose_attention_cannot_be_seen_is_refused() -> None:
    falcon = LocalBackend(FalconForCausalLM(FalconConfig(**SHAPE)), tokenizer(), "falcon")
    with pytest.raises(ModelError, match=r"falcon cannot be explained: .* does not let"):
        explain(falcon, suite=SMALL)


def test_a_control_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ControlError, match="it has the layers 0 to 1"):
        explain(backend(), controls=["boost:2@layers=0-9"], suite=SMALL)


def test_without_room_for_values_the_shares_are_still_there() -> None:
    tight = LocalBackend(model("llama"), tokenizer(), "tight", cache_bytes=100)
    summary = explain(
        tight, controls=[], suite=SMALL, pairs=2, rounds=1, runs=1, sampling=SHORT
    ).summary
    assert summary.dimension is None and "cannot be read" in summary.dimension_refusal
    assert {row.measure for row in summary.association} == {"share", "dilution"}
    assert summary.controls[0].share.prompt_share[1] is not None
