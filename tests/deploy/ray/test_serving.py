"""The whole server in replicas on a real local cluster: its face, its updates, its accidents."""

import os
import shutil
import signal
import warnings
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest

from glassbox import Client
from glassbox.deploy.bundle import read_bundle
from glassbox.errors import CapacityError, ConflictError, CorruptArtifact, InvalidValue, UnknownName
from tests.bundles import ADAPTER, make
from tests.deploy.ray.worlds import Crowd, ray_cluster, until

pytest.importorskip("ray.serve")

from glassbox.deploy.ray import Cluster, RayPlan, Share
from glassbox.deploy.ray.cluster import free_port

PREDICT = "/api/v2/models/predict"
FEATURES = {"features": {"text": "a good book"}}
WRITE = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def small(tmp_path, out="bundle", **more):
    return make(tmp_path, out, verifier=None, **{"adapters": {"support": ADAPTER}, **more})[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    bundle = small(folder)
    with ray_cluster():
        told = []
        cluster = Cluster("local", say=told.append)
        plan = RayPlan.of(
            bundle,
            replicas=2,
            share=Share(num_cpus=0.4),
            port=free_port(),
            settings={
                "storage.url": f"sqlite:///{folder}/glassbox.db",
                "paths.versions": str(folder / "versions"),
                "paths.runs": str(folder / "runs"),
                "paths.bundles": str(folder / "cache"),
                "audit.durability": "strict",
                "server.observe_rate_limit": "",
                "engine.threads": 1,
            },
        )
        deployed = cluster.deploy(plan, timeout_s=200)
        yield SimpleNamespace(
            cluster=cluster, plan=plan, told=told, url=deployed.address, folder=folder
        )
        cluster.destroy(plan.name)


def pids(world):
    state = world.cluster.status(world.plan.name)
    return {each.pid for each in state.replicas if each.state == "RUNNING"}


def n_ready(world):
    return world.cluster.status(world.plan.name).n_ready


def test_the_face_is_that_of_the_plain_server(world):
    assert world.told[-1] == "2 of 2 replicas answer"
    with httpx.Client(base_url=world.url, timeout=60) as http:
        written = http.post("/v1/completions", json=WRITE, headers={"x-request-id": "mine"})
        assert written.status_code == 200
        assert written.headers.get_list("x-request-id") == ["mine"]
        unknown = http.get("/no/such/route")
        assert unknown.headers["content-type"] == "application/problem+json"
        assert unknown.json()["code"] == "no-such-route"
        wrong = http.post("/v1/completions", json={**WRITE, "max_tokens": -1})
        assert wrong.status_code == 400
        assert "max_tokens" in wrong.json()["error"]["message"]
        # By another name a page from elsewhere could reach a server that asks for no key.
        foreign = http.get("/v1/models", headers={"host": "example.org"})
        assert foreign.status_code == 421
    with Client(world.url) as client:
        assert client.classify(["a good book"], model="sentiment").data[0].label
        pieces = list(client.stream("Once upon a time", max_tokens=12))
        assert len(pieces) > 3
        with pytest.raises(UnknownName, match="nobody"):
            client.generate("a", model="nobody")


def test_a_hint_where_to_send_a_request_decides_nothing_else(world):
    def text(model, **headers):
        asked = {**WRITE, "model": model, "max_tokens": 16}
        answer = httpx.post(f"{world.url}/v1/completions", json=asked, headers=headers, timeout=60)
        body = answer.json()
        return body["choices"][0]["text"] if answer.status_code == 200 else body["error"]["code"]

    hints = {"serve_multiplexed_model_id": "support"}
    base, tuned = text("tiny"), text("support")
    assert base != tuned
    assert text("tiny", **hints) == base
    assert text("support", **hints) == tuned
    assert text("support", serve_multiplexed_model_id="nobody") == tuned
    # The header names an adapter that is there; the body one that is not.
    assert text("nobody", **hints) == "model_not_found"


def test_a_killed_replica_takes_no_acknowledged_request_with_it(world):
    before = pids(world)
    victim = min(before)
    with Crowd(world.url, PREDICT, FEATURES) as crowd:
        until(lambda: len(crowd.answers) > 20)
        os.kill(victim, signal.SIGKILL)
        n = len(crowd.answers)
        until(lambda: len(crowd.answers) > n + 20)
        until(lambda: n_ready(world) == 2 and victim not in pids(world))
    assert not crowd.broken
    assert crowd.statuses <= {200, 503}
    for each in crowd.answers:
        if each.status_code == 503:
            assert each.headers["content-type"] == "application/problem+json"
            assert each.json()["code"] in ("replica-lost", "not-ready")
            assert each.headers["retry-after"]
    with Client(world.url) as client:
        around = crowd.answers[max(0, n - 60) : n + 120]
        for each in [each for each in around if each.status_code == 200]:
            assert client.audit_record(each.json()["request_id"])
        assert client.audit_verification().broken is None
    state = world.cluster.status(world.plan.name)
    assert victim in {each.pid for each in state.fallen}
    assert "died" in state.fallen[0].reason


def test_other_adapters_reach_running_replicas(world):
    before = pids(world)
    both = small(
        world.folder, "both", adapters={"support": ADAPTER, "other": world.folder / "other-adapter"}
    )
    plan = replace(world.plan, bundle=str(both), digest=read_bundle(both).digest)
    assert RayPlan.of(both).core == plan.core
    with Crowd(world.url, "/v1/completions", WRITE, n=2) as crowd:
        until(lambda: len(crowd.answers) > 4)
        world.cluster.deploy(plan, timeout_s=60)
    assert crowd.statuses == {200}
    assert not crowd.broken
    assert pids(world) == before
    asked = {**WRITE, "model": "other"}
    answers = [httpx.post(f"{world.url}/v1/completions", json=asked) for _ in range(8)]
    assert {each.status_code for each in answers} == {200}
    assert len({each.headers["glassbox-replica"] for each in answers}) == 2
    # And back: what is gone is an error, never the base model.
    world.cluster.deploy(world.plan, timeout_s=60)
    gone = [httpx.post(f"{world.url}/v1/completions", json=asked) for _ in range(4)]
    assert {each.status_code for each in gone} == {404}


def test_what_cannot_be_is_said_before_anything_changes(world, tmp_path):
    before = pids(world)
    with pytest.raises(CapacityError, match=r"need 1 GPU; the cluster has no GPUs"):
        world.cluster.deploy(replace(world.plan, replicas=2, share=Share(num_gpus=0.5)))
    with pytest.raises(CapacityError, match="No machine of this cluster has a GPU of type 'A10G'"):
        world.cluster.deploy(replace(world.plan, share=Share(1.0, accelerator="A10G")))
    with pytest.raises(CapacityError, match="need 128 CPU; the cluster has 2"):
        world.cluster.deploy(replace(world.plan, share=Share(num_cpus=64.0)))
    damaged = tmp_path / "damaged"
    shutil.copytree(world.plan.bundle, damaged)
    (damaged / "adapters/support/adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(CorruptArtifact, match=r"adapter_model\.safetensors"):
        world.cluster.deploy(replace(world.plan, bundle=str(damaged)))
    with pytest.raises(ConflictError, match="'other' would"):
        world.cluster.deploy(replace(world.plan, name="other"))
    assert pids(world) == before


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_bundle_that_does_not_come_up_says_why_and_leaves_what_ran(world):
    before = pids(world)
    wrong = {**world.plan.settings, "storage.url": "nonsense://"}
    with pytest.raises(ConflictError, match=r"does not come up .*storage"):
        world.cluster.deploy(replace(world.plan, settings=wrong), timeout_s=200)
    assert httpx.post(f"{world.url}/v1/completions", json=WRITE).status_code == 200
    assert pids(world) & before
    world.cluster.deploy(world.plan, timeout_s=200)


@pytest.mark.slow
def test_replicas_follow_the_load(world):
    plan = replace(world.plan, replicas=1, min_replicas=1, max_replicas=2, target_ongoing=1)
    world.cluster.deploy(plan, timeout_s=100)
    until(lambda: n_ready(world) == 1, 100)
    with Crowd(world.url, "/v1/completions", {**WRITE, "max_tokens": 64}, n=8) as crowd:
        until(lambda: n_ready(world) == 2, 150)
    assert crowd.statuses == {200}
    world.cluster.deploy(world.plan, timeout_s=100)


@pytest.mark.slow
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


def test_a_cluster_open_to_others_needs_a_key():
    from glassbox.deploy.ray.replica import check_database, safe_host

    assert safe_host("127.0.0.1", "127.0.0.1") == "127.0.0.1"
    assert safe_host("0.0.0.0", "0.0.0.0") == "0.0.0.0"
    with pytest.raises(InvalidValue, match=r"host is '127.0.0.1'; allowed: 0.0.0.0"):
        safe_host("127.0.0.1", "0.0.0.0")
    check_database("sqlite:///a.db", most_replicas=4, n_nodes=1)
    check_database("postgresql+psycopg://db/glassbox", most_replicas=4, n_nodes=3)
    with pytest.raises(InvalidValue, match="PostgreSQL database where replicas are on several"):
        check_database("sqlite:///a.db", most_replicas=2, n_nodes=2)
