"""The dashboard where names are long, the server is away, and a window is long: in a browser."""

import pytest

from tests.browser import playwright
from tests.e2e.pretend_values import CHALLENGER, CHAMPION, entry
from tests.e2e.test_dashboard import PAGES, address, curves, faults, page, see, served, shot, world

__all__ = ["address", "curves", "page", "served", "world"]

LONG = "a_challenger_whose_name_says_what_it_was_tuned_on_and_when_and_by_whom_2026_11_22"


def lengthened(route):
    """Answer with other names of versions and labels than the server's."""
    answer = route.fetch()
    body = answer.text().replace(CHALLENGER, f"{LONG}_b").replace(CHAMPION, f"{LONG}_a")
    route.fulfill(response=answer, body=body.replace('"negative"', f'"{"no-" * 40}"'))


ONE = f"/inferences?request={entry(2499)['request_id']}"


@pytest.mark.parametrize("path", [*PAGES, ONE, "/rollout?id=r-1&why=1"])
def test_long_names_widen_no_page(page, address, path):
    page.route(lambda url: "/api/v2/" in url and "/events" not in url, lengthened)
    page.set_viewport_size({"width": 390, "height": 800})
    see(page, address, path)
    shot(page, f"long{path.replace('/', '-').split('?')[0]}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_labels_probability_stands_beside_its_long_name(page, address):
    page.route("**/audit/records/**", lengthened)
    see(page, address, ONE)
    section = page.get_by_role("region", name="Probability of each class")
    section.wait_for()
    card = page.get_by_role("region", name="One prediction").bounding_box()
    numbers = section.locator("li span.font-mono").all()
    assert len(numbers) == 2
    for number in numbers:
        place = number.bounding_box()
        assert place["x"] + place["width"] <= card["x"] + card["width"]


def test_a_server_that_is_away_is_told_once(page, address, world):
    world.is_gone = True
    page.goto(address)
    page.get_by_text("The server is not ready").wait_for()
    playwright.expect(page.get_by_text("Not known.")).to_have_count(4)
    assert page.get_by_role("alert").count() == 1
    assert faults(page) == []


def test_a_window_to_read_begins_at_its_head(page, address):
    page.set_viewport_size({"width": 390, "height": 600})
    see(page, address, "/rollout?id=r-1&why=1")
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Why did it abort?"


def test_the_address_says_which_version_is_shown(page, address):
    see(page, address, "/versions")
    page.get_by_role("button", name=CHALLENGER).click()
    page.wait_for_url(f"**version={CHALLENGER}")
    page.reload()
    page.get_by_role("heading", name=CHALLENGER).wait_for()
