"""An agent's way to the model over standard input and HTTP, driven by the SDK's own client."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.techniques.local.backend import running
from tests.e2e.mcp_talk import refused, told, use_it_all
from tests.waiting import PATIENCE_S

mcp = pytest.importorskip("mcp")

import httpx2  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402

# The SDK's dependencies deprecate what they themselves still use.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


def environment(folder):
    return {
        "GLASSBOX_PATHS__WORKERS": str(folder / "workers"),
        "GLASSBOX_STORAGE__URL": f"sqlite:///{folder}/keys.db",
        "GLASSBOX_TECHNIQUES__FOLDER": str(folder / "techniques"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def end_workers(folder):
    for state in running(folder / "workers"):
        with suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)


async def test_over_standard_input_as_an_agent_starts_it(tmp_path):
    parameters = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "glassbox", "mcp", "--model", "tiny", "--allow-code"],
        env=environment(tmp_path),
        cwd=tmp_path,
    )
    try:
        async with mcp.Client(parameters, read_timeout_seconds=120) as session:
            await use_it_all(session)
    finally:
        end_workers(tmp_path)


@asynccontextmanager
async def listening(folder, python, *words):
    """The server's address, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(  # noqa: ASYNC220  it returns at once
        [python / "python", "-m", "glassbox", "mcp", "--http", "--port", str(port), *words],
        env={**os.environ, **environment(folder)},
        cwd=folder,
        stderr=subprocess.PIPE,
    )
    try:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        # As a service manager ends it; Ctrl-C goes the same way.
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        end_workers(folder)


async def test_over_http_on_this_machine_with_the_secret_of_the_server(tmp_path, warm):
    async with listening(tmp_path, warm, "--allow-code") as url:
        until = time.monotonic() + PATIENCE_S
        # The port is there before its secret.
        while not (found := list((tmp_path / "techniques" / "servers").glob("*.secret"))):
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
        (file,) = found
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        given = {"authorization": f"Bearer {file.read_text().strip()}"}
        async with (
            httpx2.AsyncClient(headers=given, timeout=120) as carrier,
            mcp.Client(
                streamable_http_client(url, http_client=carrier), read_timeout_seconds=120
            ) as session,
        ):
            await use_it_all(session)
        async with httpx.AsyncClient() as plain:
            elsewhere = await plain.post(
                url, json={}, headers={**given, "origin": "http://evil.example"}
            )
            rebound = await plain.post(url, json={}, headers={**given, "host": "evil.example"})
            stranger = await plain.post(url, json={})
            guessed = await plain.post(url, json={}, headers={"authorization": "Bearer gbl_x"})
        assert elsewhere.status_code == 403
        assert rebound.status_code == 421
        assert (stranger.status_code, guessed.status_code) == (401, 401)
        assert "Authorization: Bearer" in stranger.json()["detail"]
    assert not file.exists()


async def test_over_http_behind_keys(tmp_path, warm):
    store = KeyStore(open_database(f"sqlite:///{tmp_path}/keys.db"))
    _, secret = store.create("agent", ["techniques"])
    _, other = store.create("reader", ["predict"])
    async with listening(tmp_path, warm) as url, httpx.AsyncClient() as plain:
        without = await plain.post(url, json={})
        wrong = await plain.post(url, json={}, headers={"authorization": f"Bearer {other}"})
        assert (without.status_code, wrong.status_code) == (401, 403)
        assert "glassbox keys create" in without.json()["detail"]
        assert without.headers["www-authenticate"].startswith("Bearer")
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {
            "authorization": f"Bearer {secret}",
            "accept": "application/json, text/event-stream",
        }
        let_in = await plain.post(url, json=ping, headers=headers)
        assert let_in.status_code not in (401, 403)


@asynccontextmanager
async def agent_with(url, secret):
    """A session of whoever holds a key."""
    given = {"authorization": f"Bearer {secret}"}
    async with (
        httpx2.AsyncClient(headers=given, timeout=120) as carrier,
        mcp.Client(
            streamable_http_client(url, http_client=carrier), read_timeout_seconds=120
        ) as session,
    ):
        yield session


async def test_over_http_whoever_calls_has_runs_and_sessions_of_its_own(tmp_path, warm):
    store = KeyStore(open_database(f"sqlite:///{tmp_path}/keys.db"))
    (_, first), (_, second) = (store.create(name, ["techniques"]) for name in ("one", "two"))
    words = {"name": "token_surprisal", "arguments": {"text": "A private text"}, "wait_s": 60}
    async with listening(tmp_path, warm) as url:
        async with agent_with(url, first) as one, agent_with(url, second) as two:
            run = {"run_id": told(await one.call_tool("run_technique", words))["run_id"]}
            assert told(await two.call_tool("list_runs")).get("runs", []) == []
            for tool in ("get_run", "fetch_result", "cancel_run"):
                assert refused(await two.call_tool(tool, run))["code"] == "unknown-name"
            referring = {**words, "arguments": {"text": {"$run": run["run_id"]}}}
            answer = refused(await two.call_tool("run_technique", referring))
            assert answer["code"] == "unknown-name"
            assert told(await one.call_tool("fetch_result", run))["run_id"] == run["run_id"]
        async with httpx.AsyncClient() as plain:
            headers = {"accept": "application/json, text/event-stream"}
            begin = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "initialize",
                "params": {
                    "protocolVersion": "2025-03-26",
                    "capabilities": {},
                    "clientInfo": {"name": "test", "version": "1"},
                },
            }
            ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
            mine = {**headers, "authorization": f"Bearer {first}"}
            begun = await plain.post(url, json=begin, headers=mine)
            session = {"mcp-session-id": begun.headers["mcp-session-id"]}
            theirs = {**headers, "authorization": f"Bearer {second}"}
            taken = await plain.post(url, json=ping, headers=theirs | session)
            own = await plain.post(url, json=ping, headers=mine | session)
        assert (taken.status_code, own.status_code) == (404, 200)
