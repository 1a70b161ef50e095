"""The page of live traffic says whether the persona holds, and where it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from holdfast.core.records import as_record
from holdfast.results.watch import Alarm, DropTest, RoundScores, WatchState
from holdfast.serve.access import Keys
from holdfast.serve.http import base_app
from holdfast.serve.limits import Limits
from holdfast.serve.metrics import Metrics
from holdfast.serve.page import PageSettings, add_page
from holdfast.serve.tenants.live import LiveTenants
from serve.running import serve_app

ALARM = Alarm(rounds="5", drop=0.31, conversation="c1", round=5, delay=12, conversations=80,
              replies=400, time=1_700_000_000.0)  # fmt: skip


MORE = {"enough": 300, "control": "anchor", "prompt": "You guide guests through the museum."}


def state(
    alarms: Sequence[Alarm] = (), replies: int = 400, tested: Sequence[int] = (320, 310)
) -> WatchState:
    """A watch with scores that fall in round 5, or one that has seen nothing."""
    scores = (("1", 0.98), ("2", 0.97), ("3-4", 0.95), ("5-8", 0.61))
    rounds = [RoundScores(rounds=name, replies=90, score=x, controls={"none": x, "anchor": x})
              for name, x in scores]  # fmt: skip
    return WatchState(
        persona="guide", judged=True, drop=0.1, per_false_alarm=1000, conversations=80,
        replies=replies, others=12, first=0.975 if replies else None,
        rounds=tuple(rounds) if replies else (),
        tests=tuple(DropTest(rounds=rounds, conversations=n, drop=0.31, evidence=0.4)
                    for rounds, n in zip(("8", "9-12"), tested, strict=True)),
        drifts=bool(alarms), alarms=tuple(alarms), alarm_count=len(alarms), slips=3,
    )  # fmt: skip


@contextmanager
def live(
    watch: WatchState | None, keys: Sequence[str] = (), aliases: Sequence[str] = ()
) -> Iterator[str]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = base_app("x", Keys(keys), Limits(), Metrics(), lifespan, LiveTenants())
    add_page(app, PageSettings(None, None, "none", weights=False))
    state = None if watch is None else {**as_record(watch), **MORE}
    if state is not None and aliases:
        state["aliases"] = [{**state, "alias": one} for one in aliases]
    app.get("/holdfast/traffic")(lambda: state)
    with serve_app(app) as url:
        yield url.removesuffix("/v1")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 400, "height": 760})
    yield context.new_page()
    context.close()


def test_an_alarm_of_the_first_rounds_is_against_what_was_expected(page: Page) -> None:
    with live(state([replace(ALARM, rounds="first")])) as address:
        page.goto(f"{address}/live")
        expect(page.locator(".verdict")).to_contain_text(
            "in the first rounds replies score 0.31 less than expected"
        )


def test_a_drift_is_the_headline_with_its_rounds_and_drop(page: Page) -> None:
    with live(state([ALARM])) as address:
        page.goto(f"{address}/live")
        expect(page.locator(".verdict")).to_contain_text("in round 5 replies score 0.31 less")
        expect(page.locator(".verdict")).to_contain_text("12 conversations after")
        assert page.locator("rect.bar").count() == 4
        bars = page.locator("rect.bar.slipped")
        assert bars.count() == 1
        assert bars.evaluate("(bar) => getComputedStyle(bar).fill") != "rgb(0, 0, 0)"  # styled
        expect(page.locator("tbody").first.locator("tr")).to_have_count(4)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_what_holds_and_what_has_not_begun_say_so(page: Page) -> None:
    for watch, words in ((state(), "It holds up to round 12: no drop of 0.10 is seen in 310 conv"),
                           (state(tested=(300, 299)), "It holds up to round 8: no drop"),
                           (state(replies=0), "No reply under anchor has been")):  # fmt: skip
        with live(watch) as address:
            page.goto(f"{address}/live")
            expect(page.locator(".verdict")).to_contain_text(words)


def test_fewer_conversations_than_a_drop_takes_to_show_are_too_few_to_say(page: Page) -> None:
    with live(state(tested=(2, 1))) as address:
        page.goto(f"{address}/live")
        verdict = page.locator(".verdict")
        expect(verdict).to_contain_text("Too early to say: 2 conversations went on")
        expect(verdict).to_contain_text("a drop of 0.10 can take 300 to show")
        expect(verdict.locator(".own")).to_have_count(0)  # nothing in green


def test_the_page_is_about_the_served_control_and_has_others_in_columns_of_their_own(
    page: Page,
) -> None:
    watch = state()
    apart = RoundScores(rounds="9-16", replies=0, score=None, controls={"none": 0.0})
    with live(replace(watch, rounds=(*watch.rounds, apart))) as address:
        page.goto(f"{address}/live")
        expect(page.locator("h1")).to_contain_text("You guide guests through the museum.")
        counts = "guide under anchor: 80 conversations, 400 scored replies; 3 conversations lost"
        expect(page.locator(".hint").first).to_contain_text(f"{counts} the persona for certain.")
        expect(page.locator(".hint").nth(1)).to_contain_text("Beside them 12 scored replies")
        expect(page.locator("thead").first.locator("th")).to_have_text(
            ["round", "replies", "score", "under none"]
        )
        expect(page.locator("tbody").first.locator("tr").last.locator("td")).to_have_text(
            ["9-16", "0", "–", "0.00"]
        )
        assert page.locator("rect.bar").count() == 4


def test_replies_under_other_controls_alone_have_a_table_and_no_chart(page: Page) -> None:
    apart = RoundScores(rounds="1", replies=0, score=None, controls={"none": 0.5})
    with live(replace(state(replies=0), rounds=(apart,))) as address:
        page.goto(f"{address}/live")
        expect(page.locator("tbody").first.locator("td")).to_have_text(["1", "0", "–", "0.50"])
        expect(page.locator("figure")).to_have_count(0)


def test_a_look_that_brings_nothing_new_leaves_the_page_and_its_focus_alone(page: Page) -> None:
    with live(state()) as address:
        page.goto(f"{address}/live")
        page.locator("summary").focus()
        page.evaluate("look()")
        expect(page.locator("summary")).to_be_focused()


def test_a_server_without_a_persona_says_what_to_do(page: Page) -> None:
    with live(None) as address:
        page.goto(f"{address}/live")
        expect(page.locator("#trouble")).to_contain_text("--persona FILE")


def test_with_keys_the_page_asks_for_one_and_the_figures_need_it(page: Page) -> None:
    with live(state(), ["sesame"]) as address:
        assert httpx.get(f"{address}/holdfast/traffic").status_code == 401
        page.goto(f"{address}/live")
        page.fill("#key", "sesame")
        page.get_by_role("button", name="Show").click()
        expect(page.locator(".verdict")).to_contain_text("It holds")


def test_watches_over_one_persona_are_told_apart_by_their_alias(page: Page) -> None:
    with live(state(), aliases=["loud", "team/quiet"]) as address:
        page.goto(f"{address}/live")
        expect(page.locator("h1 .label")).to_have_text(
            ["The persona", "The persona of the alias loud", "The persona of the alias team/quiet"]
        )


def test_a_wrong_key_is_told_so(page: Page) -> None:
    with live(state(), ["sesame"]) as address:
        page.goto(f"{address}/live")
        page.fill("#key", "x")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#trouble")).to_contain_text("does not know this key")
        button = page.get_by_role("button", name="Show")
        assert button.evaluate("(one) => one.scrollWidth <= one.clientWidth")
