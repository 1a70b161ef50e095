"""The live page in a real browser, against a running server."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from holdfast.models import load as models
from holdfast.persona.suite import check_suite, load_suite, select
from holdfast.serve.app import create_app
from holdfast.serve.live.traffic import LiveSettings
from serve.gateway.upstreams import FakeUpstream, gateway, make_answer
from serve.running import serve_app

HAS_KEY = "secret"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of mini with a persona that its judge can tell."""
    persona = select(load_suite("mini"), ["upper-1"])[0]
    with serve_app(create_app(models.load("mini"), persona=persona, control="anchor")) as url:
        yield url.removesuffix("/v1")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    contexts, complaints = [], []

    def open_url(url: str, **more: Any) -> Page:
        context = browser.new_context(**more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda one: complaints.append(one.text) if one.type == "error" else 0)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        expect(page.locator("#model")).not_to_have_text("…")
        return page

    yield open_url
    for context in contexts:
        context.close()
    # The browser notes refusals by itself; the page tells them in words.
    refusals = ("400 (Bad Request)", "401 (Unauthorized)")
    assert [text for text in complaints if not any(one in text for one in refusals)] == []


def say(page: Page, text: str) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")
    page.wait_for_selector("#send:not([disabled])")


def open_settings(page: Page) -> None:
    page.click("#setting-open")


def close_settings(page: Page) -> None:
    page.get_by_role("button", name="Done").click()


def test_each_side_answers_its_own_history_and_the_verdict_counts_both(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(address)
    expect(page.locator("#persona-text")).to_have_text("Every reply is in capitals.")
    expect(page.locator("#own-name")).to_have_text("with anchor")
    bodies: list[dict[str, Any]] = []
    page.on(
        "request",
        lambda r: bodies.append(json.loads(r.post_data)) if r.url.endswith("completions") else 0,
    )
    say(page, "What do you say about tea?")
    first = page.locator("#rounds > li").first
    own, plain = first.locator(".text").all_text_contents()
    expect(first.locator(".badge")).to_have_text(["✓ held", "✓ held"])
    say(page, "Do you like cats?")
    assert [body["holdfast"]["control"] for body in bodies] == ["anchor", "none"] * 2
    assert [body["messages"][1]["content"] for body in bodies[2:]] == [own, plain]
    expect(page.locator("#verdict")).to_contain_text("Held 2 of 2 with anchor, without 2 of 2")
    expect(page.locator("#own-tally")).to_have_text("held 2 of 2")
    assert page.locator("#plain-squares i").count() == 2
    page.set_viewport_size({"width": 700, "height": 300})
    page.click("#numbers-open")
    assert page.locator("#numbers").evaluate("(one) => one.scrollTop") == 0
    assert page.locator("#share circle").count() == page.locator("#score circle").count() == 2
    expect(page.locator("#table tbody tr")).to_have_count(2)


def test_what_the_page_asks_for_to_compare_with_is_no_traffic(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    persona, log = select(load_suite("mini"), ["upper-1"])[0], tmp_path / "traffic.jsonl"
    app = create_app(models.load("mini"), persona=persona, traffic=LiveSettings(log=log))
    with serve_app(app) as url:
        page = open_page(url.removesuffix("/v1"))
        for text in ("What do you say about tea?", "Do you like cats?"):
            say(page, text)
        state = httpx.get(url.replace("/v1", "/holdfast/traffic")).json()
        metrics = httpx.get(url.replace("/v1", "/metrics")).text
    assert (state["replies"], state["conversations"], state["others"]) == (0, 0, 2)
    assert [json.loads(line)["control"] for line in log.read_text().splitlines()] == ["anchor"] * 2
    for of_replies in ("persona_score", "judge_score", "prompt_share"):
        names = re.findall(rf"holdfast_{of_replies}_count{{(.*)}}", metrics)
        assert names and all('control="anchor"' in one for one in names)
    assert 'holdfast_replies_total{control="none"' in metrics  # it was work all the same


def test_a_mark_of_the_reader_counts_before_the_judge(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(address)
    say(page, "What do you say about tea?")
    page.locator(".reply.plain").get_by_role("button", name="out of character").click()
    expect(page.locator("#verdict")).to_contain_text("Held 1 of 1 with anchor, without 0 of 1")
    expect(page.locator(".reply.plain .badge")).to_have_text("✗ slipped")
    page.locator(".reply.plain").get_by_role("button", name="out of character").click()
    expect(page.locator("#verdict")).to_contain_text("without 1 of 1")


def test_the_newest_reply_is_never_behind_the_composer(
    address: str, open_page: Callable[..., Page]
) -> None:
    for width, height in ((1280, 700), (400, 700)):
        page = open_page(address, viewport={"width": width, "height": height})
        page.click("#play")
        page.wait_for_selector("#rounds > li:nth-child(8) .badge:not(:empty)")
        page.wait_for_selector("#play:not([disabled])")
        reply = page.locator(".reply").last.bounding_box()
        composer = page.locator("#composer").bounding_box()
        board = page.locator("#board").bounding_box()
        assert reply and composer and board
        assert board["y"] + board["height"] <= reply["y"] + reply["height"] <= composer["y"] + 1
        assert page.evaluate("document.documentElement.scrollHeight") <= height


def test_starters_are_sent_by_a_click(address: str, open_page: Callable[..., Page]) -> None:
    page = open_page(address)
    probe = page.locator("#starters button").first
    text = probe.text_content()
    probe.click()
    page.wait_for_selector("#send:not([disabled])")
    expect(page.locator(".said").first).to_contain_text(str(text))


def test_a_server_without_a_persona_shows_one_and_judges_it(open_page: Callable[..., Page]) -> None:
    with serve_app(create_app(models.load("mini"))) as url:
        page = open_page(url.removesuffix("/v1"))
        expect(page.locator("#persona-text")).not_to_be_empty()
        say(page, str(page.locator("#starters button").first.text_content()))
        expect(page.locator(".badge").first).to_contain_text("held")
        page.click("#again")
        open_settings(page)
        page.fill("#persona", "You always write in capital letters.")
        close_settings(page)
        say(page, "Do you like cats?")
        expect(page.locator(".badge").first).to_be_empty()
        expect(page.locator("#verdict")).to_contain_text("mark the replies")


def test_the_readmes_persona_slips_on_the_page_and_its_control_holds_it(
    open_page: Callable[..., Page],
) -> None:
    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
    command = re.search(r"holdfast serve --model mini --persona (\S+) --control (\S+)", readme)
    assert command is not None
    (persona,) = load_suite(command[1]).personas
    app = create_app(models.load("mini"), persona=persona, control=command[2])
    with serve_app(app) as url:
        page = open_page(url.removesuffix("/v1"))
        page.click("#play")
        expect(page.locator("#rounds > li .badge:not(:empty)")).to_have_count(36, timeout=120_000)
        expect(page.locator("#verdict")).to_contain_text("keeps the persona in more rounds")


def test_a_locked_server_has_one_side(open_page: Callable[..., Page]) -> None:
    persona = select(load_suite("mini"), ["upper-1"])[0]
    app = create_app(models.load("mini"), persona=persona, control="anchor", lock=True)
    with serve_app(app) as url:
        page = open_page(url.removesuffix("/v1"))
        say(page, "Do you like cats?")
        expect(page.locator(".reply")).to_have_count(1)
        expect(page.locator("#verdict")).to_contain_text("Held 1 of 1 with anchor")
        expect(page.locator("#plain-side")).to_be_hidden()


def test_the_gateway_has_the_page_too(open_page: Callable[..., Page]) -> None:
    persona = select(load_suite("mini"), ["upper-1"])[0]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return make_answer(b'{"data": [{"id": "someone/a-model-with-a-long-name"}]}')
        reminded = request.content.count(persona.prompt.encode()) > 1
        delta = {"index": 0, "delta": {"content": "HI." if reminded else "Hi."}}
        event = json.dumps({"choices": [delta]}).encode()
        return make_answer(
            b"data: " + event + b"\n\ndata: [DONE]\n\n",
            headers={"content-type": "text/event-stream"},
        )

    options = {"persona": persona, "control": "reminder:1", "lock": False}
    with gateway(FakeUpstream(answer), **options) as url:
        page = open_page(url.removesuffix("/v1"), viewport={"width": 400, "height": 760})
        page.wait_for_selector("#starters button")
        expect(page.locator("#model")).to_have_text("someone/a-model-with-a-long-name")
        assert page.evaluate("document.querySelector('.masthead').offsetHeight") < 60
        choices = page.locator("#controls option").evaluate_all("(all) => all.map((e) => e.value)")
        assert "reminder:1" in choices and "anchor" not in choices
        say(page, "Do you like cats?")
        say(page, "Do you like tea?")
        expect(page.locator("#verdict")).to_contain_text(
            "Held 1 of 2 with reminder:1, without 0 of 2"
        )


def test_the_control_can_be_changed_and_a_wrong_one_is_explained(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(address)
    open_settings(page)
    page.fill("#control", "reminder:1")
    expect(page.locator("#control-note")).to_contain_text("said again")
    close_settings(page)
    say(page, "Do you like cats?")
    expect(page.locator(".reply h3 span").first).to_have_text("with reminder:1")
    open_settings(page)
    page.fill("#control", "nonsense")
    close_settings(page)
    with page.expect_response(lambda r: r.status == 400):
        page.fill("#message", "Do you like tea?")
        page.evaluate("document.getElementById('composer').requestSubmit()")
    expect(page.locator("#trouble")).to_contain_text("there is no control 'nonsense'")
    assert page.input_value("#message") == "Do you like tea?"
    expect(page.locator("#rounds > li")).to_have_count(1)


def test_the_conversation_is_exported_as_a_persona_test_that_checks(
    address: str, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(address)
    for text in ('Do you like "cats"?', "What do you say about tea?"):
        say(page, text)
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "persona.toml")
    suite = load_suite(tmp_path / "persona.toml")
    assert check_suite(suite) == []
    (persona,) = suite.personas
    assert persona.probes == ('Do you like "cats"?', "What do you say about tea?")
    assert persona.passes or persona.fails
    reply = page.locator(".reply").first
    reply.get_by_role("button", name="out of character").click()
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "marked.toml")
    assert (
        reply.locator(".text").text_content()
        in load_suite(tmp_path / "marked.toml").personas[0].fails
    )


def test_it_fits_a_phone_and_is_used_with_the_keyboard_alone(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(address, viewport={"width": 360, "height": 740}, has_touch=True)
    page.focus("#message")
    page.keyboard.type("Do you like cats?")
    page.keyboard.press("Enter")
    page.wait_for_selector("#send:not([disabled])")
    expect(page.locator("#message")).to_be_focused()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    # From the message the keyboard reaches every button; what is marked says so.
    focus = "document.activeElement"
    assert page.evaluate(f"{focus}.id") == "message"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focus}.id") == "send"
    page.get_by_role("button", name="in character", exact=True).first.focus()
    page.keyboard.press("Space")
    assert page.evaluate(f"{focus}.tagName") in ("BUTTON", "BODY")
    box = page.locator("#own-squares i").first
    expect(box).to_have_text("✓")  # a colour alone tells not everybody
    assert box.evaluate("(one) => parseFloat(getComputedStyle(one).fontSize)") >= 10
    assert box.evaluate("(one) => one.scrollHeight <= one.clientHeight")
    heads = page.locator("#table th")
    page.click("#numbers-open")
    assert max(heads.evaluate_all("(all) => all.map((one) => one.offsetHeight)")) < 40  # a line
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Close").click()
    button = page.get_by_role("button", name="in character", exact=True).first
    assert button.get_attribute("aria-pressed") == "true"


def test_a_screen_reader_hears_of_replies_and_errors_and_every_field_has_a_name(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(address)
    expect(page.get_by_role("log", name="Rounds")).to_have_attribute("aria-live", "polite")
    for role, name in (("textbox", "Your message"), ("button", "Send"), ("button", "Settings")):
        expect(page.get_by_role(role, name=name)).to_have_count(1)
    open_settings(page)
    for role, name in (("textbox", "The persona's system prompt"),
                       ("combobox", "Control of the left conversation")):  # fmt: skip
        expect(page.get_by_role(role, name=name)).to_have_count(1)
    nameless = page.evaluate(
        "[...document.querySelectorAll('input, textarea, button')]"
        ".filter((e) => !e.labels?.length && !e.textContent.trim()).map((e) => e.id)"
    )
    assert nameless == []
    assert page.get_attribute("#trouble", "role") == "alert"


def test_what_a_model_says_stays_text_and_the_page_calls_its_server_only(address: str) -> None:
    with urllib.request.urlopen(address) as response:
        policy = response.headers["content-security-policy"]
        text = response.read().decode()
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "http:" not in text and "https:" not in text
    for name in ("dom.js", "page.js", "live.js"):
        script = urllib.request.urlopen(f"{address}/page/{name}").read().decode()
        assert "innerHTML" not in script and "insertAdjacentHTML" not in script


def test_a_server_with_keys_asks_the_page_for_one(open_page: Callable[..., Page]) -> None:
    with serve_app(create_app(models.load("mini"), keys=[HAS_KEY])) as url:
        page = open_page(url.removesuffix("/v1"))
        expect(page.locator("#trouble")).to_contain_text("needs a key")
        for empty in ("#composer", "#board", ".who"):
            expect(page.locator(empty)).to_be_hidden()
        page.fill("#first-key", "wrong")
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#trouble")).to_contain_text("does not know this key")
        page.fill("#first-key", HAS_KEY)
        page.press("#first-key", "Enter")
        page.wait_for_selector("#starters button")
        expect(page.locator("#trouble")).to_be_hidden()
        expect(page.locator("#first-key")).to_be_hidden()
        say(page, "Do you like cats?")
        expect(page.locator(".reply")).to_have_count(2)


def test_a_score_is_asked_for_with_a_key_and_in_its_form() -> None:
    persona = select(load_suite("mini"), ["upper-1"])[0]
    with serve_app(create_app(models.load("mini"), persona=persona, keys=[HAS_KEY])) as url:
        place = url.replace("/v1", "/holdfast/score")
        key = {"authorization": f"Bearer {HAS_KEY}"}
        assert httpx.post(place, json={"reply": "A"}).status_code == 401
        assert httpx.post(place, json={"reply": "TEA."}, headers=key).json() == {"score": 1.0}
        assert httpx.post(place, json={"reply": "Tea."}, headers=key).json() == {"score": 0.0}
        for wrong in ({}, {"reply": 1}, [], {"reply": "a", "judge": {}}):
            assert httpx.post(place, json=wrong, headers=key).status_code == 400
