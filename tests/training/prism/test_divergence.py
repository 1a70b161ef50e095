"""The loss of distillation is its equation, over the whole vocabulary or the teacher's top."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from holdfast.training.prism.divergence import TeacherTargets, divergence, logits
from tiny_models import model

TEACHER, STUDENT = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("top", [0, 4, 12, 50])
def test_the_loss_is_the_mean_divergence_of_the_students_tokens_from_the_teachers(
    temperature: float, top: int
) -> None:
    targets = TeacherTargets.of(TEACHER, top)
    loss = divergence(targets, STUDENT, temperature)
    teacher, student = TEACHER.double().numpy(), STUDENT.double().numpy()
    best = np.argsort(-teacher, axis=-1)[:, : top or None]
    p, q = (np.take_along_axis(x, best, -1) / temperature for x in (teacher, student))
    each = entropy(softmax(p, axis=-1), softmax(q, axis=-1), axis=-1)
    assert loss.item() == pytest.approx(temperature**2 * each.mean(), rel=1e-5)
    mass = np.take_along_axis(softmax(teacher, axis=-1), best, -1).sum(axis=-1).mean()
    assert targets.mass == pytest.approx(mass, rel=1e-5)


def test_logits_of_rows_in_one_pass_are_those_of_each_row_alone() -> None:
    network = model("llama")
    rows = [([3, 1, 4, 1, 5, 9], 2), ([2, 7, 1, 8], 1), ([1, 6, 1, 8, 0], 3)]
    with torch.no_grad():
        together = logits(network, rows)
        alone = [network(torch.tensor([row])).logits[0, -n - 1 : -1] for row, n in rows]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
