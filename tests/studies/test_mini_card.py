"""The model card of `mini`: what is measured, and which bounds are kept."""

from __future__ import annotations

from mini_card import bounds, drift_table


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
