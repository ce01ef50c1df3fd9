"""The workers of this machine as ``glassbox technique workers`` tells of them and ends them.

Knows processes and where workers are found; asks no worker anything.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from glassbox.cli.arguments.moments import to_minute
from glassbox.cli.terminal.console import Column, note, print_table
from glassbox.errors import InvalidValue, UnknownName
from glassbox.techniques.local.files import WorkerFiles, WorkerState, is_alive, running

ALL: Final = "all"
"""What stands for every worker."""

ID_LENGTH: Final = 8
"""Characters of an id that are shown."""

END_S: Final = 10.0
"""Seconds in which a worker that was told to end has to be gone."""


@dataclass(frozen=True)
class Worker:
    """A process that keeps a model resident."""

    id: str
    """Names its life; the next worker for the same model has another."""
    model: str
    """What it keeps resident."""
    app: str
    """Whom it belongs to; ``server`` is that of ``glassbox serve``."""
    pid: int
    """The process that watches over the one with the model."""
    memory_bytes: int
    """Resident memory of both."""
    started_s: float
    """When it was started, seconds since 1970."""
    socket: Path
    """Where programs connect to it."""
    log: Path
    """What it wrote to its standard error."""
    glassbox: str
    """Version of Glassbox that it runs."""


@dataclass(frozen=True)
class Ended:
    """What became of those that were told to end."""

    stopped: tuple[Worker, ...]
    """Gone."""
    still_there: tuple[Worker, ...]
    """Not gone in time."""


def workers_in(folders: Iterable[Path]) -> dict[str, tuple[Worker, WorkerState]]:
    """Return the workers that are found in some folders, by id."""
    found: dict[str, tuple[Worker, WorkerState]] = {}
    for folder in dict.fromkeys(each.expanduser() for each in folders):
        for state in running(folder):
            found[state.instance] = (_told(folder, state), state)
    return found


def chosen(found: Sequence[Worker], which: str) -> tuple[Worker, ...]:
    """Return the workers that were meant: all, or one by the beginning of its id or its process.

    Raises:
        UnknownName: None of them.
        InvalidValue: Several of them.
    """
    if which == ALL:
        return tuple(found)
    by_pid = [each for each in found if str(each.pid) == which]
    meant = by_pid or [each for each in found if which and each.id.startswith(which)]
    if not meant:
        raise UnknownName("worker", which, [each.id[:ID_LENGTH] for each in found])
    if len(meant) > 1:
        ids = " or ".join(each.id[: max(ID_LENGTH, len(which) + 4)] for each in meant)
        raise InvalidValue("worker", which, ids)
    return (meant[0],)


def end(meant: Iterable[tuple[Worker, WorkerState]]) -> Ended:
    """End workers, whoever uses them, and return what became of them."""
    told = tuple(meant)
    for _, state in told:
        # The process may have gone since it was found, and its number be another's.
        with suppress(psutil.NoSuchProcess):
            if is_alive(state):
                psutil.Process(state.pid).terminate()
    until = time.monotonic() + END_S
    while time.monotonic() < until and not all(_is_gone(state) for _, state in told):
        time.sleep(0.02)
    gone = {each.id for each, state in told if _is_gone(state)}
    return Ended(
        stopped=tuple(each for each, _ in told if each.id in gone),
        still_there=tuple(each for each, _ in told if each.id not in gone),
    )


def show_workers(found: Sequence[Worker]) -> None:
    """Print workers as a table."""
    if not found:
        note("No worker of yours is there: the next run of a technique starts one.")
        return
    print_table(
        [
            Column("id", wraps=False),
            "model",
            "app",
            Column("process", "right", wraps=False),
            Column("memory", "right", wraps=False),
            Column("started (UTC)", wraps=False),
        ],
        [
            (
                each.id[:ID_LENGTH],
                each.model,
                each.app,
                each.pid,
                f"{each.memory_bytes / 2**20:,.0f} MiB",
                to_minute(each.started_s),
            )
            for each in found
        ],
    )
    ours = version("glassbox-llm")
    for each in found:
        if each.glassbox != ours:
            note(
                f"{each.id[:ID_LENGTH]} runs Glassbox {each.glassbox}, and this is {ours}: "
                "programs of this version do not use it and start their own."
            )
    note("End one: glassbox technique workers --stop ID")


def show_ended(ended: Ended) -> None:
    """Say which workers are gone, and which are not."""
    for each in ended.stopped:
        note(f"Ended: {each.id[:ID_LENGTH]} ({each.model}, {each.app}).")
    for each in ended.still_there:
        note(f"Still there: {each.id[:ID_LENGTH]} (process {each.pid}); its log is {each.log}.")
    if not (ended.stopped or ended.still_there):
        note("No worker of yours is there.")


def _told(folder: Path, state: WorkerState) -> Worker:
    log = Path(state.log)
    return Worker(
        id=state.instance,
        model=state.model,
        app=state.app_name,
        pid=state.pid,
        memory_bytes=_memory_bytes(state.pid),
        started_s=state.created_s,
        socket=WorkerFiles(folder.absolute(), log.name.removesuffix(".log")).socket,
        log=log,
        glassbox=state.glassbox,
    )


def _memory_bytes(pid: int) -> int:
    """Return the resident memory of a process and of all that it has started."""
    n_bytes = 0
    with suppress(psutil.NoSuchProcess):
        watcher = psutil.Process(pid)
        for each in (watcher, *watcher.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                n_bytes += each.memory_info().rss
    return n_bytes


def _is_gone(state: WorkerState) -> bool:
    """Return whether a worker has ended, even if nobody has asked the system how."""
    try:
        is_done = psutil.Process(state.pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    return is_done or not is_alive(state)
