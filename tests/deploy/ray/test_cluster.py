"""A cluster as this program sees it, where none has to be started to find out."""

from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from glassbox.deploy.ray import cluster as cluster_module
from glassbox.deploy.ray.cluster import Cluster, check_room, free_port
from glassbox.deploy.ray.plan import RayPlan, Share
from glassbox.deploy.ray.serve_config import IMPORT_PATH
from glassbox.errors import CapacityError, ConflictError, DeadlineExceeded

ZERO = "0" * 64


class PretendServe:
    """Ray Serve's client, which remembers."""

    def __init__(self, applications):
        self.http_config = SimpleNamespace(host="0.0.0.0", port=9000)
        self.applications = applications
        self.deployed = None
        self.deleted = []

    def get_serve_details(self):
        return {"applications": self.applications}

    def deploy_apps(self, schema):
        self.deployed = schema

    def delete_apps(self, names, *, blocking):
        assert blocking
        self.deleted += names


def ours(status="RUNNING", digest=ZERO):
    config = {"user_config": {"bundle": "/b", "digest": digest}, "name": "Replica"}
    return {
        "status": status,
        "message": "words",
        "route_prefix": "/",
        "deployed_app_config": {
            "import_path": IMPORT_PATH, "name": "glassbox", "deployments": [config]
        },
    }  # fmt: skip


@pytest.fixture
def world(monkeypatch, tmp_path):
    pytest.importorskip("ray.serve")

    def make(applications, resources=None):
        client = PretendServe(applications)
        ray = ModuleType("ray")
        ray.cluster_resources = lambda: resources or {"CPU": 8.0}
        told = []
        monkeypatch.setattr(Cluster, "join", lambda self: ray)
        monkeypatch.setattr(Cluster, "_client", staticmethod(lambda: client))
        monkeypatch.setattr(
            cluster_module, "verify_bundle", lambda _: SimpleNamespace(check=lambda _: None)
        )
        import ray._private.state as state

        monkeypatch.setattr(state, "actors", dict)
        return Cluster("auto", say=told.append), client, told

    return make


def test_other_applications_are_deployed_along_or_they_would_end(world):
    beside = {"name": "beside", "import_path": "a:b", "route_prefix": "/beside"}
    other = {"route_prefix": "/beside", "deployed_app_config": beside}
    imperative = {"route_prefix": "/run", "deployed_app_config": None}
    cluster, client, told = world({"glassbox": ours(), "beside": other, "run": imperative})
    state = cluster.deploy(RayPlan("/b", ZERO, ZERO))
    assert [each.name for each in client.deployed.applications] == ["beside", "glassbox"]
    assert client.deployed.applications[1].args["host"] == "0.0.0.0"
    assert "listens on 0.0.0.0:9000 already" in told[0]
    assert state.address == "http://127.0.0.1:9000"


def test_a_name_or_path_that_another_application_has_is_refused(world):
    foreign = {"route_prefix": "/x", "deployed_app_config": {"import_path": "a:b"}}
    cluster, client, _ = world({"glassbox": foreign})
    for call in (
        lambda: cluster.deploy(RayPlan("/b", ZERO, ZERO)),
        lambda: cluster.destroy("glassbox"),
    ):
        with pytest.raises(ConflictError, match="'glassbox' is taken"):
            call()
    assert client.deployed is None
    assert not client.deleted
    cluster, client, _ = world({"first": {"route_prefix": "/", "deployed_app_config": {}}})
    with pytest.raises(ConflictError, match="'first' of this cluster answers under '/'"):
        cluster.deploy(RayPlan("/b", ZERO, ZERO))


def test_what_does_not_come_up_is_said(world):
    cluster, *_ = world({"glassbox": ours("DEPLOY_FAILED")})
    down = "'glassbox deploy ray --address auto --destroy' takes it down"
    with pytest.raises(ConflictError, match=rf"does not come up \(DEPLOY_FAILED\): words .*{down}"):
        cluster.deploy(RayPlan("/b", ZERO, ZERO))
    cluster, *_ = world({"glassbox": ours("DEPLOYING")})
    with pytest.raises(
        DeadlineExceeded,
        match=r"within 0\.1 s \(DEPLOYING: words\).*--address auto --status'",
    ):
        cluster.deploy(RayPlan("/b", ZERO, ZERO), timeout_s=0.1)
    cluster, *_ = world({"shop": ours("DEPLOYING")})
    with pytest.raises(DeadlineExceeded, match=r"--address auto --name shop --status'"):
        cluster.deploy(RayPlan("/b", ZERO, ZERO, name="shop"), timeout_s=0.1)
    with pytest.raises(DeadlineExceeded, match="ends with the program that started it"):
        replace(cluster, address="local").deploy(
            RayPlan("/b", ZERO, ZERO, name="shop", port=free_port()), timeout_s=0.1
        )


def test_who_stops_waiting_is_told_that_the_cluster_goes_on(world, monkeypatch):
    def stop(_seconds):
        raise KeyboardInterrupt

    cluster, client, told = world({"glassbox": ours("DEPLOYING")})
    monkeypatch.setattr(cluster_module.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        cluster.deploy(RayPlan("/b", ZERO, ZERO))
    assert client.deployed is not None
    assert "goes on with it; 'glassbox deploy ray --address auto --status'" in told[-1]


def test_a_cluster_that_grows_is_waited_for(world):
    cluster, client, _ = world({"glassbox": ours()}, {"CPU": 1.0})
    wide = RayPlan("/b", ZERO, ZERO, share=Share(num_gpus=1.0))
    with pytest.raises(CapacityError, match="--may-grow"):
        cluster.deploy(wide)
    assert client.deployed is None
    cluster.deploy(wide, may_grow=True)
    assert client.deployed is not None


def test_what_is_not_there_is_not_taken_down(world):
    cluster, client, _ = world({"other": ours()})
    assert not cluster.destroy("glassbox")
    assert cluster.status("glassbox") is None
    assert not client.deleted


def test_an_update_that_has_no_room_for_one_more_says_so_instead_of_waiting(world):
    args = {"core": ZERO, "host": "0.0.0.0", "most_replicas": 2}
    running = ours()
    running["deployed_app_config"]["args"] = args
    cluster, client, _ = world({"glassbox": running}, {"CPU": 2.0})
    cluster.deploy(RayPlan("/b", ZERO, ZERO, replicas=2))
    other = RayPlan("/b", ZERO, "1" * 64, replicas=2)
    client.deployed = None
    with pytest.raises(
        CapacityError, match=r"3 replica\(s\) .* for the time of the update .*--no-surge"
    ):
        cluster.deploy(other)
    assert client.deployed is None
    cluster.deploy(replace(other, surge=False))
    cluster.deploy(other, may_grow=True)


def test_room_is_counted_for_the_first_replicas():
    plan = RayPlan("/b", ZERO, ZERO, replicas=3, share=Share(0.5, 2.0))
    check_room({"CPU": 6.0, "GPU": 1.5}, plan)
    with pytest.raises(CapacityError, match=r"3 replica\(s\) with 2 CPU each need 6 CPU; .* has 5"):
        check_room({"CPU": 5.0, "GPU": 2.0}, plan)
    with pytest.raises(CapacityError, match="has 1"):
        check_room({"CPU": 6.0, "GPU": 1.0}, plan)
    typed = RayPlan("/b", ZERO, ZERO, share=Share(1.0, accelerator="L4"))
    with pytest.raises(CapacityError, match="there are: T4"):
        check_room({"accelerator_type:T4": 1.0, "GPU": 1.0}, typed)


def test_a_port_that_somebody_has_is_said_before_a_cluster_is_started(monkeypatch):
    import socket

    def never(_cluster):
        raise AssertionError("a cluster was started")

    pytest.importorskip("ray.serve")
    monkeypatch.setattr(Cluster, "join", never)
    monkeypatch.setattr(
        cluster_module, "verify_bundle", lambda _: SimpleNamespace(check=lambda _: None)
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CapacityError, match=rf"cannot listen on 127.0.0.1:{port} .*in use"):
            Cluster("local").deploy(RayPlan("/b", ZERO, ZERO, port=port))
    assert 0 < free_port() < 65536
