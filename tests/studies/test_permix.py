"""The study of training under personas: its cells, and what is read off them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _loaded() -> ModuleType:
    """The script by its path: `permix` is a folder of tests as well."""
    path = Path(__file__).parents[2] / "studies" / "permix.py"
    spec = importlib.util.spec_from_file_location("permix_study", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


study: Any = _loaded()


def row(cell: Any, **values: float) -> dict[str, Any]:
    wanted = {"mean": 0.5, "worst": 0.2, "ratio": 0.4, **values}
    return {
        **cell._asdict(),
        "robustness": wanted,
        "bare": 0.6,
        "fidelity": {"score": 0.9},
        "drift": {"stability": [1.0, 0.8, 0.6]},
        "reward_last": None,
        "kl_last": None,
        "tokens": None,
    }


def test_the_main_comparison_has_three_seeds_and_what_varies_has_one() -> None:
    found = list(study.cells(study.SEEDS))
    assert len(found) == len(set(found)) == len({one.name for one in found}) == 15
    main = [one for one in found if one.beta in (None, study.BETA) and one.mixing != "rollout"]
    assert {one.arm: sum(x.arm == one.arm for x in main) for one in main} == dict.fromkeys(
        study.ARMS, 3
    )
    assert {one.seed for one in found if one not in main} == {0}
    assert len(list(study.cells([2]))) == 4


def test_the_table_has_a_line_for_each_arm_with_every_seed_s_value() -> None:
    cells = [study.Cell("permix", seed, 0.04, "prompt") for seed in (0, 1)]
    told = study.table(
        [row(cells[0], mean=0.5), row(cells[1], mean=0.7), row(study.Cell("base", 0))]
    )
    lines = told.splitlines()
    assert len(lines) == 4
    assert "| permix | 0.04 | prompt | 2 | 0.600 (0.50 0.70) |" in lines[2]
    assert "0.700" in lines[3]  # stability over the rounds after the first point
    assert lines[3].count("–") == 5


def test_cells_that_are_done_are_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def made(cell: Any, *rest: object) -> dict[str, Any]:
        asked.append(cell.name)
        return {"checkpoint": "mini"}

    monkeypatch.setattr(study, "trained", made)
    monkeypatch.setattr(study, "measured", lambda *rest: {"bare": 0.5})
    monkeypatch.setattr(study.models, "load", lambda name: None)
    study.run(tmp_path, [1], "mini", 2, True)
    assert len(asked) == 4
    lines = (tmp_path / study.CELLS).read_text("utf-8").splitlines()
    (tmp_path / study.CELLS).write_text("".join(line + "\n" for line in lines[:3]), "utf-8")
    study.run(tmp_path, [1], "mini", 2, True)
    assert asked[4:] == asked[3:4]
    assert json.loads(lines[0])["arm"] == "base"
