"""What the plugin refuses, from vLLM's own configurations; no weights are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.models.vllm.conftest import vllm_or_skip, weights

from holdfast.core.control import parse
from holdfast.models.vllm.refusals import why_not

vllm_or_skip()
pytestmark = pytest.mark.vllm

MISTRAL = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 128}
DEEPSEEK = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "model_type": "deepseek_v2",
    "kv_lora_rank": 16,
    "q_lora_rank": None,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
}


def configuration(folder: Path, changes: dict[str, Any], **arguments: Any) -> Any:
    """vLLM's configuration of mini with other fields in its config.json."""
    from vllm.engine.arg_utils import EngineArgs

    for file in Path(weights("mini")).iterdir():
        if file.suffix in (".json", ".jinja"):
            shutil.copy(file, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))
    return EngineArgs(str(folder), max_model_len=512, **arguments).create_engine_config()


@pytest.mark.parametrize(
    ("changes", "arguments", "names"),
    [
        ({}, {}, None),
        ({}, {"kv_cache_dtype": "fp8"}, "fp8"),
        (DEEPSEEK, {}, "MLA"),
        (MISTRAL, {}, "window of 128"),
    ],
)
def test_a_feature_that_is_not_held_is_named(
    tmp_path: Path,
    changes: dict[str, Any],
    arguments: dict[str, Any],
    names: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOLDFAST_VLLM_ARCHITECTURES", "MistralForCausalLM,DeepseekV2ForCausalLM")
    why = why_not(parse("anchor"), configuration(tmp_path, changes, **arguments))
    assert why is None if names is None else why is not None and names in why
