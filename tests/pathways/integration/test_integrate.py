"""The whole step on a random small model: files of the steps before in, a finished study out."""

import shutil
from contextlib import contextmanager
from dataclasses import replace

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from glassbox.errors import AdapterMismatch, CorruptArtifact
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.corpus.activation_pass import read_activations
from glassbox.pathways.corpus.building import build_corpus
from glassbox.pathways.integration.integrate import integrate_study
from glassbox.pathways.integration.measuring import Resident
from glassbox.pathways.integration.results import GRAPH_FOLDER, read_study
from glassbox.pathways.latents import LatentId
from glassbox.pathways.layout import study_folder
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.writing import save_sae
from glassbox.pathways.study.audit import audit_study
from glassbox.pathways.study.conditions import CONDITIONS
from glassbox.pathways.study.log_records import read_log_records
from glassbox.pathways.study.report_file import write_report
from glassbox.pathways.study.select import select_latents
from glassbox.pathways.study.selection_file import write_selection
from tests.pathways.integration.small_models import small_model, small_saes

LATENTS = [LatentId(layer, index) for layer in (0, 1) for index in (3, 9, 14, 21)]
WORDS = ("continue", "stop")
PAIR = {"safe": "You owe rent", "risky": "You must win"}


def write_logs(folder):
    results, records = [], []
    for place, latent in enumerate(LATENTS):
        for condition in CONDITIONS:
            kind = condition.split("_")[0]
            for trial in range(24):
                stop = (trial * 7 + place * 3 + len(condition)) % 10 < (8 if kind == "safe" else 3)
                records.append({
                    "feature": latent.name, "condition": condition, "trial": trial,
                    "prompt": f"{PAIR[kind]} {trial % 4}", "response": WORDS[stop],
                    "decision": WORDS[stop],
                })  # fmt: skip
        results.append({"feature": latent.name, "layer": latent.layer, "feature_id": latent.index,
                        "is_causal": True, "cohen_d": 0.2 + place / 10})  # fmt: skip
    folder.checkpoints.mkdir(parents=True)
    folder.response_logs.mkdir(parents=True)
    name = "comprehensive_patching_checkpoint_1.json"
    (folder.checkpoints / name).write_bytes(orjson.dumps({"results": results}))
    (folder.response_logs / "a.json").write_bytes(orjson.dumps(records))


def write_pathways(folder):
    candidates, validated = [], []
    for source in LATENTS[:4]:
        for target in LATENTS[4:]:
            row = {
                "target": target.name, "source": source.name, "target_layer": 1, "source_layer": 0,
                "target_index": target.index, "source_index": source.index, "n_contexts": 4,
                "n_active": 4, "gradient_mean": 0.5, "gradient_sd": 0.1, "attribution_mean": 0.4,
                "attribution_share": 0.2, "direct": 0.3, "mediated": 0.2,
                "same_position_share": 1.0, "path": "past", "mode": "total", "kept": True,
            }  # fmt: skip
            candidates.append(row)
            for dose, size in (("ablate", -1.0), ("double", 1.0)):
                validated.append(row | {
                    "dose": dose, "predicted_pre": 0.4 * size, "measured_pre": 0.3 * size,
                    "measured_post": 0.3 * size, "flips": 1, "n_measured": 4,
                    "sign_agreement": 1.0, "p": 0.01, "q": 0.02, "verified": source.index != 3,
                })  # fmt: skip
    # One below the cut, and one from a latent that the study did not select.
    candidates.append(candidates[0] | {"source": "L0-40", "source_index": 40, "kept": False})
    candidates.append(candidates[0] | {"source": "L0-41", "source_index": 41})
    folder.pathways.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(candidates), folder.candidates)
    pq.write_table(pa.Table.from_pylist(validated), folder.validated.with_suffix(".parquet"))
    folder.validated.write_bytes(
        orjson.dumps({"schema": 1, "summary": {"spearman": 0.9, "path": "past"}})
    )


def write_tokens(folder):
    rows = [
        {"latent": latent.name, "token": "m", "token_id": 79, "condition": "all", "offset": 0,
         "n_fires": 3, "n_token": 5, "log_odds": 2.0, "z": 4.0, "pmi": 1.0, "p": 1e-4, "q": 1e-3,
         "p_shift": 0.01, "q_shift": 0.03, "activation_mean": 1.0, "significant": latent.index != 9}
        for latent in LATENTS
    ]  # fmt: skip
    rows += [row | {"condition": "risky_baseline"} for row in rows]
    folder.tokens.mkdir(parents=True, exist_ok=True)
    path = folder.token_associations.with_suffix(".parquet")
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    config = StudyConfig.from_json({
        "study": {"name": "small", "out": str(root / "out")},
        "integrate": {"n_graphs": 2, "n_cards": 5},
    })  # fmt: skip
    folder = study_folder(config)
    write_logs(folder)
    report = audit_study(folder.checkpoints, folder.response_logs, config.audit)
    write_report(report, folder.audit)
    settings = config.audit.model_copy(update={"despite_errors": True})
    write_selection(select_latents(report, config.select, settings), folder.causal_features)
    model, codec, width = small_model()
    saes = small_saes(2, width)
    for layer in saes.layers:
        save_sae(saes.load(layer), root / "saes" / f"layer_{layer}")
    dictionaries = open_dictionaries(
        {layer: root / "saes" / f"layer_{layer}" for layer in saes.layers}
    )
    records = read_log_records(folder.response_logs)
    corpus = build_corpus(records, codec, context=64, special_ids=(0, 1))
    folder.tokens.mkdir(parents=True)
    read_activations(model, corpus, dictionaries.rows(LATENTS)).save(folder.activations)
    write_pathways(folder)
    write_tokens(folder)
    return config, Resident(model, codec, (0, 1), dictionaries, corpus, digests={"model": "m" * 8})


@pytest.fixture(scope="module")
def study(world):
    told = {}

    @contextmanager
    def stages(description):
        reports = told.setdefault(description, [])
        yield lambda *at: reports.append(at)

    found = integrate_study(*world, stages=stages)
    ablating, subgraph, _ = told.values()
    for reports in (ablating, subgraph):
        # Every one is told of, up to the last: whoever waits sees how much is left.
        total = reports[-1][1]
        assert reports == [(done, total) for done in range(1, total + 1)]
    assert len(subgraph) > 20
    return found


def test_every_selected_latent_has_its_row_and_its_card(study):
    rows = study.latents()
    assert {row.name for row in rows} == {latent.name for latent in LATENTS} | {"L0-41"}
    for row in rows:
        if row.name == "L0-41":
            continue
        card = study.card(row.name)
        assert row.decision_low <= row.decision_effect <= row.decision_high
        assert 0 <= row.decision_p <= row.decision_q <= 1
        assert row.decision_z is not None or row.decision_p == 1
        assert len(card.promoted) == len(card.suppressed) == 8
        assert [rate.condition for rate in card.rates] == list(CONDITIONS)
        if row.n_active:
            assert sum(card.histogram.counts) == row.n_active
            assert card.contexts
    assert any(row.n_active for row in rows)
    assert any(row.decision_z is not None for row in rows)
    # Nothing was planted: every latent is a random one among those of its dictionary.
    assert not any(row.decision_q is not None and row.decision_q <= 0.05 for row in rows)


def test_only_what_is_significant_and_kept_is_there(study):
    assert study.pathways(limit=99).n_rows == 17
    assert study.pathways(source="L0-41").rows[0].verified is None
    # What is told with a token is what called it out, not Fisher's test alone.
    assert {row.q_shift for row in study.tokens(limit=99).rows} == {0.03}
    assert {row.latent for row in study.tokens(limit=99).rows} == {
        latent.name for latent in LATENTS if latent.index != 9
    }


def test_doses_are_joined_to_their_pathway(study):
    for row in study.pathways(limit=99).rows:
        if row.source == "L0-41":
            continue
        assert [dose.dose for dose in row.doses] == ["ablate", "double"]
        assert row.effect == pytest.approx(-0.3)
        assert row.verified == (row.source != "L0-3")


def test_the_sub_graph_was_tested_by_ablation(study):
    test = study.summary.subgraph
    assert test.n_latents == 8
    assert test.n_prompts == 8
    assert test.n_kept == sum(row.on_path for row in study.latents())
    assert test.curve[-1].faithfulness == pytest.approx(1)


def test_the_summary_says_how_things_were_read(study):
    summary = study.summary
    assert dict(summary.conventions)["later SAEs"] == "past"
    assert dict(summary.calibration) == {"spearman": 0.9}
    assert dict(summary.provenance)["model digest"] == "m" * 8
    assert (summary.n_replayed, summary.n_verified) == (16, 12)
    # Once, however many conditions hold the same pair again.
    assert summary.n_tokens == sum(latent.index != 9 for latent in LATENTS)


def test_graphs_page_and_tables_are_there(study):
    graphs = {path.name for path in (study.integrated / GRAPH_FOLDER).glob("*.json")}
    assert len(graphs) == 3
    assert study.report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert read_study(study.folder).summary == study.summary


def test_the_same_again_gives_the_same_bytes(study, world):
    before = {path: path.read_bytes() for path in study.integrated.rglob("*") if path.is_file()}
    integrate_study(*world)
    after = {path: path.read_bytes() for path in study.integrated.rglob("*") if path.is_file()}
    assert before == after


def copied(world, tmp_path):
    """The same study in a folder of its own."""
    config, _ = world
    shutil.copytree(config.out, tmp_path / "out")
    study = config.study.model_copy(update={"out": tmp_path / "out"})
    return config.model_copy(update={"study": study})


def test_without_the_model_the_tables_are_integrated_and_it_is_said(world, tmp_path):
    config = copied(world, tmp_path)
    found = integrate_study(config, None)
    assert "without the model" in found.summary.warnings[0]
    assert found.summary.subgraph is None
    assert found.latents()[0].decision_effect is None


def test_activations_of_another_corpus_are_refused(world):
    config, resident = world
    other = replace(resident, corpus=replace(resident.corpus, special_ids=(5,)))
    with pytest.raises(AdapterMismatch, match="was read from another corpus"):
        integrate_study(config, other)


def test_a_table_without_its_columns_is_named(world, tmp_path):
    config = copied(world, tmp_path)
    pq.write_table(pa.table({"target": ["L1-3"]}), study_folder(config).candidates)
    with pytest.raises(CorruptArtifact, match="has no column source, target_layer"):
        integrate_study(config, None)
