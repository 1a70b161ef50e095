"""The study of the watch: a known break is seen, and where nothing breaks no alarm comes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import watch

from actors import Actor
from holdfast.core.backend import Ask, Reply


def forgets(ask: Ask) -> Reply:
    """In capitals as long as the prompt is there."""
    return Reply("I LIKE TEA." if ask.chat[0]["role"] == "system" else "I like tea.")


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[dict[str, Any]]:
    monkeypatch.setattr(watch, "load", lambda name: Actor(forgets))
    arguments = ["--conversations", "1000", "--orders", "3", "--out", str(folder)]
    monkeypatch.setattr(sys, "argv", ["watch.py", *arguments])
    watch.main()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_known_break_is_seen_within_two_rounds_and_nothing_else_is_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unbroken, broken, *orders = run(tmp_path, monkeypatch, capsys)
    assert (unbroken["log"], unbroken["conversations"], unbroken["alarms"]) == ("unbroken", 1000, 0)
    assert unbroken["slips"] == 0
    assert broken["alarms"] >= 1 and broken["slips"] >= 990
    assert broken["slip_rounds_median"] <= 2
    assert broken["rounds"]["1"] == 1.0 and broken["rounds"]["5-8"] == 0.0
    assert [row["orders_with_a_false_alarm"] for row in orders] == [0] * len(orders)
    assert all(row["unseen"] == 0 for row in orders)
