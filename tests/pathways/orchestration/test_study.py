"""A whole study on the embedded model: killed anywhere, spread anyhow, it ends the same."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from glassbox.artifacts import read_json
from glassbox.cli.main import main
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import ConflictError, CorruptArtifact, OutOfMemory
from glassbox.pathways.config_file import save_config
from glassbox.pathways.integration.results import read_study
from glassbox.pathways.latents import LatentId
from glassbox.pathways.layout import STEPS, StudyFolder
from glassbox.pathways.orchestration.candidates_file import read_kept
from glassbox.pathways.orchestration.memory import MemoryMeter
from glassbox.pathways.orchestration.steps import do_step, run_study
from glassbox.pathways.study.selection_file import read_selection
from glassbox.runtime import Runtime
from glassbox.types import ModelSpec
from tests.pathways.orchestration.small_study import config_in, place_of, results_of


@pytest.fixture(scope="module")
def engine():
    engine = Runtime.load().open_engine(ModelSpec("tiny", dtype="float32", device="cpu"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def finished(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    run_study(place_of(config_in(folder), engine))
    return folder


def copy_of(finished, folder, *without):
    """A copy of the finished study, some steps undone."""
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    paths = StudyFolder(folder)
    for step in without:
        record = paths.of_step(step) / f"{step}.done.json"
        record.unlink()
    return paths


def test_all_steps_leave_the_files_of_the_plan(finished):
    paths = StudyFolder(finished)
    for path in (
        paths.data_validation,
        paths.causal_features,
        paths.prompts_sample,
        paths.single_feature_test,
        paths.token_associations,
        paths.candidates,
        paths.validated,
        paths.report,
    ):
        assert path.is_file(), path
    assert all((paths.of_step(step) / f"{step}.done.json").is_file() for step in STEPS)
    assert read_study(finished).latents()


def test_the_prototype_shows_the_ten_strongest_latents_of_every_layer_below(finished):
    found = read_json(StudyFolder(finished).single_feature_test)
    target = LatentId.parse(found["feature"])
    by_layer = {}
    for each in found["upstream_candidates"]:
        assert each["activation"] > 0
        expected = each["gradient"] * each["activation"]
        # Activations of several positions are summed; the largest of them is shown.
        assert abs(each["attribution"]) >= abs(expected) * (1 - 1e-5)
        by_layer.setdefault(each["source_layer"], []).append(abs(each["attribution"]))
    assert sorted(by_layer) == list(range(target.layer))
    assert {len(sizes) for sizes in by_layer.values()} == {10}
    assert all(sizes == sorted(sizes, reverse=True) for sizes in by_layer.values())
    stages = {each["name"]: each for each in found["stages"]}
    assert {"activations", "sweep, whole dictionaries", "replay"} <= stages.keys()
    assert found["memory_usage_gb"] == max(each["peak_bytes"] for each in stages.values()) / 1e9


def test_a_finished_study_is_not_done_again(finished, engine):
    before = results_of(finished)
    done = run_study(place_of(config_in(finished), engine))
    assert all(each.was_there for each in done)
    assert results_of(finished) == before


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_study_stopped_at_random_writes_ends_the_same(
    finished, engine, tmp_path, monkeypatch, seed
):
    """Every file is written through one function: it stops there, before or after the write."""
    rng = random.Random(seed)
    folder = tmp_path / "killed"
    left = {"writes": 0, "kills": 0}
    replace = os.replace

    def mortal(source, target, *args, **kwargs):
        left["writes"] -= 1
        if left["writes"] == 0:
            left["kills"] += 1
            if rng.random() < 0.5:
                replace(source, target, *args, **kwargs)
            raise Killed
        return replace(source, target, *args, **kwargs)

    monkeypatch.setattr(os, "replace", mortal)
    for _ in range(60):
        left["writes"] = rng.randint(4, 25)
        try:
            run_study(place_of(config_in(folder), engine))
        except Killed:
            continue
        break
    assert left["kills"] >= 3
    monkeypatch.undo()
    run_study(place_of(config_in(folder), engine))
    assert results_of(folder) == results_of(finished)


@pytest.mark.slow
def test_a_command_that_is_killed_after_every_step_ends_the_same(finished, tmp_path):
    folder = tmp_path / "killed"
    config = config_in(folder)
    save_config(config, tmp_path / "study.json")
    rng = random.Random(0)
    words = [sys.executable, "-m", "glassbox", "pathways", "run", str(tmp_path / "study.json")]
    for n_steps in range(len(STEPS) - 1):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(list(folder.rglob("*.done.json"))) < n_steps and process.poll() is None:
            time.sleep(0.005)
        # In the middle of the step behind it, or of loading what that needs.
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert subprocess.run(words, check=False, capture_output=True).returncode == 0
    assert results_of(folder) == results_of(finished)


@pytest.mark.parametrize(
    "parallel",
    [
        {"contexts_per_shard": 1},
        {"contexts_per_shard": 100},
        {"contexts_per_shard": 2, "layers_per_shard": 1},
    ],
    ids=["one", "all", "by layer"],
)
def test_results_do_not_depend_on_the_shards(finished, engine, tmp_path, parallel):
    paths = copy_of(finished, tmp_path / "other", "discover", "validate", "integrate")
    shutil.rmtree(paths.shards)
    shutil.rmtree(paths.replay_shards)
    paths.candidates.unlink()
    place = place_of(config_in(paths.root, parallel=parallel), engine)
    do_step(place, "discover")
    same_table(paths.candidates, StudyFolder(finished).candidates)
    # The replay is asked of the very same candidates.
    shutil.copyfile(StudyFolder(finished).candidates, paths.candidates)
    do_step(place, "validate")
    same_table(
        paths.validated.with_suffix(".parquet"),
        StudyFolder(finished).validated.with_suffix(".parquet"),
    )


def test_replays_follow_the_sweep_however_that_was_cut_up(finished, engine, tmp_path):
    paths = copy_of(finished, tmp_path / "other", "discover", "validate", "integrate")
    shutil.rmtree(paths.replay_shards)
    before = {each.name for each in paths.shards.iterdir()}
    other = place_of(config_in(paths.root, parallel={"contexts_per_shard": 2}), engine)
    # As after a kill: parts of the former cut are there, and go once the new ones are whole.
    do_step(other, "discover")
    assert before.isdisjoint(each.name for each in paths.shards.iterdir())
    shutil.copyfile(StudyFolder(finished).candidates, paths.candidates)
    do_step(place_of(config_in(paths.root), engine), "validate")
    same_table(
        paths.validated.with_suffix(".parquet"),
        StudyFolder(finished).validated.with_suffix(".parquet"),
    )
    next(paths.shards.iterdir()).unlink()
    (paths.of_step("validate") / "validate.done.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"shards hold \d+ targets.*discover' with --fresh"):
        do_step(other, "validate")


def same_table(one, other):
    found, expected = pq.read_table(one), pq.read_table(other)
    assert found.column_names == expected.column_names
    for name in found.column_names:
        left, right = (table[name].to_numpy(zero_copy_only=False) for table in (found, expected))
        if left.dtype.kind == "f":
            np.testing.assert_allclose(left, right, rtol=2e-4, atol=2e-6, err_msg=name)
        else:
            assert list(left) == list(right), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_sweep_and_replay_on_ray_give_the_same(finished, engine, tmp_path):
    ray = pytest.importorskip("ray")
    from glassbox.techniques.remote.ray_cluster import join

    paths = copy_of(finished, tmp_path / "other", "discover", "validate", "integrate")
    shutil.rmtree(paths.shards)
    shutil.rmtree(paths.replay_shards)
    paths.candidates.unlink()
    parallel = {"backend": "ray", "workers": 2, "contexts_per_shard": 1}
    place = place_of(config_in(paths.root, parallel=parallel), engine)
    place.join_ray = lambda _address: ray
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        join("local", num_cpus=2)
    try:
        do_step(place, "discover")
        same_table(paths.candidates, StudyFolder(finished).candidates)
        # The replay is asked of the very same candidates.
        shutil.copyfile(StudyFolder(finished).candidates, paths.candidates)
        do_step(place, "validate")
    finally:
        ray.shutdown()
    assert len(list(paths.shards.iterdir())) > 1
    same_table(
        paths.validated.with_suffix(".parquet"),
        StudyFolder(finished).validated.with_suffix(".parquet"),
    )


def test_exhaustive_replay_reads_every_target_of_every_source(finished, engine, tmp_path):
    paths = copy_of(finished, tmp_path / "other")
    config = config_in(paths.root, discover={"top": 1}, replay={"exhaustive": True})
    place = place_of(config, engine)
    do_step(place, "discover", fresh=True)
    kept, n_considered = read_kept(paths.candidates)
    assert 0 < len(kept) < n_considered
    do_step(place, "validate", fresh=True)
    pairs = {(row.target, row.source) for row in measured(paths)}
    assert len(pairs) == n_considered
    assert {(target.name, source.name) for target, source in kept} < pairs
    # What was kept by the other cut has the effects that it had there.
    others = {(row.target, row.source): row.measured_pre for row in measured(StudyFolder(finished))}
    for row in measured(paths):
        expected = others.pop((row.target, row.source), row.measured_pre)
        assert row.measured_pre == pytest.approx(expected, rel=2e-4, abs=2e-6)
    assert not others


def measured(paths):
    table = pq.read_table(paths.validated.with_suffix(".parquet")).to_pylist()
    return [SimpleNamespace(**row) for row in table]


def test_another_configuration_is_refused_by_name(finished, engine, tmp_path):
    paths = copy_of(finished, tmp_path / "other")
    place = place_of(config_in(paths.root, discover={"mode": "frozen"}), engine)
    with pytest.raises(ConflictError, match=r'discover\.mode was "total" and is "frozen"'):
        do_step(place, "discover")


def test_no_step_builds_on_results_of_another_configuration(finished, engine, tmp_path, capsys):
    paths = copy_of(finished, tmp_path / "other")
    before = results_of(paths.root)
    # The rehearsal goes the sweep's way, and forecasts the replays.
    config = config_in(paths.root, discover={"path": "through"})
    with pytest.raises(ConflictError, match=r'discover\.path was "past" and is "through"'):
        do_step(place_of(config, engine), "prototype")
    with pytest.raises(ConflictError, match=r"'validate' builds on results of 'discover' .*past"):
        do_step(place_of(config, engine), "validate", fresh=True)
    file = tmp_path / "study.json"
    save_config(config, file)
    assert main(["pathways", "forecast", str(file)]) == ExitCode.CONFLICT
    assert "Run 'glassbox pathways prototype' with --fresh first" in " ".join(
        capsys.readouterr().err.split()
    )
    # The report would tell of doses that nobody gave.
    config = config_in(paths.root, replay={"doses": ["ablate", "double"]})
    with pytest.raises(ConflictError, match=r"'integrate' builds on.*replay\.doses was"):
        do_step(place_of(config, engine), "integrate", fresh=True)
    assert results_of(paths.root) == before


def test_every_source_of_the_sample_below_the_cut_has_its_random_directions(
    finished, engine, tmp_path
):
    paths = copy_of(finished, tmp_path / "other")
    config = config_in(
        paths.root,
        discover={"sources": "all", "top": 1},
        replay={"below_cut": 1.0, "max_below": 200},
    )
    place = place_of(config, engine)
    do_step(place, "discover", fresh=True)
    kept, _ = read_kept(paths.candidates)
    # Layers without a selected latent and without a kept source are sampled, too.
    own = {each.latent.layer for each in read_selection(paths.causal_features).latents}
    assert set(range(max(own))) - own - {source.layer for _, source in kept}
    do_step(place, "validate", fresh=True)
    summary = read_json(paths.validated)["summary"]
    assert summary["missed_n_sampled"] > 100
    assert summary["n_unmatched"] == 0


def test_what_will_not_fit_is_refused_before_it_begins(finished, engine, tmp_path):
    paths = copy_of(finished, tmp_path / "other", "prototype")
    place = place_of(config_in(paths.root, limits={"host_bytes": 1_000_000}), engine)
    with pytest.raises(OutOfMemory, match=r"1\.0 MB are allowed.*No size of chunk would fit"):
        do_step(place, "prototype")
    assert not (paths.prototype / "prototype.done.json").exists()


def test_the_forecast_of_memory_holds(finished, engine, tmp_path):
    paths = copy_of(finished, tmp_path / "other", "discover")
    shutil.rmtree(paths.shards)
    forecast = read_json(paths.single_feature_test)["forecast"]
    meter = MemoryMeter()
    with meter.stage("discover"):
        do_step(place_of(config_in(paths.root), engine), "discover")
    (step,) = (each for each in forecast["steps"] if each["step"] == "discover")
    assert meter.peak_bytes == pytest.approx(step["peak_bytes"], rel=0.2)


def test_the_files_are_no_more_than_forecast(finished):
    paths = StudyFolder(finished)
    forecast = read_json(paths.single_feature_test)["forecast"]["disk_bytes"]
    folders = (paths.tokens, paths.pathways, paths.report.parent)
    files = [each for folder in folders for each in folder.rglob("*") if each.is_file()]
    assert 0.1 * forecast < sum(each.stat().st_size for each in files) <= forecast


def test_the_commands_show_a_finished_study(finished, capsys):
    assert main(["pathways", "show", str(finished)]) == 0
    assert "pathways, by mediated effect" in capsys.readouterr().out
    study = read_study(finished)
    latent = next(
        row.name
        for row in study.latents()
        if study.card(row.name).upstream and study.card(row.name).downstream
    )
    assert main(["pathways", "show", str(finished), "--latent", latent, "--limit", "1"]) == 0
    shown = capsys.readouterr().out
    card = study.card(latent, limit=1)
    # What drives it must not push what it drives out of sight.
    assert card.upstream[0].source in shown
    assert card.downstream[0].target in shown


def test_every_step_is_a_command_that_finds_what_is_done(finished, tmp_path, capsys):
    file = tmp_path / "study.json"
    save_config(config_in(finished), file)
    for step, words in (
        ("audit", "fit to go on with"),
        ("select", "latents by rule 'abs_d'"),
        ("prototype", "sweep, selected latents"),
    ):
        assert main(["pathways", step, str(file)]) == 0
        assert words in " ".join(capsys.readouterr().out.split())
    for step in STEPS:
        assert main(["pathways", step, str(file), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["step"], found["was_there"]) == (step, True)
    # How work is spread changes nothing that is done already.
    words = ["pathways", "run", str(file), "--backend", "ray", "--workers", "2", "--json"]
    assert main(words) == 0
    assert [each["was_there"] for each in json.loads(capsys.readouterr().out)] == [True] * len(
        STEPS
    )


def test_the_forecast_of_the_plan_is_printed_beside_it(capsys):
    assert main(["pathways", "forecast"]) == 0
    shown = capsys.readouterr().out
    for words in ("21.0 h", "37,500 pathways at most, not 38,750", "stated: NVIDIA A40"):
        assert words in " ".join(shown.split())
