"""Two replicas on a cluster of this machine, for each module that asks for them."""

import warnings
from types import SimpleNamespace

import pytest

from tests import postgres as pg
from tests.deploy.ray.worlds import n_ready, ray_cluster, small, until


@pytest.fixture
def quiet():
    """Ray leaves sockets and processes to the end of the program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """PostgreSQL, which a cluster of several machines needs; SQLite where it is not installed."""
    programs = pg.programs()
    if programs is None:
        yield f"sqlite:///{tmp_path_factory.mktemp('database')}/glassbox.db"
        return
    with pg.postgres(programs) as url:
        yield url


@pytest.fixture
def postgres(database):
    """What stops and starts the database of these replicas."""
    if database.startswith("sqlite"):
        pytest.skip("PostgreSQL's programs (initdb, pg_ctl) are not installed")
    programs = pg.programs()
    return SimpleNamespace(
        stop=lambda: pg.stop(programs, database), start=lambda: pg.start(programs, database)
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory, database):
    """Two replicas that answer; after an accident another one may be on its way."""
    pytest.importorskip("ray.serve")
    from glassbox.deploy.ray import Cluster, RayPlan, Share
    from glassbox.deploy.ray.cluster import free_port

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
                "storage.url": database,
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


@pytest.fixture
def whole(world):
    """The same, both of them there."""
    until(lambda: n_ready(world) == 2)
    return world
