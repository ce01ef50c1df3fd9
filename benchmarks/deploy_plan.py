"""How long it takes to find out what a deployment would change, against moto's AWS.

Baseline of the same run: the describing requests alone, sent one after another with nothing
compared. The aim is a plan in under 5 s, imports and sign-in included.

    python -m benchmarks.deploy_plan
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AIM_S = 5.0
ROUNDS = 5
TYPE = "ml.g4dn.2xlarge"
"""moto's list of instance types ends before the g5 family."""

CHILD = """
import sys, time
started = time.perf_counter()
import moto
from pathlib import Path
with moto.mock_aws():
    import boto3
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="models")
    began = time.perf_counter()
    from benchmarks.deploy_plan import plans
    plans(Path(sys.argv[1]), int(sys.argv[2]), began)
"""


def plans(folder: Path, n_versions: int, began: float) -> None:
    """Print seconds of a first plan, of a plan where all is there, and of asking alone."""
    from glassbox.deploy.sagemaker import deployment
    from glassbox.deploy.sagemaker.carrying_out import carry_out
    from glassbox.deploy.sagemaker.naming import Names
    from glassbox.deploy.sagemaker.observed import observe
    from glassbox.deploy.sagemaker.waiting import Patience
    from glassbox.settings import load_settings

    settings = load_settings(
        {
            "endpoint.name": "shop",
            "endpoint.region": "us-east-1",
            "endpoint.role": "arn:aws:iam::123456789012:role/glassbox",
            "endpoint.image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/glassbox:1",
            "endpoint.artifacts": "s3://models/deploy",
            "endpoint.instance_type": TYPE,
            "endpoint.instances": 5,
        }
    ).endpoint
    aws = deployment.signed_in(settings)
    ingredients = deployment.Ingredients(folder)
    parts = deployment.gather(settings, ingredients, folder.parent)
    first = deployment.planned(settings, parts, aws)
    print(f"first plan, imports and sign-in included: {time.perf_counter() - began:.2f} s")
    carry_out(first.actions, aws, None, Patience(every_s=0.0))
    for number in range(n_versions):
        sagemaker = aws.client("sagemaker")
        sagemaker.create_model(
            ModelName=f"shop-{number:010x}",
            PrimaryContainer={"Image": settings.image},
            ExecutionRoleArn=settings.role,
        )
    looked, asked = [], []
    for _ in range(ROUNDS):
        at = time.perf_counter()
        assert deployment.planned(settings, parts, aws).is_done
        looked.append(time.perf_counter() - at)
        at = time.perf_counter()
        observe(aws, Names("shop"))
        asked.append(time.perf_counter() - at)
    ratio = min(looked) / min(asked)
    print(
        f"plan where all is there, beside {n_versions} earlier models: {min(looked):.2f} s; "
        f"asking alone: {min(asked):.2f} s; ratio {ratio:.2f}"
    )


def main() -> None:
    """Run the plans in a fresh process, so that imports count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=50, help="earlier models that are there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        from glassbox.deploy.bundle import Contents, make_bundle
        from glassbox.runtime import Runtime

        folder = Path(name) / "bundle"
        make_bundle(Runtime.load(), Contents(base="tiny"), folder)
        keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        command = [sys.executable, "-W", "ignore", "-c", CHILD, str(folder)]
        subprocess.run([*command, str(arguments.versions)], check=True, env={**os.environ, **keys})
    print(f"aim: under {AIM_S:g} s")


if __name__ == "__main__":
    main()
