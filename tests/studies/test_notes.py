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
    """Ten tokens a message; a control computes all of them again, plain chat the last."""
    prompt = 10 * len(ask.chat)
    cached = 0 if ask.control.text != "none" else prompt - 10
    return Reply("hm", prompt_tokens=prompt, cached_tokens=cached, completion_tokens=2)


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
    none, note = rows[0], rows[1]
    # Rounds 1 and 2: two and four messages, of which plain chat computes the last again.
    assert (none["prompt_tokens"], none["recomputed_tokens"]) == (30.0, 10.0)
    assert none["recomputed_by_round"] == [10.0, 10.0]
    assert note["recomputed_tokens"] == note["prompt_tokens"]
    assert note["recomputed_beyond_none"] == 20.0
    text = page.read_text(encoding="utf-8")
    assert "| `note:8` |" in text and "| +20 |" in text
