from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from glassbox.errors import CorruptArtifact, InvalidData, InvalidValue, UnknownName
from glassbox.pathways.integration.results import (
    EDGES_FILE,
    INTEGRATED,
    STUDY_FILE,
    TABLE_FILE,
    TABLE_JSON_FILE,
    read_study,
)
from glassbox.pathways.integration.typed import read_rows
from glassbox.pathways.integration.values import IntegratedRow
from tests.pathways.integration.worlds import made_up_study, write_made_up_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_made_up_study(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def study(folder):
    return read_study(folder)


@pytest.fixture(scope="module")
def written():
    return made_up_study()


def test_rows_come_back_as_they_were_put_together(study, written):
    assert study.latents() == written.latents
    assert set(study.pathways(limit=10_000).rows) == set(written.pathways)
    assert set(study.tokens(limit=10_000).rows) == set(written.tokens)
    assert study.communities == written.communities
    assert study.decision_paths == written.paths


def test_latents_of_one_layer(study):
    assert {row.layer for row in study.latents(layer=3)} == {3}


def test_pathways_are_sifted_and_the_page_says_how_many_there_are(study, written):
    target = written.pathways[-1].target
    page = study.pathways(target=target, limit=3)
    every = [row for row in written.pathways if row.target == target]
    assert page.n_rows == len(every)
    assert len(page.rows) == 3
    assert {row.target for row in page.rows} == {target}
    rest = study.pathways(target=target, limit=1000, offset=3)
    assert set(page.rows) | set(rest.rows) == set(every)
    assert all(row.verified for row in study.pathways(verified=True, limit=1000).rows)
    assert not any(row.verified for row in study.pathways(verified=False, limit=1000).rows)


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("attribution", lambda row: -row.attribution_share),
        ("mediated", lambda row: -abs(row.mediated)),
        ("effect", lambda row: -abs(row.effect) if row.effect is not None else 0),
        ("q", lambda row: row.q if row.q is not None else 9),
    ],
)
def test_pathways_come_in_the_order_asked_for(study, order, key):
    found = [key(row) for row in study.pathways(order=order, limit=10_000).rows]
    assert found == sorted(found)


def test_tokens_are_sifted_and_come_by_z(study):
    name = study.latents()[4].name
    found = study.tokens(latent=name, condition="all").rows
    assert {row.latent for row in found} == {name}
    assert [row.z for row in found] == sorted((row.z for row in found), reverse=True)
    token = found[0].token
    assert {row.token for row in study.tokens(token=token, limit=999).rows} == {token}


def test_a_card_joins_everything_of_a_latent(study):
    row = study.latents()[20]
    card = study.card(row.name)
    assert card.latent == row
    assert {each.target for each in card.upstream} == {row.name}
    assert {each.source for each in card.downstream} <= {row.name}
    assert {each.latent for each in card.tokens} == {row.name}
    assert card.histogram is not None
    assert card.contexts
    assert card.promoted
    assert card.rates


def test_a_cards_tokens_are_those_over_all_texts_before_those_of_one_condition(study):
    name = study.latents()[20].name
    tokens = study.card(name, limit=9).tokens
    assert [row.condition for row in tokens] == ["all"] * 8 + ["risky_baseline"]
    assert [row.z for row in tokens[:8]] == sorted((row.z for row in tokens[:8]), reverse=True)


def test_cards_are_each_latents_own_and_every_table_is_read_a_few_times_in_all(study, monkeypatch):
    names = [row.name for row in study.latents()][::-1]
    one_by_one = tuple(study.card(name, limit=3) for name in names)
    for name, card in zip(names, one_by_one, strict=True):
        assert card.tokens == study.tokens(latent=name, limit=3).rows
        assert card.upstream == study.pathways(target=name, limit=3).rows
        assert card.downstream == study.pathways(source=name, limit=3).rows
    reads = []
    read_table = pq.read_table
    monkeypatch.setattr(
        pq, "read_table", lambda *args, **kw: reads.append(1) or read_table(*args, **kw)
    )
    assert study.cards(names, limit=3) == one_by_one
    assert study.cards([]) == ()
    assert len(reads) <= 8


def test_the_graph_is_cut_to_its_strongest_part_and_says_so(study, written):
    part = study.graph(limit=30)
    assert len(part.edges) == 30
    assert part.n_edges == len(written.graph.edges)
    ends = {end for edge in part.edges for end in (edge.source, edge.target)}
    assert {node.name for node in part.nodes} == ends
    assert all(ends.issuperset(path.nodes) for path in part.paths)
    whole = study.graph(limit=10_000)
    assert set(whole.edges) == set(written.graph.edges)


def test_the_one_table_has_every_pathway_and_every_latent(study, written):
    rows = read_rows(study.integrated / TABLE_FILE, IntegratedRow)
    pairs = {(row.source, row.target) for row in rows if row.source is not None}
    assert pairs == {(row.source, row.target) for row in written.pathways}
    named = {name for row in rows for name in (row.source, row.target) if name is not None}
    assert named == {row.name for row in written.latents}
    content = orjson.loads((study.integrated / TABLE_JSON_FILE).read_bytes())
    assert len(content["rows"]) == len(rows)


def test_unknown_names_and_values_are_refused(study):
    with pytest.raises(UnknownName, match="No latent of this study 'L99-1'"):
        study.card("L99-1")
    with pytest.raises(InvalidValue, match="limit is -1"):
        study.card(study.latents()[0].name, limit=-1)
    with pytest.raises(UnknownName, match="No latent of this study"):
        study.pathways(source="L99-1")
    with pytest.raises(UnknownName, match="order of pathways"):
        study.pathways(order="beauty")
    with pytest.raises(InvalidValue, match="limit is -1"):
        study.pathways(limit=-1)
    with pytest.raises(InvalidValue, match="offset is -1"):
        study.tokens(offset=-1)


def test_the_integrated_folder_itself_is_taken_too(folder):
    assert read_study(folder / INTEGRATED).folder == folder


def test_a_folder_without_results_says_what_to_run(tmp_path: Path):
    with pytest.raises(InvalidData, match="glassbox pathways integrate"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "integrate anew"),
        (b"[]", "integrate anew"),
        (b'{"schema": 99}', "schema is 99"),
        (b'{"schema": 2, "summary": {"name": 3}, "communities": [], "paths": []}', "is no str"),
    ],
)
def test_a_damaged_summary_is_named(tmp_path: Path, content, words):
    path = tmp_path / INTEGRATED / STUDY_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(CorruptArtifact, match=words):
        read_study(tmp_path)


def test_a_damaged_table_is_named(tmp_path: Path):
    folder = write_made_up_study(tmp_path, n_layers=2)
    (folder / INTEGRATED / EDGES_FILE).write_bytes(b"no table")
    with pytest.raises(CorruptArtifact, match=r"edges\.parquet"):
        read_study(folder).graph()


def test_equal_studies_give_equal_bytes(tmp_path: Path):
    one, other = write_made_up_study(tmp_path / "1"), write_made_up_study(tmp_path / "2")
    for path in sorted((one / INTEGRATED).iterdir()):
        assert path.read_bytes() == (other / INTEGRATED / path.name).read_bytes(), path.name
