"""Policies of Terraform and Dockerfiles, the Dockerfile's style, the compose file's syntax."""

import json
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from recipes.infra.outcomes import ROOT, Failed, said_by
from recipes.infra.tools import found

INFRA = ROOT / "infra"
DOCKERFILE = INFRA / "docker" / "Dockerfile"
COMPOSE = INFRA / "compose" / "compose.yaml"

SECRETS = ("storage_url", "db_password", "grafana_password", "prometheus_key")
"""Files that a user makes before the first start."""


def policies() -> str:
    """Return how many policies hold for Terraform and Dockerfile.

    Raises:
        Skipped: checkov is not here and cannot be installed.
        Failed: One does not hold.
    """
    program = found("checkov", "policy")
    # Without --skip-download it would ask its maker's server for more.
    command = [program, "-d", INFRA, "--framework", "terraform", "dockerfile", "--skip-download"]
    said = said_by([*command, "--quiet", "--output", "json"], allowed=(0, 1))
    try:
        answers = json.loads(said[min(said.find(each) for each in "[{" if each in said) :])
    except ValueError as error:
        raise Failed(f"checkov said no JSON:\n{said}") from error
    answers = answers if isinstance(answers, list) else [answers]
    names = ("passed", "skipped", "parsing_errors")
    counted = {name: sum(each["summary"][name] for each in answers) for name in names}
    failed = [
        f"{each['check_id']} {each['check_name']}: {each['resource']} ({each['file_path']})"
        for answer in answers
        for each in answer["results"]["failed_checks"]
    ]
    if failed or counted["parsing_errors"]:
        raise Failed("\n".join(failed) or "a file could not be read")
    if counted["passed"] == 0:
        raise Failed("checkov looked at nothing")
    return f"{counted['passed']} policies hold, {counted['skipped']} are waived with a reason"


def dockerfile() -> str:
    """Return what was looked at.

    Raises:
        Skipped: hadolint is not here and cannot be installed.
        Failed: What it says.
    """
    said_by([found("hadolint", "policy"), "--no-color", DOCKERFILE])
    return "hadolint has nothing to say (not built: that takes a Docker engine)"


def compose() -> str:
    """Return the services of the compose file, once everything in it is resolved.

    Raises:
        Skipped: Neither ``docker compose`` nor a tool in its place is here.
        Failed: What it says.
    """
    program: list[str | Path] = ["docker", "compose"]
    if not _has_compose():
        program = [found("docker-compose", "policy")]
    with TemporaryDirectory(prefix="glassbox-compose-") as text:
        copy = Path(text) / "infra"
        shutil.copytree(INFRA / "compose", copy / "compose")
        (copy / "compose" / "secrets").mkdir(exist_ok=True)
        for name in SECRETS:
            (copy / "compose" / "secrets" / name).write_text("x\n", encoding="utf-8")
        file = copy / "compose" / COMPOSE.name
        said = said_by([*program, "--file", file, "config", "--format", "json"])
    services = json.loads(said[said.index("{") :])["services"]
    return f"services {', '.join(sorted(services))} (not started: that takes a Docker engine)"


def _has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return done.returncode == 0
