"""Each page's script comes when the page is opened; what is shown where it does not come."""

import re

import pytest

from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.routes import front_end
from tests.browser import playwright
from tests.e2e.test_dashboard import faults, see, shot
from tests.e2e.test_playground import running

SCRIPT = "**/assets/PathwaysPage-*.js"


@pytest.fixture(scope="module")
def address():
    with running(create_app(None, Guards())) as found:
        yield found


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request))
    yield page
    context.close()


def opened(page):
    return [each.url for each in page.asked if each.is_navigation_request()]


def test_a_page_brings_no_script_of_another(page, address):
    see(page, address, "/playground")
    scripts = [each.url for each in page.asked if each.url.endswith(".js")]
    assert sum(bool(re.search(r"/\w+Page-", each)) for each in scripts) == 1
    page.get_by_role("link", name="Pathways").click()
    page.get_by_role("heading", level=1, name="Pathways").wait_for()
    later = [each.url for each in page.asked if each.url.endswith(".js")][len(scripts) :]
    assert [bool(re.search(r"/PathwaysPage-", each)) for each in later] == [True]
    assert opened(page) == [f"{address}/playground"]


def test_a_script_that_does_not_come_is_told_and_the_other_pages_stay(page, address):
    see(page, address, "/playground")
    page.route(SCRIPT, lambda route: route.abort())
    page.get_by_role("link", name="Pathways").click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("This page did not come")
    shot(page, "missing-part")
    assert faults(page) == []
    page.get_by_role("link", name="Playground").click()
    page.get_by_role("heading", level=1, name="Playground").wait_for()
    # Nothing was loaded anew: the server's build is the one that runs here.
    assert opened(page) == [f"{address}/playground"]
    page.get_by_role("link", name="Pathways").click()
    page.unroute(SCRIPT)
    page.get_by_role("button", name="Load it again").click()
    page.get_by_role("heading", level=1, name="Pathways").wait_for()


def test_after_an_upgrade_everything_is_loaded_anew_once(page, address):
    see(page, address, "/playground")
    page.route(SCRIPT, lambda route: route.fulfill(status=404))
    newer = re.sub(rb"index-[\w-]{8}\.js", b"index-00000000.js", _page())
    looks = []

    def upgraded(route):
        looks.append(route.request)
        route.fulfill(content_type="text/html", body=newer)

    page.route("**/pathways", upgraded)
    nothing = {"body": "", "content_type": "text/javascript"}
    page.route("**/index-00000000.js", lambda route: route.fulfill(**nothing))
    page.get_by_role("link", name="Pathways").click()
    page.locator("script[src*='00000000']").wait_for(state="attached")
    assert opened(page) == [f"{address}/playground", f"{address}/pathways"]
    assert len(looks) == 2, "one to compare, one to load"


def _page():
    return front_end.built_files()[front_end.PAGE].content
