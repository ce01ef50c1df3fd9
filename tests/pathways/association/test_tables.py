import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from glassbox.pathways.association.associating import associate
from glassbox.pathways.association.tables import write_associations
from glassbox.pathways.association.top_contexts import (
    AFTER,
    BEFORE,
    activations_along,
    top_contexts,
)
from glassbox.pathways.sections import TokensSection
from tests.pathways.association.worlds import at_random, firing_on, on_token, word_corpus

SETTINGS = TokensSection(q=0.01, n_permutations=20, top=4)
CORPUS = word_corpus(n=60, n_prompts=20, length=60)
FOUND = firing_on(CORPUS, [on_token(5), at_random(0.1), at_random(0.0)])


class Words:
    def token(self, token_id):
        return f" w{token_id}"


def _at(document, position, column):
    owner = int(CORPUS.prompt_owner[document])
    place = owner if position < CORPUS.n_prompt[document] else document
    hit = (FOUND.document == place) & (FOUND.position == position) & (FOUND.latent == column)
    return float(FOUND.value[hit].sum())


def test_activations_along_a_text_are_those_of_its_positions_and_of_its_shared_prompt():
    copy = int(np.flatnonzero(CORPUS.prompt_owner != np.arange(len(CORPUS)))[3])
    for document in (0, copy):
        along = activations_along(FOUND, CORPUS, [1, 0], document)
        for position in range(int(CORPUS.lengths[document])):
            assert along[0, position] == pytest.approx(_at(document, position, 1))
            assert along[1, position] == pytest.approx(_at(document, position, 0))


def test_top_contexts_are_the_strongest_one_a_document():
    found = top_contexts(FOUND, CORPUS, 1, 6)
    peaks = {}
    entries = FOUND.entries_of(1)
    for document, value in zip(FOUND.document[entries], FOUND.value[entries], strict=True):
        peaks[int(document)] = max(peaks.get(int(document), 0.0), float(value))
    strongest = sorted(peaks.values(), reverse=True)[:6]
    assert [float(each.activations[each.peak]) for each in found] == pytest.approx(strongest)
    for each in found:
        tokens = CORPUS.token_ids(each.document_id)
        assert each.token_ids == tokens[each.start : each.start + len(each.token_ids)]
        assert each.peak <= BEFORE
        assert len(each.token_ids) <= BEFORE + AFTER + 1
        in_prompt = each.start + each.peak < CORPUS.n_prompt[each.document_id]
        assert each.part == ("prompt" if in_prompt else "response")
        assert each.conditions
    assert top_contexts(FOUND, CORPUS, 2, 6) == ()


def test_both_files_hold_the_same_pairs(tmp_path):
    found = associate(FOUND, CORPUS, SETTINGS)
    paths = write_associations(
        found, FOUND, CORPUS, Words(), SETTINGS, tmp_path / "token_associations.json"
    )
    assert [path.name for path in paths] == [
        "token_associations.json", "token_associations.parquet",
    ]  # fmt: skip
    content = json.loads(paths[0].read_text())
    rows = pq.read_table(paths[1]).to_pylist()
    assert [each["feature"] for each in content["latents"]] == ["L1-0", "L1-10", "L1-20"]
    flat = [{"latent": e["feature"], **row} for e in content["latents"] for row in e["tokens"]]
    key = lambda row: (row["latent"], row["condition"], row["offset"], row["token_id"])  # noqa: E731
    assert sorted(flat, key=key) == sorted(rows, key=key)
    planted = next(row for row in flat if row["condition"] == "all" and row["offset"] == 0)
    assert planted["significant"]
    assert (planted["token"], planted["latent"]) == (" w5", "L1-0")
    assert planted["n_fires"] == found.rows.n_both[found.rows.token_id == 5].max()
    assert content["corpus"]["n_documents"] == len(CORPUS)
    assert content["settings"]["q"] == 0.01
    assert [len(each["contexts"]) for each in content["latents"]] == [4, 4, 0]
    assert content["latents"][2]["activation_mean"] is None
    shares = [each["active_share"] for each in content["latents"]]
    assert shares == pytest.approx(
        [len(FOUND.entries_of(c)) / CORPUS.is_counted.sum() for c in range(3)]
    )


def test_the_same_associations_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        found = associate(FOUND, CORPUS, SETTINGS)
        write_associations(found, FOUND, CORPUS, Words(), SETTINGS, tmp_path / folder / "t.json")
    for name in ("t.json", "t.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
