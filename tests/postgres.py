"""A PostgreSQL server for tests: its own folder, a Unix socket, no port."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import psutil
import sqlalchemy as sa

from tests.waiting import PATIENCE_S

ACCOUNT = "postgres"
"""The server refuses to run as root; the package brings this account."""


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, None where it is not installed."""
    places = [Path(found).parent] if (found := shutil.which("initdb")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((each for each in places if (each / "pg_ctl").exists()), None)


@contextmanager
def postgres(bin_folder: Path) -> Iterator[str]:
    """Give the address of a new, empty database while the block runs."""
    is_root = os.geteuid() == 0
    account = ACCOUNT if is_root else getpass.getuser()
    folder = Path(mkdtemp(prefix="pg"))
    if is_root:
        shutil.chown(folder, ACCOUNT)
    data = folder / "data"

    def run(program: str, *words: str) -> None:
        command = [str(bin_folder / program), *words]
        command = [*_as_account(), *command] if is_root else command
        subprocess.run(
            command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=PATIENCE_S
        )

    run("initdb", "-D", str(data), "-A", "trust", "-U", account, "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://{account}@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def restart(bin_folder: Path, url: str) -> None:
    """Stop a server at once, as a crash does, and start it again."""
    _control(bin_folder, url, "restart")


def stop(bin_folder: Path, url: str) -> None:
    """Stop a server at once, as a crash does."""
    _control(bin_folder, url, "stop")


def start(bin_folder: Path, url: str) -> None:
    """Start a server that was stopped."""
    _control(bin_folder, url, "start")


@contextmanager
def hanging(url: str) -> Iterator[None]:
    """Let a server hang while the block runs, as with a disk that stands still."""
    lines = Path(f"{sa.make_url(url).query['host']}/data/postmaster.pid").read_text().splitlines()
    first = psutil.Process(int(lines[0]))
    first.suspend()
    # Those of connections; the first one makes no more now.
    others = first.children(recursive=True)
    for each in others:
        each.suspend()
    try:
        yield
    finally:
        for each in (*others, first):
            with suppress(psutil.NoSuchProcess):
                each.resume()


def _control(bin_folder: Path, url: str, verb: str) -> None:
    folder = sa.make_url(url).query["host"]
    command = [str(bin_folder / "pg_ctl"), "-D", f"{folder}/data", "-w", "-l", f"{folder}/log"]
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    if verb != "start":
        command += ["-m", "immediate"]
    if verb == "start":
        command += ["-o", options]
    command.append(verb)
    if os.geteuid() == 0:
        command = [*_as_account(), *command]
    subprocess.run(
        command, check=True, cwd=str(folder), stdout=subprocess.DEVNULL, timeout=PATIENCE_S
    )


def _as_account() -> list[str]:
    """Return what runs a program as another account; root's folder need not be on the path."""
    found = shutil.which("runuser") or shutil.which("runuser", path="/usr/sbin:/sbin")
    return [found or "runuser", "-u", ACCOUNT, "--"]


def new_database(url: str) -> str:
    """Return the address of another, empty database of the same server."""
    name = f"t{uuid4().hex}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.replace("/postgres?", f"/{name}?")
