"""AWS itself, as botocore speaks of it: who asks, where, how often; no network."""

import builtins
import hashlib
import io
import json
from itertools import pairwise

import pytest

from glassbox.deploy.sagemaker import deployment
from glassbox.deploy.sagemaker.aws import Aws, checked_region, connect, method_name
from glassbox.deploy.sagemaker.calls import Call
from glassbox.deploy.sagemaker.observed import describe_endpoint
from glassbox.deploy.sagemaker.service_model import service_model
from glassbox.errors import (
    AccessDenied,
    CapacityError,
    ConflictError,
    DependencyMissing,
    InvalidValue,
    UnknownName,
)
from tests.deploy.sagemaker.world import settings

boto3 = pytest.importorskip("boto3", reason="deploying needs boto3 (extra 'sagemaker')")

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


@pytest.fixture(autouse=True)
def _nobody_signed_in(monkeypatch, tmp_path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION",
                 "AWS_DEFAULT_REGION", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def keys(monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


def test_nobody_signed_in_is_told_how_to():
    aws = connect("us-east-1", "")
    with pytest.raises(AccessDenied, match=r"does not know who asks.*aws configure.*--profile"):
        deployment.status(settings(), aws)


def test_a_session_that_ran_out_is_not_signed_in(tmp_path, monkeypatch):
    (tmp_path / "config").write_text(
        "[profile ours]\nsso_session = ours\nsso_account_id = 123456789012\nsso_role_name = dev\n"
        "[sso-session ours]\nsso_region = us-east-1\nsso_start_url = https://ours.example/start\n"
    )
    token = {"accessToken": "a", "expiresAt": "2025-01-01T00:00:00Z"}
    name = hashlib.sha1(b"ours").hexdigest()
    (tmp_path / f"{name}.json").write_text(json.dumps(token))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr("botocore.tokens.SSOTokenProvider._SSO_TOKEN_CACHE_DIR", str(tmp_path))
    aws = connect("us-east-1", "ours")
    with pytest.raises(AccessDenied, match=r"Token has expired.*'aws sso login'"):
        deployment.status(settings(), aws)


def test_a_profile_that_is_not_there_is_said():
    with pytest.raises(AccessDenied, match=r"profile \(nobody\) could not be found.*--profile"):
        connect("us-east-1", "nobody")


def test_no_region_is_said():
    with pytest.raises(InvalidValue, match=r"--region us-east-1"):
        connect("", "")


def test_a_region_that_aws_does_not_have_is_said_with_the_nearest():
    with pytest.raises(UnknownName, match=r"Did you mean 'us-east-1'"):
        connect("us-eat-1", "")


def test_the_region_of_awss_own_configuration_counts(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert connect("", "").region == "eu-west-1"
    assert connect("us-east-1", "").region == "us-east-1"


def test_regions_of_other_partitions_are_known():
    session = boto3.session.Session()
    assert checked_region("us-gov-west-1", session.get_available_regions) == "us-gov-west-1"


def test_without_boto3_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] in ("boto3", "botocore"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyMissing, match=r"glassbox-llm\[sagemaker\]"):
        connect("us-east-1", "")


def answering(aws: Aws, *answers: tuple[int, object]) -> list[str]:
    """Let SageMaker's client get these answers instead of asking anybody; the last one stays."""
    from botocore.awsrequest import AWSResponse

    asked: list[str] = []
    left = list(answers)

    class Raw:
        def __init__(self, content: bytes) -> None:
            self._content = content

        def stream(self, *args, **kwargs):
            yield self._content

    def answer(request, **_):
        asked.append(request.headers["X-Amz-Target"].decode())
        status, body = left.pop(0) if len(left) > 1 else left[0]
        content = json.dumps(body).encode()
        return AWSResponse(request.url, status, {"content-type": "application/json"}, Raw(content))

    aws.client("sagemaker").meta.events.register("before-send.sagemaker.*", answer)
    return asked


THROTTLED = {"__type": "ThrottlingException", "message": "Rate exceeded"}


@pytest.fixture
def _at_once(monkeypatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)


@pytest.mark.usefixtures("keys", "_at_once")
def test_throttling_is_waited_out():
    aws = connect("us-east-1", "")
    found = {"EndpointArn": "arn:aws:sagemaker:us-east-1:1:endpoint/shop", "EndpointName": "shop"}
    asked = answering(aws, *[(400, THROTTLED)] * 4, (200, found))
    assert aws.call(describe_endpoint("shop"))["EndpointName"] == "shop"
    assert len(asked) == 5


@pytest.mark.usefixtures("keys", "_at_once")
def test_throttling_without_end_is_said():
    aws = connect("us-east-1", "")
    asked = answering(aws, (400, THROTTLED))
    with pytest.raises(CapacityError, match=r"left alone.*goes on where it stopped"):
        aws.call(describe_endpoint("shop"))
    assert len(asked) == 8


@pytest.mark.usefixtures("keys", "_at_once")
def test_what_is_not_there_is_told_from_what_is_wrong():
    aws = connect("us-east-1", "")
    absent = {"__type": "ValidationException", "message": 'Could not find endpoint "arn".'}
    wrong = {"__type": "ValidationException", "message": "1 validation error detected"}
    answering(aws, (400, absent), (400, wrong))
    assert aws.find(describe_endpoint("shop")) is None
    with pytest.raises(ConflictError, match="AWS refuses"):
        aws.find(describe_endpoint("shop"))


@pytest.mark.usefixtures("keys")
def test_a_stubbed_answer_goes_through_botocores_own_checks():
    """The Stubber refuses requests and answers that the service does not describe."""
    from botocore.stub import Stubber

    aws = connect("us-east-1", "")
    request = {
        "InferenceComponentName": "shop-support",
        "EndpointName": "shop",
        "Specification": {
            "BaseInferenceComponentName": "shop-base",
            "Container": {"ArtifactUrl": "s3://models/adapters/shop/support-1.tar.gz"},
        },
    }
    arn = "arn:aws:sagemaker:us-east-1:123456789012:inference-component/shop-support"
    update = {"EndpointName": "shop", "EndpointConfigName": "shop-1",
              "RetainAllVariantProperties": True}  # fmt: skip
    with Stubber(aws.client("sagemaker")) as stub:
        stub.add_response("create_inference_component", {"InferenceComponentArn": arn}, request)
        stub.add_client_error(
            "update_endpoint", "ResourceLimitExceeded", "5 of 0", 400, expected_params=update
        )
        made = aws.call(Call("sagemaker", "CreateInferenceComponent", request, "x"))
        assert made["InferenceComponentArn"] == arn
        with pytest.raises(CapacityError, match="Service Quotas"):
            aws.call(Call("sagemaker", "UpdateEndpoint", update, "endpoint shop"))
        stub.assert_no_pending_responses()


@pytest.mark.usefixtures("keys")
def test_a_file_that_cannot_be_put_is_said():
    moto = pytest.importorskip("moto", reason="the object store of this test is moto's")
    with moto.mock_aws():
        aws = connect("us-east-1", "")
        with pytest.raises(ConflictError, match=r"PutObject \(s3://nowhere/x\).*NoSuchBucket"):
            aws.put_file("s3://nowhere/x", io.BytesIO(b"x"), {})


@pytest.mark.parametrize(
    "service", ["sagemaker", "application-autoscaling", "cloudwatch", "s3", "sts"]
)
def test_methods_are_named_as_botocore_names_them(service):
    from botocore import xform_name

    for operation in service_model(service).operation_names:
        has_acronym = any(a.isupper() and b.isupper() for a, b in pairwise(operation))
        if not has_acronym:
            assert method_name(operation) == xform_name(operation)
