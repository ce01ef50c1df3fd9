"""The dashboard in a real browser: every page, both themes, phone width, and what can go wrong."""

import os
import re
from pathlib import Path

import pytest

from tests.browser import playwright
from tests.e2e.pretend_charts import charts
from tests.e2e.pretend_rollout import World, create_app
from tests.e2e.pretend_values import CHALLENGER, CHAMPION, entry, rollout
from tests.e2e.test_playground import running
from tests.waiting import until

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"

SHOTS = os.environ.get("DASHBOARD_SHOTS", "")
"""Folder that takes a picture of each page, for a person to look at."""

PAGES = {
    "/": "Overview",
    "/inferences": "Inferences",
    "/rollout": "Rollout",
    "/drift": "Drift",
    "/calibration": "Calibration",
    "/versions": "Versions",
}


@pytest.fixture(scope="module")
def curves():
    return charts()


@pytest.fixture(scope="module")
def served():
    app = create_app(None)
    with running(app) as found:
        yield app, found


@pytest.fixture
def world(served, curves):
    app, _ = served
    app.state.world = world = World(charts=curves)
    yield world
    # Open lines would keep the server from going.
    world.tell(None)


@pytest.fixture
def address(served, world):
    return served[1]


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.said = []
    page.asked = []
    page.on("console", lambda line: page.said.append(line.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request))
    yield page
    context.close()


def see(page, address, path, theme="light"):
    """Open a page and wait until nothing is awaited any more."""
    page.emulate_media(color_scheme=theme)
    page.goto(f"{address}{path}")
    page.get_by_role("heading", level=1).wait_for()
    playwright.expect(page.get_by_text(re.compile("^Waiting for"))).to_have_count(0)


def shot(page, name):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def faults(page):
    """Return what axe finds wrong with the page, in words."""
    if not AXE.is_file():
        pytest.skip("axe-core is not here: run npm ci in web/")
    if page.evaluate("typeof axe") == "undefined":
        # Not a script of the page: the content policy would refuse it.
        page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_accessible_and_quiet(page, address, path):
    see(page, address, path)
    assert page.get_by_role("heading", level=1).text_content() == PAGES[path]
    assert page.title() == f"{PAGES[path]} · Glassbox"
    assert page.get_by_role("link", name=PAGES[path]).get_attribute("aria-current") == "page"
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        shot(page, f"{PAGES[path].lower()}-{theme}")
        assert faults(page) == []
    assert page.said == []
    assert all(request.url.startswith(address) for request in page.asked)
    # A phone scrolls down only.
    page.set_viewport_size({"width": 360, "height": 740})
    shot(page, f"{PAGES[path].lower()}-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("path", PAGES)
def test_with_nothing_yet_a_page_says_what_to_do(page, address, world, path):
    world.is_empty = True
    see(page, address, path)
    text = page.locator("main").inner_text()
    assert "NaN" not in text
    assert "null" not in text
    assert re.search(r"yet|None|No version|No alias", text)
    shot(page, f"{PAGES[path].lower()}-empty")
    assert faults(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_server_that_is_not_ready_is_told_and_tried_again(page, address, world, path):
    world.is_gone = True
    page.clock.install()
    page.goto(f"{address}{path}")
    page.get_by_text("The server is not ready").first.wait_for()
    assert "The model is still being loaded." in page.locator("main").inner_text()
    shot(page, f"{PAGES[path].lower()}-gone")
    world.is_gone = False
    # It waits for two seconds after the first failure.
    page.clock.fast_forward(2500)
    playwright.expect(page.get_by_text("The server is not ready")).to_have_count(0)


def test_news_is_shown_as_it_comes(page, address, world):
    see(page, address, "/")
    page.get_by_text("Live", exact=True).wait_for()
    table = page.get_by_role("table", name="Latest predictions")
    playwright.expect(table.get_by_text("req-02500")).to_have_count(1)
    world.entries.insert(0, entry(2501))
    world.tell("inference")
    table.get_by_text("req-02501").wait_for()
    world.rollout = rollout("Failed", id="r-2", verdict="fail")
    world.tell("rollout")
    page.get_by_text("Rolled back").wait_for()
    page.get_by_role("link", name="Why did it abort?").wait_for()


def test_the_key_goes_along_with_the_stream(page, address):
    page.goto(f"{address}/playground")
    page.evaluate("sessionStorage.setItem('glassbox.key', 'gb-secret')")
    see(page, address, "/")
    page.get_by_text("Live", exact=True).wait_for()
    streams = [each for each in page.asked if each.url.endswith("/events")]
    assert streams[-1].headers["authorization"] == "Bearer gb-secret"
    assert all("gb-secret" not in each.url for each in page.asked)


def test_without_a_stream_the_page_polls_and_says_so(page, address):
    page.route("**/events", lambda route: route.abort())
    see(page, address, "/")
    page.get_by_text("Polling", exact=True).wait_for()


def test_polling_is_paused_and_refreshed_by_hand(page, address, world):
    see(page, address, "/")
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_role("button", name="Paused: go on").wait_for()
    world.entries.insert(0, entry(2501))
    page.get_by_role("button", name="Refresh").click()
    page.get_by_text("req-02501").wait_for()


def test_thousands_of_predictions_scroll_and_few_are_drawn(page, address):
    see(page, address, "/inferences")
    region = page.get_by_role("region", name="Predictions, newest first")
    status = page.get_by_text("+ shown")

    def five_hundred():
        region.evaluate("box => { box.scrollTop = box.scrollHeight }")
        page.wait_for_timeout(120)
        return int(status.text_content().split("+")[0].replace(",", "")) >= 500

    until(five_hundred)
    assert region.get_by_role("row").count() < 80
    first = region.get_by_role("row").nth(3).text_content()
    assert "req-02500" not in first


def test_one_prediction_is_found_and_seen_with_its_shadow_twin(page, address):
    see(page, address, "/inferences")
    page.get_by_label("Difference at least").fill("0.25")
    page.get_by_label("Outcome").select_option("answered")
    page.get_by_text("of those that match").wait_for()
    page.wait_for_url(re.compile("min_diff=0.25"))
    table = page.get_by_role("table", name="Predictions, newest first")
    playwright.expect(table.get_by_text("0.035")).to_have_count(0)
    table.get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("region", name="One prediction")
    panel.get_by_text("What challengers would have said").wait_for()
    assert CHALLENGER in panel.inner_text()
    assert "challenger’s copy ended" in panel.inner_text()
    shot(page, "inferences-one")
    assert faults(page) == []
    page.reload()
    panel.get_by_text("Probability of each class").wait_for()
    panel.get_by_role("button", name="Close").click()
    playwright.expect(panel).to_have_count(0)
    page.get_by_label("Label").fill("no such label")
    page.get_by_text("Nothing matches").wait_for()
    page.get_by_role("button", name="Clear the filters").click()
    page.get_by_text("100+ shown").wait_for()


def test_promoting_asks_twice_when_there_is_doubt(page, address, world):
    see(page, address, "/rollout")
    page.get_by_role("button", name="Promote…").click()
    dialog = page.get_by_role("dialog", name="Promote the challenger now?")
    shot(page, "rollout-promote")
    assert faults(page) == []
    promote = dialog.get_by_role("button", name="Promote", exact=True)
    dialog.get_by_label("Reason").fill("labels will not come")
    assert promote.is_disabled()
    dialog.get_by_role("checkbox").check()
    promote.click()
    page.get_by_text("The challenger is champion.").wait_for()
    playwright.expect(dialog).to_have_count(0)
    assert ("BODY", "promote", {"reason": "labels will not come", "force": True}) in world.asked


def test_rolling_back_is_confirmed_and_why_is_one_click_away(page, address, world):
    see(page, address, "/rollout")
    page.get_by_role("button", name="Roll back…").click()
    page.keyboard.press("Escape")
    playwright.expect(page.get_by_role("dialog")).to_have_count(0)
    assert not any(verb == "abort" for _, verb, _ in world.asked)
    page.get_by_role("button", name="Roll back…").click()
    page.get_by_label("Reason").fill("customers complain")
    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_role("button", name="Why did it abort?").click()
    why = page.get_by_role("dialog", name="Why did it abort?")
    assert "Gate calibration failed" in why.inner_text()
    assert "0.048 to 0.094" in why.inner_text()
    shot(page, "rollout-why")
    assert faults(page) == []


def test_a_step_that_somebody_else_took_first_is_told_in_the_dialog(page, address, world):
    see(page, address, "/rollout")
    world.conflict = "The rollout was aborted by ada a moment ago."
    page.get_by_role("button", name="Pause…").click()
    page.get_by_label("Reason").fill("lunch")
    page.keyboard.press("Enter")
    page.get_by_text("aborted by ada").wait_for()
    assert page.get_by_role("dialog").count() == 1


def test_a_rollout_is_started(page, address, world):
    world.rollout = rollout("Succeeded", id="r-2", verdict="pass")
    see(page, address, "/rollout")
    page.get_by_role("button", name="Start a rollout").click()
    dialog = page.get_by_role("dialog", name="Start a rollout")
    dialog.get_by_label("Challenger").select_option(CHALLENGER)
    dialog.get_by_label("Dry run").check()
    dialog.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("Canary").first.wait_for()
    playwright.expect(dialog).to_have_count(0)
    (asked,) = [body for _, name, body in world.asked if name == "rollouts"]
    assert asked == {"challenger": CHALLENGER, "model": "default", "dry_run": True, "reason": ""}


def test_a_past_rollout_is_opened_from_the_list(page, address):
    see(page, address, "/rollout")
    page.get_by_role("table", name="All rollouts").get_by_role("button").last.click()
    page.get_by_role("button", name="Why did it abort?").wait_for()
    assert "id=r-1" in page.url


def test_a_column_is_compared_bin_by_bin_and_over_time(page, address):
    see(page, address, "/drift")
    detail = page.get_by_role("region", name="text.n_tokens", exact=True)
    detail.get_by_role("img", name="Shares of reference and now").wait_for()
    detail.get_by_role("img", name="Effect over 24 comparisons").wait_for()
    page.get_by_role("button", name="label", exact=True).click()
    words = page.get_by_role("img", name="negative: 52 % and 71 %")
    words.wait_for()
    page.get_by_role("button", name="Compare now").click()
    page.get_by_role("button", name="Compare now").wait_for()
    shot(page, "drift-label")


def test_the_evaluations_curves_are_drawn_for_the_version_that_is_chosen(page, address, curves):
    see(page, address, "/calibration")
    for name, file in curves.items():
        assert page.get_by_role("region", name=file["title"], exact=True).count() == 1, name
    page.get_by_label("Version").select_option(CHALLENGER)
    page.get_by_text(f"{CHALLENGER} comes from no evaluation run.").wait_for()
    page.reload()
    page.get_by_text("This version has no curves").wait_for()


def test_going_back_to_the_previous_champion_is_confirmed(page, address, world):
    see(page, address, "/versions")
    page.get_by_role("button", name="tfidf-v1").click()
    page.get_by_role("button", name="Roll back…").click()
    dialog = page.get_by_role("dialog", name="Roll back to this version?")
    shot(page, "versions-roll-back")
    assert faults(page) == []
    world.conflict = "The alias champion was moved by ada."
    dialog.get_by_label("Reason").fill("the new one fails")
    dialog.get_by_role("button", name="Roll back", exact=True).click()
    dialog.get_by_text("moved by ada").wait_for()
    assert world.aliases["champion"] == 1
    world.conflict = None
    dialog.get_by_role("button", name="Roll back", exact=True).click()
    playwright.expect(dialog).to_have_count(0)
    assert world.aliases["champion"] == 3


def test_a_window_gives_the_focus_back_to_what_opened_it(page, address):
    see(page, address, "/rollout")
    opener = page.get_by_role("button", name="Pause…")
    opener.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    playwright.expect(page.get_by_role("dialog")).to_have_count(0)
    playwright.expect(opener).to_be_focused()


def test_on_a_phone_what_was_chosen_comes_into_sight_and_the_way_back_is_kept(page, address):
    page.set_viewport_size({"width": 360, "height": 740})
    see(page, address, "/inferences")
    opener = page.get_by_role("table").get_by_role("button").nth(3)
    opener.focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("region", name="One prediction")
    playwright.expect(panel.get_by_role("button", name="Close")).to_be_in_viewport()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    playwright.expect(panel).to_have_count(0)
    playwright.expect(opener).to_be_focused()
    see(page, address, "/drift")
    page.get_by_role("button", name="label", exact=True).click()
    heading = page.get_by_role("heading", name="label", exact=True)
    playwright.expect(heading).to_be_in_viewport()


def test_who_does_not_want_to_give_a_key_is_asked_once(page, address):
    refusal = {"status": 401, "code": "access-denied", "detail": "No valid key."}
    page.route("**/api/v2/**", lambda route: route.fulfill(status=401, json=refusal))
    page.clock.install()
    page.goto(f"{address}/versions")
    panel = page.get_by_role("form", name="API key")
    panel.wait_for()
    page.keyboard.press("Escape")
    playwright.expect(panel).to_have_count(0)
    n_asked = len(page.asked)
    page.clock.fast_forward(600_000)
    page.get_by_role("button", name="Try again").click()
    playwright.expect(panel).to_have_count(0)
    # Nothing but what was asked for by hand: the same key gets the same answer.
    assert len(page.asked) <= n_asked + 3
    page.get_by_role("button", name="API key").click()
    panel.get_by_label("Key", exact=True).fill("gb–typographic")
    panel.get_by_text("copy it as it was printed").wait_for()
    assert panel.get_by_role("button", name="Use this key").is_disabled()


def test_a_browser_that_keeps_nothing_shows_the_pages_all_the_same(page, address):
    page.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name,"
        " { get() { throw new DOMException('Access is denied', 'SecurityError') } })"
    )
    see(page, address, "/versions")
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").wait_for()


def test_the_pages_are_reached_and_left_with_the_keyboard_alone(page, address):
    see(page, address, "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    page.get_by_role("link", name="Versions").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Versions", level=1).wait_for()
    page.get_by_role("button", name=CHAMPION).wait_for()
    page.go_back()
    page.get_by_role("heading", name="Overview", level=1).wait_for()
