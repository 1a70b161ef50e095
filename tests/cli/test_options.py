"""Options that say how a model is loaded reach the loader as values."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.cli import main
from holdfast.cli.options import LocalOptions, ModelOptions, read_template_option
from holdfast.core.errors import HoldfastError
from holdfast.core.settings import settle
from holdfast.evals.compare.settings import CompareSettings
from holdfast.models import load as models


def test_a_template_option_is_json_where_it_can_be() -> None:
    assert read_template_option("enable_thinking=false") == ("enable_thinking", False)
    assert read_template_option("effort=low") == ("effort", "low")
    assert read_template_option("limit=3") == ("limit", 3)


@pytest.mark.parametrize("text", ["enable_thinking", "=false", "a b=1"])
def test_a_template_option_without_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(HoldfastError, match="is NAME=VALUE"):
        read_template_option(text)


def test_base_and_template_options_reach_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(models, "load", lambda name, **options: calls.append(options))
    LocalOptions(base="mini", template_option=("enable_thinking=false",)).open("adapter")
    ModelOptions().open("mini")
    assert calls[0]["base"] == "mini" and calls[0]["options"] == {"enable_thinking": False}
    assert set(calls[1]) == {"dtype", "device"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["drift", "--control", "ancor"],
        ["drift", "--rounds", "0"],
        ["drift", "--suite", "nowhere"],
        ["drift", "--persona", "nowhere.toml"],
        ["compare", "--controls", "none,ancor"],
        ["compare", "--rounds", "0"],
        ["compare", "--scoring", "guess"],
        ["explain", "--controls", "window"],
        ["explain", "--pairs", "0"],
    ],
)
def test_what_cannot_be_run_is_refused_before_a_model_is_loaded(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "load", lambda name, **options: pytest.fail("a model was loaded"))
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--model", "mini"])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_controls_are_a_list_or_their_text() -> None:
    assert CompareSettings(controls="none,anchor").controls == ("none", "anchor")
    with pytest.raises(HoldfastError, match="at least one control"):
        CompareSettings(controls=[])


def test_a_misspelt_setting_gets_the_nearest_name() -> None:
    with pytest.raises(TypeError, match="did you mean pairs"):
        settle(None, CompareSettings, {"pair": 3})
