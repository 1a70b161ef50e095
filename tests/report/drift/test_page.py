"""The page as a file: whole or absent, self-contained, with the policy that its parts need."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import RunError
from holdfast.report.drift import page

from .sample import render, run, write


def write_page(folder: Path, conversations: int = 8, rounds: int = 4) -> str:
    path = folder / "deep" / "report.html"
    write(*run(conversations, rounds), path)
    return path.read_text(encoding="utf-8")


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(tmp_path: Path) -> None:
    html = write_page(tmp_path)
    match = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert match is not None
    policy = match[1].replace("&#39;", "'")
    styles, scripts = (re.findall(f"<{n}>(.*?)</{n}>", html, re.S) for n in ("style", "script"))
    assert len(styles) == len(scripts) == 1
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest(styles[0])}'" in policy
    assert f"script-src 'sha256-{digest(scripts[0])}'" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_the_policy_comes_before_anything_it_governs(tmp_path: Path) -> None:
    html = write_page(tmp_path)
    assert html.index("Content-Security-Policy") < html.index("<style>") < html.index("<script>")


def test_the_page_names_no_address_and_has_no_inline_styles_or_handlers(tmp_path: Path) -> None:
    html = write_page(tmp_path)
    assert not re.search(r"https?://", html)
    assert not re.search(r"<[^>]*\s(?:style|on\w+)=", html)
    assert not re.search(r"<(?:link|img|iframe|object|base)\b", html)
    assert not re.search(r'(?:src|href)="(?!#)', html)


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    assert write_page(tmp_path / "a") == write_page(tmp_path / "b")


def test_no_draft_is_left_beside_the_page(tmp_path: Path) -> None:
    write_page(tmp_path)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"could not be written .*; the records are kept"):
        write(*run(2, 2), tmp_path / "file" / "report.html")


def test_a_failed_write_keeps_the_page_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RunError, match="No space left on device"):
        write(*run(2, 2), path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_command_that_is_not_unicode_can_be_shown(tmp_path: Path) -> None:
    summary, talks = run(2, 2)
    summary |= {"command": "holdfast drift --out caf\udce9", "model": "caf\udce9"}
    write(summary, talks, tmp_path / "report.html")
    assert "caf\ufffd" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_conversations_without_their_texts_are_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.transcript.entries, "__defaults__", (20_000,))
    html = render(*run(8, 4))
    match = re.search(r"(\d) conversations of 8 are listed with their scores alone", html)
    assert match is not None
    assert html.count("The texts are in records.jsonl.") == int(match[1]) > 0
    assert html.count('<details class="conversation"') == 8


def test_the_method_says_how_the_numbers_were_made() -> None:
    summary, talks = run(8, 4)
    html = render(summary | {"cost": 1.25}, talks)
    for sentence in (
        "8 conversations of 4 rounds, 2 probe runs; n per point 16; seed 0",
        "temperature 1.0, top-p 0.9, top-k off, at most 200 new tokens",
        "1 empty, 3 cut at the token limit",
        "412,310 in prompts, 371,004 of them cached",
        "cost 1.25",
        "holdfast drift --model mini --pairs 8",
    ):
        assert sentence in html


def record_chats(conversations: int, rounds: int) -> tuple[dict[str, Any], list[Any]]:
    """A run on recorded chats without a model, as the benchmark reports it."""
    summary, talks = run(conversations, rounds)
    for talk in talks:
        talk["user"] = talk["agent"]
        for one in talk["rounds"]:
            one["share"] = None
            one["probes"] = [
                p | {"arm": "reply"}
                for p in one["probes"][:1]
                if one["round"] and p["arm"] == "own"
            ]
    gap = (None, [None, None])
    none = {
        "stability": [None, *summary["stability"][1:]],
        "interval": [[None, None], *summary["interval"][1:]],
        "replies": [None, *summary["stability"][1:]],
        "replies_interval": [[None, None], *summary["interval"][1:]],
        "change": {"value": None, "interval": [None, None]},
    }
    for name in ("ceiling", "floor"):
        none |= dict(zip((name, f"{name}_interval"), gap, strict=True))
    for name in ("normalised", "user_persona"):
        none |= {name: [None] * (rounds + 1), f"{name}_interval": [gap[1]] * (rounds + 1)}
    none |= dict.fromkeys(("model", "user_model", "filler", "filler_interval", "history_floor",
                           "history_floor_interval", "filler_token_ratio", "prompt_share",
                           "share_detail", "user_persona_floor", "replies_per_second"))  # fmt: skip
    return summary | none, talks


def test_recorded_chats_without_a_model_are_called_that() -> None:
    assert "The conversations are recorded ones" not in render(*run(4, 2))
    html = render(*record_chats(4, 2))
    assert "The conversations are recorded ones" in html
    assert "<b>recorded replies</b>" in html
    assert html.count('<div class="said judged">') == 8
    assert "replies a second" not in html and "None" not in html
    assert '<th scope="col">round 1</th>' in html and "</small>–" not in html
    assert "– to" not in html and "– →" not in html
    method = html.partition("<h2>Method</h2>")[2].partition("<script")[0]
    assert "judged as they stand, round by round" in method
    for word in ("probe", "; seed", "Sampling", "Ceiling"):
        assert word not in method, word
    assert "no control" not in html and "after each complete round" not in html
    assert 'class="line replies"' not in html


def test_one_measured_round_has_no_course_and_no_change() -> None:
    summary, talks = record_chats(4, 1)
    for part in summary["by_category"].values():
        part["stability"][0], part["interval"][0] = None, [None, None]
    html = render(summary, talks)
    ledger = html.partition('<div class="ledger">')[2].partition("</table>")[0]
    assert "<caption>The only round</caption>" in ledger and "change in the agent" not in ledger
    assert ledger.count('<th scope="col">round') == 1
    panels = html.partition("By category</h2>")[2].partition("</section>")[0]
    assert 'class="n">' in panels and "→" not in panels


def test_recorded_chats_with_a_model_draw_replies_beside_probes() -> None:
    summary, talks = run(4, 2)
    replies = {
        "replies": [None, 0.4, 0.2],
        "replies_interval": [[None, None], [0.3, 0.5], [0.1, 0.3]],
    }
    html = render(summary | replies, talks)
    assert html.count('class="line replies"') == 2
    assert "the recorded replies themselves" in html


def test_the_reference_protocols_points_are_given() -> None:
    summary, talks = run(4, 2)
    points = {"reference": {"turns": [2, 4], "stability": [0.9, 0.8]}}
    assert "turn 2: 0.90, turn 4: 0.80" in render(summary | points, talks)


def test_a_conversation_that_never_began_has_its_line() -> None:
    summary, talks = run(4, 2)
    talks[0]["rounds"] = []
    assert render(summary, talks).count('<details class="conversation"') == 4


def test_replies_that_were_cut_in_their_thought_are_counted() -> None:
    summary, talks = run(4, 2)
    assert "in the thought before them" not in render(summary, talks)
    summary["failures"]["thought"] = 5
    assert "5 cut in the thought before them" in render(summary, talks)
