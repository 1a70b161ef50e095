"""The gate: what it reads, what it learns, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from holdfast.core.errors import ModelError
from holdfast.core.stats import auc
from holdfast.models.local import gate
from holdfast.training.prism.gate_training import folds, train_gate
from tiny_models import CONFIGS, ODD_CONFIGS, model


def separable(n: int = 80, width: int = 12) -> tuple[torch.Tensor, list[bool]]:
    torch.manual_seed(0)
    h = torch.randn(n, width)
    return h, [bool(x) for x in h[:, 3] > 0.5]


@pytest.mark.parametrize("kind", [*CONFIGS, *ODD_CONFIGS])
def test_features_are_the_last_prompt_tokens_state_after_layer_0(kind: str) -> None:
    # torch multiplies no experts in float64.
    small = model(kind, dtype=torch.float32 if kind == "gpt_oss" else torch.float64)
    prompts = [(5, 6, 7), (9, 10, 11, 12, 13)]
    vectors = gate.compute_features(small, prompts)
    for prompt, mine in zip(prompts, vectors, strict=True):
        states = small(input_ids=torch.tensor([prompt]), output_hidden_states=True).hidden_states
        torch.testing.assert_close(mine, states[1][0, -1].float())


def test_features_of_a_model_built_otherwise_are_refused() -> None:
    with pytest.raises(ModelError, match="no one list of layers with a norm behind it"):
        gate.compute_features(torch.nn.Linear(2, 2), [(5, 6)], "a layer")


def test_what_can_be_told_apart_is_learned_and_saved(tmp_path: Path) -> None:
    h, labels = separable()
    network = train_gate(h, labels)
    assert auc(network.probabilities(h).numpy(), labels) > 0.95
    network.save(tmp_path, model="small")
    torch.testing.assert_close(gate.read_gate(tmp_path).probabilities(h), network.probabilities(h))


def test_one_kind_of_query_another_width_and_no_file_are_refused(tmp_path: Path) -> None:
    h, labels = separable()
    with pytest.raises(ModelError, match="none of them were won"):
        train_gate(h, [False] * len(labels))
    with pytest.raises(ModelError, match="12 numbers and the model has 5"):
        train_gate(h, labels).probabilities(torch.zeros(2, 5))
    with pytest.raises(ModelError, match="no gate in"):
        gate.read_gate(tmp_path)
    with pytest.raises(ModelError, match="not finite"):
        train_gate(torch.full_like(h, torch.nan), labels)


def test_auc_is_a_half_for_ties_and_counts_pairs() -> None:
    assert auc([0.1, 0.9, 0.5], [False, True, True]) == 1
    assert auc([0.5, 0.5], [False, True]) == 0.5
    assert np.isnan(auc([0.5], [True]))
    assert auc([0.1, np.nan, 0.9], [False, False, True]) == 1


def test_a_group_is_held_out_as_a_whole_and_every_one_once() -> None:
    groups = ["a", "b", "a", "c", "b", "d"]
    parts = folds(groups, 3, seed=1)
    assert sorted(int(i) for part in parts for i in part) == list(range(6))
    for part in parts:
        inside = {groups[i] for i in part}
        assert not inside & {groups[i] for i in range(6) if i not in part}
