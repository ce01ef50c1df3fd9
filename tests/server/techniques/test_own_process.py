"""``glassbox serve --techniques``: a real process, functions that take it down, its return."""

import signal

import httpx

from glassbox.techniques import transport, values
from glassbox.techniques.calls import FINAL, Call, Limits
from glassbox.techniques.remote.http_backend import HttpBackend
from tests.server.process.test_running import served
from tests.waiting import PATIENCE_S, until


def function(body):
    """Return a function that travels by value, as one that was typed in."""
    space = {}
    exec(f"def technique(model, tokenizer):\n    {body}\n", space)
    return space["technique"]


def call_of(body, **more):
    shipment = transport.ship(function(body))
    arguments = values.pack_arguments([], {})
    return Call(shipment.digest, "technique", arguments, shipment=shipment, **more)


def ended(client, run):
    def final():
        found = client.run(run.id, wait_s=5)
        return found if found.status in FINAL else None

    return run if run.status in FINAL else until(final, run)


def serving(tmp_path, mode, python):
    folder = {"GLASSBOX_TECHNIQUES__FOLDER": str(tmp_path / "techniques")}
    words = ("--model", "tiny", "--techniques", mode)
    return served(tmp_path, *words, python=python / "python", **folder)


def client_of(server, tmp_path):
    url = server.url
    port = url.rpartition(":")[2]
    secret_file = tmp_path / "techniques" / "servers" / f"{port}.secret"
    return HttpBackend(url, secret_file=secret_file, timeout_s=PATIENCE_S)


def test_a_function_that_ends_the_server_is_lost_and_the_server_comes_back(tmp_path, warm):
    with serving(tmp_path, "shared", warm) as server:
        server.until("Ready: ")
        client = client_of(server, tmp_path)
        run = ended(
            client, client.submit(call_of("return len(list(model.parameters()))"), wait_s=9)
        )
        assert values.unpack(run.result) > 10
        assert not client.model_info().is_isolated
        doomed = client.submit(call_of("import os; os._exit(3)"))
        lost = ended(client, doomed)
        assert lost.status == "lost"
        assert isinstance(lost.error.message, str)
        server.until("ended unasked with status 3; it starts again")
        again = ended(client, client.submit(call_of("return 7"), wait_s=9))
        assert values.unpack(again.result) == 7
        client.close()
        assert server.stop() == 0
        assert "Stopped." in "".join(server.log)


def test_functions_in_a_process_of_their_own_leave_the_server_alone(tmp_path, warm):
    with serving(tmp_path, "process", warm) as server:
        server.until("Ready: ")
        client = client_of(server, tmp_path)
        assert client.model_info().is_isolated
        lost = ended(client, client.submit(call_of("import os; os._exit(3)"), wait_s=9))
        assert lost.status == "lost"
        slow = client.submit(call_of("while True: pass", limits=Limits(wall_s=1.0)), wait_s=9)
        assert ended(client, slow).status in ("failed", "lost", "cancelled")
        again = ended(client, client.submit(call_of("return 7"), wait_s=9))
        assert values.unpack(again.result) == 7
        counted = httpx.get(f"{server.url}/metrics", timeout=PATIENCE_S).text
        assert 'technique_runs_total{model_name="tiny",status="succeeded"} 1.0' in counted
        assert 'technique_runs_total{model_name="tiny",status="lost"}' in counted
        client.close()
        assert server.stop(signal.SIGINT) == 0
