"""The stack is made, looked at again, changed and removed: by Terraform, at a pretended AWS."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recipes.infra import terraform, tools
from recipes.infra.outcomes import Skipped, said_by

boto3 = pytest.importorskip("boto3", reason="looking at what is there needs boto3")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NAME, REGION = "support", "us-east-1"
PRETENDED = Path(tools.__file__).with_name("pretended_aws.py")
"""Not imported: what it needs is among the tools."""

FIRST, SECOND = (f"sha256:{each * 64}" for each in "ab")

GIVEN = {
    "name": NAME,
    "region": REGION,
    # moto's list of instance types ends before the g5 family.
    "instance_type": "ml.g4dn.2xlarge",
    "alarm_emails": '["on-call@example.org"]',
}
SERVED = {**GIVEN, "bundle_key": "bundles/first.tar.gz", "image_digest": FIRST}

OVERRIDE = """
provider "aws" {
  access_key        = "testing"
  secret_key        = "testing"
  s3_use_path_style = true
}
"""
"""What the provider is told beside the stack's own words: nobody's keys, and buckets by path."""


@dataclass(frozen=True)
class Stack:
    """A copy of the stack, and the program that makes it."""

    program: str
    folder: Path
    environment: dict[str, str]

    def run(self, what: str, *words: str, given: dict[str, str] | None = None) -> str:
        values = [f"-var={name}={value}" for name, value in (given or {}).items()]
        command = [self.program, what, "-no-color", *words, *values]
        return said_by(command, folder=self.folder, environment=self.environment)

    def apply(self, given: dict[str, str]) -> None:
        self.run("apply", "-auto-approve", "-input=false", given=given)

    def changes(self, given: dict[str, str]) -> dict[str, str]:
        """Return what another apply would do, by the last part of each resource's address."""
        self.run("plan", "-input=false", "-out=next", given=given)
        plan = json.loads(self.run("show", "-json", "next"))
        found = {
            each["address"].rpartition("aws_")[2]: "+".join(each["change"]["actions"])
            for each in plan["resource_changes"]
            if each["mode"] == "managed"
        }
        return {address: done for address, done in found.items() if done != "no-op"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory) -> Iterator[str]:
    """The address of a pretended AWS with nothing in it."""
    try:
        programs = tools.installed("cloud")
    except Skipped as reason:
        pytest.skip(str(reason))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = tmp_path_factory.mktemp("aws") / "log"
    command = [str(programs / "python"), str(PRETENDED), str(port)]
    with said.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            wait_for(server, port, said)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def wait_for(server: subprocess.Popen[bytes], port: int, said: Path) -> None:
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"the pretended AWS does not answer:\n{said.read_text()}")


@pytest.fixture
def stack(aws) -> Iterator[Stack]:
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not installed")
    with terraform.copied() as (folder, environment):
        (folder / "pretended_override.tf").write_text(OVERRIDE, encoding="utf-8")
        environment |= {"AWS_ENDPOINT_URL": aws, "AWS_EC2_METADATA_DISABLED": "true"}
        try:
            terraform.initialise(program, folder, environment)
        except Skipped as reason:
            pytest.skip(str(reason))
        yield Stack(program, folder, environment)


def found_at(aws: str) -> dict[str, list[str]]:
    """Return the names of all that is there, by its kind; keys only while nobody removes them."""

    def ask(service: str, call: str, key: str, name: str) -> list[str]:
        client = boto3.client(
            service, region_name=REGION, endpoint_url=aws,
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        words = {"application-autoscaling": {"ServiceNamespace": "sagemaker"}}.get(service, {})
        words = {"Scope": "Local"} if call == "list_policies" else words
        return [each[name] for each in getattr(client, call)(**words)[key]]

    kinds = {
        "endpoint": ask("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
        "configuration": ask(
            "sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"
        ),
        "model": ask("sagemaker", "list_models", "Models", "ModelName"),
        "bucket": ask("s3", "list_buckets", "Buckets", "Name"),
        "repository": ask("ecr", "describe_repositories", "repositories", "repositoryName"),
        "role": ask("iam", "list_roles", "Roles", "RoleName"),
        "policy": ask("iam", "list_policies", "Policies", "PolicyName"),
        "log": ask("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "alarm": ask("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        "dashboard": ask("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        "topic": ask("sns", "list_topics", "Topics", "TopicArn"),
        "target": ask(
            "application-autoscaling", "describe_scalable_targets", "ScalableTargets", "ResourceId"
        ),
        "alias": [
            each
            for each in ask("kms", "list_aliases", "Aliases", "AliasName")
            if not each.startswith("alias/aws/")
        ],
    }
    return {kind: names for kind, names in kinds.items() if names}


def test_it_is_made_seen_changed_and_removed(stack, aws):
    stack.apply(GIVEN)
    assert stack.changes(GIVEN) == {}, "a second run without an endpoint"
    assert {"endpoint", "model", "target"}.isdisjoint(found_at(aws))

    stack.apply(SERVED)
    assert stack.changes(SERVED) == {}, "a second run with one"
    there = found_at(aws)
    assert there["endpoint"] == [NAME]
    assert there["target"] == [f"endpoint/{NAME}/variant/primary"]
    assert there["bucket"] == [json.loads(stack.run("output", "-json"))["bucket"]["value"]]
    first = there["model"]

    newer = {**SERVED, "image_digest": SECOND}
    assert stack.changes(newer) == {
        'sagemaker_model.this["primary"]': "create+delete",
        "sagemaker_endpoint_configuration.this[0]": "create+delete",
        "sagemaker_endpoint.this[0]": "update",
    }
    stack.apply(newer)
    assert stack.changes(newer) == {}
    assert len(found_at(aws)["model"]) == 1
    assert found_at(aws)["model"] != first

    larger = {**newer, "initial_instances": "6", "max_instances": "20"}
    assert stack.changes(larger) == {
        "sagemaker_endpoint_configuration.this[0]": "create+delete",
        "sagemaker_endpoint.this[0]": "update",
        "appautoscaling_target.this[0]": "update",
    }
    stack.apply(larger)
    assert stack.changes(larger) == {}

    stack.run("destroy", "-auto-approve", "-input=false", given=larger)
    state = json.loads((stack.folder / "terraform.tfstate").read_text(encoding="utf-8"))
    assert state["resources"] == []
    assert found_at(aws) == {}
