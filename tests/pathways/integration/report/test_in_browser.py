"""The page in a real browser: both themes, no request, no error, and what happens on a click."""

import os
from pathlib import Path

import pytest

from glassbox.pathways.integration.report.page import write_report
from glassbox.pathways.integration.results import read_study
from tests.pathways.integration.worlds import write_made_up_study

AXE = Path(__file__).parents[4] / "web" / "node_modules" / "axe-core" / "axe.min.js"

SHOTS = os.environ.get("REPORT_SHOTS", "")
"""Folder that takes pictures, for a person to look at."""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = write_made_up_study(tmp_path_factory.mktemp("study"))
    return write_report(read_study(folder), n_cards=12)


@pytest.fixture(params=["light", "dark"])
def page(request, browser, report):
    context = browser.new_context(
        color_scheme=request.param, viewport={"width": 1280, "height": 900}
    )
    page = context.new_page()
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda line: page.wrong.append(line.text) if line.type == "error" else None)
    page.on(
        "request",
        lambda asked: None if asked.url == report.as_uri() else page.wrong.append(asked.url),
    )
    page.goto(report.as_uri())
    yield page
    assert page.wrong == []
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{request.node.name}.png", full_page=True)
    context.close()


def lit(page):
    return page.locator(".node.lit").evaluate_all("all => all.map(each => each.dataset.name)")


def test_a_click_shows_a_nodes_arrows_and_a_second_opens_its_card(page):
    node = page.locator('.node[href^="#card-"]').first
    name = node.get_attribute("data-name")
    node.click()
    ends = page.locator(f'.edge[data-from="{name}"], .edge[data-to="{name}"]').evaluate_all(
        "all => all.flatMap(each => [each.dataset.from, each.dataset.to])"
    )
    assert set(lit(page)) == {name, *ends}
    assert f"{name}" in page.locator("#told").inner_text()
    card = page.locator(f"#card-{name}")
    assert card.get_attribute("open") is None
    node.click()
    assert card.get_attribute("open") is not None


def test_arrows_can_be_sifted(page):
    shown = page.locator(".edge:not(.away)")
    before = shown.count()
    page.locator("#amount").fill("10")
    assert shown.count() == 10
    assert page.locator("#amount-shown").inner_text() == "10"
    page.locator("#amount").fill(str(before))
    page.locator("#verified").check()
    assert shown.evaluate_all("all => all.every(each => each.dataset.sure === '1')")
    assert shown.count() <= before


def test_a_node_is_found_by_name(page):
    name = page.locator(".node.latent").nth(5).get_attribute("data-name")
    page.locator("#find").fill(name)
    assert page.locator(".node.chosen").get_attribute("data-name") == name
    page.locator("#find").fill("")
    assert page.locator(".node.chosen").count() == 0


def test_the_picture_can_be_enlarged_and_fitted_again(page):
    drawing = page.locator("#drawing")
    whole = drawing.get_attribute("viewBox")
    page.locator("#in").click()
    assert drawing.get_attribute("viewBox") != whole
    page.locator("#fit").click()
    assert [float(each) for each in drawing.get_attribute("viewBox").split()] == pytest.approx(
        [float(each) for each in whole.split()]
    )


def test_the_keyboard_reaches_nodes(page):
    page.locator(".node.latent").nth(3).focus()
    assert page.locator(".looking").count() == 1
    page.keyboard.press("Enter")
    assert page.locator(".node.chosen").count() == 1


def test_nobody_is_kept_out(page):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (make web)")
    page.locator("details.card").first.locator("summary").click()
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    words = [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]
    assert words == []


def test_a_phone_has_no_sideways_scroll(browser, report):
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(report.as_uri())
    page.locator("details.card").first.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
