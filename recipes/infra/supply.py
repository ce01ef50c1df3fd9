"""What the package is made of: a bill of materials, known vulnerabilities, the wheel twice.

A vulnerability database that cannot be reached is said, not taken for a clean bill: pip-audit
answers "no known vulnerabilities" for packages that it could not look up.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recipes.infra.outcomes import ROOT, Failed, Skipped, said_by
from recipes.infra.tools import HERE, installed

BILLS = ROOT / "build" / "sbom"
"""Where the bills of materials are written."""

CONSTRAINTS = ROOT / "constraints.txt"
ACCEPTED = HERE / "accepted-vulnerabilities.txt"
BUILD_CONSTRAINTS = ROOT / "infra" / "docker" / "build-constraints.txt"

PROBE = "urllib3==1.24.1"
"""A version with vulnerabilities known for years: who does not find them looked nothing up."""


def bill() -> str:
    """Return how many parts the environment and the front end have; writes CycloneDX files.

    Raises:
        Skipped: cyclonedx-py is not here and cannot be installed.
        Failed: A bill could not be written, or is none of Glassbox.
    """
    programs = installed("supply")
    BILLS.mkdir(parents=True, exist_ok=True)
    python = BILLS / "python.cdx.json"
    command = [programs / "cyclonedx-py", "environment", sys.executable, "--output-reproducible"]
    # Validating 250 parts takes half a minute; what matters is looked at below.
    command += ["--pyproject", ROOT / "pyproject.toml", "--mc-type", "application", "--no-validate"]
    said_by([*command, "--output-format", "JSON", "--output-file", python])
    content = json.loads(python.read_text(encoding="utf-8"))
    if content["metadata"]["component"]["name"] != "glassbox-llm" or not content["components"]:
        raise Failed(f"{python} is no bill of glassbox-llm")
    words = f"{len(content['components'])} Python packages"
    if shutil.which("npm"):
        said = _npm("sbom", "--sbom-format", "cyclonedx", "--package-lock-only")
        if said.returncode != 0:
            raise Failed(f"npm sbom\n{said.stderr.strip()}")
        (BILLS / "web.cdx.json").write_text(said.stdout, encoding="utf-8")
        words += f", {len(json.loads(said.stdout)['components'])} of the front end"
    return f"{words}, in {BILLS.relative_to(ROOT)}"


def audit_python() -> str:
    """Return how many packages were looked up.

    Raises:
        Skipped: No database of vulnerabilities answers.
        Failed: Vulnerabilities that nobody has accepted.
    """
    program = installed("supply") / "pip-audit"
    with TemporaryDirectory(prefix="glassbox-audit-") as text:
        probe = Path(text) / "probe.txt"
        probe.write_text(f"{PROBE}\n", encoding="utf-8")
        if not any(each["vulns"] for each in _audited(program, probe) if "vulns" in each):
            raise Skipped("no database of vulnerabilities can be reached: nothing was audited")
    packages = _audited(program, CONSTRAINTS)
    missed = [each["name"] for each in packages if "skip_reason" in each]
    accepted = accepted_until(datetime.now(UTC).date())
    found = [
        f"{each['name']} {each['version']}: {bug['id']}, fixed in {bug['fix_versions'] or 'none'}"
        for each in packages
        for bug in each.get("vulns", ())
        if not {bug["id"], *bug.get("aliases", ())} & accepted
    ]
    if found:
        raise Failed("\n".join([*found, f"Update, or say in {ACCEPTED.name} why it cannot hurt."]))
    return f"{len(packages) - len(missed)} packages; not looked up: {', '.join(missed) or 'none'}"


def audit_web() -> str:
    """Return how many packages of the front end were looked up.

    Raises:
        Skipped: There is no npm, or no registry answers.
        Failed: Serious vulnerabilities in what is shipped.
    """
    if shutil.which("npm") is None:
        raise Skipped("npm is not installed")
    done = _npm("audit", "--omit=dev", "--audit-level=high", "--json")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {}
    if "metadata" not in answer:
        raise Skipped("no registry answers npm audit: nothing was audited")
    if done.returncode != 0:
        names = ", ".join(answer["vulnerabilities"])
        raise Failed(f"high or critical: {names}. See: cd web && npm audit --omit=dev")
    return f"{answer['metadata']['dependencies']['prod']} packages that are shipped"


def wheel() -> str:
    """Return the digest of the wheel, built twice from copies of different ages and rights.

    Raises:
        Skipped: The builder is not here and cannot be installed.
        Failed: The two differ.
    """
    programs = installed("supply")
    with TemporaryDirectory(prefix="glassbox-wheel-") as text:
        first, second = Path(text) / "first", Path(text) / "second"
        copy_sources(first)
        shutil.copytree(first, second)
        for path in second.rglob("*"):
            path.touch()
            if path.is_file():
                path.chmod(0o600)
        wheels = [build(programs, each) for each in (first, second)]
        digests = {hashlib.sha256(each.read_bytes()).hexdigest() for each in wheels}
    if len(digests) != 1:
        raise Failed(f"two wheels of the same sources differ: {', '.join(sorted(digests))}")
    return f"twice the same: sha256 {digests.pop()[:16]}…"


def build(programs: Path, sources: Path, out: Path | None = None) -> Path:
    """Return the wheel of ``sources``, made with pinned builders."""
    out = sources / "dist" if out is None else out
    said_by(
        [programs / "python", "-m", "build", "--wheel", "--outdir", out, sources],
        environment={"SOURCE_DATE_EPOCH": "0", "PIP_CONSTRAINT": str(BUILD_CONSTRAINTS)},
    )
    return next(out.glob("glassbox_llm-*.whl"))


def copy_sources(folder: Path) -> None:
    """Copy what the wheel is made of into a new folder."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        folder.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(
        ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )


def accepted_until(today: date, file: Path = ACCEPTED) -> set[str]:
    """Return the ids of vulnerabilities that may stay today.

    Raises:
        Failed: A line is not ID, day, reason.
    """
    kept: set[str] = set()
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(maxsplit=2)
        try:
            last = date.fromisoformat(words[1])
        except (IndexError, ValueError) as error:
            raise Failed(f"{file.name}: {line!r} is not ID, YYYY-MM-DD, reason") from error
        if len(words) < 3:
            raise Failed(f"{file.name}: {words[0]} has no reason")
        if today <= last:
            kept.add(words[0])
    return kept


def _audited(program: Path, file: Path) -> list[dict[str, Any]]:
    command = [program, "--requirement", file, "--no-deps", "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", "10"]
    try:
        said = said_by(command, allowed=(0, 1))
        return json.loads(said[said.index('{"dependencies"') :].splitlines()[0])["dependencies"]
    except (Failed, ValueError) as error:
        raise Skipped("no database of vulnerabilities can be reached") from error


def _npm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["npm", *words], cwd=ROOT / "web", capture_output=True, text=True, check=False, timeout=120
    )
