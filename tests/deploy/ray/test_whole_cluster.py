"""What takes a cluster minutes: updates, load, accidents of others, and other work beside it."""

import os
import shutil
import signal
import time
from dataclasses import replace

import httpx
import pytest

from glassbox import Client
from glassbox.errors import ConflictError
from glassbox.pathways.layout import StudyFolder
from glassbox.pathways.orchestration.steps import do_step, run_study
from glassbox.rollout.versions.registering import Offer
from glassbox.runtime import Runtime
from glassbox.server.fleet.view import REACH_S
from glassbox.types import ModelSpec
from tests.bundles import ADAPTER
from tests.deploy.ray.worlds import (
    FEATURES,
    PREDICT,
    WRITE,
    Crowd,
    answers_of_both,
    n_ready,
    not_recorded,
    pids,
    small,
    until,
)
from tests.pathways.orchestration.small_study import config_in, place_of
from tests.pathways.orchestration.test_study import same_table
from tests.waiting import seconds_until

pytest.importorskip("ray.serve")

from glassbox.deploy.ray import RayPlan

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]


def test_another_bundle_replaces_replicas_without_a_lost_request(world):
    before = pids(world)
    other = small(world.folder, "core", adapters={"support": ADAPTER}, classifiers={})
    plan = replace(
        RayPlan.of(other), replicas=2, share=world.plan.share, settings=world.plan.settings
    )
    assert plan.core != world.plan.core
    told = []
    with Crowd(world.url, "/v1/completions", WRITE) as crowd:
        until(lambda: len(crowd.answers) > 4)
        replace(world.cluster, say=told.append).deploy(plan, timeout_s=200)
        n = len(crowd.answers)
        until(lambda: len(crowd.answers) > n + 10)
    assert "listens on" in told[0]
    assert crowd.statuses == {200}
    assert not crowd.broken
    assert not pids(world) & before
    world.cluster.deploy(world.plan, timeout_s=200)


def test_a_bundle_that_does_not_come_up_says_why_and_leaves_what_ran(world):
    before = pids(world)
    wrong = {**world.plan.settings, "storage.url": "nonsense://"}
    with pytest.raises(ConflictError, match=r"does not come up .*storage"):
        world.cluster.deploy(replace(world.plan, settings=wrong), timeout_s=200)
    assert httpx.post(f"{world.url}/v1/completions", json=WRITE).status_code == 200
    assert pids(world) & before
    world.cluster.deploy(world.plan, timeout_s=200)


def test_replicas_follow_the_load(world):
    plan = replace(world.plan, replicas=1, min_replicas=1, max_replicas=2, target_ongoing=1)
    world.cluster.deploy(plan, timeout_s=100)
    until(lambda: n_ready(world) == 1, 100)
    with Crowd(world.url, "/v1/completions", {**WRITE, "max_tokens": 64}, n=8) as crowd:
        until(lambda: n_ready(world) == 2, 150)
    assert crowd.statuses == {200}
    world.cluster.deploy(world.plan, timeout_s=100)


def test_techniques_run_beside_it_on_the_same_cluster(world):
    from glassbox.techniques.remote.ray_backend import RayBackend
    from glassbox.techniques.worker_spec import WorkerSpec
    from tests.contracts.backend_world import answer

    spec = WorkerSpec(model="tiny", app_name="beside", dtype="float32", device="cpu", threads=1)
    backend = RayBackend(spec, num_cpus=0.2)
    with Crowd(world.url, "/v1/completions", WRITE, n=1) as crowd:
        backend.start(lambda _doing, _share: None)
        assert answer(backend, lambda model, tokenizer: model.config.num_hidden_layers) == 8
    backend.stop()
    assert crowd.statuses == {200}
    assert httpx.get(f"{world.url}/v1/techniques").status_code == 403


def test_shards_of_a_study_are_made_beside_it_on_the_same_cluster(world, tmp_path):
    def place(name, **parallel):
        sections = {"contexts_per_shard": 2, **parallel}
        config = config_in(tmp_path / name, parallel=sections)
        found = place_of(config, engine)
        found.join_ray = lambda _address: world.cluster.join()
        return found

    engine = Runtime.load().open_engine(ModelSpec("tiny", dtype="float32", device="cpu"))
    try:
        here = place("here")
        run_study(here)
        shutil.copytree(tmp_path / "here", tmp_path / "there")
        paths = StudyFolder(tmp_path / "there")
        (paths.of_step("discover") / "discover.done.json").unlink()
        shutil.rmtree(paths.shards)
        paths.candidates.unlink()
        with Crowd(world.url, "/v1/completions", WRITE, n=1) as crowd:
            do_step(place("there", backend="ray", workers=1), "discover")
    finally:
        engine.close()
    same_table(paths.candidates, here.folder.candidates)
    assert crowd.statuses == {200}
    assert not crowd.broken


def test_a_promotion_by_one_replica_reaches_all_within_five_seconds(world, database):
    (world.folder / "models.py").write_text(
        "def constant(features):\n    return {'prediction': 0.25, 'confidence': 0.5}\n"
    )
    settings = {**world.plan.settings, "engine.model": "none"}
    runtime = Runtime.load(settings)
    registry = runtime.registry(is_strict=False)
    schema = {"features": [{"name": "text", "type": "text"}]}
    offer = Offer(f"{world.folder}/models.py:constant", name="constant", input_schema=schema)
    number = runtime.registrar(registry).register(offer, actor="test").version.number

    def only(name):
        """Whether both replicas answer by this version."""
        answers = answers_of_both(world.url, PREDICT, FEATURES)
        assert {each.status_code for each in answers} == {200}
        return {each.json()["model_version"] for each in answers} == {name}

    with Client(world.url) as client:
        before = client.predict({"text": "a good book"}).model_version
        for move, name in (
            (lambda: client.move_alias("champion", number, expected=1), "constant"),
            (
                lambda: registry.rollback(
                    "default", expected_champion=number, actor="test", reason="worse"
                ),
                before,
            ),
        ):
            move()
            assert seconds_until(lambda name=name: only(name), every_s=0.1) < REACH_S
    registry._database.close()


def test_replicas_outlive_an_absence_of_postgres(world, postgres, database):
    before = pids(world)
    with Crowd(world.url, PREDICT, FEATURES, n=2) as crowd:
        until(lambda: len(crowd.answers) > 5)
        postgres.stop()
        # Longer than Ray's health check has patience for one that is ill.
        time.sleep(20.0)
        written = httpx.post(f"{world.url}/v1/completions", json=WRITE, timeout=60)
        postgres.start()
        n = len(crowd.answers)
        until(lambda: [each.status_code for each in crowd.answers[n:]][-5:] == [200] * 5)
    assert written.status_code == 200
    assert not crowd.broken
    assert crowd.statuses == {200, 503}
    assert {each.headers["content-type"] for each in crowd.answers if each.status_code == 503} == {
        "application/problem+json"
    }
    assert pids(world) == before
    answered = [each.json()["request_id"] for each in crowd.answers if each.status_code == 200]
    assert not_recorded(database, answered) == set()


def test_another_takes_the_place_of_a_replica_that_was_killed(whole):
    victim = min(pids(whole))
    os.kill(victim, signal.SIGKILL)
    until(lambda: n_ready(whole) == 2 and victim not in pids(whole), 120)
    answers = answers_of_both(whole.url, "/v1/completions", WRITE)
    assert {each.status_code for each in answers} == {200}
