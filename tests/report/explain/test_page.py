"""The page and the sentences of an explanation: what they may say, and what they may not."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.records import read_record
from holdfast.report.explain.findings import findings
from holdfast.report.explain.page import render, write_explain
from holdfast.results.drift import PromptShare
from holdfast.results.explain import ExplainSummary

ROUNDS = 2


def value(of: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": of, "interval": [low, high], "n": 12}


def rho(of: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"rho": of, "interval": [low, high], "n": 12}


def control(name: str, share: float, better: tuple[float, float, float]) -> dict[str, Any]:
    heads = [[[0.4, 0.2]], [[0.3, 0.1]], [[share, share / 2]]]
    return {
        "control": name,
        "n": [12] * 3,
        "stability": [1.0, 0.8, 0.6],
        "interval": [[0.9, 1.0], [0.7, 0.9], [0.4, 0.8]],
        "stability_delta": value(*better),
        "prompt_share": [0.3, 0.2, share],
        "prompt_share_interval": [[0.2, 0.4], [0.1, 0.3], [0.05, 0.2]],
        "share_detail": {
            "heads": heads,
            "layers": [[0.3], [0.2], [share]],
            "template": [0.4, 0.3, 0.2],
            "dilution": [0.5, 0.3, 0.1],
        },
        "share_delta": value(0.05, 0.01, 0.09),
        "before": {
            "prompt_share": [0.3, 0.2, 0.1],
            "prompt_share_interval": [[0.2, 0.4]] * 3,
            "layers": [[0.3], [0.2], [0.1]],
            "heads": [[[0.4, 0.2]], [[0.3, 0.1]], [[0.1, 0.1]]],
        },
    }


def count_dimension(first: float | None) -> dict[str, Any]:
    part = {"mean": [first, 9.0, 9.5], "interval": [[8.5, 9.5]] * 3, "layers": [[first], [9], [9]]}
    return {"all": part, "few": part, "many": {**part, "mean": [None, 9.0, 9.5]}}


def read_summary(record: dict[str, Any]) -> ExplainSummary:
    """The summary as an explanation has it."""
    whole = deepcopy(record)
    for one in whole["controls"]:
        turns = {"rounds": [], "within": []}
        one["share_detail"] = {"within": [], "turns": turns, **one["share_detail"]}
    for row in (whole["dimension"] or {}).get("growth", ()):
        row["from_round"] = row.pop("from")
        row["growth"] = {name: row[name] for name in ("value", "interval", "n")}
    for row in whole["association"]:
        row["by_round"] = [{"round": at["round"], "correlation": at} for at in row["by_round"]]
    for one in whole["controls"]:
        one["share"] = one
    return read_record(ExplainSummary, whole)


def summary() -> dict[str, Any]:
    names = ("none", "boost:2", "no persona", "shuffled")
    growth = {
        "set": "none",
        "measure": "participation",
        "count": "many",
        "from": 1,
        **value(0.5, 0.2, 0.8),
        "beyond": {"no persona": value(0.4, 0.1, 0.7), "shuffled": value(0.1, -0.2, 0.4)},
    }
    return {
        "model": "mini",
        "user_model": None,
        "suite": "mini",
        "seed": 0,
        "runs": 2,
        "conversations": 12,
        "rounds": ROUNDS,
        "version": "0.1.0",
        "sampling": {"max_new_tokens": 200, "temperature": 1.0, "top_p": 0.9, "top_k": 0},
        "command": "holdfast explain",
        "controls": [control("none", 0.1, (0, 0, 0)), control("boost:2", 0.2, (0.1, 0.02, 0.2))],
        "dimension": {
            "vectors": {"few": 6, "many": 20},
            "draws": 16,
            "sets": [
                {
                    "set": name,
                    "tokens": [6, 20, 40],
                    "participation": count_dimension(4.0),
                    "components": count_dimension(4.0),
                }
                for name in names
            ],
            "growth": [growth],
        },
        "dimension_refusal": None,
        "association": [
            {
                "control": "none",
                "measure": measure,
                "by_round": [{"round": r, **rho(0.3, -0.1, 0.6)} for r in (1, 2)],
                "pooled": rho(0.3, low, 0.6),
                "given_dilution": None if measure == "dilution" else rho(0.1, -0.3, 0.5),
            }
            for measure, low in (("share", 0.1), ("dilution", 0.0), ("dimension", -0.2))
        ],
        "seconds": 12.0,
        "note": "mini is a model organism",
        "findings": [],
        "report": None,
    }


def tell(**changes: Any) -> str:
    record = summary()
    for path, new in changes.items():
        *where, last = path.split("__")
        at: Any = record
        for key in where:
            at = at[int(key) if key.isdigit() else key]
        at[last] = new
    return " ".join(findings(read_summary(record)))


def test_the_first_finding_says_whether_the_score_goes_with_the_attention() -> None:
    first = findings(read_summary(summary()))[0]
    assert first == (
        "The more attention the system prompt gets, the higher the score (rank correlation 0.30, "
        "95% interval 0.10 to 0.60, across 12 conversations within a round; 0.10, −0.30 to 0.50 "
        "where the prompt’s part of the text is held fixed)."
    )
    name = "the attention that the system prompt gets"
    chance, unknown = rho(0.3, -0.1, 0.6), rho(None, None, None)
    assert tell(association__0__pooled=chance).startswith(
        f"The score is not shown to go with {name} (rank correlation 0.30, 95% interval −0.10 to "
    )
    assert tell(association__0__pooled=rho(-0.3, -0.5, -0.1)).startswith(
        "The more attention the system prompt gets, the lower the score ("
    )
    whether = f"Whether the score goes with {name} cannot be said: "
    assert tell(association__0__pooled=unknown).startswith(f"{whether}the scores of too few")
    assert tell(controls__0__prompt_share=None).startswith(f"{whether}no prompt share was measured")


def test_the_page_opens_with_the_answer_and_says_it_once() -> None:
    page = render(read_summary(summary()))
    answer = "The more attention the system prompt gets, the higher the score"
    assert f"<h1>{answer} <span>(rank correlation 0.30, 95% interval" in page
    assert f"<title>{answer} ·" in page and page.count(answer) == 2


def test_the_second_finding_says_what_share_and_score_did() -> None:
    assert findings(read_summary(summary()))[1] == (
        "Without a control, in 2 rounds, the system prompt’s share of attention goes from 30% to "
        "10%, its part of the text from 50% to 10%, and the score from 1.00 to 0.60."
    )
    short = summary()
    short["controls"][0]["n"] = [12, 12, 9]
    reach = "(at the end over the 9 of 12 conversations that reach it)"
    assert findings(read_summary(short))[1].endswith(f"to 0.60 {reach}.")
    unmeasured = "Without a control, in 2 rounds, the score goes from 1.00 to 0.60."
    assert unmeasured in tell(controls__0__prompt_share=None)


def test_no_change_is_called_shown_that_the_conversations_cannot_show() -> None:
    few = summary()
    few["controls"][0].update(n=[2, 2, 2], interval=[[None, None]] * 3)
    unknown = "to 0.60; no change can be shown with 2 conversations."
    assert findings(read_summary(few))[1].endswith(unknown)
    few["controls"][0].update(prompt_share=None)
    assert findings(read_summary(few))[1].endswith(unknown)
    wide = [[0.5, 1.0], [0.5, 1.0], [0.3, 0.9]]
    assert "to 0.60; the intervals of the two scores overlap." in tell(controls__0__interval=wide)


@pytest.mark.parametrize(
    ("share", "stability", "expected"),
    [
        (value(0.1, 0.05, 0.2), value(0.2, 0.1, 0.3), "raises the share (+10.0 points"),
        (value(0.1, 0.05, 0.2), value(0.2, 0.1, 0.3), ") and raises the score (+0.20,"),
        (value(0.1, 0.05, 0.2), value(0.0, -0.1, 0.1), ") but no change of the score is shown"),
        (
            value(0.0, -0.1, 0.1),
            value(0.2, 0.1, 0.3),
            "is not shown to change the share (0.0 points",
        ),
        (value(-0.1, -0.2, -0.05), value(-0.2, -0.3, -0.1), ") and lowers the score"),
        (value(0.1, 0.05, 0.2), value(-0.2, -0.3, -0.1), ") but lowers the score"),
        (value(0.1, None, None), value(0.2, None, None), "too few conversations for an interval)"),
        (
            value(0.1, 0.05, 0.2),
            value(-1.0, None, None),
            "no change of the score is shown (−1.00, too few conversations for an interval).",
        ),
    ],
)
def test_a_control_is_said_to_move_only_what_its_interval_says(
    share: dict[str, Any], stability: dict[str, Any], expected: str
) -> None:
    assert expected in tell(controls__1__share_delta=share, controls__1__stability_delta=stability)


def test_a_control_is_said_to_do_nothing_only_with_how_much_the_conversations_can_tell() -> None:
    wide = tell(controls__1__stability_delta=value(-0.01, -0.24, 0.16))
    assert wide.count("no change of the score is shown (−0.01, −0.24 to +0.16, over 12 ") == 1
    assert "over 12 conversations: too few to tell a change of 0.10 from none)." in wide
    narrow = tell(controls__1__stability_delta=value(-0.01, -0.04, 0.03))
    assert "(−0.01, −0.04 to +0.03, over 12 conversations)." in narrow
    shown = tell(controls__1__stability_delta=value(0.2, 0.1, 0.3))
    assert "raises the score (+0.20, +0.10 to +0.30, over 12 conversations)." in shown


def test_growth_and_its_absence_are_told_and_so_is_other_text() -> None:
    assert "(20) the intrinsic dimension of the values in view grows from round 1" in tell()
    assert "Beside conversations without any persona it grows more (+0.40" in tell()
    assert "Beside the same tokens in a drawn order no difference in growth is shown" in tell()
    flat = tell(dimension__growth__0__interval=[-0.1, 1.0])
    assert "is not shown to change" in flat
    assert "shrinks" in tell(dimension__growth__0__interval=[-2.0, -1.0])
    assert "dimension" not in tell(dimension=None, association=[])


def test_a_correlation_is_one_only_where_its_interval_excludes_zero() -> None:
    assert "The score is not shown to go with the intrinsic dimension (rank correlation" in tell()
    grows = tell(association__2__pooled=rho(0.3, 0.1, 0.5))
    assert "The higher the intrinsic dimension, the higher the score (rank correlation" in grows


def test_the_page_shows_every_control_set_and_correlation(tmp_path: Path) -> None:
    record = summary()
    path = tmp_path / "report.html"
    write_explain(read_summary(record), path)
    page = path.read_text(encoding="utf-8")
    for text in ("boost:2", "no persona", "shuffled", "mini is a model organism", "0.30 (0.10 to"):
        assert text in page
    assert findings(read_summary(record))[1] in page
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert not re.search(r"https?://|<[^>]*\s(?:style|on\w+)=", page)


def test_what_was_not_measured_is_said_and_names_stay_text() -> None:
    record = summary() | {"dimension": None, "dimension_refusal": "there is no <room>"}
    record["model"] = "<script>alert(1)</script>"
    for one in record["controls"]:
        one["control"] = f"<b>{one['control']}"
    page = render(read_summary(record))
    assert "Not measured: there is no &lt;room&gt;" in page
    assert "<script>alert" not in page and "<b>none" not in page


def test_a_page_does_without_intervals_and_rounds_that_were_not_reached() -> None:
    record = deepcopy(summary())
    for one in record["controls"]:
        one["prompt_share"][2] = one["stability"][2] = None
        one["prompt_share_interval"][2] = one["interval"][2] = [None, None]
        one["share_detail"]["heads"][2] = one["share_detail"]["layers"][2] = None
        one["before"]["heads"][2] = None
        one["stability_delta"] = one["share_delta"] = value(None)
    page = render(read_summary(record))
    assert "–" in page
    assert "boost:2, round 1, at most" in page and "boost:2, round 2" not in page
    assert [s for s in findings(read_summary(record)) if "boost" in s] == []


def test_a_page_without_any_share_leaves_its_figures_out_and_says_so() -> None:
    record = summary()
    for one in record["controls"]:
        one["prompt_share"] = one["prompt_share_interval"] = None
        one["before"] = dict.fromkeys(one["before"])
        one["share_delta"] = value(None)
    whole = read_summary(record)
    controls = [replace(one, share=PromptShare()) for one in whole.controls]
    page = render(replace(whole, controls=controls))
    assert "No prompt share was measured" in page
    assert "figure-share" not in page and "figure-layers" not in page
    assert "Stability of the same conversations" in page


def test_a_control_without_a_share_has_no_part_in_the_figures_of_shares() -> None:
    whole = read_summary(summary())
    none, boost = whole.controls
    page = render(replace(whole, controls=[replace(none, share=PromptShare()), boost]))
    assert "figure-share" in page and "figure-layers-1" in page and "figure-layers-0" not in page
    assert "part of the text: 50%" in page
