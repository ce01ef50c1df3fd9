"""The page "Pathways" in a real browser, over a made-up study: both themes, phone, keyboard."""

import re

import pytest

from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.study_shelf import StudyShelf
from tests.e2e.test_dashboard import faults, see, shot
from tests.e2e.test_playground import running
from tests.pathways.integration.worlds import write_made_up_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    write_made_up_study(folder, "slots")
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with running(create_app(None, Guards(studies=StudyShelf(folder)))) as found:
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
def test_a_study_and_a_latent_are_shown_whole_and_accessible(page, address, theme):
    see(page, address, "/pathways", theme)
    page.get_by_role("region", name="Table of pathways").wait_for()
    shot(page, f"pathways-{theme}")
    assert faults(page) == []
    page.get_by_role("table", name="Table of latents").locator("tbody button").nth(3).click()
    page.get_by_role("region", name="Where it fires most").wait_for()
    assert re.search(r"latent=L\d+-\d+", page.url)
    shot(page, f"pathways-latent-{theme}")
    assert faults(page) == []
    assert page.said == []
    assert "NaN" not in page.locator("main").inner_text()


def test_a_phone_scrolls_down_only(page, address):
    page.set_viewport_size({"width": 360, "height": 740})
    see(page, address, "/pathways")
    shot(page, "pathways-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_token_longer_than_a_phone_is_wide_is_shown_whole(page, address):
    token = " Donaudampfschifffahrtselektrizitätenhauptbetriebswerk"

    def lengthened(route):
        answer = route.fetch()
        card = answer.json()
        if card.get("tokens"):
            card["tokens"][0]["token"] = token
        route.fulfill(response=answer, json=card)

    page.route("**/latents/*", lengthened)
    page.set_viewport_size({"width": 390, "height": 740})
    see(page, address, "/pathways")
    page.get_by_role("table", name="Table of latents").locator("tbody button").nth(3).click()
    table = page.get_by_role("region", name="Tokens that fire it")
    table.get_by_text(token.strip()).wait_for()
    shot(page, "pathways-long-token")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ends = [each.bounding_box() for each in table.locator("td, th").all()]
    assert max(each["x"] + each["width"] for each in ends) <= 390 - 16


def test_the_graph_is_walked_with_the_keyboard(page, address):
    see(page, address, "/pathways")
    graph = page.get_by_role("group", name=re.compile("^Graph of"))
    graph.get_by_role("button").first.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    name = re.match(r"latent (L\d+-\d+),", label)[1]
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=name).wait_for()
    assert f"latent={name}" in page.url


def test_without_studies_the_page_says_what_to_do(page):
    with running(create_app(None, Guards())) as empty:
        see(page, empty, "/pathways")
        page.get_by_text("There is no finished study").wait_for()
        page.get_by_text("glassbox serve --studies FOLDER").wait_for()
        assert faults(page) == []
