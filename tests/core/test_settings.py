"""Settings take values of their types, and say what they take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from holdfast.core.backend import Ask, Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.settings import changed_settings, option, settle
from holdfast.evals.tasks.settings import TaskSampling
from holdfast.models.load import load
from holdfast.persona.suite import Persona
from holdfast.training.prism.settings import PrismEvalSettings, PrismSettings


@dataclass(frozen=True)
class SomeSettings:
    """Settings of every kind of type."""

    pairs: int | Literal["all"] = option(24, "Pairs.")
    share: float = 0.5
    agents: tuple[str, ...] = option((), "Agents.", "--agent")
    history: Path | str | None = None
    late: bool = False
    sampling: TaskSampling = field(default_factory=TaskSampling)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pairs": "two"}, "`pairs` is a whole number or 'all', not 'two'."),
        ({"pairs": 2.5}, "`pairs` is a whole number or 'all', not 2.5."),
        ({"pairs": True}, "`pairs` is a whole number or 'all', not True."),
        ({"pairs": None}, "`pairs` is a whole number or 'all', not None."),
        ({"share": "half"}, "`share` is a number, not 'half'."),
        ({"agents": "amber"}, "`agents` is a list of which each is text, not 'amber'."),
        ({"agents": [3]}, "`agents` is a list of which each is text, not [3]."),
        ({"history": 3}, "`history` is a path or text, not 3."),
        ({"late": "yes"}, "`late` is True or False, not 'yes'."),
        ({"sampling": {}}, "`sampling` is of the type TaskSampling, not {}."),
    ],
)
def test_a_value_of_another_type_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HoldfastError) as error:
        settle(None, SomeSettings, changes)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"pairs": 3},
        {"pairs": "all"},
        {"share": 1},
        {"agents": ["amber"]},
        {"agents": ()},
        {"history": None},
        {"history": Path("log")},
        {"sampling": Sampling()},
    ],
)
def test_values_of_their_types_are_taken(changes: dict[str, Any]) -> None:
    settled = settle(None, SomeSettings, changes)
    assert {name: getattr(settled, name) for name in changes} == changes


def test_a_number_of_numpy_becomes_one_that_a_manifest_holds() -> None:
    settled = settle(None, SomeSettings, {"pairs": np.int64(3), "share": np.float32(0.5)})
    assert type(settled.pairs) is int and type(settled.share) is float


@pytest.mark.parametrize("kind", [PrismSettings, PrismEvalSettings])
def test_a_file_of_tasks_may_be_a_path(kind: type) -> None:
    assert settle(None, kind, {"tasks": Path("tasks.jsonl")}).tasks == Path("tasks.jsonl")


def test_other_settings_and_a_models_name_are_refused() -> None:
    with pytest.raises(HoldfastError, match="`settings` is of the type SomeSettings, not 3"):
        settle(3, SomeSettings, {})  # type: ignore[type-var]
    for other in ("mini", None):
        with pytest.raises(HoldfastError, match=f"{other!r} is no model: load it, as in holdfast"):
            settle(None, SomeSettings, {}, load("mini"), other)


def test_what_is_changed_is_named_as_errors_name_settings() -> None:
    changed = changed_settings(SomeSettings(pairs=3, agents=("amber",)), "agents", "late")
    assert changed == ["`agents`"]


def test_public_values_say_what_they_take() -> None:
    with pytest.raises(HoldfastError, match=r"`max_new_tokens` is a whole number, not 1\.5"):
        Sampling(max_new_tokens=1.5)  # type: ignore[arg-type]
    with pytest.raises(HoldfastError, match="`control` is of the type Control, not 'anchor'"):
        Ask((), 0, "anchor")  # type: ignore[arg-type]
    with pytest.raises(HoldfastError, match="`probes` is a list of which each is text, not 'Who"):
        Persona("p", "character", "Be Ada.", "Who?", {"name": "speaker"})  # type: ignore[arg-type]
