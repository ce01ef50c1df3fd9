"""Views of techniques as pictures and pages: what is drawn, and texts that fight back."""

import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from glassbox.charts.panel_colours import decimals, drawable, fixed, ink_on, number
from glassbox.charts.panel_heat import MOST_STRIPS, WIDEST, plan
from glassbox.charts.panel_page import panels_fragment, panels_page
from glassbox.charts.panel_picture import panels_png
from glassbox.charts.panel_text import token_lines
from glassbox.charts.panels import Bars, HeatMap, Lines, Passages, TokenColouring, shown, visible
from glassbox.errors import InvalidValue

NASTY = ("<script>x</script>", "\n", " $a$ ", "\t", "日本", "🙂", "\x1b[31m", "", "&amp;", "\u202e")


def _heat(n_rows=3, n_columns=10, **options):
    values = np.linspace(-1, 1, n_rows * n_columns).reshape(n_rows, n_columns)
    columns = tuple(NASTY[place % len(NASTY)] for place in range(n_columns))
    return HeatMap("Weight", values, tuple(map(str, range(n_rows))), columns, **options)


def _panels():
    values = np.linspace(0, 8, len(NASTY))
    values[3] = np.nan
    holes = _heat()
    holes.values[1, 2] = np.nan
    return (
        holes,
        _heat(middle=0.0),
        _heat(texts=(NASTY,) * 3),
        TokenColouring("Surprisal, nats", NASTY, values, (0, 8), NASTY),
        Lines("Two", np.arange(5.0), {"a < b": np.arange(5.0), "b": np.ones(5)}, "Layer", "Nats"),
        Bars("Shares", ("up", "down", "<b>"), np.array([2.0, -1.0, np.nan])),
        Passages("Answers", ("one", "two"), ("a\nb <i>", ""), "Say: $x$"),
    )


@pytest.mark.parametrize("place", range(7))
def test_each_kind_of_panel_is_a_picture_that_comes_out_the_same_again(place):
    panel = _panels()[place]
    content = panels_png("A title with $ in it", (panel,), "How to read it. " * 20)
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    assert 700 < image.width <= 150 * (WIDEST + 1)
    assert np.asarray(image.convert("L")).std() > 5
    assert panels_png("A title with $ in it", (panel,), "How to read it. " * 20) == content


def test_a_long_note_goes_on_in_a_next_line():
    image = Image.open(io.BytesIO(panels_png("A title", (_panels()[5],), "How to read it. " * 20)))
    paper = np.asarray(image.convert("L"))
    assert paper[:, -20:].min() == 255, "it runs out of the picture"
    short = Image.open(io.BytesIO(panels_png("A title", (_panels()[5],), "How to read it.")))
    assert np.asarray(short.convert("L"))[:, -20:].min() == 255


def test_a_page_holds_all_panels_and_nothing_from_elsewhere():
    page = panels_page("A <title>", _panels(), "A note & more")
    assert page.count("<h3>") == 7
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "A &lt;title&gt;" in page
    assert "prefers-color-scheme:dark" in page
    assert not re.search(r"(src|href)=|url\(|@import|https?:", page)
    assert "\x1b" not in page
    assert "\u202e" not in page
    for tag in ("table", "tr", "div", "span", "svg"):
        assert page.count(f"<{tag}") == page.count(f"</{tag}>")
    # A notebook's piece carries its own style and is the same but for the frame around it.
    assert panels_fragment("A <title>", _panels(), "A note & more") in page


@given(st.text(max_size=12))
def test_what_is_shown_of_a_token_can_be_seen(token):
    text = shown(token)
    assert text.strip(" ")
    assert not any(ord(letter) < 0x20 or letter == "\u202e" for letter in text)
    assert len(visible(token)) == len(token)


def test_special_letters_have_pictures():
    assert shown(" the") == "·the"
    assert shown("\n\n") == "↵↵"
    assert shown("a\tb ") == "a⇥b·"
    assert shown("") == "∅"
    assert drawable("日 $") == r"▯ \$"


def test_many_columns_go_on_below_and_endless_ones_are_cut_with_a_word():
    few, many = plan(_heat(n_columns=10)), plan(_heat(n_columns=200))
    assert few.strips == ((0, 10),)
    assert len(many.strips) > 1
    assert many.strips[-1][1] == 200
    assert many.width <= WIDEST + 0.01
    endless = _heat(n_columns=2000)
    assert len(plan(endless).strips) <= MOST_STRIPS
    assert plan(endless).strips[-1][1] < 2000
    assert plan(_heat(n_rows=80)).height(80) < 13
    assert Image.open(io.BytesIO(panels_png("Long", (endless,)))).height < 3500


def test_narrow_heat_maps_share_a_row():
    small = _heat(2, 3)
    one, three = (Image.open(io.BytesIO(panels_png("Maps", (small,) * n))) for n in (1, 3))
    assert three.height == one.height
    assert three.width > one.width


def test_a_table_wider_than_the_page_is_scrolled_with_the_keyboard():
    values = np.zeros((2, 300))
    wide = HeatMap('Best "words"', values, ("0", "1"), tuple(map(str, range(300))))
    page = panels_page("Lens", [wide])
    assert '<div class=scroll tabindex=0 role=region aria-label="Best &quot;words&quot;">' in page


def test_tokens_break_at_line_ends_and_at_the_margin():
    def lines(*tokens):
        panel = TokenColouring("x", tokens, np.zeros(len(tokens)))
        return [[text for _, _, text in line] for line in token_lines(panel)]

    assert lines("a", "\n", "b") == [["a", "↵"], ["b"]]
    assert lines("a\nb") == [["a↵"], ["b"]]
    assert lines("", "b") == [["∅", "b"]]
    long = lines("x" * 250)
    assert "".join(text for line in long for text in line) == "x" * 250
    assert len(long) == 3
    words = lines(*["word "] * 60)
    assert all(sum(map(len, line)) <= 113 for line in words)


def test_scales_keep_the_middle_in_the_middle():
    assert _heat(middle=0.0).scale == (-1, 1)
    lopsided = HeatMap("x", np.array([[0.0, 3.0]]), ("0",), ("a", "b"), middle=1.0)
    assert lopsided.scale == (-1, 3)
    flat = HeatMap("x", np.full((1, 2), 2.0), ("0",), ("a", "b"))
    assert flat.scale == (2, 3)
    empty = HeatMap("x", np.full((1, 2), np.nan), ("0",), ("a", "b"))
    assert empty.scale == (0, 1)
    assert panels_png("x", (flat, empty))
    assert "class=n" in panels_page("x", (empty,))


def test_numbers_read_well():
    assert [number(each) for each in (0, 0.5, 3.14159, 31.4159, 1234567, 1e-5, np.nan)] == [
        "0", "0.5", "3.14", "31.4", "1.2e6", "1.0e-5", "–",
    ]  # fmt: skip
    assert [fixed(-0.001, 2), fixed(0.5, 2), fixed(np.nan, 2)] == ["0.00", "0.50", ""]
    assert [decimals(-1, 1), decimals(0, 300), decimals(0, 0.05), decimals(0, 1e-5)] == [2, 0, 3, 4]
    assert ink_on((1, 1, 1, 1)) != "white"
    assert ink_on((0.1, 0.2, 0.4, 1)) == "white"


@pytest.mark.parametrize(
    "make",
    [
        lambda: HeatMap("x", np.zeros((2, 2)), ("0",), ("a", "b")),
        lambda: HeatMap("x", np.zeros((0, 0)), (), ()),
        lambda: TokenColouring("x", ("a",), np.zeros(2)),
        lambda: Lines("x", np.zeros(2), {}, "x", "y"),
        lambda: Bars("x", ("a",), np.zeros(2)),
        lambda: Passages("x", ("a",), ()),
    ],
)
def test_values_that_do_not_fit_together_are_refused(make):
    with pytest.raises(InvalidValue, match=r"heat map|colouring|lines|bars|passages"):
        make()
