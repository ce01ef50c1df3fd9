"""Every test runs offline, in a clean environment, on one thread, with shapes and types checked."""

import gc
import os
import socket
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests import postgres as pg
from tests.typecheck import check, lean
from tests.warm import warm_programs

# These are read when the libraries are imported, so a fixture would come too late.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OMP_NUM_THREADS", "1")

jaxtyping.jaxtyped = lean
jaxtyping.install_import_hook("glassbox", f"{check.__module__}.{check.__name__}")

# A busy machine is no reason to fail: neither a deadline nor the check for slow data is kept.
_PATIENT = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("local", _PATIENT)
hypothesis_settings.register_profile("ci", _PATIENT, derandomize=True, print_blob=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "local")

LOOPBACK = ("127.", "::1", "localhost")
TEST_DATA = os.environ.get("GLASSBOX_TEST_DATA", "")


LONG = (
    "tests/docs/", "tests/contracts/", "tests/deploy/", "tests/techniques/local/", "tests/e2e/",
    "tests/rollout/shadow/", "tests/engine/batching/", "tests/engine/fitting/", "tests/examples/",
    "tests/infra/", "tests/pathways/orchestration/", "tests/pathways/replay/",
    "tests/server/fleet/", "tests/server/process/", "tests/server/techniques/",
    "tests/server/routes/", "tests/server/translation/", "tests/server/test_openapi_fuzz.py",
    "tests/stats/calibration/", "tests/cli/test_start_up.py", "tests/test_other_device.py",
    "tests/rollout/drift/", "tests/techniques/library/",
)  # fmt: skip
"""Where single files take half a minute: begun first, so that no process is left alone with one."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage among what tests make, and not among the million objects that stay anyway.

    To look at those again and again takes a fifth of the time of the collection of the tests, and
    a second of each test that collects garbage itself.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first, everything else in the order it has."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


class NetworkBlocked(RuntimeError):
    """A test tried to leave this machine."""


def _require_loopback(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name is not None and not (isinstance(name, str) and name.startswith(LOOPBACK)):
        raise NetworkBlocked(f"tests have no network; this one asked for {name!r}")


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    sendto, getaddrinfo = socket.socket.sendto, socket.getaddrinfo

    def require(sock: socket.socket, address: object) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            _require_loopback(address[0])

    def guarded_connect(self, address):
        require(self, address)
        return connect(self, address)

    def guarded_connect_ex(self, address):
        require(self, address)
        return connect_ex(self, address)

    def guarded_sendto(self, *args):
        require(self, args[-1])
        return sendto(self, *args)

    def guarded_getaddrinfo(host, *args, **kwargs):
        _require_loopback(host)
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket.socket, "sendto", guarded_sendto)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("GLASSBOX_") or name in ("HF_TOKEN", "HF_ENDPOINT", "COLUMNS"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real data; a test that asks for it is skipped where there is none."""
    if not TEST_DATA:
        pytest.skip("GLASSBOX_TEST_DATA is not set: no real data on this machine")
    folder = Path(TEST_DATA)
    if not folder.is_dir():
        pytest.skip(f"GLASSBOX_TEST_DATA is {TEST_DATA}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Address of a PostgreSQL server's first database; skips where none is installed."""
    programs = pg.programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs (initdb, pg_ctl) are not installed")
    with pg.postgres(programs) as url:
        yield url


@pytest.fixture(scope="session")
def warm() -> Iterator[Path]:
    """A folder with a ``glassbox`` and a ``python`` whose workers need not load libraries anew."""
    with tempfile.TemporaryDirectory(prefix="gb") as short, warm_programs(Path(short)) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; skips where it, or playwright, is missing."""
    # Imported late: what is not there must skip those tests alone.
    from tests.browser import chromium

    with chromium() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a database that is empty and this test's own, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/glassbox.db"
    return pg.new_database(request.getfixturevalue("postgres_url"))
