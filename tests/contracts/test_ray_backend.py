"""What Ray adds to the contract: replicas, names that others find, and scaling to zero."""

import os
import warnings
from dataclasses import replace
from types import ModuleType

import pytest

from glassbox.errors import (
    AccessDenied,
    CapacityError,
    DependencyMissing,
    InvalidValue,
    Unreachable,
)
from glassbox.techniques.container_spec import Container, container
from glassbox.techniques.remote import ray_cluster as ray_cluster_module
from glassbox.techniques.remote.ray_backend import RayBackend
from glassbox.techniques.worker_spec import WorkerSpec
from tests.contracts.backend_world import answer, call_of, ended, until

SPEC = WorkerSpec(model="tiny", app_name="replicas", dtype="float32", device="cpu", threads=1)


def untold(_doing, _share):
    """Progress that nobody watches."""


def where(model, tokenizer):
    import os

    return os.getpid()


def endless(model, tokenizer):
    import os
    import time

    print(os.getpid())  # noqa: T201
    while True:
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_there(ray, name):
    try:
        ray.get_actor(name, namespace="glassbox")
    except ValueError:
        return False
    return True


@pytest.mark.slow
def test_replicas_share_the_calls_are_found_again_and_go_when_idle(ray_cluster):
    idle = Container(scaledown_window_s=8)
    backend = RayBackend(SPEC, container=idle, replicas=2, num_cpus=0.1)
    told = []
    backend.start(lambda doing, share: told.append(doing))
    assert told[0] == "joining the Ray cluster"
    busy = backend.submit(call_of(endless))
    until(lambda: backend.run(busy.id).n_lines == 1)
    occupied = int(backend.run(busy.id).lines[0])
    assert occupied != os.getpid()
    # Whoever calls while one is occupied gets the other.
    free = {answer(backend, where) for _ in range(4)}
    assert len(free) == 1
    assert occupied not in free
    session = backend.open_session()
    assert {answer(backend, where, session=session) for _ in range(3)} == free
    backend.close_session(session)
    backend.cancel(busy.id)
    ended(backend, busy)
    same = RayBackend(SPEC, container=idle, replicas=2, num_cpus=0.1)
    assert {answer(same, where) for _ in range(4)} == free | {occupied}
    names = [each._plan.name for each in backend._replicas]
    assert all(_is_there(ray_cluster, name) for name in names)
    until(lambda: not any(_is_there(ray_cluster, name) for name in names))
    assert backend.run(busy.id).status == "lost"
    assert answer(backend, where) not in free | {occupied}
    backend.stop()
    assert not any(_is_there(ray_cluster, name) for name in names)


def test_a_cluster_of_our_own_has_what_the_machine_has(monkeypatch):
    small = ModuleType("small")
    small.is_initialized = lambda: True
    small.cluster_resources = lambda: {"CPU": 2.0}
    monkeypatch.setattr(ray_cluster_module, "ray_library", lambda: small)
    with pytest.raises(CapacityError, match=r"1 replica\(s\) with 1 GPU each need 1"):
        RayBackend(SPEC, container=container(gpu="any")[0]).start(untold)
    with pytest.raises(CapacityError, match="need 4; this machine's cluster has 2"):
        RayBackend(SPEC, replicas=4).start(untold)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_gpus": 2.0}, "num_gpus is 2.0"),
        ({"num_gpus": 0.0, "container": container(gpu="L4")[0]}, "more than 0 with gpu='L4'"),
        ({"num_cpus": 0.0}, "num_cpus is 0.0"),
        ({"replicas": 0}, "replicas is 0"),
    ],
)
def test_options_outside_what_is_allowed(options, match):
    with pytest.raises(InvalidValue, match=match):
        RayBackend(SPEC, **options)


def test_a_gpu_is_one_share_unless_a_fraction_is_asked_for():
    wanted, _ = container(gpu="A10G", image=["scipy"], min_containers=3)
    backend = RayBackend(SPEC, container=wanted, num_gpus=0.5)
    plans = [each._plan for each in backend._replicas]
    assert [each.idle_s for each in plans] == [None] * 3
    assert {(each.num_gpus, each.gpu, each.packages) for each in plans} == {
        (0.5, "A10G", ("scipy",))
    }
    assert RayBackend(SPEC, container=wanted)._plan.num_gpus == 1.0
    assert len({each.name for each in plans}) == 3
    other = RayBackend(replace(SPEC, app_name="other"))._replicas[0]._plan.name
    assert other.startswith("other-")


def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    def refuses(**_options):
        raise ConnectionError("ray.init: no such host\nmore")

    silent = ModuleType("silent")
    silent.is_initialized = lambda: False
    silent.init = refuses
    monkeypatch.setattr(ray_cluster_module, "ray_library", lambda: silent)
    with pytest.raises(Unreachable, match=r"at '10.0.0.1:6379' \(ray.init: no such host\)"):
        RayBackend(SPEC, address="10.0.0.1:6379").start(untold)
    with pytest.raises(Unreachable, match="could be started here"):
        RayBackend(SPEC).start(untold)
    with pytest.raises(InvalidValue, match="address is ''"):
        RayBackend(SPEC, address="").start(untold)


def test_a_cluster_that_asks_for_a_token_says_where_it_is(monkeypatch):
    library = pytest.importorskip("ray")

    def refuses(**_options):
        raise library.exceptions.AuthenticationError("no token")

    closed = ModuleType("closed")
    closed.is_initialized = lambda: False
    closed.init = refuses
    closed.exceptions = library.exceptions
    monkeypatch.setattr(ray_cluster_module, "ray_library", lambda: closed)
    with pytest.raises(AccessDenied, match=r"'auto' asks for its token \(no token.*auth_token"):
        RayBackend(SPEC, address="auto").start(untold)


def test_without_ray_the_extra_is_named(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(ray_cluster_module.importlib, "import_module", absent)
    with pytest.raises(DependencyMissing, match=r"glassbox-llm\[ray\]"):
        RayBackend(SPEC).start(untold)
