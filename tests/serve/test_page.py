"""The live page in a real browser, against a running server."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from holdfast.models import load as models
from holdfast.persona.suite import check_suite, load_suite, select
from holdfast.serve.app import create_app
from serve.running import served

HAS_KEY = "secret"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of mini with a persona that its judge can tell."""
    persona = select(load_suite("mini"), ["upper-1"])[0]
    with served(create_app(models.load("mini"), persona=persona, control="anchor")) as url:
        yield url.removesuffix("/v1")


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    contexts, complaints = [], []

    def open_page(url: str, **more: Any) -> Page:
        context = browser.new_context(**more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else 0)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.wait_for_function("document.getElementById('model').textContent !== '…'")
        return page

    yield open_page
    for context in contexts:
        context.close()
    # The browser notes refusals by itself; the page tells them in words.
    refusals = ("400 (Bad Request)", "401 (Unauthorized)")
    assert [said for said in complaints if not any(one in said for one in refusals)] == []


def say(page: Page, text: str) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")
    page.wait_for_selector("#send:not([disabled])")


def test_a_message_is_answered_twice_from_one_history(
    address: str, opened: Callable[..., Page]
) -> None:
    page = opened(address)
    assert page.input_value("#persona") == "Every reply is in capitals."
    assert page.input_value("#control") == "anchor"
    sent: list[dict[str, Any]] = []
    page.on("request", lambda r: sent.append(json.loads(r.post_data)) if r.method == "POST" else 0)
    say(page, "What do you say about tea?")
    first = page.locator("#rounds > li").first
    replies = first.locator(".text").all_text_contents()
    assert len(replies) == 2 and all(reply.strip() for reply in replies)
    expect(first.locator(".meta").first).to_contain_text("prompt share")
    expect(first.locator(".meta").first).to_contain_text("judge score")
    # The other reply is pick_control, and both sides of the next round answer it.
    first.get_by_role("button", name="go on from here").nth(1).click()
    say(page, "Do you like cats?")
    assert [body["holdfast"]["control"] for body in sent] == ["anchor", "none"] * 2
    assert sent[2]["messages"] == sent[3]["messages"]
    assert [m["content"] for m in sent[2]["messages"][:2]] == [
        "What do you say about tea?",
        replies[1],
    ]
    assert page.locator("#share circle").count() == page.locator("#score circle").count() == 2
    page.locator("summary").click()
    expect(page.locator("#table tbody tr")).to_have_count(2)


def test_the_control_can_be_changed_and_a_wrong_one_is_explained(
    address: str, opened: Callable[..., Page]
) -> None:
    page = opened(address)
    page.fill("#control", "reminder:1")
    say(page, "Do you like cats?")
    expect(page.locator(".reply h3").first).to_have_text("with reminder:1")
    page.fill("#control", "nonsense")
    with page.expect_response(lambda r: r.status == 400):
        page.fill("#message", "Do you like tea?")
        page.evaluate("document.getElementById('composer').requestSubmit()")
    expect(page.locator("#trouble")).to_contain_text("there is no control `nonsense`")
    assert page.input_value("#message") == "Do you like tea?"
    expect(page.locator("#rounds > li")).to_have_count(1)


def test_the_conversation_is_exported_as_a_persona_test_that_checks(
    address: str, opened: Callable[..., Page], tmp_path: Path
) -> None:
    page = opened(address)
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
    marked = page.locator(".reply").first
    marked.get_by_role("button", name="out of character").click()
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "marked.toml")
    assert (
        marked.locator(".text").text_content()
        in load_suite(tmp_path / "marked.toml").personas[0].fails
    )


def test_it_fits_a_phone_and_is_used_with_the_keyboard_alone(
    address: str, opened: Callable[..., Page]
) -> None:
    page = opened(address, viewport={"width": 360, "height": 740}, has_touch=True)
    page.focus("#message")
    page.keyboard.type("Do you like cats?")
    page.keyboard.press("Enter")
    page.wait_for_selector("#send:not([disabled])")
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
    pressed = page.get_by_role("button", name="in character", exact=True).first
    assert pressed.get_attribute("aria-pressed") == "true"


def test_a_screen_reader_hears_of_replies_and_errors_and_every_field_has_a_name(
    address: str, opened: Callable[..., Page]
) -> None:
    page = opened(address)
    expect(page.get_by_role("log", name="Rounds")).to_have_attribute("aria-live", "polite")
    for role, name in (("textbox", "Your message"), ("textbox", "System prompt of upper-1"),
                       ("combobox", "Control on the left"), ("button", "Send")):  # fmt: skip
        expect(page.get_by_role(role, name=name)).to_have_count(1)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, textarea, button')]"
        ".filter((e) => !e.labels?.length && !e.textContent.trim()).map((e) => e.id)"
    )
    assert unnamed == []
    assert page.get_attribute("#trouble", "role") == "alert"


def test_what_a_model_says_stays_text_and_the_page_calls_its_server_only(address: str) -> None:
    with urllib.request.urlopen(address) as response:
        policy = response.headers["content-security-policy"]
        text = response.read().decode()
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "http:" not in text and "https:" not in text
    script = urllib.request.urlopen(f"{address}/page/page.js").read().decode()
    assert "innerHTML" not in script and "insertAdjacentHTML" not in script


def test_a_server_with_keys_asks_the_page_for_one(opened: Callable[..., Page]) -> None:
    with served(create_app(models.load("mini"), keys=[HAS_KEY])) as url:
        page = opened(url.removesuffix("/v1"))
        expect(page.locator("#key")).to_be_visible()
        page.fill("#persona", "You always write in capital letters.")
        page.fill("#key", HAS_KEY)
        say(page, "Do you like cats?")
        expect(page.locator(".reply")).to_have_count(2)
        expect(page.locator("#score-figure")).to_be_hidden()
