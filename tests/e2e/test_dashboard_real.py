"""The dashboard before the real routes, in a browser: traffic, a rollout by hand, a promotion."""

import re

import httpx
import pytest

from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.speech import Speaker
from glassbox.testing import FakeEngine
from tests.browser import playwright
from tests.e2e.test_dashboard import PAGES, see, shot
from tests.e2e.test_dashboard import page as page
from tests.e2e.test_playground import running
from tests.rollout.side_world import open_side


@pytest.fixture
def address(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        app = create_app(Serving(Speaker(FakeEngine(), "fake"), rollout=side))
        with running(app) as found:
            yield found


def predict(address, n):
    with httpx.Client(base_url=f"{address}/api/v2/models", timeout=30) as client:
        for at in range(n):
            answer = client.post("/predict", json={"features": {"x": at / n}})
            assert answer.status_code == 200, answer.text


def test_every_page_is_quiet_before_the_real_routes(page, address):
    for path in PAGES:
        see(page, address, path)
        if path == "/calibration":  # these versions come from no evaluation, which is a 404
            page.said.clear()
        assert page.said == []
        assert page.get_by_role("alert").count() == 0


def test_real_traffic_is_seen_as_it_comes_and_in_full(page, address):
    see(page, address, "/")
    page.get_by_text("Live", exact=True).wait_for()
    predict(address, 30)
    table = page.get_by_role("table", name="Latest predictions")
    table.get_by_role("button").first.wait_for()
    table.get_by_role("button").first.click()
    page.wait_for_url(re.compile(r"/inferences\?request="))
    panel = page.get_by_role("region", name="One prediction")
    panel.get_by_text("challenger’s copy ended").wait_for(timeout=60_000)
    assert "other" in panel.inner_text()
    shot(page, "real-inferences")
    assert page.said == []


def test_a_real_rollout_is_started_and_rolled_back_by_hand(page, address):
    see(page, address, "/rollout")
    page.get_by_role("button", name="Start a rollout").click()
    dialog = page.get_by_role("dialog", name="Start a rollout")
    dialog.get_by_label("Challenger").select_option("other")
    dialog.get_by_role("button", name="Start", exact=True).click()
    page.get_by_role("heading", name="other in place of steady").wait_for()
    predict(address, 20)
    page.get_by_role("table", name="Gates as they stand").wait_for()
    shot(page, "real-rollout")
    page.get_by_role("button", name="Roll back…").click()
    page.get_by_label("Reason").fill("only a trial")
    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_role("button", name="Why did it abort?").click()
    why = page.get_by_role("dialog", name="Why did it abort?")
    assert "only a trial" in why.inner_text()
    shot(page, "real-why")
    assert page.said == []


def test_a_real_version_becomes_champion_and_goes_back(page, address):
    see(page, address, "/versions")
    for name, button in (("other", "Make champion"), ("steady", "Roll back")):
        page.get_by_role("button", name=name, exact=True).click()
        page.get_by_role("button", name=f"{button}…").click()
        page.get_by_label("Reason").fill("to see it")
        page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()
        playwright.expect(page.get_by_role("dialog")).to_have_count(0)
        row = page.get_by_role("row").filter(has=page.get_by_role("button", name=name, exact=True))
        row.get_by_text(re.compile(r"(?<!previous )champion$")).first.wait_for()
    assert page.said == []
