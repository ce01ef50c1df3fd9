"""The dashboard before the real routes, in a browser: traffic, a rollout by hand, a promotion."""

import re

import httpx
import pytest

from glassbox.rollout.versions.registering import Offer
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing import FakeEngine
from tests.browser import playwright
from tests.e2e.test_dashboard import PAGES, faults, see, shot
from tests.e2e.test_dashboard import page as page
from tests.e2e.test_playground import running
from tests.rollout.side_world import SCHEMA, open_side
from tests.waiting import PATIENCE_S


@pytest.fixture
def address(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        app = create_app(Serving(Speaker(FakeEngine(), "fake"), rollout=side))
        with running(app) as found:
            yield found


def predict(address, n, model="default"):
    with httpx.Client(base_url=f"{address}/api/v2/models", timeout=PATIENCE_S) as client:
        for at in range(n):
            asked = {"features": {"x": at / n}, "model": model}
            answer = client.post("/predict", json=asked)
            assert answer.status_code == 200, answer.text


def test_every_page_is_quiet_before_the_real_routes(page, address):
    for path in PAGES:
        see(page, address, path)
        if path == "/calibration":  # these versions come from no evaluation, which is a 404
            page.said.clear()
        assert page.said == []
        assert page.get_by_role("alert").count() == 0
        # There is one registered model, and nothing to choose.
        assert page.get_by_label("Model", exact=True).count() == 0


def test_of_several_models_each_is_seen_apart(page, tmp_path):
    with open_side(tmp_path, "steady") as side:
        offer = Offer(
            f"{tmp_path}/models.py:other", model="toxicity", name="tox-one", input_schema=SCHEMA
        )
        number = side.registrar.register(offer, actor="test").version.number
        if side.registry.snapshot(is_fresh=True).aliased("champion", "toxicity") is None:
            side.registry.move_alias(
                "toxicity", "champion", number, expected=None, actor="test", reason="set up"
            )
        side.view.refresh()
        with running(create_app(Serving(Speaker(FakeEngine(), "fake"), rollout=side))) as address:
            predict(address, 30)
            predict(address, 12, "toxicity")
            see(page, address, "/")
            page.get_by_text("30", exact=True).first.wait_for()
            switch = page.get_by_label("Model", exact=True)
            assert switch.input_value() == "default"
            # With the keyboard alone.
            switch.focus()
            page.keyboard.press("ArrowDown")
            page.keyboard.press("Enter")
            page.wait_for_url(re.compile(r"\?model=toxicity"))
            page.get_by_text("12", exact=True).first.wait_for()
            table = page.get_by_role("table", name="Latest predictions")
            table.get_by_text("tox-one").first.wait_for()
            assert table.get_by_text("steady").count() == 0
            shot(page, "real-models-overview")
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                assert faults(page) == []
            page.get_by_role("link", name="Drift", exact=True).click()
            page.get_by_text("--model toxicity").wait_for()
            page.reload()
            page.get_by_text("--model toxicity").wait_for()
            assert page.get_by_label("Model", exact=True).input_value() == "toxicity"
            page.get_by_role("button", name="New reference…").click()
            page.get_by_label("Latest predictions to take").fill("100")
            page.get_by_role("button", name="Freeze", exact=True).click()
            # There are too few, of this model and not of all.
            page.get_by_text(re.compile(r"\b12\b")).first.wait_for()
            shot(page, "real-models-drift")
            page.get_by_role("button", name="Cancel").click()
            page.get_by_role("link", name="Rollout", exact=True).click()
            page.get_by_role("button", name="Start a rollout").click()
            page.get_by_text("There is no version but the champion.").wait_for()
            page.get_by_role("button", name="Close").click()
            page.get_by_role("link", name="Inferences", exact=True).click()
            page.get_by_text("12 shown of those that match").wait_for()
            page.get_by_label("Model", exact=True).select_option("any")
            page.get_by_text("42 shown").wait_for()
            shot(page, "real-models-inferences")
            assert faults(page) == []
            page.set_viewport_size({"width": 360, "height": 740})
            for path in ("/?model=toxicity", "/drift?model=toxicity", "/rollout?model=toxicity"):
                see(page, address, path)
                assert page.evaluate("document.documentElement.scrollWidth") <= 360
            shot(page, "real-models-phone")


def test_real_traffic_is_seen_as_it_comes_and_in_full(page, address):
    see(page, address, "/")
    page.get_by_text("Live", exact=True).wait_for()
    predict(address, 30)
    table = page.get_by_role("table", name="Latest predictions")
    table.get_by_role("button").first.wait_for()
    table.get_by_role("button").first.click()
    page.wait_for_url(re.compile(r"/inferences\?request="))
    panel = page.get_by_role("region", name="One prediction")
    panel.get_by_text("challenger’s copy ended").wait_for()
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


def test_a_window_stays_and_says_what_somebody_else_did_meanwhile(page, address):
    with httpx.Client(base_url=f"{address}/api/v2/models", timeout=PATIENCE_S) as client:
        started = client.post("/rollouts", json={"challenger": "other", "reason": "a trial"}).json()
        see(page, address, "/rollout")
        page.get_by_role("button", name="Pause…").click()
        page.get_by_label("Reason").fill("lunch")
        client.post(f"/rollouts/{started['id']}/abort", json={"reason": "it is slow"})
    window = page.get_by_role("dialog", name="Pause the rollout?")
    window.get_by_role("alert").get_by_text("Rolled back. Aborted: it is slow.").wait_for()
    assert window.get_by_role("button", name="Pause", exact=True).is_disabled()
    shot(page, "real-too-late")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Why did it abort?").wait_for()
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
