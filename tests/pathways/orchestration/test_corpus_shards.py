"""The corpus pass in shards: killed, short of disk or memory, or on Ray, it ends the same."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from glassbox.errors import NoDiskSpace
from glassbox.pathways.config_file import save_config
from glassbox.pathways.corpus.activation_pass import CorpusReader
from glassbox.pathways.corpus.activations import load_activations
from glassbox.pathways.layout import StudyFolder
from glassbox.pathways.orchestration import tokens_step
from glassbox.pathways.orchestration.steps import do_step
from glassbox.runtime import Runtime
from glassbox.types import ModelSpec
from tests.pathways.orchestration.long_corpus import long_config, up_to_the_corpus, write_long_logs
from tests.pathways.orchestration.mortal_reading import open_mortal
from tests.pathways.orchestration.small_study import place_of, results_of


@pytest.fixture(scope="module")
def engine():
    engine = Runtime.load().open_engine(ModelSpec("tiny", dtype="float32", device="cpu"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    root = tmp_path_factory.mktemp("logs")
    write_long_logs(root, n_trials=5)
    return root


@pytest.fixture(scope="module")
def finished(engine, logs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    config = up_to_the_corpus(logs, folder, engine)
    do_step(place_of(config, engine), "tokens")
    return folder


@pytest.fixture
def passes(monkeypatch):
    """The number of forward passes of each shard that is read, in their order."""
    seen, read = [], CorpusReader.read

    def counted(self, of_shard):
        found = read(self, of_shard)
        seen.append(len(of_shard))
        return found

    monkeypatch.setattr(CorpusReader, "read", counted)
    return seen


def shards_in(folder):
    """Name to inode and time of writing: a shard that is written again has others."""
    found = {}
    for path in StudyFolder(folder).activation_shards.glob("[!.]*.safetensors"):
        about = path.stat()
        found[path.name] = (about.st_ino, about.st_mtime_ns)
    return found


def half_written(folder):
    return [path for path in folder.rglob(".*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize("passes_per_shard", [2, 100])
def test_results_do_not_depend_on_the_shards(
    finished, engine, logs, tmp_path, passes, passes_per_shard
):
    config = up_to_the_corpus(logs, tmp_path, engine, passes_per_shard=passes_per_shard)
    do_step(place_of(config, engine), "tokens")
    assert len(passes) == max(1, -(-sum(passes) // passes_per_shard))
    assert results_of(tmp_path) == results_of(finished)


def test_a_full_disk_keeps_finished_shards_and_nothing_else(
    finished, engine, logs, tmp_path, monkeypatch, passes
):
    place = place_of(up_to_the_corpus(logs, tmp_path, engine), engine)
    write, left = os.fsync, {"writes": 11}

    def full(handle):
        left["writes"] -= 1
        if left["writes"] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(NoDiskSpace, match="run the same command again"):
            do_step(place, "tokens")
    kept = shards_in(tmp_path)
    assert 0 < len(kept) == len(passes) - 1
    assert half_written(tmp_path) == []
    passes.clear()
    do_step(place, "tokens")
    resumed = sum(passes)
    assert results_of(tmp_path) == results_of(finished)
    assert not StudyFolder(tmp_path).activation_shards.exists()
    assert resumed + len(kept) == n_passes(place)


def n_passes(place):
    return len(tokens_step.batches(tokens_step._corpus(place)))


def test_out_of_memory_in_the_middle_goes_on_in_halves(
    finished, engine, logs, tmp_path, monkeypatch
):
    """Blocks have been read already when memory ends, in the middle of the corpus."""
    place = place_of(up_to_the_corpus(logs, tmp_path, engine), engine)
    forward, seen, too_large = CorpusReader._forward, [], []

    def small(self, batch):
        found = forward(self, batch)
        seen.append(len(batch))
        if len(seen) > 2 and len(batch) > 20:
            too_large.append(len(batch))
            raise MemoryError
        return found

    monkeypatch.setattr(CorpusReader, "_forward", small)
    do_step(place, "tokens")
    assert too_large
    assert len(seen) > 2 + 2 * len(too_large)
    found, expected = (
        load_activations(StudyFolder(each).activations) for each in (tmp_path, finished)
    )
    for name in ("document", "position", "latent"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.value, expected.value, rtol=2e-4, atol=2e-6)
    assert half_written(tmp_path) == []
    assert not StudyFolder(tmp_path).activation_shards.exists()


@pytest.mark.slow
def test_a_command_that_is_killed_between_shards_ends_the_same(engine, tmp_path):
    write_long_logs(tmp_path, n_trials=30)
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    do_step(place_of(up_to_the_corpus(tmp_path, whole, engine), engine), "tokens")
    save_config(up_to_the_corpus(tmp_path, folder, engine), tmp_path / "study.json")
    words = [sys.executable, "-m", "glassbox", "pathways", "tokens", str(tmp_path / "study.json")]
    total = n_passes(place_of(long_config(tmp_path, folder), engine))
    rng, kept = random.Random(0), {}
    for _ in range(4):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = min(len(kept) + rng.randint(1, total // 8), total - 1)
        while len(shards_in(folder)) < until and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        found = shards_in(folder)
        assert kept.items() < found.items()
        kept = found
    assert 4 <= len(kept) < total
    assert subprocess.run(words, check=False, capture_output=True).returncode == 0
    assert results_of(folder) == results_of(whole)
    assert half_written(folder) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opened_by", ["open_reading", "open_mortal"])
def test_shards_on_ray_are_the_same_also_when_a_worker_is_killed(
    finished, engine, logs, tmp_path, monkeypatch, opened_by
):
    ray = pytest.importorskip("ray")
    from glassbox.techniques.remote.ray_cluster import join

    config = up_to_the_corpus(logs, tmp_path, engine, backend="ray", workers=2)
    place = place_of(config, engine)
    place.join_ray = lambda _address: ray
    if opened_by == "open_mortal":
        monkeypatch.setattr(tokens_step, "OPENED_BY", f"{open_mortal.__module__}:open_mortal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        join("local", num_cpus=2)
    try:
        do_step(place, "tokens")
    finally:
        ray.shutdown()
    if opened_by == "open_mortal":
        (tmp_path / "deaths").unlink()
    assert results_of(tmp_path) == results_of(finished)
