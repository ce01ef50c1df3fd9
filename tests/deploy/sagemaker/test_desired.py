"""What is asked of AWS: the numbers wanted, in AWS's units, and nothing that it would refuse."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.deploy.sagemaker.deployment import planned_offline, wished
from glassbox.deploy.sagemaker.naming import MAX_NAME, Names
from glassbox.deploy.sagemaker.parts import Parts
from glassbox.deploy.sagemaker.service_model import request_faults, require
from glassbox.errors import GlassboxError, InvalidValue, UnsupportedModel, UsageError
from tests.deploy.sagemaker.test_parts import packed
from tests.deploy.sagemaker.world import parts, served, settings

pytest.importorskip("botocore", reason="AWS's description of its services comes with boto3")

EAST = "us-east-1"


@pytest.fixture
def made(tmp_path) -> Parts:
    return parts(tmp_path / "bundle")


def wide(tmp_path, made: Parts) -> Parts:
    adapters = (packed(tmp_path, "support"),)
    return replace(made, adapters=adapters, environment={"LOG_LEVEL": "debug"})


WISHES = {
    "as it comes": {},
    "gpu": {"scaling": "gpu"},
    "no scaling": {"scaling": "off"},
    "components": {"components": True},
    "all at once": {"update": "blue-green"},
    "in a vpc": {"subnets": "subnet-1a, subnet-2b", "security_groups": "sg-1"},
    "isolated": {"isolated": True, "components": True},
    "keys and drivers": {
        "kms_key": f"arn:aws:kms:{EAST}:123456789012:key/0",
        "ami": "al2023-ami-sagemaker-inference-gpu-4-1",
        "instance_type": "ml.p3.2xlarge",
        "alarm_topic": f"arn:aws:sns:{EAST}:123456789012:calls",
    },
}


@pytest.mark.parametrize("given", WISHES.values(), ids=WISHES)
def test_every_request_fits_awss_own_description(tmp_path, made, given):
    wish = wished(settings(**given), wide(tmp_path, made), EAST)
    assert len(wish.calls) >= 4
    for call in wish.calls:
        assert request_faults(call.service, call.operation, call.request) == []


def test_the_alarm_is_about_half_a_second_and_not_half_a_millisecond(made):
    alarm = wished(settings(), made, EAST).alarms[0].request
    assert alarm["Threshold"] == 500_000  # ModelLatency is in microseconds
    assert alarm["ExtendedStatistic"] == "p99"
    assert "Statistic" not in alarm
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SageMaker", "ModelLatency")
    assert {each["Name"] for each in alarm["Dimensions"]} == {"EndpointName", "VariantName"}


@pytest.mark.parametrize("kind", [{}, {"components": True}])
def test_what_fails_raises_an_alarm_as_well(made, kind):
    topic = f"arn:aws:sns:{EAST}:123456789012:calls"
    both = wished(settings(alarm_topic=topic, **kind), made, EAST).alarms
    latency, failures = (each.request for each in both)
    assert failures["MetricName"] == "Invocation5XXErrors"
    # Of ones and zeros the mean is a share.
    assert (failures["Statistic"], failures["Threshold"]) == ("Average", 0.01)
    assert failures["Dimensions"] == latency["Dimensions"]
    for each in (latency, failures):
        # Who is called is told as well when it is over.
        assert each["AlarmActions"] == each["OKActions"] == [topic]


def test_it_starts_with_five_machines_and_grows_to_three_hundred(made):
    wish = wished(settings(), made, EAST)
    (variant,) = wish.config.request["ProductionVariants"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.g5.2xlarge", 5)
    assert wish.target is not None
    assert (wish.target.request["MinCapacity"], wish.target.request["MaxCapacity"]) == (5, 300)
    assert wish.target.request["ScalableDimension"] == "sagemaker:variant:DesiredInstanceCount"
    assert "ManagedInstanceScaling" not in variant, "AWS forbids both kinds of scaling at once"


def test_machines_follow_requests_at_a_time_or_the_gpu(made):
    def follows(**given: object) -> dict[str, object]:
        policy = wished(settings(**given), made, EAST).policy
        assert policy is not None
        return policy.request["TargetTrackingScalingPolicyConfiguration"]

    by_requests = follows()
    assert by_requests["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    }
    by_gpu = follows(scaling="gpu")
    assert by_gpu["TargetValue"] == 80.0
    metric = by_gpu["CustomizedMetricSpecification"]
    assert metric["Namespace"] == "/aws/sagemaker/Endpoints"
    assert metric["MetricName"] == "GPUUtilization"


def test_components_are_as_aws_wants_them(tmp_path, made):
    wish = wished(settings(components=True), wide(tmp_path, made), EAST)
    (variant,) = wish.config.request["ProductionVariants"]
    assert "ModelName" not in variant
    assert variant["ManagedInstanceScaling"]["MaxInstanceCount"] == 300
    assert wish.config.request["ExecutionRoleArn"] == settings().role
    base, adapter = (each.request["Specification"] for each in wish.components)
    assert "ComputeResourceRequirements" in base
    assert set(adapter) == {"BaseInferenceComponentName", "Container"}
    assert adapter["Container"]["ArtifactUrl"].endswith(".tar.gz")
    assert wish.target is not None
    assert wish.target.request["ScalableDimension"].endswith("inference-component:DesiredCopyCount")


def test_a_key_is_given_only_where_aws_takes_one(made):
    key = f"arn:aws:kms:{EAST}:123456789012:key/0"
    config = wished(settings(kms_key=key), made, EAST).config
    assert "KmsKeyId" not in config.request, "ml.g5 has a disk of its own"
    plain = wished(settings(kms_key=key, instance_type="ml.p3.2xlarge"), made, EAST).config
    assert plain.request["KmsKeyId"] == key


def test_requests_may_name_adapters_below_the_deployments_prefix(tmp_path, made):
    wish = wished(settings(), wide(tmp_path, made), EAST)
    environment = wish.models[0].request["PrimaryContainer"]["Environment"]
    prefix = environment["GLASSBOX_ENGINE__ADAPTER_URL_PREFIX"]
    assert wish.adapters["support"].startswith(prefix)
    assert environment["LOG_LEVEL"] == "debug"
    assert environment["GLASSBOX_SERVER__LARGE_ANSWERS"] == "s3://models/deploy/answers/shop/"


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"role": "admin"}, r"endpoint\.role.*--role"),
        ({"image": ""}, r"endpoint\.image.*--image"),
        ({"image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/g:1"}, r"--region eu-west-1"),
        ({"instances": 3}, r"endpoint\.instances is 3; allowed: 5 to 300"),
        ({"instances": 301}, "5 to 300"),
        ({"subnets": "subnet-1"}, r"together with endpoint\.security_groups"),
        ({"components": True, "scaling": "gpu"}, "concurrency or off"),
        ({"name": "a--"}, r"single hyphens|letters, digits"),
        ({"name": "x" * 51}, "at most 50"),
        ({"artifacts": "/tmp/x"}, "--artifacts"),
        (
            {"instance_type": "ml.g5.3xlarge"},
            r"the nearest being .*ml\.g5\.xlarge.*nothing was sent",
        ),
        ({"ami": "ubuntu"}, "al2023-ami-sagemaker-inference-gpu-4-1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(made, given, match):
    with pytest.raises(UsageError, match=match):
        wished(settings(**given), made, EAST)


def test_an_isolated_container_needs_all_it_serves(tmp_path, made):
    asked = settings(isolated=True)
    wished(asked, made, EAST)
    hub = parts(tmp_path / "hub", kind="hub", reference="org/model")
    with pytest.raises(UnsupportedModel, match="without its weights"):
        wished(asked, hub, EAST)
    wished(asked, parts(tmp_path / "full", kind="hub", has_weights=True), EAST)
    with pytest.raises(UnsupportedModel, match="Put them into the bundle"):
        wished(asked, wide(tmp_path, made), EAST)


def test_adapters_whose_components_would_share_a_name_are_refused(tmp_path, made):
    twice = replace(made, adapters=(packed(tmp_path, "a.b"), packed(tmp_path, "a-b")))
    wished(settings(), twice, EAST)
    with pytest.raises(InvalidValue, match=r"both be called shop-a-b"):
        wished(settings(components=True), twice, EAST)


def test_a_shadow_with_components_is_refused(tmp_path, made):
    both = replace(made, shadow=served(tmp_path / "shadow"))
    with pytest.raises(InvalidValue, match="shadow variant"):
        wished(settings(components=True), both, EAST)


def test_secrets_in_the_open_are_noted(made):
    plan = planned_offline(settings(), replace(made, environment={"HF_TOKEN": "x"}), EAST)
    assert any("HF_TOKEN" in each for each in plan.notes)


def test_the_spec_s_five_machines_cost_what_their_hours_cost(made):
    cost = planned_offline(settings(), made, EAST).cost
    assert cost is not None
    assert cost.at_first == pytest.approx(5 * 730 * 1.515)
    assert cost.most == pytest.approx(300 * 730 * 1.515)
    assert cost.now == 0
    elsewhere = planned_offline(settings(image="x"), made, "eu-west-1").cost
    assert elsewhere is not None
    assert "prices of eu-west-1 are others" in elsewhere.basis


def test_an_unknown_price_is_no_price(made):
    cost = planned_offline(settings(instance_type="ml.g7.48xlarge"), made, EAST).cost
    assert cost is not None
    assert cost.at_first is None
    assert "no price of ml.g7.48xlarge" in cost.basis


names = st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,24}", fullmatch=True)


@given(names, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_names_are_what_aws_allows(name, content):
    if len(name) > MAX_NAME:
        return
    these = Names(name)
    numbered = these.numbered(content)
    assert numbered == these.numbered(dict(reversed(content.items())))
    assert these.is_numbered(numbered)
    assert not Names("another").is_numbered(numbered)
    for request in ({"EndpointName": numbered}, {"EndpointName": these.base_component}):
        assert request_faults("sagemaker", "DescribeEndpoint", request) == []


def test_what_belongs_to_the_name_does_not_change_it(made):
    names = Names("shop")
    assert names.numbered({"a": 1, "Tags": [1], "ModelName": "x"}) == names.numbered({"a": 1})


@pytest.mark.parametrize(
    ("operation", "request_", "fault"),
    [
        ("DescribeEndpoint", {}, "EndpointName"),
        ("DescribeEndpoint", {"EndpointName": 3}, "EndpointName"),
        ("DescribeEndpoint", {"EndpointName": "a" * 64}, "at most 63"),
        ("DescribeEndpoint", {"EndpointName": "a_b"}, "does not match"),
        ("DescribeEndpoint", {"EndpointName": "a", "Colour": 1}, "Colour"),
        ("ListModels", {"SortOrder": "Sideways"}, "none of Ascending, Descending"),
        ("ListModels", {"MaxResults": 101}, "at most 100"),
        ("ListModels", {"MaxResults": 0}, "MaxResults"),
    ],
)
def test_a_request_that_aws_would_refuse_is_found(operation, request_, fault):
    found = request_faults("sagemaker", operation, request_)
    assert any(fault in each for each in found)


def test_a_request_that_cannot_be_is_not_sent(made):
    alarm, _ = wished(settings(), made, EAST).alarms
    wrong = replace(alarm, request={**alarm.request, "Statistic": "p99"})
    with pytest.raises(GlassboxError, match=r"PutMetricAlarm.*'p99' is none of SampleCount"):
        require(wrong)
