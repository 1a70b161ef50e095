"""The model card of `mini`: what is measured, and which bounds are kept."""

from __future__ import annotations

import pytest
from mini_card import bounds, drift_table, main


def test_the_card_says_which_bounds_are_kept() -> None:
    category = {"ceiling": 0.95, "floor": 0.1, "n": 9, "stability": [0.95, 0.6, 0.5]}
    category["interval"] = [[0.9, 1.0]] * 3
    summary = {
        "by_category": {"memory": category, "choice": {**category, "ceiling": 0.8}},
        "change": {"value": -0.4, "interval": [-0.5, -0.3]},
        "rounds": 2,
        **{key: category[key] for key in ("stability", "interval", "floor")},
        "conversations": 18,
    }
    lines = bounds(summary)
    assert [line.split(":")[0] for line in lines] == ["- NOT kept", "- kept", "- kept"]
    assert "choice" in lines[0]
    assert len(drift_table(summary)) == 2 + 3


def test_the_card_of_a_few_conversations_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["mini_card.py", "--pairs", "3", "-n", "1"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| all | 3 | ")
    assert any(line.startswith("| recall | ") for line in lines)
    assert lines[-1].startswith(("- kept", "- NOT kept"))
