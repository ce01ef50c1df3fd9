"""Shards come out the same whoever makes them, and a worker's death costs nothing."""

import warnings

import pytest

from glassbox.errors import CapacityError, ConflictError, DependencyMissing, InvalidData
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.orchestration.parallel import Job, run_shards
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import Shards, StepKey
from tests.pathways.orchestration import toy_shards

KEY = StepKey("toy", {"toy.size": 3})
NAMES = [f"part-{number}" for number in range(6)]


@pytest.fixture(scope="module")
def ray_cluster():
    ray = pytest.importorskip("ray")
    from glassbox.techniques.remote.ray_cluster import join

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        join("local", num_cpus=2)
        yield lambda _address: ray
        ray.shutdown()


def place_in(folder, join_ray=None, **parallel):
    config = StudyConfig.from_json({"study": {"out": str(folder)}, "parallel": parallel})

    def no_engine(spec):
        raise AssertionError("nobody needs a model here")

    return Workplace(config, no_engine, join_ray=join_ray)


def job(opened="open_plain"):
    return Job(f"tests.pathways.orchestration.toy_shards:{opened}", NAMES)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def told(seen):
    return lambda done, total: seen.append((done, total))


def test_shards_are_made_once_and_the_missing_ones_only(tmp_path):
    shards, seen = Shards(tmp_path / "shards", KEY), []
    shards.save("part-1", *toy_shards.part_of("part-1"))
    assert run_shards(place_in(tmp_path), shards, job(), told(seen)) == 5
    assert seen[0] == (1, 6)
    assert seen[-1] == (6, 6)
    assert shards.names() == tuple(NAMES)
    assert run_shards(place_in(tmp_path), shards, job(), told(seen)) == 0


def test_a_shard_that_cannot_be_made_keeps_the_others(tmp_path):
    shards = Shards(tmp_path / "shards", KEY)
    with pytest.raises(InvalidData, match="part-2: this one cannot be made"):
        run_shards(place_in(tmp_path), shards, job("open_refusing"), told([]))
    assert shards.names() == ("part-0", "part-1")


def test_without_ray_its_backend_names_the_extra(tmp_path):
    with pytest.raises(DependencyMissing, match="ray"):
        run_shards(place_in(tmp_path, backend="ray"), Shards(tmp_path / "s", KEY), job(), told([]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_makes_the_same_files(tmp_path, ray_cluster, workers):
    run_shards(place_in(tmp_path), Shards(tmp_path / "here", KEY), job(), told([]))
    place = place_in(tmp_path, ray_cluster, backend="ray", workers=workers)
    run_shards(place, Shards(tmp_path / "there", KEY), job(), told([]))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_is_killed_is_started_again(tmp_path, ray_cluster):
    place = place_in(tmp_path, ray_cluster, backend="ray", workers=2)
    run_shards(place, Shards(tmp_path / "shards", KEY), job("open_mortal"), told([]))
    assert (tmp_path / "deaths").read_text() == "x"
    assert Shards(tmp_path / "shards", KEY).names() == tuple(NAMES)


@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_dies_again_and_again_is_given_up_and_the_rest_kept(tmp_path, ray_cluster):
    place = place_in(tmp_path, ray_cluster, backend="ray", workers=1, retries=1)
    shards = Shards(tmp_path / "shards", KEY)
    with pytest.raises(CapacityError, match="shard 'part-2' died too often"):
        run_shards(place, shards, job("open_doomed"), told([]))
    assert shards.names() == ("part-0", "part-1")


@pytest.mark.filterwarnings("ignore")
def test_what_a_worker_cannot_do_is_said_here(tmp_path, ray_cluster):
    place = place_in(tmp_path, ray_cluster, backend="ray", workers=1)
    with pytest.raises(ConflictError, match=r"invalid-data.*this one cannot be made"):
        run_shards(place, Shards(tmp_path / "shards", KEY), job("open_refusing"), told([]))
