"""The catalogue's names are found, and a wrong one meets its neighbour."""

from __future__ import annotations

import pytest

from holdfast.core.errors import ModelError
from holdfast.models.catalogue import CATALOGUE, find_model


def test_a_dozen_models_have_names_of_their_own() -> None:
    assert len(CATALOGUE) >= 12
    assert len({model.name for model in CATALOGUE}) == len(CATALOGUE)
    assert len({model.hub for model in CATALOGUE}) == len(CATALOGUE)


def test_a_name_stands_for_a_hub_id() -> None:
    assert find_model("qwen3-4b").hub == "Qwen/Qwen3-4B"


def test_a_wrong_name_meets_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"no model smolm2: did you mean smollm2\?"):
        find_model("smolm2")
    with pytest.raises(ModelError, match="use smollm2, "):
        find_model("gpt")
