"""The report is one file that asks for nothing, escapes everything and reads without pictures."""

import base64
import re
from html.parser import HTMLParser

import pytest

from glassbox.charts.chart import picture
from glassbox.charts.reliability import reliability
from glassbox.charts.report import Report, Section, Table, chart_image, render_report
from glassbox.errors import InvalidValue
from tests.charts.worlds import panels

ATTACK = '<script>alert("x")</script> & <img src=x onerror=y>'


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, tag):
        return [attributes for each, attributes in self.tags if each == tag]


@pytest.fixture(scope="module")
def chart():
    return reliability("reliability_raw_model_output", panels()[0])


def full(chart) -> Report:
    table = Table(
        "Base and tuned model, test part",
        ("Model", "ECE", "Interval", "Note"),
        (("Base", "0.053", "0.044 to 0.065", "raw"), ("Tuned", "0.010", "0.008 to 0.013", "—")),
        notes=("n = 2,000.",),
        highlighted=frozenset({1}),
    )
    sections = (
        Section("How sure is it?", ("One.", "Two."), (table,), (chart_image(chart),)),
        Section("How sure is it?", (ATTACK,)),
        Section("§", ("Three.",)),
    )
    return Report(
        "A run", "It holds.", ("Sentence.",), (("Automated", "61.2%"),), sections,
        (("Model", ATTACK),), "good",
    )  # fmt: skip


def test_markup_in_any_text_is_escaped(chart):
    table = Table(ATTACK, (ATTACK, ATTACK), ((ATTACK, ATTACK),), (ATTACK,))
    section = Section(ATTACK, (ATTACK,), (table,), (chart_image(chart, ATTACK),))
    report = Report(
        ATTACK, ATTACK, (ATTACK,), ((ATTACK, ATTACK),), (section,) * 3, ((ATTACK, ATTACK),)
    )
    page = Page(render_report(report))
    assert not page.named("script")
    assert all(each["src"].startswith("data:image/svg+xml;base64,") for each in page.named("img"))
    assert not any(name.startswith("on") for _, each in page.tags for name in each)


def test_nothing_is_fetched(chart):
    text = render_report(full(chart))
    assert not re.search(r"https?://|@import|url\(|<link|<script|<iframe", text)
    assert all(each["href"].startswith("#") for each in Page(text).named("a"))


def test_every_element_is_closed_and_every_link_has_its_target(chart):
    page = Page(render_report(full(chart)))
    assert page.open == []
    targets = [each["id"] for _, each in page.tags if "id" in each]
    assert len(targets) == len(set(targets))
    assert {each["href"][1:] for each in page.named("a")} <= set(targets)
    labelled = {each["aria-labelledby"] for each in page.named("section")}
    assert labelled <= set(targets)


def test_it_reads_without_pictures(chart):
    page = Page(render_report(full(chart)))
    assert len(page.named("h1")) == 1
    assert len(page.named("caption")) == len(page.named("table")) == 1
    assert {each["scope"] for each in page.named("th")} == {"col", "row"}
    (image,) = page.named("img")
    assert image["alt"] == chart.summary
    assert page.named("html")[0]["lang"] == "en"


def test_the_picture_inside_is_the_chart(chart):
    page = Page(render_report(full(chart)))
    encoded = page.named("img")[0]["src"].partition(",")[2]
    assert base64.b64decode(encoded) == picture(chart, "svg")
    # On a phone it scrolls by itself, also with the keyboard.
    (around,) = (each for each in page.named("div") if each.get("class") == "picture")
    assert (around["tabindex"], around["aria-label"]) == ("0", chart.info.title)


def test_numbers_stand_right_and_words_left(chart):
    text = render_report(full(chart))
    assert '<td class="number">0.053</td>' in text
    assert '<td class="number">0.044 to 0.065</td>' in text
    assert "<td>raw</td>" in text
    assert '<tr class="highlighted">' in text


@pytest.mark.parametrize("cell", ["12", "-3.1", "80%", "$5,475", "$0.12", "678 ms", "4.52 s", "–"])
def test_sums_and_times_stand_right_like_numbers(cell):
    table = Table("A", ("of", "value"), (("one", cell), ("other", "5 instances")))
    text = render_report(Report("t", "v", sections=(Section("s", tables=(table,)),)))
    assert f'<td class="number">{cell}</td>' in text
    assert "<td>5 instances</td>" in text


def test_the_same_report_gives_the_same_page(chart):
    assert render_report(full(chart)) == render_report(full(chart))


def test_an_empty_report_is_a_page():
    page = Page(render_report(Report("Nothing", "No rows.")))
    assert page.open == []
    assert not page.named("nav")
    assert not page.named("footer")


def test_a_ragged_table_is_refused():
    table = Table("Ragged", ("a", "b"), (("1",),))
    with pytest.raises(InvalidValue, match=r"Ragged.* allowed: 2"):
        render_report(Report("t", "v", sections=(Section("s", tables=(table,)),)))


def test_no_line_ends_between_a_number_and_its_unit():
    words = "At most 10 % in 3 s, 12 samples, 6.8 points."
    page = render_report(Report("A run", words, (words,), sections=(Section("One", (words,)),)))
    assert page.count("At most 10\u00a0% in 3\u00a0s, 12 samples, 6.8\u00a0points.") == 3
