"""Tools that are no library of ours: found on the machine, or installed beside it.

Each set of them has an environment of its own below ``build/tools``, made once and made anew when
its list changes; their versions must not hold back those of the package.
"""

import hashlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from recipes.infra.outcomes import ROOT, Skipped

HERE = Path(__file__).parent
TOOLS = ROOT / "build" / "tools"
"""Where the environments lie."""

INSTALL_S = 300.0
"""Seconds after which an installation is given up: there is no network, or hardly any."""

_locks = {name: threading.Lock() for name in ("policy", "supply", "cloud")}


def installed(name: str, tools: Path = TOOLS) -> Path:
    """Return the folder of programs of one set, installed where it is not yet.

    Args:
        name: ``policy``, ``supply`` or ``cloud``.
        tools: Where the environments lie.

    Raises:
        Skipped: The tools cannot be installed, as without a network.
    """
    wanted = HERE / f"{name}-tools.txt"
    folder = tools / name
    stamp = folder / "installed"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    programs = folder / "bin"
    with _locks[name]:
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
            return programs
        shutil.rmtree(folder, ignore_errors=True)
        _install(folder, wanted)
        stamp.write_text(digest, encoding="utf-8")
    return programs


def found(program: str, tools_of: str) -> Path:
    """Return the path of a program: the machine's own, or that of a set of tools.

    Raises:
        Skipped: It is not here and cannot be installed.
    """
    own = shutil.which(program)
    return Path(own) if own else installed(tools_of) / program


def _install(folder: Path, wanted: Path) -> None:
    make = [sys.executable, "-m", "venv", str(folder)]
    # Bytecode would take longer to write than the few files that are used take to be read.
    fill = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    fill += ["--disable-pip-version-check", "--retries", "1", "--requirement", str(wanted)]
    for command in (make, fill):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=INSTALL_S
            )
        except subprocess.TimeoutExpired as error:
            raise Skipped(f"{wanted.name} were not installed within {INSTALL_S:g} s") from error
        if done.returncode != 0:
            lines = [each for each in done.stderr.splitlines() if each.startswith("ERROR")]
            why = lines[-1] if lines else "pip failed"
            raise Skipped(f"{wanted.name} could not be installed here: {why}")
