"""The page in a real browser: model output stays text, the policy holds, and it can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from ..conftest import Open
from .sample import run, write

ATTACK = (
    "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    '"></p></details></template></script></style><svg onload="window.pwned=1"><!--'
    " ]]> {{ 7 * 7 }} &lt;b&gt; javascript:window.pwned=1"
)


def attack(text: str = ATTACK) -> tuple[dict[str, Any], list[Any]]:
    """A run in which every text there is holds `text`."""
    summary, talks = run(4, 3)
    for talk in talks:
        talk["starter"] = text
        for person in ("agent", "user"):
            talk[person] = dict.fromkeys(("id", "category", "prompt"), text)
        for one in talk["rounds"]:
            one["user"] = one["agent"] = text
            for probe in one["probes"]:
                probe |= {"answer": text, "why": text, "probe": text, "stop": text}
    texts = dict.fromkeys(("model", "control", "suite", "command", "note", "version"), text)
    part = next(iter(summary["by_category"].values()))
    return summary | texts | {"by_category": {text: part}}, talks


def test_script_in_any_text_stays_text(open_page: Open) -> None:
    one = open_page(attack())
    one.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert one.page.evaluate("window.pwned === undefined")
    assert one.page.evaluate("window.refused === undefined")
    assert one.complaints == []
    assert one.page.locator("script").count() == 1
    assert one.page.locator("img").count() == 0
    replies = one.page.locator(".said.agent .text")
    assert replies.count() == 16
    for reply in replies.all():
        expect(reply).to_be_visible()
        assert reply.text_content() == ATTACK


def test_script_in_a_searched_snippet_stays_text(open_page: Open) -> None:
    one = open_page(attack())
    one.page.fill("#query", "<img src=x")
    expect(one.page.locator(".snippet mark").first).to_have_text("<img src=x")
    assert one.page.locator("img").count() == 0
    assert one.page.evaluate("window.pwned === undefined")
    assert one.complaints == []


def test_were_markup_to_slip_through_the_policy_would_stop_it(
    open_page: Open, tmp_path: Path
) -> None:
    write(*run(2, 2), tmp_path / "clean.html")
    html = (tmp_path / "clean.html").read_text(encoding="utf-8")
    hole = html.replace(
        "</main>", "<script>window.pwned=1</script><b style='color:red'>x</b></main>"
    )
    one = open_page(hole)
    assert one.page.evaluate("window.pwned === undefined")
    assert one.page.evaluate("window.refused.sort()") == ["script-src-elem", "style-src-attr"]


def test_text_cannot_be_made_markup_by_script(open_page: Open) -> None:
    one = open_page(run(2, 2))
    script = "try { document.body.innerHTML = '<b>x</b>'; 'made' } catch (e) { e.name }"
    assert one.page.evaluate(script) == "TypeError"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_shows_its_charts(open_page: Open, width: int, scheme: str) -> None:
    one = open_page(run(16, 8), width, color_scheme=scheme)
    assert one.complaints == []
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    size = "narrow" if width == 400 else "wide"
    drawing = one.page.locator(f"#figure-stability .{size} svg")
    expect(drawing).to_be_visible()
    other = "wide" if width == 400 else "narrow"
    expect(one.page.locator(f"#figure-stability .{other} svg")).to_be_hidden()
    assert drawing.locator("path.line").count() == 6
    assert drawing.locator("path.band.own").count() == 1
    assert one.page.locator(".multiples svg:visible").count() == 8
    assert one.page.locator(f"#figure-layers .{size} rect.cell").count() == 54
    assert one.page.locator(f"#figure-share .{size} path.line").count() == 3
    assert one.page.locator(f"#figure-turns .{size} path.line").count() == 8
    assert one.page.locator("#figure-heads svg:visible").count() == 5


@pytest.mark.parametrize("width", [1280, 400])
def test_no_label_leaves_its_drawing(open_page: Open, width: int) -> None:
    one = open_page(run(16, 8), width)
    outside = """() => [...document.querySelectorAll('svg.lines text, svg.heat text')].filter(t => {
      const inner = t.getBoundingClientRect();
      const outer = t.ownerSVGElement.getBoundingClientRect();
      return inner.width && (inner.right > outer.right + 1 || inner.left < outer.left - 1);
    }).map((t) => t.textContent)"""
    assert one.page.evaluate(outside) == []


CONTRAST = """(selector) => {
  const channel = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map((v) => channel(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll(selector)].map((element) => {
    const style = getComputedStyle(element);
    const ink = light(element.ownerSVGElement ? style.fill : style.color);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_stands_out_in_light_and_dark(open_page: Open, scheme: str) -> None:
    one = open_page(run(16, 8), color_scheme=scheme)
    ground = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground[4:].split(",")[0]) > 128) == (scheme == "light")
    for selector in (
        "h1", "h1 span", "figcaption", ".note", ".ledger td", ".ledger th", ".n", ".score",
        ".failed .score", ".why", ".probe", "svg .tick", "svg .label", ".partner", ".facts dt",
    ):  # fmt: skip
        ratios = one.page.evaluate(CONTRAST, selector)
        assert ratios and min(ratios) >= 4.5, selector


CELLS = """() => [...document.querySelectorAll('#figure-layers .wide .in-cell')].map((text) => {
  const channel = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parts = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = ([r, g, b]) =>
    0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const cell = text.previousElementSibling;
  const paper = parts(getComputedStyle(document.body).backgroundColor);
  const share = Number(cell.getAttribute("fill-opacity"));
  const fill = parts(getComputedStyle(cell).fill);
  const ground = light(fill.map((v, i) => share * v + (1 - share) * paper[i]));
  const ink = light(parts(getComputedStyle(text).fill));
  return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_values_in_the_heat_map_stand_out_from_every_shade(open_page: Open, scheme: str) -> None:
    summary, talks = run(4, 8)
    summary["share_detail"]["layers"] = [[r / 8, (r + 0.5) / 8.5] for r in range(9)]
    one = open_page((summary, talks), color_scheme=scheme)
    ratios = one.page.evaluate(CELLS)
    assert len(ratios) == 18 and min(ratios) >= 3.7


def test_search_shows_the_conversations_that_hold_the_words(open_page: Open) -> None:
    summary, talks = run(16, 4)
    talks[5]["rounds"][2]["agent"] = "A (rare) word.* hides here"
    one = open_page((summary, talks))
    expect(one.page.locator("#tally")).to_have_text("16 conversations")
    one.page.fill("#query", "(RARE)  word.*")
    expect(one.page.locator("#tally")).to_have_text("1 of 16 conversations")
    expect(one.page.locator(".conversation:visible")).to_have_attribute("data-id", "5")
    expect(one.page.locator(".snippet mark")).to_have_text("(rare) word.*")
    one.page.fill("#query", "nowhere to be found")
    expect(one.page.locator("#nothing")).to_be_visible()
    one.page.fill("#query", "")
    expect(one.page.locator("#tally")).to_have_text("16 conversations")
    assert one.complaints == []


@pytest.mark.parametrize("words", ["a-b", "a/b", "[a]", "\\d", "^$", "{2}", "-", "&", "}"])
def test_search_takes_every_character_as_it_is(open_page: Open, words: str) -> None:
    summary, talks = run(4, 2)
    talks[1]["rounds"][1]["agent"] = f"it says x{words}x once"
    one = open_page((summary, talks))
    one.page.fill("#query", f"x{words}x")
    expect(one.page.locator("#tally")).to_have_text("1 of 4 conversations")
    assert one.complaints == []


def test_found_words_are_marked_in_open_conversations_alone(open_page: Open) -> None:
    summary, talks = run(4, 2)
    for talk in talks[:2]:
        talk["rounds"][1]["user"] = "vole and vole again"
        talk["rounds"][2]["agent"] = "a VOLE, once more"
    talks[0]["agent"] |= {"prompt": "p"}
    one = open_page((summary, talks), at="#c0")
    one.page.fill("#query", "vole")
    expect(one.page.locator("#c1 .snippet mark")).to_be_visible()
    count = "CSS.highlights.get('found').size"
    assert one.page.evaluate(count) == 3
    one.page.locator("#c1").evaluate("(c) => { c.open = true; }")
    one.page.locator("#c1 .rounds").wait_for()
    assert one.page.evaluate(f"new Promise(requestAnimationFrame).then(() => {count})") == 6
    one.page.fill("#query", "")
    expect(one.page.locator(".snippet")).to_have_count(0)
    assert one.page.evaluate("CSS.highlights.has('found')") is False


def test_a_snippet_keeps_texts_apart_and_folded_texts_together(open_page: Open) -> None:
    summary, talks = run(2, 2)
    talks[0]["rounds"][1] |= {"user": "first message", "agent": "x" * 2400 + "y" * 2400}
    talks[0]["rounds"][2]["user"] = "second message"
    one = open_page((summary, talks))
    one.page.fill("#query", "first message")
    expect(one.page.locator("#c0 .snippet")).to_contain_text("· first message · xxx")
    one.page.fill("#query", "xxyy")
    expect(one.page.locator("#tally")).to_have_text("1 of 2 conversations")


def test_filters_and_orders_work_together(open_page: Open) -> None:
    summary, talks = run(32, 6)
    one = open_page((summary, talks))
    visible = one.page.locator(".conversation:visible")
    one.page.select_option("#category", "memory")
    expect(visible).to_have_count(4)
    one.page.select_option("#category", "")
    one.page.select_option("#persona", "capital-captain")
    expect(visible).to_have_count(4)
    one.page.select_option("#persona", "")
    one.page.select_option("#trait", "slipped")
    slips = visible.count()
    falls = [float(v.get_attribute("data-fall") or "nan") for v in visible.all()]
    assert slips and min(falls) >= 0.25
    one.page.select_option("#trait", "held")
    expect(visible).to_have_count(32 - slips)
    one.page.select_option("#trait", "")
    one.page.select_option("#order", "fall")
    falls = [float(v.get_attribute("data-fall") or "nan") for v in visible.all()]
    assert falls == sorted(falls, reverse=True)
    one.page.select_option("#order", "id")
    assert [v.get_attribute("data-id") for v in visible.all()] == [str(i) for i in range(32)]


def test_open_all_and_close_all(open_page: Open) -> None:
    one = open_page(run(6, 2))
    one.page.click("#open")
    expect(one.page.locator(".conversation[open]")).to_have_count(6)
    one.page.click("#close")
    expect(one.page.locator(".conversation[open]")).to_have_count(0)


def test_an_address_opens_its_conversation(open_page: Open) -> None:
    one = open_page(run(6, 2), at="#c3")
    expect(one.page.locator("#c3 .rounds")).to_be_visible()
    expect(one.page.locator(".conversation[open]")).to_have_count(1)


def test_a_conversation_opens_from_the_keyboard(open_page: Open) -> None:
    one = open_page(run(3, 2))
    one.page.locator("#c1 > summary").focus()
    one.page.keyboard.press("Enter")
    expect(one.page.locator("#c1 .rounds")).to_be_visible()
    one.page.keyboard.press("Tab")
    focus = "document.activeElement.closest('#c1 .others') !== null"
    assert one.page.evaluate(focus)


def test_each_probe_answer_shows_its_score_and_why(open_page: Open) -> None:
    summary, talks = run(2, 2)
    talks[0]["rounds"][1]["probes"][0] |= {"score": 0.25, "why": "a quarter", "stop": "length"}
    one = open_page((summary, talks), at="#c0")
    answer = one.page.locator("#c0 .rounds > li").nth(1).locator(".answers .answer").first
    expect(answer.locator(".score")).to_have_text("0.25")
    expect(answer.locator(".why")).to_have_text("a quarter · cut at the token limit")


def test_without_script_the_page_is_whole(open_page: Open) -> None:
    one = open_page(run(4, 2), java_script_enabled=False)
    expect(one.page.locator("#finder")).to_be_hidden()
    expect(one.page.locator(".conversation:visible")).to_have_count(4)
    one.page.locator("#c2 > summary").click()
    expect(one.page.locator("#c2 .said.agent .text").first).to_be_visible()
    expect(one.page.locator("#figure-stability .wide svg")).to_be_visible()


def test_a_run_of_one_round_and_one_conversation_without_attention(open_page: Open) -> None:
    summary, talks = run(1, 1)
    missing = ("prompt_share", "share_detail", "filler", "filler_interval", "history_floor",
               "history_floor_interval", "note", "filler_token_ratio")  # fmt: skip
    for width in (1280, 400):
        one = open_page((summary | dict.fromkeys(missing), talks), width)
        assert one.complaints == []
        expect(one.page.locator("h1")).to_contain_text("One conversation")
        expect(one.page.locator("#figure-share, #figure-layers, .note")).to_have_count(0)
        expect(one.page.get_by_text("Prompt share was not measured")).to_be_visible()
        expect(one.page.get_by_text("Not measured in this run: the filler")).to_be_visible()
        expect(one.page.locator("#tally")).to_have_text("1 conversation")
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    "text",
    [
        "w" * 400_000,
        "a reply of words " * 20_000,
        "مرحبا، أنا أشرب الشاي كل صباح " * 40,
        "🫖👩‍👩‍👧‍👦🏳️‍🌈" * 400,
        "e" + "\u0301" * 3000,
        "\u202eevil\u2066 txt",
        "\n" * 3000 + "end",
    ],
    ids=["one word", "many words", "right to left", "emoji", "accents", "controls", "lines"],
)
def test_any_text_keeps_the_page_in_its_width(open_page: Open, text: str) -> None:
    summary, talks = run(2, 2)
    talks[0]["rounds"][1]["agent"] = talks[0]["rounds"][1]["probes"][0]["answer"] = text
    talks[0]["agent"]["id"] = text[:300]
    one = open_page((summary, talks), 400, at="#c0")
    one.page.evaluate("document.querySelectorAll('.more').forEach((d) => { d.open = true; })")
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 400
    texts = "[...document.querySelectorAll('#c0 .said.agent')[0].querySelectorAll('.text')]"
    assert one.page.evaluate(f"{texts}.map((t) => t.textContent).join('')") == text


def test_right_to_left_text_runs_from_the_right_and_leaves_its_neighbours(open_page: Open) -> None:
    summary, talks = run(2, 2)
    talks[0]["rounds"][1]["agent"] = "مرحبا"
    one = open_page((summary, talks), at="#c0")
    text = one.page.locator("#c0 .said.agent .text").first
    assert text.evaluate("(p) => getComputedStyle(p).direction") == "rtl"
    user = one.page.locator("#c0 .said.user .text").first
    assert user.evaluate("(p) => getComputedStyle(p).direction") == "ltr"


def test_print_leaves_out_what_paper_cannot_use(open_page: Open) -> None:
    one = open_page(run(4, 4), color_scheme="dark")
    one.page.emulate_media(media="print", color_scheme="dark")
    expect(one.page.locator("#finder")).to_be_hidden()
    ground = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    expect(one.page.locator("#figure-stability .wide svg")).to_be_visible()
