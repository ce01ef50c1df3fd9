import json

import pytest
import torch

from glassbox.errors import ConflictError, InvalidData, OutOfMemory, TextTooLong, UnknownName
from glassbox.pathways.experiment import run
from glassbox.pathways.experiment.conditions import CONDITIONS
from glassbox.pathways.experiment.patching import answer_rows
from glassbox.pathways.experiment.run import run_experiment
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.writing import save_sae
from glassbox.testing import tiny_engine, tiny_sae
from tests.pathways.experiment.worlds import section, write_pairs


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    for layer in range(2):
        save_sae(tiny_sae(layer), folder / "saes" / f"layer_{layer}")
    return tiny_engine(), open_dictionaries(folder / "saes"), write_pairs(folder / "prompts.jsonl")


def _run(world, out, progress=None, **changes):
    engine, dictionaries, prompts = world
    return run_experiment(
        section(prompts, **changes), engine, dictionaries,
        checkpoints=out / "analysis", logs=out / "response_logs",
        always=(LatentId(0, 1),), progress=progress,
    )  # fmt: skip


def _files(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_files_are_in_the_studys_schema(world, tmp_path):
    outcome = _run(world, tmp_path, per_layer=5)
    files = _files(tmp_path)
    assert sorted(files) == [
        "analysis/comprehensive_patching_checkpoint_00001.json",
        "analysis/comprehensive_patching_checkpoint_00002.json",
        "response_logs/responses_00001.json",
        "response_logs/responses_00002.json",
    ]
    assert outcome.n_parts == 2
    results = [
        line
        for name, content in files.items()
        if "checkpoint" in name
        for line in json.loads(content)["results"]
    ]
    assert results == list(outcome.results)
    assert len(results) == 11
    for each in results:
        assert {"feature", "layer", "feature_id", "is_causal", "cohen_d"} <= each.keys()
        assert each["feature"] == f"L{each['layer']}-{each['feature_id']}"
        assert isinstance(each["is_causal"], bool)
    logged = [
        record
        for name, content in files.items()
        if "responses" in name
        for record in json.loads(content)
    ]
    assert len(logged) == outcome.n_responses == 11 * 6 * 4
    names = [each.name for each in CONDITIONS]
    for feature in {each["feature"] for each in results}:
        own = [each for each in logged if each["feature"] == feature]
        assert [each["condition"] for each in own] == [name for name in names for _ in range(4)]
        assert [each["trial"] for each in own] == [0, 1, 2, 3] * 6
        for trial in range(4):
            prompts = {each["condition"]: each["prompt"] for each in own if each["trial"] == trial}
            assert prompts["safe_baseline"] == prompts["safe_with_risky_patch"]
            assert prompts["safe_baseline"] == prompts["safe_amplification"]
            assert prompts["risky_baseline"] == prompts["risky_with_safe_patch"]
            assert prompts["safe_baseline"] != prompts["risky_baseline"]


def test_a_stopped_experiment_goes_on_and_gives_the_same_files(world, tmp_path):
    whole = _run(world, tmp_path / "whole", per_layer=9)

    class Stop(Exception):
        """The power goes."""

    def stop(done, _total):
        if done:
            raise Stop

    with pytest.raises(Stop, match=r"^$"):
        _run(world, tmp_path / "stopped", progress=stop, per_layer=9)
    assert len(_files(tmp_path / "stopped")) == 2
    # A log without its checkpoint is a part that is not finished.
    (tmp_path / "stopped/response_logs/responses_00002.json").write_text("[", encoding="utf-8")
    resumed = _run(world, tmp_path / "stopped", per_layer=9)
    assert resumed.n_parts_found == 1
    assert resumed.results == whole.results
    assert _files(tmp_path / "stopped") == _files(tmp_path / "whole")
    assert _run(world, tmp_path / "stopped", per_layer=9).n_parts_found == 3


def test_batches_change_no_response(world, tmp_path):
    results = [
        _run(world, tmp_path / str(rows), per_layer=2, batch_rows=rows).results for rows in (1, 64)
    ]
    for one, other in zip(*results, strict=True):
        assert one["stop_rates"] == other["stop_rates"]
        assert one["cohen_d"] == other["cohen_d"]


def test_out_of_memory_halves_the_batch_and_changes_no_response(world, tmp_path, monkeypatch):
    whole = _run(world, tmp_path / "whole", per_layer=2, batch_rows=64).results
    sizes = []

    def cramped(model, taps, clean, rows, sampling):
        sizes.append(len(rows))
        if len(rows) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return answer_rows(model, taps, clean, rows, sampling)

    monkeypatch.setattr(run, "answer_rows", cramped)
    most = 3
    halved = _run(world, tmp_path / "halved", per_layer=2, batch_rows=64).results
    assert max(sizes) > most >= min(sizes)
    for one, other in zip(whole, halved, strict=True):
        assert one["stop_rates"] == other["stop_rates"]
        assert one["cohen_d"] == other["cohen_d"]
    most = 0
    with pytest.raises(OutOfMemory, match="One patched prompt does not fit"):
        _run(world, tmp_path / "none", per_layer=2)


def test_results_of_another_configuration_are_refused(world, tmp_path):
    _run(world, tmp_path, per_layer=1)
    with pytest.raises(ConflictError, match="another configuration"):
        _run(world, tmp_path, per_layer=1, seed=1)


def test_named_latents_are_the_ones_that_are_patched(world, tmp_path):
    outcome = _run(world, tmp_path, latents=("L1-3", "L1-2"))
    assert [each["feature"] for each in outcome.results] == ["L0-1", "L1-2", "L1-3"]


def test_what_cannot_be_patched_is_said(world, tmp_path):
    with pytest.raises(UnknownName, match="No SAE for layer '5'"):
        _run(world, tmp_path, layers=(5,))
    with pytest.raises(TextTooLong, match="longest prompt of the experiment"):
        _run(world, tmp_path, max_new_tokens=240)
    engine, _, prompts = world
    save_sae(tiny_sae(0, d_model=16), tmp_path / "narrow" / "layer_0")
    with pytest.raises(InvalidData, match="read 16 numbers a token"):
        run_experiment(
            section(prompts), engine, open_dictionaries(tmp_path / "narrow"),
            checkpoints=tmp_path / "a", logs=tmp_path / "b",
        )  # fmt: skip
