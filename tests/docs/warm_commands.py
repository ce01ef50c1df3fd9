"""``glassbox`` for a shell, whose commands find their libraries loaded: forks of one process.

A page has many commands, and every one of them would load torch anew. What a command does, prints
and leaves behind is the same: it is a process of its own, with the shell's folder, environment,
arguments and streams. Knows nothing of pages.
"""

import atexit
import gc
import importlib
import json
import os
import select
import socket
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

LIBRARIES = ("torch", "transformers", "peft", "sklearn.linear_model", "scipy.stats", "sqlalchemy")
"""What commands would load; nothing of it begins a thread."""

ROOMS = (
    "cli.main",
    "runtime",
    "engine.resident",
    "confidence.pipeline",
    "introspection.verifier.verify",
)
"""Parts of the package that draw in most of the rest."""

_ASKING = """#!{python} -ISB
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as desk:
    desk.connect({address!r})
    asked = {{"words": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(desk, [b"."], [0, 1, 2])
    desk.sendall(json.dumps(asked).encode() + b"\\n")
    sys.exit(int(desk.makefile().readline()))
"""


@contextmanager
def warm_commands(folder: Path) -> Iterator[Path]:
    """Yield a folder for ``PATH`` whose ``glassbox`` is warm.

    Args:
        folder: Where it is made; short, because the name of a socket has a hundred characters.
    """
    address = folder / "warm.sock"
    script = folder / "glassbox"
    script.write_text(_ASKING.format(python=sys.executable, address=str(address)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    words = [sys.executable, "-m", "tests.docs.warm_commands", str(address)]
    desk = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert desk.stdout is not None
    try:
        assert desk.stdout.readline() == b"listening\n"
        yield folder
    finally:
        desk.communicate()


def main() -> None:
    """Answer one command after the other, each by a fork, until nobody holds standard input."""
    for name in (*LIBRARIES, *(f"glassbox.{each}" for each in ROOMS)):
        importlib.import_module(name)
    # Else the first collection of each child would copy all that it looks at.
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(sys.argv[1])
        listening.listen()
        print("listening", flush=True)  # noqa: T201
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            with connection:
                child = os.fork()
                if not child:
                    _become(connection)
                _, ended = os.waitpid(child, 0)
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended))


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
    sys.argv = asked["words"]
    # The checkout's root, from which this module was started, is nothing that a command sees.
    sys.path[0] = str(Path(sys.argv[0]).parent)
    code = 1
    try:
        code = importlib.import_module("glassbox.cli.main").main()
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        # As the interpreter ends, but that it takes no library apart: that costs seconds.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
