"""A model's name decides what answers for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import holdfast
import holdfast.models.local.load
from holdfast.core.errors import HoldfastError, ModelError
from holdfast.core.extras import install
from holdfast.models.load import load
from holdfast.models.local import load as local


def test_an_api_model_is_named_after_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-that-nobody-checks")
    backend = load("api:some-model", base_url="http://127.0.0.1:9/v1")
    assert isinstance(backend, holdfast.ApiBackend)
    assert backend.name == "api:some-model"
    assert not backend.local


@pytest.mark.parametrize("name", ["mini", "a/hub-id", "./a-folder"])
def test_any_other_name_is_a_model_on_this_machine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {}

    def remember(name: str, **options: Any) -> str:
        arguments.update(options, name=name)
        return "a backend"

    monkeypatch.setattr(local, "load", remember)
    assert load(name, base_url="http://127.0.0.1:9/v1", device="cpu", batch_size=4) == "a backend"
    assert arguments == {"name": name, "dtype": "auto", "device": "cpu", "batch_size": 4}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("api:some", {"dtype": "float32"}),
        ("api:some", {"device": "cpu"}),
        ("lmstudio:some", {"base": "mini"}),
        ("ollama:some", {"base": "mini"}),
    ],
)
def test_a_model_behind_a_server_refuses_how_weights_are_loaded(
    name: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ModelError, match=f"{next(iter(options))} is for models loaded here"):
        load(name, base_url="http://127.0.0.1:9/v1", **options)


def test_an_unknown_folder_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="there is no folder"):
        load(str(tmp_path / "nothing-here"))


@pytest.mark.parametrize("name", ["", " ", "api:", "api: "])
def test_a_model_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="needs a name"):
        load(name)


def test_a_local_model_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("load", "backend"):
        monkeypatch.delitem(sys.modules, f"holdfast.models.local.{name}")
        monkeypatch.delattr(holdfast.models.local, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails as if it were missing
    with pytest.raises(ModelError, match=re.escape(f"needs torch: {install('local')}")):
        load("mini")


def test_a_bug_in_an_import_is_not_blamed_on_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("load", "backend"):
        monkeypatch.delitem(sys.modules, f"holdfast.models.local.{name}")
        monkeypatch.delattr(holdfast.models.local, name)
    monkeypatch.setitem(sys.modules, "holdfast.models.engine.engine", None)
    with pytest.raises(ModuleNotFoundError, match=r"holdfast\.models\.engine\.engine"):
        load("mini")


def test_the_package_offers_what_it_lists() -> None:
    for name in holdfast.__all__:
        assert getattr(holdfast, name) is not None
    assert set(holdfast.__all__) <= set(dir(holdfast))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        holdfast.nonsense  # noqa: B018 - the access is what is tested


def test_importing_the_package_loads_no_backend() -> None:
    code = """
import sys
import holdfast
import holdfast.evals.drift
assert callable(holdfast.drift)
print(sorted({"torch", "transformers", "openai", "datasets"} & sys.modules.keys()))
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout == "[]\n"


@pytest.mark.parametrize("name", [None, 3, Path("folder")])
def test_what_names_no_model_is_one_sentence(name: Any) -> None:
    with pytest.raises(
        ModelError, match=r'a model is named by text, as in holdfast\.load\("mini"\)'
    ):
        load(name)
