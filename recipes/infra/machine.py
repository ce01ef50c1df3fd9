"""The systemd unit: its syntax, and how much it leaves open."""

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from recipes.infra.outcomes import ROOT, Failed, Skipped, said_by

UNIT = ROOT / "infra" / "systemd" / "glassbox.service"

MOST_EXPOSED = 2.0
"""Exposure from 0 (closed) to 10 (open) that ``systemd-analyze security`` may find."""


def unit() -> str:
    """Return how exposed the unit is.

    Raises:
        Skipped: There is no systemd-analyze, or one that cannot judge a file.
        Failed: The unit is wrong, or more open than it should be.
    """
    program = shutil.which("systemd-analyze")
    if program is None:
        raise Skipped("systemd-analyze is not installed")
    with TemporaryDirectory(prefix="glassbox-unit-") as text:
        copy = Path(text) / UNIT.name
        # Verifying wants the program to be there.
        content = UNIT.read_text(encoding="utf-8")
        copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", content), "utf-8")
        said = said_by([program, "verify", copy])
        if said.strip():
            raise Failed(said)
        version = re.search(r"systemd (\d+)", said_by([program, "--version"]))
        if version is None or int(version[1]) < 250:
            return "the unit can be read"
        said = said_by([program, "security", "--offline=true", "--no-pager", copy])
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", said)
    if exposure is None or float(exposure[1]) > MOST_EXPOSED:
        raise Failed(said)
    return f"exposure {exposure[1]} of 10, at most {MOST_EXPOSED:g} (not started: no systemd)"
