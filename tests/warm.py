"""Programs that find their libraries loaded: forks of one process that has imported them.

Each of them would load torch anew, which takes six seconds of processor time. What they do, print
and leave behind is the same: each is a process of its own, with the folder, environment, arguments,
streams and descriptors of whoever asked for it. What is asked for is a small process that stands
in front: it hands on what it is signalled, ends as its program ends, and the program ends with it.
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

LIBRARIES = ("torch", "transformers", "peft", "sklearn.linear_model", "scipy.stats", "sqlalchemy")
"""What commands would load; nothing of it begins a thread."""

ROOMS = (
    "cli.main",
    "runtime",
    "engine.resident",
    "confidence.pipeline",
    "introspection.verifier.verify",
    "techniques.local.process",
    "techniques.local.worker",
    "server.process.running",
    "server.start",
)
"""Parts of the package that draw in most of the rest."""

WORKER = "glassbox.techniques.local.worker"
_SHELL = "glassbox.cli.main"
MOST_DESCRIPTORS = 1024

MOST_KEPT = 100
"""Descriptors that one program is handed."""

_COMMAND = """#!{python} -ISB
import json, os, signal, socket, sys
{first}
def is_kept(number):
    try:
        return os.get_inheritable(number)
    except OSError:
        return False

kept = sorted({{0, 1, 2, *filter(is_kept, map(int, os.listdir("/proc/self/fd")))}})
asked = [sys.argv, kept, os.getcwd(), dict(os.environ)]
asked = json.dumps(asked).encode()
with socket.socket(socket.AF_UNIX) as desk:
    desk.connect({address!r})
    socket.send_fds(desk, [len(asked).to_bytes(8, "big")], kept)
    desk.sendall(asked)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, lambda number, _: desk.sendall(bytes([number])))
    # Whoever waits for the end of a stream waits for the program's.
    for each in kept:
        os.close(each)
    code = int(desk.makefile().readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""

_ALL_ELSE_IS_PYTHONS = """
words = [each for each in sys.argv[1:] if each != "-P"]
if words[:2] not in (["-m", "glassbox"], ["-m", {worker!r}]) and not words[0].endswith(".py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


@contextmanager
def warm_programs(folder: Path) -> Iterator[Path]:
    """Yield a folder whose ``glassbox`` is warm; its ``python`` is for that, workers and scripts.

    Args:
        folder: Where it is made; short, because the name of a socket has a hundred characters.
    """
    address = folder / "warm.sock"
    programs = {
        "glassbox": "",
        "python": _ALL_ELSE_IS_PYTHONS.format(python=sys.executable, worker=WORKER),
    }
    for name, first in programs.items():
        script = folder / name
        script.write_text(_COMMAND.format(python=sys.executable, address=str(address), first=first))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    words = [sys.executable, "-m", "tests.warm", str(address)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as desk:
        assert desk.stdout is not None
        assert desk.stdout.readline() == b"listening\n"
        yield folder


def main() -> None:
    """Answer each command by a fork, until nobody holds standard input."""
    for name in (*LIBRARIES, *(f"glassbox.{each}" for each in ROOMS)):
        importlib.import_module(name)
    # Else the first collection of each child would copy all that it looks at.
    gc.collect()
    gc.freeze()
    # Nobody asks how those ended that wait for the commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(sys.argv[1])
        listening.listen()
        print("listening", flush=True)  # noqa: T201
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            with connection:
                if not os.fork():
                    listening.close()
                    _tell_the_end(connection)


def _tell_the_end(connection: socket.socket) -> NoReturn:
    """Wait for one program, which may itself ask for others, and pass its exit code on."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, given, _, _ = socket.recv_fds(connection, 8, MOST_KEPT)
    asked = json.loads(connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
    child = os.fork()
    if not child:
        connection.close()
        _become(given, *asked)
    for each in given:
        os.close(each)
    end = os.pidfd_open(child)
    while end not in select.select([connection, end], [], [])[0]:
        if told := connection.recv(1):
            os.kill(child, told[0])
        else:
            os.killpg(child, signal.SIGKILL)
            break
    _, ended = os.waitpid(child, 0)
    with suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended))
    os._exit(0)


def _become(
    given: list[int], words: list[str], numbers: list[int], folder: str, environment: dict[str, str]
) -> NoReturn:
    """Be the program that was asked for, to the end of this process."""
    os.setsid()
    # Some of these numbers may be those that others are to have.
    apart = [fcntl.fcntl(each, fcntl.F_DUPFD, MOST_DESCRIPTORS // 2) for each in given]
    for each in given:
        os.close(each)
    for each, number in zip(apart, numbers, strict=True):
        os.dup2(each, number)
        os.close(each)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    command, *words = words
    # What it starts in its turn is warm, too.
    sys.executable = str(Path(sys.argv[1]).with_name("python"))
    # The checkout's root, from which this module was started, is nothing that a program sees.
    del sys.path[0], sys.modules["tests"]
    if command != sys.executable:
        sys.path.insert(0, str(Path(command).parent))
        sys.argv = [command, *words]
        _to_the_end(importlib.import_module(_SHELL).main)
    if words[0] == "-P":
        words = words[1:]
    else:
        sys.path.insert(0, folder if words[0] == "-m" else str(Path(words[0]).parent))
    if words[0] != "-m":
        sys.argv = words
        _to_the_end(_script)
    sys.argv = words[1:]
    _to_the_end(_worker if words[1] == WORKER else importlib.import_module(_SHELL).main)


def _script() -> None:
    runpy.run_path(sys.argv[0], run_name="__main__")


def _worker() -> None:
    module = importlib.import_module(WORKER)
    module.subprocess = SimpleNamespace(Popen=_Forked, PIPE=subprocess.PIPE)
    module.main()


class _Forked:
    """What ``subprocess.Popen`` is to a watcher, but that the worker is a fork of it."""

    def __init__(
        self, words: Sequence[str], *, stdin: int, pass_fds: Sequence[int], process_group: int
    ) -> None:
        reading, writing = os.pipe()
        self.stdin = os.fdopen(writing, "wb")
        self._code: int | None = None
        self.pid = os.fork()
        if not self.pid:
            os.setpgid(0, process_group)
            os.dup2(reading, 0)
            for low, high in pairwise(sorted({0, 1, 2, *pass_fds, MOST_DESCRIPTORS})):
                os.closerange(low + 1, high)
            process = importlib.import_module(words[3])
            _to_the_end(lambda: process.main(list(words[4:])))
        # Here as well as there: whoever kills the group at once must find it.
        os.setpgid(self.pid, process_group)
        os.close(reading)

    def poll(self) -> int | None:
        if self._code is None:
            found, ended = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(ended) if found else None
        return self._code

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code


def _to_the_end(program: Callable[[], int | None]) -> NoReturn:
    """End this process as the interpreter does, but take no library apart: that costs seconds."""
    code: int | None = 1
    try:
        code = program()
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    main()
