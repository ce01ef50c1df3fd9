"""``python -m recipes.infra``: looks at all of ``infra/``, and at what the package is made of.

A check that cannot be made here says why and is no failure; one that finds something is.
"""

import argparse
import sys
import time
from typing import Final

from recipes.infra import aws_requests, containers, machine, supply, terraform
from recipes.infra.outcomes import Check, outcomes_of

CHECKS: Final = (
    # The slowest first: it installs its tools while the others work.
    Check("policies", containers.policies),
    Check("terraform", terraform.check),
    Check("aws-requests", aws_requests.check),
    Check("wheel", supply.wheel),
    Check("sbom", supply.bill),
    Check("audit-python", supply.audit_python),
    Check("audit-web", supply.audit_web),
    Check("systemd", machine.unit),
    Check("dockerfile", containers.dockerfile),
    Check("compose", containers.compose),
)
"""Everything that is looked at."""

SIGNS: Final = {"ok": "ok     ", "skipped": "skipped", "failed": "FAILED "}


def main(words: list[str] | None = None) -> int:
    """Return 1 if a check found something, else 0."""
    parser = argparse.ArgumentParser(prog="python -m recipes.infra", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[each.name for each in CHECKS], metavar="NAME")
    only = parser.parse_args(words).only
    began = time.monotonic()
    found = outcomes_of([each for each in CHECKS if only is None or each.name in only])
    for each in found:
        print(f"{SIGNS[each.state]}  {each.name:<13} {each.wall_s:5.1f} s  {each.words}")
    print(f"{time.monotonic() - began:.1f} s in all")
    return int(any(each.state == "failed" for each in found))


if __name__ == "__main__":
    sys.exit(main())
