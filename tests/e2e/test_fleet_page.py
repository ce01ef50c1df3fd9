"""The page "Fleet" in a real browser, over two servers that work and two that ended."""

import time

import pytest

from glassbox.storage.database import open_database
from glassbox.storage.replicas import Replica, ReplicaStore
from tests.browser import playwright
from tests.e2e.test_dashboard import faults, see, shot
from tests.e2e.test_playground import running
from tests.server.fleet_worlds import several_servers


def gone(url, id, status, seconds):
    """Write down a server that was last heard of a while ago."""
    store = ReplicaStore(open_database(url), now=lambda: time.time() - seconds)
    counters = {"numbers": {"requests|2xx": 812, "predictions|success|steady": 812}}
    body = {"counters": {**counters, "durations": {}}, "model_digest": "d" * 64}
    row = Replica(
        id=id,
        host="gpu-7",
        pid=4242,
        address="http://10.0.0.7:8787",
        version="0.1.0",
        bundle="",
        model="fake",
        started_s=time.time() - 7200,
        status=status,
        body=body,
    )
    store.beat(row, is_new=True)
    store.database.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    url = f"sqlite:///{folder}/glassbox.db"
    with several_servers(folder, url, "steady", "other", n=3) as servers:
        for at, server in enumerate(servers):
            for _ in range(20 * (at + 1)):
                assert server.predict().status_code == 200
        gone(url, "7c0ffee1", "ready", 95)
        gone(url, "0ldcafe5", "left", 400)
        # What they counted, and their rate, is in their second word.
        time.sleep(4.5)
        with running(servers[0].app) as found:
            yield found


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1500, "height": 900})
    page = context.new_page()
    page.said = []
    page.on("console", lambda line: page.said.append(line.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    yield page
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_server_is_shown_whole_and_accessible(page, address, theme):
    see(page, address, "/fleet", theme)
    table = page.get_by_role("table", name="Servers of this database")
    playwright.expect(table.get_by_role("row")).to_have_count(6)
    shot(page, f"fleet-{theme}")
    text = page.locator("main").inner_text()
    assert "3 of 3" in text
    assert "all agree" in text
    assert "7c0ffee1 (process 4242 on gpu-7) has said nothing for" in text
    for bad in ("NaN", "null", "undefined"):
        assert bad not in text
    assert page.title() == "Fleet · Glassbox"
    assert faults(page) == []
    assert page.said == []


def test_a_phone_scrolls_down_only(page, address):
    page.set_viewport_size({"width": 360, "height": 740})
    see(page, address, "/fleet")
    shot(page, "fleet-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert faults(page) == []
