import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from glassbox.pathways.integration.assembly import assemble, write_study
from glassbox.pathways.integration.report.layout import draw_graph
from glassbox.pathways.integration.report.page import CARD_ROWS, study_page, write_report
from glassbox.pathways.integration.report.pictures import number, share
from glassbox.pathways.integration.report.sections import n_driving
from glassbox.pathways.integration.report.tokens import quoted, shown_context, visible
from glassbox.pathways.integration.results import read_study
from glassbox.pathways.integration.values import (
    DecisionPath,
    LatentRow,
    PathwayRow,
    StoredCard,
    TokenRow,
    TopContext,
)
from tests.pathways.integration.worlds import (
    made_up_rows,
    made_up_study,
    made_up_summary,
    write_made_up_study,
)

VOID = {"meta", "link", "br", "img", "input", "hr", "col"}


class Reader(HTMLParser):
    """Checks that tags close in order and keeps ids, links and the words."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("href", "src") if key in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data):
        self.words.append(data)


def read_page(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_study(write_made_up_study(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def page(study):
    return study_page(study, n_cards=20)


def test_the_page_is_complete_in_itself(page):
    reader = read_page(page)
    assert all(link.startswith("#") for link in reader.links), reader.links
    assert not re.search(r"url\((?!#)|@import|https?://", page)
    assert len(set(reader.ids)) == len(reader.ids)


def test_every_link_leads_somewhere(page):
    reader = read_page(page)
    assert {link.removeprefix("#") for link in reader.links} <= set(reader.ids)


def test_what_was_verified_stands_before_what_is_only_strong(study, page):
    table = page[page.index("Verified pathways, then the strongest others") :]
    shown = re.findall(r"(L\d+-\d+) → (L\d+-\d+)", table[: table.index("</table>")])
    assert len(shown) == min(25, study.pathways().n_rows)
    verified = {(row.source, row.target) for row in study.pathways(verified=True, limit=1000).rows}
    is_verified = [pair in verified for pair in shown]
    assert is_verified == sorted(is_verified, reverse=True)
    assert sum(is_verified) == min(25, len(verified))


def test_tokens_of_the_listed_paths_are_drawn_before_stronger_ones(tmp_path):
    end = LatentRow("L2-0", 2, 0, n_active=100, decision_effect=1.0, decision_q=0.01)
    others = [LatentRow(f"L1-{at}", 1, at, n_active=100) for at in range(40)]
    pathways = [
        PathwayRow(row.name, end.name, 1, 2, attribution_mean=1.0, attribution_share=0.02,
                   verified=None if row.index else True)
        for row in others
    ]  # fmt: skip
    tokens = [
        TokenRow(row.name, f" word{row.index}", n_fires=90 if row.index else 5, log_odds=1.0)
        for row in others
    ]
    made = assemble([*others, end], pathways, tokens, n_paths=1)
    assert made.paths[0].nodes[0] == "token: word0"
    write_study(tmp_path, made, [], replace(made_up_summary(made), name="s"))
    drawn = re.findall(r'data-name="token: (\w+)"', study_page(read_study(tmp_path)))
    assert len(drawn) == 16
    assert "word0" in drawn


def test_there_are_as_many_cards_as_asked_for(page):
    assert len([each for each in read_page(page).ids if each.startswith("card-")]) == 20


def test_a_card_has_as_many_tokens_as_it_shows_pathways(page):
    """Those of single conditions, which come from the same texts, take no rows from it."""
    heads = re.findall(r"<h3>Tokens that fire it</h3>.*?</table>", page, re.DOTALL)
    assert heads
    assert {each.count('<th scope="row">') for each in heads} == {CARD_ROWS}


def test_the_verdict_and_the_conventions_are_said(page, study):
    words = " ".join(" ".join(read_page(page).words).split())
    assert f"{study.summary.n_verified:,} move their targets" in words
    assert "past later SAEs" in words
    assert "total: the true derivative" in words
    assert "about 3.2 would still look as strong as those that its rule" in words
    assert "risky_amplification has only 18 trials" in words


def test_latents_on_paths_of_their_own_are_told_from_those_that_drive_others(page, study):
    paths = [
        DecisionPath(("token:a", "L0-1", "L2-2", "decision"), 0.5, True),
        DecisionPath(("token:b", "L1-1", "L2-2", "decision"), 0.4, True),
        DecisionPath(("token:a", "L2-9", "decision"), 0.9, True),
        DecisionPath(("token:a", "L0-1", "L1-7", "decision"), 0.3, False),
    ]
    assert n_driving(paths) == 3
    assert n_driving([]) == 0
    words = " ".join(" ".join(read_page(page).words).split())
    n = n_driving(study.decision_paths)
    assert f"to the decision ({n} on verified pathways)" in words
    assert f"{n} on paths on which one latent drives another" in words
    assert "held against random directions" in words


def test_nothing_of_the_data_is_taken_for_markup(tmp_path: Path):
    nasty = '<script>alert("x")</script>'
    latents, pathways, tokens = made_up_rows(n_layers=2)
    tokens = [replace(row, token=nasty) for row in tokens]
    made = assemble(latents, pathways, tokens)
    context = TopContext((nasty, "</details>"), (1.0, 2.0), 1, nasty)
    cards = [StoredCard(row.name, contexts=(context,)) for row in latents]
    write_study(tmp_path, made, cards, replace(made_up_summary(made), name="s", warnings=(nasty,)))
    page = study_page(read_study(tmp_path))
    assert nasty not in page
    assert page.count("<script>") == 1
    read_page(page)


def test_a_study_without_pathways_says_so(tmp_path: Path):
    made = assemble([LatentRow("L0-1", 0, 1)], [], [])
    write_study(tmp_path, made, [], replace(made_up_summary(made), subgraph=None, warnings=()))
    page = study_page(read_study(tmp_path))
    words = " ".join(read_page(page).words)
    assert "nothing to draw" in words
    assert "none of them has been replayed" in words
    assert "No way leads from a token" in words
    assert "was not ablated" in words


def test_latents_that_carry_nothing_have_no_faithfulness(tmp_path: Path):
    made = made_up_study(n_layers=2)
    summary = made_up_summary(made)
    empty = replace(summary.subgraph, faithfulness=None, completeness=None)
    write_study(tmp_path, made, [], replace(summary, subgraph=empty))
    assert "nothing that a sub-graph could carry" in " ".join(
        read_page(study_page(read_study(tmp_path))).words
    )


def test_the_page_is_written_beside_the_tables(study):
    path = write_report(study, n_cards=2)
    assert path == study.report
    assert path.read_text(encoding="utf-8") == study_page(study, n_cards=2)


def test_nodes_stand_in_columns_and_never_on_one_another(study):
    drawing = draw_graph(study.graph(limit=200))
    spots = {(node.x, node.y) for node in drawing.nodes}
    assert len(spots) == len(drawing.nodes)
    for one in drawing.nodes:
        for other in drawing.nodes:
            if one is not other and one.x == other.x:
                assert abs(one.y - other.y) > 25
    place = {node.node.name: node.x for node in drawing.nodes}
    assert all(place[edge.edge.source] < place[edge.edge.target] for edge in drawing.edges)
    assert all(0 < node.x < drawing.width and 0 < node.y < drawing.height for node in drawing.nodes)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (0, "0"), (0.5, "0.5"), (-1.23456, "−1.23"), (12345.6, "12,346"), (1e-4, "1e−4"),
     (-2.5e-5, "−2.5e−5"), (0.999, "0.999")],
)  # fmt: skip
def test_numbers_are_written_for_readers(value, words):
    assert number(value) == words


def test_shares_are_written_in_percent():
    assert share(0.847) == "84.7\u00a0%"
    assert share(None) == "–"


def test_what_cannot_be_seen_is_made_visible():
    assert visible("\n") == "⏎"
    assert visible("") == "∅"
    assert visible("a\x00b") == "a�b"
    assert quoted(" lost") == "␣lost"


def test_a_context_is_coloured_by_share_of_the_largest():
    context = TopContext(("a", "b", "c"), (0.0, 1.0, 4.0), 2)
    shown = shown_context(context, 4.0)
    assert [each.share for each in shown] == [0, 25, 100]
    assert [each.title for each in shown] == ["", "1", "4"]
    assert [each.is_peak for each in shown] == [False, False, True]
