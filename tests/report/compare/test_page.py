"""The page of a comparison says what to use, why, and at what cost, and holds every number."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import RunError
from holdfast.evals.compare.settings import DEFAULT_CONTROLS
from holdfast.report import write_compare
from holdfast.report.compare import entries, figures, page, sentences, side_by_side, tables

from .compared import comparison, read_summary, read_talks

FEW = ("none", "window:1", "reminder:1", "split-softmax:0.7", "anchor", "anchor+reminder:0.5")


def small(**more: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    summary, talks = comparison(FEW, 8, (4,))
    return summary | more, talks


def render(summary: dict[str, Any], talks: list[dict[str, Any]]) -> str:
    return page.render(read_summary(summary), read_talks(talks))


def row(summary: dict[str, Any], control: str) -> dict[str, Any]:
    result: dict[str, Any] = next(r for r in summary["rows"] if r["control"] == control)
    return result


def without_capability() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    summary, talks = small(questions={}, capability_rounds=[])
    for one in summary["rows"]:
        one |= dict.fromkeys(("capability", "capability_delta"))
        one |= dict.fromkeys(("capability_interval", "capability_delta_interval"))
        one["capability_by_kind"] = {}
    for talk in talks:
        for side in talk["controls"].values():
            side["questions"] = []
    return summary, talks


def test_the_headline_is_the_recommendation_in_two_sizes() -> None:
    summary, _ = small()
    use, why = sentences.headline(summary["recommendation"])
    assert use == "Use anchor"
    text = f"{use}: {why[0].lower()}{why[1:]}"
    assert text == summary["recommendation"].replace(" -", " −").replace("[-", "[−")
    html = render(*small())
    assert "<h1>Use anchor</h1>" in html and f'<p class="basis">{why}</p>' in html


def test_a_recommendation_without_a_colon_is_one_piece() -> None:
    assert sentences.headline("Use no control.") == ("Use no control", "")


def test_strengths_keep_their_hyphens_in_the_headline() -> None:
    use, why = sentences.headline("Use split-softmax:0.7: it changes -0.02 [-1].")
    assert (use, why) == ("Use split-softmax:0.7", "It changes −0.02 [−1].")


def test_the_standfirst_says_loss_gain_cost_and_what_would_hold_better() -> None:
    summary, _ = comparison()
    loss, gain, cost, steadier = sentences.lead_sentences(read_summary(summary))
    assert loss == (
        "Without control, over all 24 conversations, stability goes from 1.00 on the empty "
        "history to 0.38 in rounds 7 and 8."
    )
    assert gain == "anchor ends at 0.88 (+0.50, 95% interval +0.43 to +0.57)."
    assert cost == (
        "It takes 1.00 times the tokens a reply and 1.04 times the time a token (1.02 to 1.06); "
        "capability changes by 0.00 (−0.03 to +0.03)."
    )
    assert steadier == (
        "The highest is window:1 at 1.00, which loses capability (−0.33), most of all recall: "
        "1.00 to 0.00."
    )


def test_a_higher_control_that_loses_no_capability_is_left_to_the_recommendation() -> None:
    summary, _ = small()
    row(summary, "window:1")["capability_delta_interval"] = [-0.1, 0.1]
    assert "The highest is" not in " ".join(sentences.lead_sentences(read_summary(summary)))


def test_the_standfirst_says_why_a_change_has_no_interval() -> None:
    summary, _ = small()
    for one in summary["rows"]:
        one |= dict.fromkeys(("late_delta_interval", "capability_delta_interval")) | {"n": 1}
    text = " ".join(sentences.lead_sentences(read_summary(summary)))
    assert text.count(", too few conversations for an interval)") == 1
    assert text.count(" (too few conversations for an interval)") == 1
    assert "over one conversation, stability goes" in text and "–" not in text


def test_where_none_is_recommended_its_best_rival_is_shown() -> None:
    summary, _ = small(recommended="none", recommendation="Use no control: nothing holds better.")
    assert sentences.lead_sentences(read_summary(summary))[1].startswith(
        "The best of the others, window:1, ends at"
    )
    assert not any(entry.recommended for entry in entries.control_entries(read_summary(summary)))
    name, pairs = tables.beside_none(read_summary(summary))
    assert name == "window:1" and pairs[0].name == "late stability"


def test_a_control_that_leads_is_not_told_twice() -> None:
    summary, _ = small(recommended="window:1")
    assert not any(
        "The highest is" in text for text in sentences.lead_sentences(read_summary(summary))
    )


@pytest.mark.parametrize(
    ("control", "family"),
    [("none", "none"), ("window:7", "window"), ("split-softmax:0.7@layers=8-24", "split-softmax"),
     ("anchor@span=content", "anchor"), ("anchor+reminder:0.5", "joined"), ("baked", "other"),
     ("<script>", "other")],
)  # fmt: skip
def test_a_familys_name_is_read_from_the_control(control: str, family: str) -> None:
    assert entries.family(control) == family


@pytest.mark.parametrize(
    ("length", "phrase"),
    [(1, "round 1"), (4, "round 4"), (5, "rounds 4 and 5"), (8, "rounds 7 and 8"),
     (16, "rounds 13 to 16")],
)  # fmt: skip
def test_late_rounds_are_the_last_quarter_rounded_up(length: int, phrase: str) -> None:
    assert entries.late_rounds(length) == phrase


def test_each_family_has_one_leader_and_all_are_numbered_in_order() -> None:
    items = entries.control_entries(read_summary(comparison()[0]))
    assert [c.number for c in items] == list(range(1, len(DEFAULT_CONTROLS) + 1))
    leaders = [c.family for c in items if c.leads]
    assert len(leaders) == len(set(leaders)) == 10


def test_both_views_draw_every_control_and_name_the_front() -> None:
    summary, _ = comparison()
    for view in figures.tradeoff(read_summary(summary)):
        for drawing in (view.wide, view.narrow):
            assert drawing.count('class="mark ') == len(DEFAULT_CONTROLS)
            assert drawing.count('class="frontier"') == 1
            for name in ("window:1", "anchor+reminder:0.5", "anchor", "none"):
                assert f">{name}</text>" in drawing
            assert ">boost:4</text>" not in drawing and ">18</text>" in drawing


def test_the_front_over_all_rounds_is_the_summarys() -> None:
    summary, _ = comparison()
    whole = figures.tradeoff(read_summary(summary))[0].wide
    front = {c.number for c in entries.control_entries(read_summary(summary)) if c.row.pareto}
    points = re.findall(r'<a href="#k(\d+)"', whole)
    links = re.findall(r'<a href="#k(\d+)"(?:(?!</a>).)*class="mark [^"]* front"', whole, re.S)
    assert len(points) == len(DEFAULT_CONTROLS) and {int(k) for k in links} == front


def test_the_caption_of_the_scatter_leads_to_the_table_that_has_its_numbers() -> None:
    html = render(*comparison())
    assert 'a number is that of the control under <a href="#all">Every control</a>' in html
    assert 'id="all">Every control</h2>' in html and '<td class="no" data-sort="2">2</td>' in html


def test_without_capability_tokens_stand_for_the_cost() -> None:
    summary, talks = without_capability()
    html = render(summary, talks)
    assert "tokens a reply (fewer to the left)" in html
    assert 'class="frontier"' not in html
    assert "capability by kind" not in html and "right</summary>" not in html


def test_curves_draw_every_control_with_bands_for_two() -> None:
    figure = figures.curves(read_summary(comparison()[0]))
    for drawing in (figure.wide, figure.narrow):
        assert drawing.count('class="line ') == len(DEFAULT_CONTROLS)
        assert drawing.count('class="band ') == 2
        assert drawing.count('class="label ') == 10
    assert figure.wide.index("band f-none plain") < figure.wide.index("band f-anchor best")


def test_curves_end_in_their_values_on_the_wide_page_and_on_the_narrow_one() -> None:
    summary = read_summary(comparison(FEW, 4, (2, 4))[0])
    for figure in (figures.curves(summary), *figures.by_length(summary)):
        for drawing in (figure.wide, figure.narrow):
            labels = re.findall(r'class="label [^>]*>([^<]*)<', drawing)
            assert len(labels) > 2
            assert all(re.search(r" \d\.\d\d$", label) for label in labels), labels


def test_a_caption_names_the_bands_and_the_thin_lines_that_are_there() -> None:
    summary = comparison()[0]
    caption = figures.curves(read_summary(summary)).caption
    assert "Named are none, the recommended control and the best of each family" in caption
    assert caption.endswith("Bands are the 95% intervals of none and the recommended control.")
    summary["recommended"] = "none"
    caption = figures.curves(read_summary(summary)).caption
    assert "Named are none and the best of each family" in caption
    assert caption.endswith("The band is the 95% interval of none.")
    for row in summary["rows"]:
        row["curve_interval"] = [[None, None]] * len(row["curve"])
    assert figures.curves(read_summary(summary)).caption.endswith("the others are thin.")
    few = read_summary(comparison(("none", "anchor"), 4, (2, 4))[0])
    assert "Named" not in figures.curves(few).caption
    assert all(one.narrow.count('class="band ') for one in figures.by_length(few))


def test_lengths_are_drawn_where_there_are_several() -> None:
    assert figures.by_length(read_summary(comparison(FEW, 4, (4,))[0])) == []
    late, capable = figures.by_length(read_summary(comparison(FEW, 4, (2, 4, 8, 16))[0]))
    assert late.title == "Late stability by length"
    assert capable.wide.count('class="line ') == 6
    assert re.findall(r'class="tick"[^>]*middle">(\d+)<', late.wide) == ["2", "4", "8", "16"]


def test_the_table_holds_every_number_and_what_it_sorts_by() -> None:
    summary, _ = small()
    board = tables.controls_table(read_summary(summary))
    line = board.lines[1]
    values = row(summary, "window:1")
    assert [c.sort for c in line.cells] == [
        values["stability"], values["late_stability"], values["late_delta"], values["capability"],
        values["capability_delta"], values["tokens_per_reply"], values["relative_ms_per_token"],
        float(values["pareto"]),
    ]  # fmt: skip
    assert line.cells[2].css == "better"
    assert board.lines[0].cells[2].text == "–"


def test_a_difference_whose_interval_holds_zero_has_no_colour() -> None:
    summary, _ = small()
    row(summary, "anchor")["late_delta_interval"] = [-0.01, 0.2]
    row(summary, "reminder:1")["late_delta_interval"] = [-0.3, -0.1]
    kinds = {
        line.entry.name: line.cells[2].css
        for line in tables.controls_table(read_summary(summary)).lines
    }
    assert (kinds["anchor"], kinds["reminder:1"]) == ("", "worse")


def test_parts_are_shaded_by_their_difference_from_none() -> None:
    summary, _ = small()
    parts = dict.fromkeys(row(summary, "none")["by_category"], 0.5)
    for control, value in (
        ("none", 0.5),
        ("anchor", 0.72),
        ("window:1", 0.0),
        ("reminder:1", 0.54),
    ):
        row(summary, control)["by_category"] = dict.fromkeys(parts, value)
    kinds = {
        line.entry.name: line.cells[0].css
        for line in tables.parts_table(read_summary(summary)).lines
    }
    assert kinds["anchor"] == "up-2" and kinds["window:1"] == "down-4"
    assert kinds["none"] == kinds["reminder:1"] == ""
    assert tables.parts_table(read_summary(summary)).groups == [
        ("stability by category", 8),
        ("capability by kind", 5),
    ]


def test_missing_numbers_are_dashes_and_break_nothing() -> None:
    summary, talks = small()
    for one in summary["rows"]:
        for field, value in one.items():
            if isinstance(value, float) or field.endswith("interval"):
                one[field] = None
        one["by_category"] = dict.fromkeys(one["by_category"])
        one["curve_interval"] = [[None, None]] * 5
        one["curve"] = [None] * 5
    html = render(summary, talks)
    assert "None<" not in html and "nan" not in html


def test_scores_without_intervals_are_drawn_within_their_scale() -> None:
    summary, _ = small()
    for one in summary["rows"]:
        one["late_interval"] = None
    drawings = "".join(line.drawing for line in tables.controls_table(read_summary(summary)).lines)
    places = [float(x) for x in re.findall(r'(?:[ML]|cx=")(-?[\d.]+)', drawings)]
    assert places and all(0 <= x <= 120 for x in places)


def test_one_control_alone_makes_a_page() -> None:
    summary, talks = comparison(("none",), 2, (1,))
    html = render(summary, talks)
    assert 'id="sides"' in html and "gains most" not in html


def test_the_pair_shown_is_the_one_with_the_largest_gain() -> None:
    _, talks = small()
    page = side_by_side.transcripts(read_talks(talks), FEW, ("none", "anchor"), 4)
    gains = [
        t.side("anchor").late - t.side("none").late  # type: ignore[union-attr, operator]
        for t in page.conversations
    ]
    assert page.opening is page.conversations[gains.index(max(gains))]
    assert (page.left, page.right) == (page.opening.side("none"), page.opening.side("anchor"))


def test_conversations_past_the_budget_are_left_out_and_named() -> None:
    _, talks = small()
    talks[3]["controls"]["none"]["rounds"][1]["agent"] = "x" * 900_000
    page = side_by_side.transcripts(read_talks(talks), FEW, ("none", "anchor"), 4, budget=600_000)
    assert [t.id for t in page.conversations] == [0, 1, 2] and page.omissions == (3, 4, 5, 6, 7)


def test_one_conversation_is_kept_whatever_its_size() -> None:
    _, talks = small()
    assert (
        len(
            side_by_side.transcripts(
                read_talks(talks), FEW, ("none", "anchor"), 4, budget=1
            ).conversations
        )
        == 1
    )


def test_a_page_says_which_conversations_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side.transcripts, "__defaults__", (1,))
    html = render(*small())
    assert "The texts of 7 conversations would make too large a page" in html
    assert "1, 2, 3, 4, 5, 6, 7." in html


def test_the_data_hold_every_text_and_no_markup() -> None:
    _, talks = small()
    reply = "</script><!-- <b> & \u2028 ]]>"
    talks[2]["controls"]["anchor"]["rounds"][1]["agent"] = reply
    data = side_by_side.data(
        side_by_side.transcripts(read_talks(talks), FEW, ("none", "anchor"), 4)
    )
    assert not set("<>&\u2028") & set(data)
    side = json.loads(data)["2"]["sides"]["4"]
    assert side["name"] == "anchor"
    assert side["turns"][1]["agent"] == [reply, "", ""]
    assert [q[0] for q in side["turns"][4]["exam"]] == [
        q["right"] for q in talks[2]["controls"]["anchor"]["questions"]
    ]


def test_the_method_says_how_the_numbers_were_made() -> None:
    refusals = {"anchor@span=content": "its rotary embedding is <dynamic>."}
    html = render(*small(refused=refusals))
    for sentence in (
        "8 conversations of 4 rounds, 2 probe runs; seed 0",
        "8 arithmetic, 8 facts",
        "chosen on conversations 0, 2, 4, 6; measured on 1, 3, 5, 7",
        "0.03: the same probes with no system prompt",
        "temperature 1.0, top-p 0.9, top-k off, at most 200 new tokens",
        "12 cut at the token limit; the most under none: 2 cut at the token limit",
        '<b dir="auto">anchor@span=content</b>: its rotary embedding is &lt;dynamic&gt;.',
        "holdfast compare --model mini --pairs 8",
        "Holdfast 0.2.0",
    ):
        assert sentence in html


def test_the_same_comparison_gives_the_same_page() -> None:
    assert render(*small()) == render(*small())


def test_the_page_names_no_address_and_has_no_inline_styles_or_handlers() -> None:
    html = render(*small())
    html = re.sub(r'<script type="application/json".*?</script>', "", html, flags=re.S)
    assert not re.search(r"https?://", html)
    assert not re.search(r"<[^>]*\s(?:style|on\w+)=", html)
    assert not re.search(r"<(?:link|img|iframe|object|base)\b", html)
    assert not re.search(r'(?:src|href)="(?!#)', html)


def test_every_link_leads_to_a_row_and_every_id_is_there_once() -> None:
    html = render(*comparison(FEW, 4, (2, 4)))
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_a_full_comparison_stays_below_five_megabytes() -> None:
    assert len(render(*comparison())) < 5e6


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"could not be written .*; the records are kept"):
        write_compare(
            read_summary(small()[0]), read_talks(small()[1]), tmp_path / "file" / "report.html"
        )


def test_a_comparison_without_conversations_is_its_figures_and_tables() -> None:
    html = render(small()[0], [])
    assert 'id="sides"' not in html and "Every control" in html


def test_replies_that_were_cut_in_their_thought_are_counted() -> None:
    summary, talks = small()
    for one in summary["rows"]:
        one["failures"] = {"empty": 0, "length": 0, "thought": 2, "overflow": 0, "error": 0}
    text = render(summary, talks)
    assert "12 cut in the thought before them; the most under" in text
    assert "no reply was empty" not in text
