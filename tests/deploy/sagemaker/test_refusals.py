"""What AWS refuses, what belongs to somebody else, and which rights deploying takes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from glassbox.deploy.sagemaker import deployment
from glassbox.deploy.sagemaker.carrying_out import Watcher, carry_out
from glassbox.errors import CapacityError, ConflictError, GlassboxError, Unreachable
from tests.deploy.sagemaker.fake_aws import FakeAws, refusal
from tests.deploy.sagemaker.world import ACCOUNT, AT_ONCE, apply, parts, settings

pytest.importorskip("boto3", reason="deploying needs boto3 (extra 'sagemaker')")
pytest.importorskip("moto", reason="the AWS of these tests is moto's")

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


def test_what_is_not_ours_is_left_alone(made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    apply(settings(name="shop-2"), made, aws)
    for arn in fake.tags:
        if arn.endswith("endpoint/shop"):
            fake.tags[arn] = {"team": "other"}
    with pytest.raises(ConflictError, match=r"name is taken: endpoint shop .*--name"):
        deployment.planned(settings(), made, aws)
    before = dict(fake.models)
    gone = deployment.teardown(settings(), aws)
    carry_out(gone.actions, aws, None, AT_ONCE)
    assert list(fake.endpoints) == ["shop", "shop-2"]
    assert fake.models == before, "models of an endpoint that stays must stay"
    assert any("endpoint shop" in each for each in gone.notes)
    assert deployment.status(settings(name="shop-2"), aws).state == "InService"


def test_what_terraform_made_is_terraforms(made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    for tags in fake.tags.values():
        tags["glassbox:made-by"] = "terraform"
    for refused in (
        lambda: deployment.planned(settings(), made, aws),
        lambda: deployment.teardown(settings(), aws),
        lambda: deployment.way_back(settings(), aws),
    ):
        with pytest.raises(ConflictError, match="Change and remove it with terraform"):
            refused()
    assert deployment.status(settings(), aws).state == "InService"


@pytest.mark.parametrize(
    ("operation", "code", "message", "error", "match"),
    [
        ("CreateEndpoint", "ResourceLimitExceeded", "The account-level service limit "
         "'ml.g5.2xlarge for endpoint usage' is 0 Instances", CapacityError,
         r"quota.*ml.g5.2xlarge for endpoint usage.*Service Quotas.*goes on"),
        ("CreateModel", "AccessDeniedException", "not authorized to perform", GlassboxError,
         r"AWS does not allow it.*CreateModel"),
        ("CreateModel", "ThrottlingException", "Rate exceeded", CapacityError, "left alone"),
        ("CreateEndpoint", "ValidationException", "Cannot create already existing endpoint",
         ConflictError, "made meanwhile by somebody else"),
        ("PutScalingPolicy", "ObjectNotFoundException", "No scalable target", ConflictError,
         r"not there \(any more\)"),
        ("CreateModel", "ValidationException", "The role is odd", ConflictError, "AWS refuses"),
        ("GetCallerIdentity", "ExpiredToken", "The token is expired", GlassboxError,
         r"does not know who asks.*aws sso login"),
        ("HeadBucket", "403", "Forbidden", GlassboxError, "AWS does not allow it"),
        ("PutObject", "PermanentRedirect", "use another endpoint", GlassboxError, "elsewhere"),
    ],
)  # fmt: skip
def test_refusals_say_what_to_do_and_what_was_made_stays(
    made, fake, operation, code, message, error, match
):
    fake.refuses[operation] = lambda: refusal(code, message)
    with pytest.raises(error, match=match):
        apply(settings(), made, fake.aws())
    fake.refuses.clear()
    apply(settings(), made, fake.aws())
    assert deployment.planned(settings(), made, fake.aws()).is_done


def test_who_stopped_knows_what_was_done(made, fake):
    fake.refuses["CreateEndpoint"] = lambda: refusal("ResourceLimitExceeded", "0 instances")
    watcher = Watcher()
    plan = deployment.planned(settings(), made, fake.aws())
    with pytest.raises(CapacityError, match="quota"):
        carry_out(plan.actions, fake.aws(), watcher, AT_ONCE)
    assert [each.what.split()[0] for each in watcher.done] == ["bundle", "model", "endpoint",
                                                               "alarm", "alarm"]  # fmt: skip


def test_a_network_that_fails_is_said(made, fake):
    from botocore.exceptions import EndpointConnectionError

    fake.refuses["DescribeEndpoint"] = lambda: EndpointConnectionError(endpoint_url="https://x")
    with pytest.raises(Unreachable, match="network and at the region"):
        deployment.planned(settings(), made, fake.aws())


def test_a_bucket_of_another_region_or_nobody_is_refused(made):
    with pytest.raises(ConflictError, match="bucket models is in eu-west-1"):
        deployment.planned(settings(), made, FakeAws(bucket_region="eu-west-1").aws())
    with pytest.raises(GlassboxError, match="No bucket 'elsewhere'"):
        deployment.planned(settings(artifacts="s3://elsewhere/x"), made, FakeAws().aws())


def test_a_role_of_another_account_is_refused(made):
    with pytest.raises(GlassboxError, match=r"role of account 999999999999"):
        deployment.planned(settings(), made, FakeAws(account="9" * len(ACCOUNT)).aws())


def test_a_changed_file_is_never_put(tmp_path, made, fake):
    plan = deployment.planned(settings(), made, fake.aws())
    (tmp_path / "bundle/notes/b.txt").write_bytes(b"seconD")
    with pytest.raises(GlassboxError, match=r"b\.txt: its SHA-256 is"):
        carry_out(plan.actions, fake.aws(), None, AT_ONCE)
    kept = [Path(key).name for key in fake.objects]
    assert kept == ["a.txt"], "neither the changed file nor the description went"


def test_files_are_encrypted_with_the_key_that_is_given(made, fake):
    key = "arn:aws:kms:us-east-1:123456789012:key/0"
    apply(settings(kms_key=key), made, fake.aws())
    found = {(each["ServerSideEncryption"], each["SSEKMSKeyId"]) for each in fake.objects.values()}
    assert found == {("aws:kms", key)}


def test_the_how_to_names_every_right_that_deploying_takes(tmp_path, fake):
    """The policy in the page allows all that was asked in a whole life, and nothing else."""
    from tests.deploy.sagemaker.test_parts import packed
    from tests.docs.markdown import ROOT, blocks

    aws = fake.aws()
    for name, given in (("shop", {}), ("parts", {"components": True})):
        for number in range(2):
            adapters = (packed(tmp_path, "support", seed=number),)
            made = parts(tmp_path / f"{name}{number}", files={"a": bytes([number])})
            scaling = "concurrency" if number or given else "gpu"
            asked = settings(name=name, scaling=scaling, **given)
            apply(asked, replace(made, adapters=adapters), aws)
        carry_out(deployment.teardown(asked, aws, with_artifacts=True).actions, aws, None, AT_ONCE)
    same = {
        "GetCallerIdentity": (),
        "HeadBucket": ("ListBucket",),
        "ListObjectsV2": ("ListBucket",),
        "HeadObject": ("GetObject",),
        "PutObject": ("PutObject", "PutObjectTagging", "AbortMultipartUpload"),
        "DeleteObjects": ("DeleteObject",),
        "PutMetricAlarm": ("PutMetricAlarm", "TagResource"),
        "CreateModel": ("CreateModel", "PassRole"),
        # Source: AWS, "Auto scaling prerequisites": whoever registers a variant may count it, too.
        "RegisterScalableTarget": (
            "RegisterScalableTarget",
            "CreateServiceLinkedRole",
            "UpdateEndpointWeightsAndCapacities",
        ),
    }
    needed = {right for each in fake.operations() for right in same.get(each, (each,))}
    page = ROOT / "docs" / "how-to" / "deploy-to-sagemaker.md"
    (policy,) = (json.loads(each.text) for each in blocks(page) if each.language == "json")
    allowed = set()
    for statement in policy["Statement"]:
        actions = statement["Action"]
        actions = [actions] if isinstance(actions, str) else actions
        allowed |= {each.partition(":")[2] for each in actions}
    assert allowed == needed
