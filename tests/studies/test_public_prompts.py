"""Public prompts become personas that rules judge, and none of their text is kept here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import public_prompts
import pytest

from holdfast import judge
from holdfast.core.errors import HoldfastError
from holdfast.persona.suite import check_suite

FILE = """"act","prompt","for_devs"
"Baker","You are a baker. Keep your answers under 30 words. Never discuss politics.","FALSE"
"Baker","You are a baker. Be nice.","FALSE"
"Sky","The sky is high above us.","FALSE"
"Pilot","You are a pilot.","FALSE"
"""


@pytest.fixture
def prompts(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "prompts.csv"
    file.write_text(FILE, encoding="utf-8")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return public_prompts.read_prompts(file, digest, 3)


def test_prompts_become_personas_that_rules_judge(prompts: dict[str, str]) -> None:
    suite = public_prompts.suite_of(public_prompts.drafts(prompts), ["length"])
    ids = [one.id for one in suite.personas]
    assert {"1-baker-role", "2-baker-role"} <= set(ids) and len(set(ids)) == len(ids)
    assert not any("length" in one for one in ids)
    assert {one.prompt for one in suite.personas} == set(list(prompts.values())[:2])
    assert not any(judge.needs_embeddings(one.judge) for one in suite.personas)
    assert not check_suite(suite)


def test_demands_are_left_out_by_the_plan_alone(prompts: dict[str, str]) -> None:
    suite = public_prompts.suite_of(public_prompts.drafts(prompts), ["role"])
    ids = [one.id for one in suite.personas]
    assert "1-baker-length" in ids and "1-baker-role" not in ids


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text(FILE, encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"not the file that public_prompts\.toml names"):
        public_prompts.read_prompts(file, "0" * 64, 3)
