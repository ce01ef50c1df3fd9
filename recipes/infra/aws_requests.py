"""The requests of ``glassbox deploy sagemaker`` against AWS's own description of its service.

Tests do it, with botocore's validator and Stubber; here those are run alone, because a request that
AWS would refuse is a fault of the deployment like a wrong Terraform file. Nothing is sent.
"""

import re
import sys

from recipes.infra.outcomes import Failed, said_by

TESTS = ("tests/deploy/sagemaker/test_desired.py", "tests/deploy/sagemaker/test_aws.py")
CHOSEN = "awss_own_description or aws_would_refuse or is_not_sent or stubbed"
"""Those that are about requests."""


def check() -> str:
    """Return how many tests passed.

    Raises:
        Failed: One failed, or none ran.
    """
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", CHOSEN, *TESTS]
    said = said_by(command)
    passed = re.search(r"(\d+) passed", said)
    if passed is None:
        raise Failed(f"no test ran\n{said}")
    return f"{passed[1]} tests with botocore's validator and Stubber"
