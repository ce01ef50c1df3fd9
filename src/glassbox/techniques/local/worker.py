"""``python -m glassbox.techniques.local.worker``: starts a worker, watches it, says how it ended.

The process that is started opens the socket, leaves a watcher behind and is done. The watcher is
light and runs nothing of anybody's: it starts the process with the model, kills that when a run
exceeds its limits however it hangs, and writes down why it ended.
"""

import argparse
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import cast

import psutil

from glassbox.techniques.calls import allow_more
from glassbox.techniques.local.files import EndKind, WorkerEnd, WorkerFiles, WorkerState
from glassbox.techniques.local.limits import BOARD_BYTES, WATCH_S, Board, Posted
from glassbox.techniques.worker_spec import WorkerSpec

RESTING_S = 0.25
"""How often the watcher looks while no run is on the model."""

BACKLOG = 128
"""Connections that may wait to be accepted."""


_MORE_CPU = allow_more("Limits(cpu_s=…)")
_MORE_MEMORY = allow_more("Limits(memory_bytes=…)")


class Watcher:
    """Watches over the process that has the model, from its beginning to its end.

    Args:
        files: Where it is found.
        state: Who it is.
        spec: What it keeps resident.
        owner: Closed by whoever owns it, when that one ends; None where nobody does.
    """

    def __init__(
        self, files: WorkerFiles, state: WorkerState, spec: WorkerSpec, owner: int | None
    ) -> None:
        self._files = files
        self._state = state
        self._spec = spec
        self._owner = owner
        self._is_told_to_stop = False
        self._cancelled = ("", float("inf"))

    def watch(self, listening: socket.socket) -> None:
        """Start the process, wait for its end, and clear away what led to it."""
        with tempfile.TemporaryFile() as page:
            page.truncate(BOARD_BYTES)
            board = Board(page)
            board.post(Posted())
            worker = self._started(listening, page.fileno())
            # The socket must refuse as soon as nobody is left to answer.
            listening.close()
            signal.signal(signal.SIGTERM, self._told_to_stop)
            signal.signal(signal.SIGINT, self._told_to_stop)
            killed = self._wait(worker, board)
            # What the worker has started itself goes with it.
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            code = worker.wait()
            end = replace(self._epitaph(board.read(), killed, code), begun=board.begun())
            try:
                self._files.write_end(end)
            except OSError:
                # Where the disk is full, the notes on its life make room for that on its end.
                self._files.clear(self._state.instance)
                with suppress(OSError):
                    self._files.write_end(end)
        self._files.clear(self._state.instance)
        if end.kind == "owner" and self._files.state() is None:
            # Its files have names of their own: each start of a server would leave some behind.
            self._files.forget()

    def _started(self, listening: socket.socket, page: int) -> "subprocess.Popen[bytes]":
        descriptors = (listening.fileno(), page)
        worker = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "glassbox.techniques.local.process",
                *map(str, descriptors),
                self._state.instance,
            ],
            stdin=subprocess.PIPE,
            pass_fds=descriptors,
            process_group=0,
        )
        assert worker.stdin is not None
        # The pipe stays open: at its end the worker knows that nobody watches any more.
        worker.stdin.write(self._spec.to_json() + b"\n")
        worker.stdin.flush()
        return worker

    def _wait(self, worker: "subprocess.Popen[bytes]", board: Board) -> tuple[EndKind, str] | None:
        """Wait for the worker's end; return why it was killed, None if it ended by itself."""
        process = psutil.Process(worker.pid)
        while worker.poll() is None:
            posted = board.read()
            if posted.run and self._is_to_cancel(posted):
                self._cancelled = (posted.run, time.monotonic() + self._spec.grace_s)
            why = self._verdict(posted, process)
            if why is not None:
                with suppress(ProcessLookupError):
                    os.killpg(worker.pid, signal.SIGKILL)
                return why
            self._rest(WATCH_S if posted.run else RESTING_S)
        return None

    def _verdict(self, posted: Posted, process: psutil.Process) -> tuple[EndKind, str] | None:
        """Return why the worker is to be killed now; None while it may go on."""
        if self._is_told_to_stop:
            return "stopped", "It was told to stop."
        if self._owner is not None and _is_at_end(self._owner):
            return "owner", "The program that it belonged to has ended."
        run, kill_at_s = self._cancelled
        is_overdue = posted.run == run and time.monotonic() > kill_at_s
        if is_overdue or (posted.kill_at_s and time.monotonic() > posted.kill_at_s):
            return "wall", (
                "It had been told to end, because of its deadline or because it was cancelled, and "
                "went on all the same."
            )
        try:
            if posted.cpu_end_s and sum(process.cpu_times()[:2]) > posted.cpu_end_s:
                return (
                    "cpu",
                    f"It used more processor time than it may, and could not be ended. {_MORE_CPU}",
                )
            if posted.memory_end_bytes and process.memory_info().rss > posted.memory_end_bytes:
                return "memory", f"It took more memory than it may. {_MORE_MEMORY}"
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return None
        return None

    def _is_to_cancel(self, posted: Posted) -> bool:
        """Return whether somebody asks for the end of a run, by its name or its caller's."""
        by_name = self._files.is_to_cancel(posted.run)
        return (posted.caller != "" and self._files.is_to_cancel(posted.caller)) or by_name

    def _rest(self, seconds: float) -> None:
        if self._owner is None:
            time.sleep(seconds)
        else:
            with suppress(InterruptedError):
                select.select([self._owner], [], [], seconds)

    def _epitaph(self, posted: Posted, killed: tuple[EndKind, str] | None, code: int) -> WorkerEnd:
        """Return how it ended, in words."""
        kind, reason = killed or _by_itself(posted, code)
        return WorkerEnd(self._state.instance, kind, reason, posted.run, posted.caller)

    def _told_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_told_to_stop = True


_FAREWELLS = {
    "idle": "Nobody called for a while.",
    "harmed": "A run changed its model in a way that could not be put back.",
    "stopped": "It was told to stop.",
}


def _by_itself(posted: Posted, code: int) -> tuple[EndKind, str]:
    """Return why a worker ended that nobody killed."""
    if posted.leaving:
        return cast(EndKind, posted.leaving), _FAREWELLS[posted.leaving]
    if code >= 0:
        how = f"It ended itself with exit code {code}, as os._exit does."
        return "exit", how
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return "signal", (
            "It was killed (SIGKILL): by somebody, or by the kernel because memory ran out."
        )
    if -code == signal.SIGXCPU:
        return "cpu", f"It used more processor time than it may (SIGXCPU). {_MORE_CPU}"
    return "signal", f"It crashed ({name}: {signal.strsignal(-code)})."


def _is_at_end(pipe: int) -> bool:
    """Return whether whoever held the other end of a pipe is gone."""
    readable, _, _ = select.select([pipe], [], [], 0)
    return bool(readable) and not os.read(pipe, 4096)


def main() -> None:
    """Open the socket, leave a watcher behind, and end; an error of the system is its exit code."""
    parser = argparse.ArgumentParser(prog="glassbox.techniques.local.worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("stem")
    parser.add_argument("--owned", action="store_true")
    given = parser.parse_args()
    os.umask(0o077)
    try:
        _begin(WorkerFiles(given.folder, given.stem), is_owned=given.owned)
    except OSError as error:
        # The log is on the same disk, which may be full.
        with suppress(OSError):
            traceback.print_exc()
        os._exit(error.errno or 1)


def _begin(files: WorkerFiles, *, is_owned: bool) -> None:
    # Line by line, so that what comes after the first line is still in the pipe.
    spec = WorkerSpec.from_json(_line_of(sys.stdin.fileno()))
    path = files.socket
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen(BACKLOG)
    is_noted, note = os.pipe()
    child = os.fork()
    if child:
        # Whoever started this waits for its end; the watcher belongs to nobody. Until it has noted
        # who it is, the watcher of an earlier life would take the new socket for its own.
        os.close(note)
        if os.read(is_noted, 1):
            os._exit(0)
        _, status = os.waitpid(child, 0)
        os._exit(max(1, os.waitstatus_to_exitcode(status)))
    os.close(is_noted)
    process = psutil.Process()
    from importlib.metadata import version

    state = WorkerState(
        instance=uuid.uuid4().hex,
        pid=process.pid,
        created_s=process.create_time(),
        model=spec.model,
        app_name=spec.app_name,
        glassbox=version("glassbox-llm"),
        log=str(files.log),
    )
    files.write_state(state)
    os.write(note, b".")
    os.close(note)
    owner = sys.stdin.fileno() if is_owned else None
    Watcher(files, state, spec, owner).watch(listening)


def _line_of(pipe: int) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(pipe, 1)
        if not piece:
            break
        line += piece
    return bytes(line)


if __name__ == "__main__":
    main()
