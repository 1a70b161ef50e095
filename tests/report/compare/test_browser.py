"""A comparison's page in a real browser: it can be read, sorted, chosen from, and attacked."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from ..conftest import Open
from ..drift.test_browser import ATTACK, CONTRAST
from .compared import HOLDING, comparison
from .test_page import FEW, small

COVERS = """(selector) => {
  const boxes = [...document.querySelectorAll(selector)]
    .filter((t) => t.getBoundingClientRect().width)
    .map((t) => [t.getBoundingClientRect(), t.textContent, t.ownerSVGElement]);
  const found = [];
  for (const [i, [a, one, where]] of boxes.entries()) {
    const outer = where.getBoundingClientRect();
    if (a.right > outer.right + 1 || a.left < outer.left - 1) found.push(`${one} leaves`);
    for (const [b, other, there] of boxes.slice(i + 1)) {
      if (where !== there) continue;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1.5 && down > 3) found.push(`${one} on ${other}`);
    }
  }
  return found;
}"""


def attack() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A comparison in which every text there is holds an attack."""
    summary, talks = small()
    texts = dict.fromkeys(
        ("model", "user_model", "suite", "command", "note", "version", "recommendation"), ATTACK
    )
    summary |= texts | {"refused": {ATTACK: ATTACK}, "questions": {ATTACK: 3}}
    summary["rows"][3]["control"] = summary["recommended"] = ATTACK
    for row in summary["rows"]:
        for parts in ("by_category", "capability_by_kind"):
            row[parts] = {ATTACK: 0.5}
    for talk in talks:
        talk["starter"] = ATTACK
        for person in ("agent", "user"):
            talk[person] = dict.fromkeys(("id", "category", "prompt"), ATTACK)
        talk["controls"][ATTACK] = talk["controls"].pop(FEW[3])
        for side in talk["controls"].values():
            for one in side["rounds"]:
                one["user"] = one["agent"] = ATTACK
                for probe in one["probes"]:
                    probe |= {"answer": ATTACK, "why": ATTACK, "probe": ATTACK, "stop": ATTACK}
            for question in side["questions"]:
                question |= dict.fromkeys(
                    ("kind", "question", "plant", "expected", "answer"), ATTACK
                )
    return summary, talks


def test_script_in_any_text_stays_text(open_page: Open) -> None:
    one = open_page(attack())
    for choice in (("#talk", "5"), ("#left", "3"), ("#right", "1")):
        one.page.select_option(*choice)
        assert one.page.evaluate("window.pwned === undefined && window.refused === undefined")
        replies = one.page.locator("#pair .said.agent .text")
        assert replies.count() == 10
        assert {reply.text_content() for reply in replies.all()} == {ATTACK}
    one.page.click("table.board >> nth=0 >> text=control")
    assert one.complaints == []
    assert one.page.locator("script").count() == 2
    assert one.page.locator("img").count() == 0
    expect(one.page.locator("#left option").nth(3)).to_have_text(ATTACK)


def test_the_script_cannot_make_markup(open_page: Open) -> None:
    one = open_page(small())
    script = "try { document.body.innerHTML = '<b>x</b>'; 'made' } catch (e) { e.name }"
    assert one.page.evaluate(script) == "TypeError"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_shows_its_figures(open_page: Open, width: int, scheme: str) -> None:
    one = open_page(comparison(lengths=(2, 4, 8)), width, color_scheme=scheme)
    assert one.complaints == []
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    size = "narrow" if width == 400 else "wide"
    expect(one.page.locator(f".view.whole .{size} svg")).to_be_visible()
    expect(one.page.locator(".view.late svg:visible")).to_have_count(0)
    assert one.page.locator(f".view.whole .{size} .mark").count() == len(HOLDING)
    assert one.page.locator("svg.lines:visible").count() == 3
    assert one.page.locator("table.board tbody tr").count() == 2 * len(HOLDING)


@pytest.mark.parametrize("width", [1280, 400])
def test_no_label_covers_another_or_leaves_its_drawing(open_page: Open, width: int) -> None:
    one = open_page(comparison(lengths=(4, 8)), width)
    for view in ("whole", "late"):
        one.page.click(f"label[for=over-{view}]")
        assert one.page.evaluate(COVERS, f".view.{view} .label") == []
    assert one.page.evaluate(COVERS, "svg.lines .label") == []
    assert one.page.evaluate(COVERS, "svg .tick") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_stands_out_in_light_and_dark(open_page: Open, scheme: str) -> None:
    one = open_page(comparison(), color_scheme=scheme)
    for selector in (
        "h1", ".basis", ".note", ".scatter .label", ".lines .label", ".tick", ".board td",
        ".board th", ".board small", ".ledger small", ".families li", ".verdict", ".exam .why b",
        ".better", ".worse",
    ):  # fmt: skip
        ratios = one.page.evaluate(CONTRAST, selector)
        assert ratios and min(ratios) >= 4.5, selector


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_values_stand_out_from_every_shade(open_page: Open, scheme: str) -> None:
    one = open_page(comparison(), color_scheme=scheme)
    # A shade is a mix that the browser computes as color(srgb r g b).
    ratios = one.page.evaluate("""() => [...document.querySelectorAll(
      '.parts td[class^="up"], .parts td[class^="down"]')].map((cell) => {
      const channel = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const light = (color) => {
        const parts = color.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const [r, g, b] = color.startsWith("color") ? parts : parts.map((v) => v / 255);
        return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
      };
      const style = getComputedStyle(cell);
      const pair = [light(style.color), light(style.backgroundColor)];
      return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    })""")
    assert len(ratios) > 40 and min(ratios) >= 4.5


def test_a_click_on_a_heading_sorts_and_a_second_turns(open_page: Open) -> None:
    summary, talks = small()
    summary["rows"][2]["capability"] = None
    one = open_page((summary, talks))
    table = one.page.locator("table.board").first
    heading = table.get_by_role("button", name="capability", exact=True)

    def order() -> list[int]:
        return [int(k.inner_text()) for k in table.locator("tbody .no").all()]

    def by(sign: int) -> list[int]:
        rows = list(enumerate(summary["rows"], 1))
        there = [(sign * r["capability"], k) for k, r in rows if r["capability"] is not None]
        return [k for _, k in sorted(there)] + [3]

    heading.click()
    assert order() == by(-1)
    expect(table.locator("[aria-sort]")).to_have_attribute("aria-sort", "descending")
    heading.click()
    assert order() == by(1)
    table.get_by_role("button", name="tokens a reply").click()
    expect(table.locator("[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    table.get_by_role("button", name="no.").focus()
    one.page.keyboard.press("Enter")
    assert sorted(order()) == order()
    assert one.complaints == []


def test_the_default_pair_is_the_same_as_markup_and_as_made_by_the_script(open_page: Open) -> None:
    summary, talks = small()
    talks[0]["controls"]["anchor"]["rounds"][2] |= {"agent": "", "user": "word " * 900}
    talks[0]["controls"]["anchor"]["rounds"][2]["probes"][0] |= {"stop": "length", "why": "short"}
    one = open_page((summary, talks))
    whole = "[...document.querySelectorAll('#cast, #pair')].map((e) => e.innerText.trim())"
    first = one.page.evaluate("document.getElementById('talk').value")
    before = one.page.evaluate(whole)
    for other in ("7", "6", first):
        one.page.select_option("#talk", other)
    assert one.page.evaluate(whole) == before
    for side, other in (("#right", "1"), ("#right", "4")):
        one.page.select_option(side, other)
    assert one.page.evaluate(whole) == before
    shape = "[...document.querySelectorAll('#pair *')].map((e) => e.tagName + e.className)"
    assert len(one.page.evaluate(shape)) > 100


def test_choosing_shows_the_conversation_under_the_chosen_controls(open_page: Open) -> None:
    summary, talks = small()
    talks[6]["controls"]["window:1"]["rounds"][3]["agent"] = "seen through a window"
    one = open_page((summary, talks))
    one.page.select_option("#talk", "6")
    one.page.select_option("#right", "1")
    heads = one.page.locator("#pair .side-head b")
    assert heads.all_inner_texts() == ["none", "window:1"]
    right = one.page.locator("#pair .row").nth(4).locator(".half").nth(1)
    expect(right.locator(".said.agent .text")).to_have_text("seen through a window")
    expect(one.page.locator("#cast h3")).to_contain_text(talks[6]["agent"]["id"])
    questions = talks[6]["controls"]["window:1"]["questions"]
    count = f"{len(questions)} questions, {sum(q['right'] for q in questions)} right"
    expect(one.page.locator("#pair .exam summary").nth(1)).to_have_text(count)
    expect(one.page.locator("#pair .exam .plant").first).to_be_visible()


def test_a_point_leads_to_its_row_and_lights_its_curve(open_page: Open) -> None:
    one = open_page(small())
    one.page.locator(".view.whole .wide a[data-k=k5]").hover()
    lit = one.page.locator("#figure-curves .wide g.lit .line")
    expect(lit).to_have_count(1)
    expect(one.page.locator("#k5.lit")).to_have_count(1)
    one.page.locator(".view.whole .wide a[data-k=k5]").click()
    assert one.page.url.endswith("#k5")
    one.page.mouse.move(0, 0)
    expect(one.page.locator(".lit")).to_have_count(0)


def test_the_switch_works_from_the_keyboard_and_without_script(open_page: Open) -> None:
    one = open_page(small(), java_script_enabled=False)
    one.page.locator("#over-whole").focus()
    one.page.keyboard.press("ArrowRight")
    expect(one.page.locator(".view.late .wide svg")).to_be_visible()
    expect(one.page.locator(".view.whole .wide svg")).to_be_hidden()


def test_without_script_the_page_shows_one_pair_and_says_so(open_page: Open) -> None:
    one = open_page(small(), java_script_enabled=False)
    expect(one.page.locator("#chooser")).to_be_hidden()
    expect(one.page.get_by_text("Without its script the page shows this pair")).to_be_visible()
    expect(one.page.locator("#pair .side-head")).to_have_count(2)
    expect(one.page.locator("#pair .exam li").first).to_be_visible()
    expect(one.page.locator("table.board button")).to_have_count(0)


@pytest.mark.parametrize(
    "text",
    ["w" * 100_000, "مرحبا، أنا أشرب الشاي كل صباح " * 40, "🫖👩‍👩‍👧‍👦" * 400, "\n" * 2000 + "end"],
    ids=["one word", "right to left", "emoji", "lines"],
)
@pytest.mark.parametrize("width", [1280, 400])
def test_any_text_keeps_the_page_in_its_width(open_page: Open, text: str, width: int) -> None:
    summary, talks = small()
    for talk in talks:
        talk["agent"]["id"] = text[:300]
        talk["controls"]["anchor"]["rounds"][1]["agent"] = text
        talk["controls"]["anchor"]["questions"][0]["answer"] = text
    one = open_page((summary, talks), width)
    one.page.evaluate("document.querySelectorAll('.more').forEach((d) => { d.open = true; })")
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    assert one.complaints == []


def test_a_long_name_stays_within_its_places(open_page: Open) -> None:
    summary, talks = small()
    name = "split-softmax:0.7@layers=8-24,heads=0-3,span=message"
    summary["rows"][3]["control"] = summary["recommended"] = name
    for talk in talks:
        talk["controls"][name] = talk["controls"].pop(FEW[3])
    for width in (1280, 400):
        one = open_page((summary, talks), width)
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        assert one.page.evaluate(COVERS, "svg .label") == []


def test_print_leaves_out_what_paper_cannot_use(open_page: Open) -> None:
    one = open_page(small(), color_scheme="dark")
    one.page.emulate_media(media="print", color_scheme="dark")
    expect(one.page.locator("#chooser")).to_be_hidden()
    ground = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
