"""The whole server in replicas on a real local cluster: its face, its registry, its accidents."""

import os
import shutil
import signal
from dataclasses import replace

import httpx
import pytest

from glassbox import Client
from glassbox.deploy.bundle import read_bundle
from glassbox.errors import CapacityError, ConflictError, CorruptArtifact, InvalidValue, UnknownName
from tests.bundles import ADAPTER
from tests.deploy.ray.worlds import (
    FEATURES,
    PREDICT,
    WRITE,
    Crowd,
    answers_of_both,
    not_recorded,
    pids,
    small,
    until,
)

pytest.importorskip("ray.serve")

from glassbox.deploy.ray import RayPlan, Share

pytestmark = pytest.mark.usefixtures("quiet")


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


def test_registry_and_audit_are_one_for_all_replicas(world, database):
    with Client(world.url) as client:
        until(lambda: client.fleet().agreement.n_ready == 2)
        asked = [client.predict({"text": f"a good book, {at}"}) for at in range(12)]

        def all_agree() -> bool:
            fleet = client.fleet()
            ready = {each.pid for each in fleet.replicas if each.status == "ready"}
            told = {each.kind for each in fleet.warnings}
            return len(ready) == 2 and ready == pids(world) and told <= {"lost"}

        # A replica answers before the cluster's own list has it as running. One that the cluster
        # killed, as it was slow, gave its place to another and stays known as lost for a while.
        until(all_agree)
        # Whichever replica is asked knows what any of them answered.
        record = client.audit_record(asked[0].request_id)
        assert record.entry.model_version == asked[0].model_version
    assert not_recorded(database, [each.request_id for each in asked]) == set()


def test_other_adapters_reach_running_replicas(world):
    until(lambda: len(pids(world)) == 2)
    before = pids(world)
    both = small(
        world.folder, "both", adapters={"support": ADAPTER, "other": world.folder / "other-adapter"}
    )
    plan = replace(world.plan, bundle=str(both), digest=read_bundle(both).digest)
    assert RayPlan.of(both).core == plan.core
    with Crowd(world.url, "/v1/completions", WRITE, n=2) as crowd:
        until(lambda: len(crowd.answers) > 4)
        world.cluster.deploy(plan, timeout_s=120)
    assert crowd.statuses == {200}
    assert not crowd.broken
    assert pids(world) == before
    asked = {**WRITE, "model": "other"}
    answers = answers_of_both(world.url, "/v1/completions", asked)
    assert {each.status_code for each in answers} == {200}
    # And back: what is gone is an error, never the base model.
    world.cluster.deploy(world.plan, timeout_s=120)
    gone = answers_of_both(world.url, "/v1/completions", asked)
    assert {each.status_code for each in gone} == {404}


def test_what_cannot_be_is_said_before_anything_changes(world, tmp_path):
    until(lambda: len(pids(world)) == 2)
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


def replicas(world):
    """Serve's names of the replicas, whatever they do."""
    return {each.id for each in world.cluster.status(world.plan.name).replicas}


def test_a_killed_replica_takes_no_acknowledged_request_with_it(whole, database):
    before = replicas(whole)
    victim = min(pids(whole))
    with Crowd(whole.url, PREDICT, FEATURES) as crowd:
        until(lambda: len(crowd.answers) > 20)
        os.kill(victim, signal.SIGKILL)
        n = len(crowd.answers)
        until(lambda: len(crowd.answers) > n + 20)
        until(lambda: replicas(whole) - before)
    # Another one is on its way; the others answer meanwhile.
    assert not crowd.broken
    assert crowd.statuses <= {200, 503}
    for each in crowd.answers:
        if each.status_code == 503:
            assert each.headers["content-type"] == "application/problem+json"
            assert each.json()["code"] in ("replica-lost", "not-ready")
            assert each.headers["retry-after"]
    answered = [each.json()["request_id"] for each in crowd.answers if each.status_code == 200]
    assert not_recorded(database, answered) == set()
    state = whole.cluster.status(whole.plan.name)
    assert victim in {each.pid for each in state.fallen}
    assert "died" in state.fallen[0].reason


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
