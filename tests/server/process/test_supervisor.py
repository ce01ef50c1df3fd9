"""The parent process: a child that falls is replaced, one that ends on purpose is not."""

import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from glassbox.cli import main as shell
from glassbox.server.process.service_manager import tell_ready
from glassbox.server.process.supervisor import STUCK
from tests.waiting import PATIENCE_S, until

PARENT = """
import socket, sys
from glassbox.server.process.supervisor import Supervisor
listener = socket.create_server(("127.0.0.1", 0))
child = [sys.executable, "-c", sys.argv[1]]
silent_s = float(sys.argv[2])
sys.exit(Supervisor(child, listener, lambda line: print(line, flush=True), silent_s=silent_s).run())
"""

CHILD = """
import os, sys, time, signal, pathlib
from glassbox.server.process.supervisor import Leash
leash = Leash(sys.argv[1])
count = pathlib.Path("count")
n = int(count.read_text()) if count.exists() else 0
count.write_text(str(n + 1))
"""


def run(tmp_path, body, silent_s=60.0, parent=PARENT):
    """Return exit status and what a parent over this child said."""
    process = start(tmp_path, body, silent_s, parent)
    said, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, said


def start(tmp_path, body, silent_s=60.0, parent=PARENT):
    source = os.fspath(type(tmp_path)(shell.__file__).parents[2])
    code = CHILD + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", parent, code, str(silent_s)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.PIPE,
        text=True,
    )


def lives(tmp_path):
    return int((tmp_path / "count").read_text())


def test_a_child_that_falls_after_it_was_ready_is_replaced(tmp_path):
    code, said = run(
        tmp_path,
        f"""
        leash.ready()
        time.sleep(0.3)
        if n == 0: os._exit(3)
        if n == 1: os._exit({STUCK})
        if n == 2: os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(0)
        """,
    )
    assert (code, lives(tmp_path)) == (0, 4)
    assert "ended unasked with status 3; it starts again" in said
    assert "did not let go of the model" in said
    assert "was ended by signal 9" in said


def test_the_service_manager_hears_of_the_parent_that_the_child_is_ready(tmp_path, monkeypatch):
    place = tmp_path / "told"
    monkeypatch.setenv("NOTIFY_SOCKET", str(place))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(place))
        line.settimeout(PATIENCE_S)
        code, _ = run(tmp_path, "leash.ready(); time.sleep(1.5); sys.exit(0)")
        assert (code, line.recv(100)) == (0, b"READY=1")


def test_a_service_manager_that_has_gone_hinders_nobody(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{tmp_path.name}")
    tell_ready()
    assert "does not hear" in caplog.text


def test_a_child_that_falls_again_and_again_is_given_up(tmp_path):
    code, said = run(tmp_path, "leash.ready(); time.sleep(0.2); os._exit(3)")
    assert (code, lives(tmp_path)) == (1, 6)
    assert "it is not started again" in said


LATE = """
import subprocess
class OverBeforeItIsWatched(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.wait()
subprocess.Popen = OverBeforeItIsWatched
"""


def test_a_child_that_fell_at_once_after_it_was_ready_is_replaced(tmp_path):
    body = "leash.ready(); os._exit(3 if n == 0 else 0)"
    code, said = run(tmp_path, body, parent=LATE + PARENT)
    assert (code, lives(tmp_path)) == (0, 2)
    assert "ended unasked with status 3; it starts again" in said


def test_a_child_that_never_got_ready_is_not_started_again(tmp_path):
    code, _ = run(tmp_path, "sys.exit(2)")
    assert (code, lives(tmp_path)) == (2, 1)


def test_a_death_by_a_signal_is_no_success(tmp_path):
    code, _ = run(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert (code, lives(tmp_path)) == (128 + signal.SIGKILL, 1)


def test_a_child_that_holds_the_interpreters_lock_is_ended(tmp_path):
    code, said = run(
        tmp_path,
        """
        leash.ready()
        time.sleep(0.3)
        if n == 0:
            sys.setswitchinterval(1e6)
            while True: pass
        sys.exit(0)
        """,
        silent_s=8.0,
    )
    assert (code, lives(tmp_path)) == (0, 2)
    assert "silent for 8 s" in said


def test_a_signal_is_handed_on_once(tmp_path):
    parent = start(
        tmp_path,
        """
        def stop(*_):
            pathlib.Path("told").write_text("1")
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        leash.ready()
        pathlib.Path("ready").write_text("1")
        time.sleep(600)
        """,
    )
    until((tmp_path / "ready").exists)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(PATIENCE_S) == 0
    assert (tmp_path / "told").exists()
    assert lives(tmp_path) == 1
    assert parent.stdout is not None
    parent.stdout.close()


EARLY = """
import os, signal, subprocess
class ToldToStopMeanwhile(subprocess.Popen):
    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        os.kill(os.getpid(), signal.SIGTERM)
subprocess.Popen = ToldToStopMeanwhile
"""


def test_a_signal_that_comes_while_a_child_is_started_is_not_lost(tmp_path):
    source = os.fspath(type(tmp_path)(shell.__file__).parents[2])
    stopped = subprocess.run(
        [sys.executable, "-c", EARLY + PARENT, "import time; time.sleep(600)", "60"],
        env={**os.environ, "PYTHONPATH": source},
        timeout=PATIENCE_S,
    )
    assert stopped.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_child_ends_when_its_parent_has_gone(tmp_path):
    parent = start(
        tmp_path,
        """
        def stop(*_):
            pathlib.Path("gone").write_text("1")
            os._exit(0)
        signal.signal(signal.SIGTERM, stop)
        leash.ready()
        pathlib.Path("ready").write_text("1")
        time.sleep(600)
        """,
    )
    until((tmp_path / "ready").exists)
    parent.kill()
    parent.wait(PATIENCE_S)
    until((tmp_path / "gone").exists)
    assert parent.stdout is not None
    parent.stdout.close()
