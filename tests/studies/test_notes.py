"""Notes at every depth beside their rivals, with what each computes again."""

from __future__ import annotations

import json
from pathlib import Path

import notes
import pytest
from tests.actors import Actor

from holdfast.core.backend import Ask, Reply

PAGE = "# Page\n\n<!-- table notes-mini -->\n\n<!-- end notes-mini -->\n"


def answer(ask: Ask) -> Reply:
    """One word, and ten tokens for each message that was seen."""
    return Reply("hm", prompt_tokens=10 * len(ask.chat), completion_tokens=2)


def test_the_study_fills_its_table_with_what_each_control_computes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notes, "load", lambda name: Actor(answer, name=name))
    page, out = tmp_path / "page.md", str(tmp_path / "run")
    page.write_text(PAGE, encoding="utf-8")
    notes.main(["run", "--out", out, "--pairs", "3", "--rounds", "2"])
    capsys.readouterr()
    notes.main(["report", "--out", out, "--page", str(page)])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["control"] for row in rows] == list(notes.CONTROLS)
    assert [row["control"] for row in rows[1:10]] == [f"note:{d}" for d in range(9)]
    cost = {row["control"]: row["recomputed_tokens"] for row in rows}
    # Round 2: plain chat and anchor compute the user's one word, the others a prompt and more.
    assert cost["none"] == cost["anchor"] == 1.0
    assert rows[0]["prompt_tokens"] == 30.0 and rows[0]["recomputed_by_round"] == [1.0]
    assert min(cost["note:0"], cost["reminder:1"]) > 5
    assert rows[1]["recomputed_beyond_none"] == cost["note:0"] - 1
    text = page.read_text(encoding="utf-8")
    assert "| `note:8` |" in text and "| +0 |" in text
