"""The backends of the contract, and a Ray cluster for each module that needs one."""

import tempfile
import warnings
from pathlib import Path

import pytest

from glassbox.techniques.container_spec import Container
from glassbox.techniques.worker_spec import WorkerSpec
from tests.contracts.backend_world import untold

SPEC = WorkerSpec(model="tiny", app_name="contract", dtype="float32", device="cpu", threads=1)
KINDS = ("desk", "local", "http", "modal", "ray")


@pytest.fixture(scope="module")
def ray_cluster():
    # Its processes are children of this one: other modules' tests count their own.
    ray = pytest.importorskip("ray")
    from glassbox.techniques.remote.ray_cluster import join

    with warnings.catch_warnings():
        # Ray leaves sockets and processes to the end of the program.
        warnings.simplefilter("ignore")
        join("local", num_cpus=2)
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def desk():
    from glassbox.techniques.running.open_desk import open_desk

    backend = open_desk(SPEC, untold)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def modal():
    pytest.importorskip("modal")
    from glassbox.techniques.remote.modal_backend import ModalBackend

    backend = ModalBackend(SPEC, rehearse=True)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def local():
    from glassbox.techniques.local.backend import LocalBackend

    # A socket's path has about 100 characters, and a test's folder may have more by itself.
    with tempfile.TemporaryDirectory(prefix="gb") as folder:
        backend = LocalBackend(SPEC, folder=Path(folder))
        yield backend
        backend.stop()
        backend.close()


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    from glassbox.techniques.running.open_desk import open_desk
    from tests.server.technique_worlds import technique_server

    desk = open_desk(SPEC, untold)
    with technique_server(desk, tmp_path_factory.mktemp("server")) as world:
        backend = world.client()
        yield backend
        backend.close()
    desk.close()


@pytest.fixture(scope="module")
def ray(ray_cluster):
    from glassbox.techniques.remote.ray_backend import RayBackend

    backend = RayBackend(SPEC, container=Container(min_containers=1))
    yield backend
    backend.stop()


@pytest.fixture(params=KINDS, scope="module")
def backend(request):
    found = request.getfixturevalue(request.param)
    found.start(untold)
    return found


@pytest.fixture(autouse=True)
def _quiet_ray(request):
    with warnings.catch_warnings():
        if "ray" in request.node.name:
            warnings.simplefilter("ignore")
        yield
