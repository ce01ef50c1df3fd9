"""Terraform: format, provider, types, and its own tests against a pretended AWS.

Everything happens in a copy, so that no provider and no lock file is left in the repository. Where
a machine has a mirror of Terraform's providers, ``TF_MIRROR`` names its folder.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from recipes.infra.outcomes import ROOT, Failed, Skipped, said_by

STACK = ROOT / "infra" / "terraform" / "sagemaker"

AWAY = ("Failed to query available provider packages", "could not connect", "no available releases")
"""What Terraform says where its providers cannot be fetched."""


def check() -> str:
    """Return how many tests passed.

    Raises:
        Skipped: There is no terraform, or no provider can be had.
        Failed: Format, types or a test.
    """
    program = shutil.which("terraform")
    if program is None:
        raise Skipped("terraform is not installed")
    said_by([program, "fmt", "-check", "-diff", "-recursive", STACK])
    with copied() as (folder, environment):
        initialise(program, folder, environment)
        said_by([program, "validate", "-no-color"], folder=folder, environment=environment)
        files = sorted((folder / "tests").glob("*.tftest.hcl"))
        with ThreadPoolExecutor(2) as pool:
            counts = pool.map(lambda each: _test(program, folder, environment, each), files)
            n_runs = sum(counts)
    return f"format, types and {n_runs} runs of {len(files)} test files"


@contextmanager
def copied() -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the folder of a copy of the stack, and the variables that Terraform runs with."""
    mirror = os.environ.get("TF_MIRROR", "")
    with TemporaryDirectory(prefix="glassbox-tf-") as text:
        folder = Path(text) / "stack"
        shutil.copytree(STACK, folder, ignore=shutil.ignore_patterns(".terraform*"))
        environment = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        if mirror:
            config = Path(text) / "terraform.rc"
            config.write_text(
                "provider_installation {\n  filesystem_mirror {\n"
                f"    path = {json.dumps(mirror)}\n  }}\n}}\n",
                encoding="utf-8",
            )
            environment["TF_CLI_CONFIG_FILE"] = str(config)
        yield folder, environment


def initialise(program: str, folder: Path, environment: dict[str, str]) -> None:
    """Bring a copy its provider.

    Raises:
        Skipped: It cannot be had here.
        Failed: Terraform refuses the stack.
    """
    command = [program, "init", "-backend=false", "-input=false", "-no-color"]
    try:
        said_by(command, folder=folder, environment=environment)
    except Failed as error:
        # With a mirror there is no network to blame.
        if "TF_CLI_CONFIG_FILE" in environment or not any(each in str(error) for each in AWAY):
            raise
        raise Skipped("the AWS provider cannot be fetched, and TF_MIRROR names no mirror") from None


def _test(program: str, folder: Path, environment: dict[str, str], file: Path) -> int:
    command = [program, "test", "-no-color", f"-filter=tests/{file.name}"]
    said = said_by(command, folder=folder, environment=environment)
    passed = re.search(r"(\d+) passed, 0 failed", said)
    if passed is None or passed[1] == "0":
        raise Failed(f"{file.name}: no test ran\n{said}")
    return int(passed[1])
