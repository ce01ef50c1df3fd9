"""The demo's verdict: what was planted must be there, and nothing beside it."""

from dataclasses import asdict

import pytest

from glassbox.artifacts import write_json
from glassbox.cli.demo.pathways import judged, play
from glassbox.errors import ConflictError
from glassbox.pathways.experiment.planted import PLANTED_SCHEMA, PlantedLatent
from glassbox.pathways.integration.results import read_study
from glassbox.pathways.layout import StudyFolder
from tests.pathways.integration.worlds import write_made_up_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_study(write_made_up_study(tmp_path_factory.mktemp("studies")))


def verdicts(study, folder, *planted):
    paths = StudyFolder(folder)
    paths.planted.parent.mkdir(parents=True, exist_ok=True)
    content = {"schema_version": PLANTED_SCHEMA, "latents": [asdict(each) for each in planted]}
    write_json(paths.planted, content)
    return {each.what: each for each in judged(paths, study)}


def ranked(study, row):
    """Place of a pathway's source among all of its target's, by mediated effect."""
    upstream = study.pathways(target=row.target, order="mediated").rows
    return 1 + [each.source for each in upstream].index(row.source)


def test_a_null_that_drives_something_speaks_against_the_study(study, tmp_path):
    verified = study.pathways(verified=True, limit=1000).rows
    first = next(row for row in verified if ranked(study, row) == 1)
    other = next(row for row in verified if row.source != first.source)
    chain = PlantedLatent(first.source, "causal", "safe", drives=first.target)
    idle = PlantedLatent("L2-99999", "null", "safe", twin=first.source)
    found = verdicts(study, tmp_path, chain, idle)
    assert found[f"{first.source} drives {first.target}"].holds
    assert found[f"L2-99999 does nothing, active like {first.source}"].holds
    assert found["nulls drive nothing"].holds
    assert found["nulls drive nothing"].found == "none of their pathways is verified"
    own = found["the model's own pathways, about which nothing was planted"]
    assert own.found.count("→") == len(verified) - 1
    assert own.holds is None
    assert not found["no other latent moves the decision"].holds
    busy = PlantedLatent(other.source, "null", "safe", twin=first.source)
    found = verdicts(study, tmp_path, chain, busy)["nulls drive nothing"]
    assert not found.holds
    assert found.found.startswith(f"{other.source} → ")


def test_a_twin_of_a_chains_end_is_driven_by_construction(study, tmp_path):
    row = study.pathways(verified=True, limit=1).rows[0]
    first = PlantedLatent(row.source, "causal", "safe", drives="L9-1")
    twin = PlantedLatent(row.target, "null", "safe", twin="L9-1")
    found = verdicts(study, tmp_path, first, twin)
    driven = found["a null that reads what a chain's end reads is driven, too"]
    assert driven.found == f"verified: {row.source} → {row.target}"
    assert driven.holds
    unrelated = PlantedLatent(row.target, "null", "safe", twin="L9-2")
    found = verdicts(study, tmp_path, first, unrelated)
    assert "a null that reads what a chain's end reads is driven, too" not in found
    own = found["the model's own pathways, about which nothing was planted"]
    assert f"{row.source} → {row.target}" in own.found


def test_a_planted_pathway_that_is_not_there_is_missed(study, tmp_path):
    refuted = study.pathways(verified=False, limit=1).rows[0]
    first = PlantedLatent(refuted.source, "causal", "safe", drives=refuted.target)
    found = verdicts(study, tmp_path, first)[f"{refuted.source} drives {refuted.target}"]
    assert not found.holds
    assert found.found.startswith("not verified")
    missing = PlantedLatent("L1-99999", "causal", "safe", drives=refuted.target)
    found = verdicts(study, tmp_path, missing)
    assert found["L1-99999 moves the decision"].found == "not selected"
    assert not found["L1-99999 moves the decision"].holds


def test_a_planted_pathway_that_another_exceeds_is_not_the_planted_story(study, tmp_path):
    verified = study.pathways(verified=True, limit=1000).rows
    for rank in (1, 2, 3):
        row = next(each for each in verified if ranked(study, each) == rank)
        chain = PlantedLatent(row.source, "causal", "safe", drives=row.target)
        found = verdicts(study, tmp_path, chain)[f"{row.source} drives {row.target}"]
        assert found.found.startswith("verified")
        assert found.found.endswith(f"rank {rank} by mediated effect")
        assert found.holds is (rank == 1)


def test_drivers_move_the_decision_beyond_random_directions_and_nulls_do_not(study, tmp_path):
    rows = sorted(study.latents(), key=lambda row: row.decision_q)
    moves = [row.name for row in rows if row.decision_q <= 0.05]
    idle = rows[-1].name
    asked, nulls = "ablated, they move it beyond random directions", "nulls do not, ablated"
    planted = [PlantedLatent(name, "causal", "safe") for name in moves[:2]]
    found = verdicts(study, tmp_path, *planted, PlantedLatent(idle, "null", "safe", twin=moves[0]))
    assert found[asked].holds
    assert found[asked].found == f"2 of 2: {', '.join(sorted(moves[:2]))}"
    assert found[nulls].holds
    others = found["the model's own do, about which nothing was planted"]
    assert others.found.split(", ") == sorted(moves[2:])
    assert others.holds is None
    wrong = (
        PlantedLatent(idle, "driven", "safe"),
        PlantedLatent(moves[0], "null", "safe", twin=idle),
    )
    found = verdicts(study, tmp_path, *wrong)
    assert not found[asked].holds
    assert found[asked].found == "0 of 1: none"
    assert not found[nulls].holds
    assert found[nulls].found == moves[0]


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConflictError, match="holds something else than a demo"):
        play(tmp_path)
    assert (tmp_path / "thesis.txt").is_file()
