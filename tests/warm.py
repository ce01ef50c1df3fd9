"""``glassbox`` and workers of techniques that find their libraries loaded: forks of one process.

Each of them would load torch anew, which takes six seconds of processor time. What they do, print
and leave behind is the same: each is a process of its own, with the folder, environment, arguments
and streams of whoever asked for it. Knows nothing of pages or techniques.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
)
"""Parts of the package that draw in most of the rest."""

WORKER = "glassbox.techniques.local.worker"
MOST_DESCRIPTORS = 1024

_COMMAND = """#!{python} -ISB
import json, os, socket, sys
{first}
with socket.socket(socket.AF_UNIX) as desk:
    desk.connect({address!r})
    asked = {{"words": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(desk, [b"."], [0, 1, 2])
    desk.sendall(json.dumps(asked).encode() + b"\\n")
    sys.exit(int(desk.makefile().readline()))
"""

_ALL_ELSE_IS_PYTHONS = """
if sys.argv[1:4] != ["-P", "-m", {worker!r}]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


@contextmanager
def warm_programs(folder: Path) -> Iterator[Path]:
    """Yield a folder whose ``glassbox`` is warm, as are workers that its ``python`` starts.

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
    """Wait for one command, which may itself ask for others, and pass its exit code on."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        _become(connection)
    _, ended = os.waitpid(child, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended))
    os._exit(0)


def _become(connection: socket.socket) -> NoReturn:
    """Be the command that was asked for, to the end of this process."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    asked = json.loads(connection.makefile().readline())
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    command, *words = asked["words"]
    # Workers that a command starts are warm, too.
    sys.executable = str(Path(sys.argv[1]).with_name("python"))
    # The checkout's root, from which this module was started, is nothing that a command sees.
    del sys.path[0], sys.modules["tests"]
    if command == sys.executable:
        os.setsid()
        sys.argv = words[2:]
        _to_the_end(_worker)
    sys.path.insert(0, str(Path(command).parent))
    sys.argv = [command, *words]
    _to_the_end(importlib.import_module("glassbox.cli.main").main)


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
