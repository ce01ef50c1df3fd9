"""What only a cluster that stays shows: ``serve deploy`` of our file, and want of memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from glassbox import Client
from tests.bundles import make
from tests.deploy.ray.worlds import Crowd, not_recorded, until

pytest.importorskip("ray.serve")

from glassbox.deploy.ray.cluster import free_port
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow

PROGRAMS = Path(sys.executable).parent
WRITE = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
PREDICT = "/api/v2/models/predict"
GIB = 2**30


@dataclass(frozen=True)
class Head:
    """One machine with the head of a cluster, and what is typed there."""

    folder: Path
    address: str
    dashboard: str
    environment: dict[str, str]

    def type(self, program: str, *words: str) -> tuple[int, str]:
        """Return how a command ended and all that it said."""
        done = subprocess.run(
            [str(PROGRAMS / program), *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        return done.returncode, done.stdout


@contextmanager
def head(folder: Path, **variables: str) -> Iterator[Head]:
    """Start Ray as ``ray start --head`` does, and end it with everything in it."""
    gcs, dashboard = free_port(), free_port()
    environment = {
        **os.environ,
        "GLASSBOX_STORAGE__URL": f"sqlite:///{folder}/glassbox.db",
        "GLASSBOX_PATHS__VERSIONS": str(folder / "versions"),
        "GLASSBOX_PATHS__BUNDLES": str(folder / "cache"),
        "GLASSBOX_ENGINE__THREADS": "1",
        "GLASSBOX_AUDIT__DURABILITY": "strict",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "a" * 64,
        **variables,
    }
    # Paths of its sockets may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="gbray", dir="/tmp") as place:
        command = [
            str(PROGRAMS / "ray"), "start", "--head", "--block", "--num-cpus=2",
            f"--port={gcs}", f"--dashboard-port={dashboard}", f"--temp-dir={place}",
            f"--dashboard-agent-listen-port={free_port()}",
            f"--ray-client-server-port={free_port()}",
            f"--object-store-memory={256 * 2**20}", "--disable-usage-stats",
        ]  # fmt: skip
        with (folder / "ray.log").open("wb") as log:
            ray = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
            try:
                until(lambda: "Ray runtime started" in (folder / "ray.log").read_text(), 90)
                address = f"127.0.0.1:{gcs}"
                yield Head(folder, address, f"http://127.0.0.1:{dashboard}", environment)
            finally:
                ray.terminate()
                ray.wait(PATIENCE_S)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_the_file_is_what_serve_deploy_takes(tmp_path):
    bundle, _ = make(tmp_path, verifier=None, adapters={})
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    asked = ("--bundle", str(bundle), "--num-cpus", "0.5", "--port", str(port))
    with head(tmp_path) as ray:
        there = ("--address", ray.address)
        code, said = ray.type("glassbox", "deploy", "ray", *asked, "--write-config", "serve.yaml")
        assert (code, "serve deploy serve.yaml" in said) == (0, True), said
        code, said = ray.type("serve", "deploy", "--address", ray.dashboard, "serve.yaml")
        assert code == 0, said
        until(lambda: is_ready(url), 120)
        with Client(url) as client:
            assert client.classify(["a good book"], model="sentiment").data[0].label
        code, said = ray.type("glassbox", "deploy", "ray", *there, "--status")
        assert (code, "glassbox: RUNNING, 1 of 1 replica," in said) == (0, True), said
        # The command finds what the file has deployed: there is nothing to change.
        code, said = ray.type("glassbox", "deploy", "ray", *there, *asked)
        assert (code, "Ready: glassbox, 1 of 1 replica," in said) == (0, True), said
        code, said = ray.type("glassbox", "deploy", "ray", *there, "--destroy")
        assert (code, "Took 'glassbox' down" in said) == (0, True), said
        code, said = ray.type("glassbox", "deploy", "ray", *there, "--status")
        assert (code, "Nothing runs as 'glassbox'" in said) == (7, True), said


def test_a_replica_that_ray_ends_for_want_of_memory_says_so_and_is_replaced(tmp_path):
    memory = psutil.virtual_memory()
    if memory.available < 10 * GIB:
        pytest.skip("less than 10 GiB of memory are free")
    bundle, _ = make(tmp_path, verifier=None, adapters={})
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    asked = ("--bundle", str(bundle), "--num-cpus", "0.5", "--port", str(port))
    # Room for the cluster and its replica; what is used beyond is too much.
    limit = (memory.total - memory.available + 4 * GIB) / memory.total
    variables = {"RAY_memory_usage_threshold": f"{limit:.4f}"}
    with head(tmp_path, **variables) as ray:
        there = ("--address", ray.address)
        code, said = ray.type("glassbox", "deploy", "ray", *there, *asked)
        assert code == 0, said
        with Crowd(url, PREDICT, {"features": {"text": "a good book"}}, n=2) as crowd:
            until(lambda: len(crowd.answers) > 5)
            ballast, n = [], 0
            while len(ballast) < 6 and crowd.statuses == {200} and len(crowd.answers) > n:
                n = len(crowd.answers)
                ballast.append(np.ones(GIB // 8))
                # Ray looks every quarter of a second; without a replica nobody is answered.
                time.sleep(3.0)
            assert crowd.statuses != {200} or len(crowd.answers) == n, "nobody was ended"
            ballast.clear()
            n = len(crowd.answers)
            until(lambda: [each.status_code for each in crowd.answers[n:]][-5:] == [200] * 5, 120)
        # Ray may end its own proxy along with the replica: then connections break.
        assert crowd.statuses <= {200, 503}
        answered = [each.json()["request_id"] for each in crowd.answers if each.status_code == 200]
        assert not_recorded(f"sqlite:///{tmp_path}/glassbox.db", answered) == set()
        code, said = ray.type("glassbox", "deploy", "ray", *there, "--status")
        assert (code, "out of memory: " in said) == (0, True), said
