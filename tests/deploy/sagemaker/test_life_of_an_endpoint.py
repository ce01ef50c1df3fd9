"""An endpoint is made, changed, taken back and removed; stopped anywhere, it goes on from there."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from glassbox.deploy.prices import SHIPPED
from glassbox.deploy.sagemaker import deployment
from glassbox.deploy.sagemaker.aws import Aws
from glassbox.deploy.sagemaker.calls import Call
from glassbox.deploy.sagemaker.carrying_out import Watcher, carry_out
from glassbox.deploy.sagemaker.desired_scaling import ALARM_PERIOD_S, ALARM_PERIODS
from glassbox.deploy.sagemaker.parts import Parts, Store
from glassbox.deploy.sagemaker.steps import BAKE_S
from glassbox.errors import CapacityError, ConflictError, GlassboxError, Unreachable
from glassbox.settings import EndpointSettings
from tests.deploy.sagemaker.fake_aws import FakeAws, refusal
from tests.deploy.sagemaker.world import ACCOUNT, AT_ONCE, parts, served, settings

boto3 = pytest.importorskip("boto3", reason="deploying needs boto3 (extra 'sagemaker')")
moto = pytest.importorskip("moto", reason="the AWS of these tests is moto's")

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

MOTO_TYPE = "ml.g4dn.2xlarge"
"""moto's list of instance types ends before the g5 family."""


@pytest.fixture
def made(tmp_path) -> Parts:
    return parts(tmp_path / "bundle")


@pytest.fixture
def fake() -> FakeAws:
    return FakeAws()


@pytest.fixture(params=["memory", "moto"])
def aws(request, monkeypatch) -> Iterator[Aws]:
    if request.param == "memory":
        yield FakeAws().aws()
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with moto.mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="models")
        yield deployment.signed_in(settings())


def wish(**given: object) -> EndpointSettings:
    return settings(**{"instance_type": MOTO_TYPE, **given})


def apply(asked: EndpointSettings, made: Parts, aws: Aws) -> Watcher:
    return carry_out(deployment.planned(asked, made, aws).actions, aws, None, AT_ONCE)


def test_it_is_made_seen_and_removed(aws, made):
    asked = wish()
    plan = deployment.planned(asked, made, aws)
    assert [each.sign for each in plan.actions] == list("+++++·++")
    carry_out(plan.actions, aws, None, AT_ONCE)

    found = deployment.status(asked, aws)
    assert (found.state, found.is_ours, found.answers) == ("InService", True, True)
    assert found.bundle == made.served.bundle.digest
    assert [(each.name, each.n_current) for each in found.variants] == [("primary", 5)]
    assert found.scaling == ("5 to 300 (shop-concurrency at 8)",)
    assert found.left_over == ()

    again = deployment.planned(asked, made, aws)
    assert again.is_done, again.actions

    carry_out(deployment.teardown(asked, aws, with_artifacts=True).actions, aws, None, AT_ONCE)
    left = deployment.teardown(asked, aws, with_artifacts=True)
    assert left.is_done
    assert deployment.status(asked, aws).state == "absent"


def test_only_what_differs_is_done(aws, made):
    apply(wish(), made, aws)
    plan = deployment.planned(wish(max_instances=100, alarm_p99_s=0.8), made, aws)
    assert [(each.sign, each.why) for each in plan.actions] == [
        ("~", "AlarmDescription The model's p99 latency is above 0.5 s. → The model's p99 latency "
              "is above 0.8 s., Threshold 500000 → 800000"),
        ("~", "MaxCapacity 300 → 100"),
    ]  # fmt: skip
    carry_out(plan.actions, aws, None, AT_ONCE)
    assert deployment.planned(wish(max_instances=100, alarm_p99_s=0.8), made, aws).is_done


def test_what_autoscaling_follows_can_change(aws, made):
    apply(wish(), made, aws)
    apply(wish(scaling="gpu"), made, aws)
    assert deployment.status(wish(), aws).scaling == ("5 to 300 (shop-gpu at 80)",)
    apply(wish(scaling="off"), made, aws)
    assert deployment.status(wish(), aws).scaling == ()


def test_the_same_wish_finds_what_is_there_in_any_process(made, tmp_path):
    """Names come from what things are, not from a counter or a hash that a process draws."""
    first = deployment.wished(settings(), made, "us-east-1")
    second = deployment.wished(settings(), parts(tmp_path / "other"), "us-east-1")
    assert first.calls == second.calls
    assert first.config_name == "shop-a360858d16"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", range(10))
def test_stopped_at_any_step_the_same_command_ends_the_same(tmp_path, made, when, step):
    """A request that was lost and one whose answer was lost; what is there must not differ."""
    whole, broken = FakeAws(), FakeAws()
    for fake in (whole, broken):
        apply(settings(), made, fake.aws())
    other = replace(made, shadow=served(tmp_path / "shadow", name="next"))
    asked = settings(instance_type="ml.g6.2xlarge", scaling="gpu")
    apply(asked, other, whole.aws())

    getattr(broken, when)[broken.n_changes + step] = lambda: refusal(
        "InternalFailure", "!", status=500
    )
    with pytest.raises(CapacityError, match="AWS has a fault"):
        apply(asked, other, broken.aws())
    apply(asked, other, broken.aws())
    assert deployment.planned(asked, other, broken.aws()).is_done
    assert _state(broken) == _state(whole)


def is_empty(fake: FakeAws) -> bool:
    names = ["endpoints", "configs", "models", "components", "targets", "policies", "alarms"]
    return not any(getattr(fake, each) for each in names)


def _state(fake: FakeAws) -> dict[str, object]:
    times = {"CreationTime", "LastModifiedTime"}

    def timeless(value: object) -> object:
        if isinstance(value, dict):
            return {key: timeless(each) for key, each in value.items() if key not in times}
        return [timeless(each) for each in value] if isinstance(value, list) else value

    names = ["endpoints", "configs", "models", "targets", "policies", "alarms", "tags"]
    return {each: timeless(getattr(fake, each)) for each in names} | {
        "objects": {key: each["body"] for key, each in fake.objects.items()}
    }


@pytest.mark.parametrize("step", range(7))
def test_a_removal_that_stopped_goes_on(made, fake, step):
    aws = fake.aws()
    apply(settings(), made, aws)
    fake.after[fake.n_changes + step] = lambda: refusal("InternalFailure", "!", status=500)
    remove = lambda: carry_out(  # noqa: E731
        deployment.teardown(settings(), aws, with_artifacts=True).actions, aws, None, AT_ONCE
    )
    if step < 6:
        with pytest.raises(CapacityError, match="AWS has a fault"):
            remove()
    remove()
    assert is_empty(fake)
    assert not fake.objects


def test_a_new_bundle_is_rolled_out_and_taken_back(tmp_path, made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    first = deployment.status(settings(), aws)
    fake.endpoints["shop"]["ProductionVariants"][0]["CurrentInstanceCount"] = 40
    other = parts(tmp_path / "other", files={"notes/a.txt": b"changed"})

    plan = deployment.planned(settings(), other, aws)
    assert [each.what for each in plan.changes] == ["configuration", "primary: bundle"]
    assert plan.cost is not None
    assert plan.cost.now == pytest.approx(40 * 730 * 1.515)
    carry_out(plan.actions, aws, None, AT_ONCE)
    second = deployment.status(settings(), aws)
    assert second.previous_config == first.config != second.config
    assert second.bundle == other.served.bundle.digest
    assert second.variants[0].n_current == 40, "an update must not shrink what autoscaling grew"
    asked = [request for name, request in fake.asked if name == "UpdateEndpoint"]
    rolling = asked[0]["DeploymentConfig"]
    assert 5 <= rolling["RollingUpdatePolicy"]["MaximumBatchSize"]["Value"] <= 50
    assert rolling["AutoRollbackConfiguration"]["Alarms"] == [{"AlarmName": "shop-p99-latency"}]

    carry_out(deployment.way_back(settings(), aws).actions, aws, None, AT_ONCE)
    back = deployment.status(settings(), aws)
    assert (back.config, back.previous_config) == (first.config, second.config)
    assert back.bundle == made.served.bundle.digest
    carry_out(deployment.way_back(settings(), aws).actions, aws, None, AT_ONCE)
    assert deployment.status(settings(), aws).config == second.config


def test_an_update_is_watched_until_the_alarm_can_ring(tmp_path, made, fake):
    assert BAKE_S > ALARM_PERIODS * ALARM_PERIOD_S
    aws = fake.aws()
    apply(settings(), made, aws)
    other = parts(tmp_path / "other", files={"notes/a.txt": b"changed"})
    at_once = deployment.planned(settings(update="blue-green"), other, aws)
    assert any("side by side" in each for each in at_once.notes)
    update = next(each for each in at_once.actions if "UpdateEndpoint" in str(each))
    assert isinstance(update, Call)
    guards = update.request["DeploymentConfig"]
    assert guards["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    assert guards["AutoRollbackConfiguration"]["Alarms"] == [{"AlarmName": "shop-p99-latency"}]


def test_an_alarm_that_rings_already_does_not_take_the_cure_back(tmp_path, made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    fake.alarms["shop-p99-latency"]["StateValue"] = "ALARM"
    cure = parts(tmp_path / "cure", files={"notes/a.txt": b"faster"})
    plan = deployment.planned(settings(), cure, aws)
    assert any("alarm rings now" in each for each in plan.notes)
    carry_out(plan.actions, aws, None, AT_ONCE)
    (update,) = [request for name, request in fake.asked if name == "UpdateEndpoint"]
    assert "AutoRollbackConfiguration" not in update["DeploymentConfig"]


def test_without_autoscaling_the_number_of_machines_is_the_wish(made, fake):
    aws = fake.aws()
    apply(settings(scaling="off"), made, aws)
    apply(settings(scaling="off", instances=7), made, aws)
    assert deployment.status(settings(), aws).variants[0].n_current == 7


def test_versions_that_nothing_uses_are_named(tmp_path, made, fake):
    aws = fake.aws()
    for number in range(4):
        apply(settings(), parts(tmp_path / str(number), files={"a": bytes([number])}), aws)
    left = deployment.status(settings(), aws).left_over
    assert len(left) == 4
    assert sum("configuration" in each for each in left) == 2
    carry_out(deployment.teardown(settings(), aws).actions, aws, None, AT_ONCE)
    assert is_empty(fake)


def test_an_update_that_aws_takes_back_is_no_success(tmp_path, made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    fake.fails_with = "The alarm shop-p99-latency rang."
    other = parts(tmp_path / "other", files={"notes/a.txt": b"slow"})
    with pytest.raises(ConflictError, match=r"took the update of shop back.*shop-p99-latency rang"):
        apply(settings(), other, aws)
    assert deployment.status(settings(), aws).bundle == made.served.bundle.digest


def test_another_kind_of_machine_takes_autoscaling_off_and_on_again(made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    plan = deployment.planned(settings(instance_type="ml.g6.2xlarge"), made, aws)
    signs = [(each.sign, each.what.split()[0]) for each in plan.actions]
    assert signs == [("+", "endpoint"), ("-", "autoscaling"), ("~", "tag"), ("~", "endpoint"),
                     ("·", "wait"), ("+", "autoscaling"), ("+", "scaling")]  # fmt: skip
    assert any("Autoscaling is off while" in each for each in plan.notes)
    carry_out(plan.actions, aws, None, AT_ONCE)
    assert list(fake.targets) == ["endpoint/shop/variant/primary"]


def test_a_change_of_machines_that_stopped_midway_goes_on_with_as_many(made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    fake.endpoints["shop"]["ProductionVariants"][0]["CurrentInstanceCount"] = 40
    fake.refuses["UpdateEndpoint"] = lambda: refusal("ThrottlingException", "Rate exceeded")
    other = settings(instance_type="ml.g6.2xlarge")
    with pytest.raises(CapacityError):
        apply(other, made, aws)
    assert not fake.targets, "autoscaling went first"
    del fake.refuses["UpdateEndpoint"]
    apply(other, made, aws)
    found = deployment.status(other, aws)
    assert (found.variants[0].n_current, len(found.scaling)) == (40, 1)


def test_the_way_back_to_another_kind_of_machine_leaves_autoscaling_as_it_was(made, fake):
    aws = fake.aws()
    apply(settings(max_instances=40), made, aws)
    first = deployment.status(settings(), aws)
    apply(settings(instance_type="ml.g6.2xlarge", max_instances=40), made, aws)
    fake.endpoints["shop"]["ProductionVariants"][0]["CurrentInstanceCount"] = 12

    # What it was, not what the settings at hand say.
    plan = deployment.way_back(settings(), aws)
    assert any("Autoscaling is off while" in each for each in plan.notes)
    carry_out(plan.actions, aws, None, AT_ONCE)
    back = deployment.status(settings(), aws)
    assert (back.config, back.scaling) == (first.config, first.scaling)
    assert back.variants[0].n_current == 12
    assert deployment.planned(settings(max_instances=40), made, aws).is_done


def test_the_way_back_is_previewed_with_its_difference_and_cost(tmp_path, made, fake):
    aws = fake.aws()
    apply(settings(max_instances=40), made, aws)
    other = parts(tmp_path / "other", files={"notes/a.txt": b"changed"})
    apply(settings(instance_type="ml.g5.xlarge", max_instances=40), other, aws)
    fake.endpoints["shop"]["ProductionVariants"][0]["CurrentInstanceCount"] = 12
    plan = deployment.way_back(settings(), aws)
    assert {each.what: each.after for each in plan.changes} == {
        "configuration": deployment.status(settings(), aws).previous_config,
        "primary: instance type": "ml.g5.2xlarge",
        "primary: bundle": made_of(made),
    }
    assert plan.cost is not None
    assert plan.cost.n_machines == (12, 5, 40)
    assert plan.cost.now == pytest.approx(12 * 730 * SHIPPED["ml.g5.xlarge"].usd_per_hour)
    assert plan.cost.at_first == pytest.approx(12 * 730 * 1.515)
    assert any("side by side" in each for each in plan.notes)


def made_of(these: Parts) -> str:
    """Where the bundle lies that these parts are."""
    return Store(settings()).bundle(these.served.bundle)


def test_an_endpoint_whose_configuration_is_gone_has_no_known_cost(tmp_path, made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    fake.configs.clear()
    other = parts(tmp_path / "other", files={"notes/a.txt": b"changed"})
    for wish_of in (made, other):
        plan = deployment.planned(settings(), wish_of, aws)
        assert plan.cost is not None
        assert plan.cost.now is None
        assert any("is gone" in each for each in plan.notes)
    assert [each.what for each in plan.changes] == ["configuration"]


def test_a_half_made_endpoint_is_finished(made, fake):
    """Somebody pulled the plug while AWS was still making it."""
    aws = fake.aws()
    plan = deployment.planned(settings(), made, aws)
    carry_out(plan.actions[:5], aws, None, AT_ONCE)
    assert fake.endpoints["shop"]["EndpointStatus"] == "Creating"
    rest = deployment.planned(settings(), made, aws)
    assert rest.actions[0].what == "wait until endpoint shop is in service"
    carry_out(rest.actions, aws, None, AT_ONCE)
    assert deployment.status(settings(), aws).state == "InService"


def test_a_failed_endpoint_is_said_removed_and_made_anew(made, fake):
    aws = fake.aws()
    fake.ends_as, fake.fails_with = "Failed", "The container did not pass the ping health check."
    with pytest.raises(ConflictError, match=r"did not pass the ping.*log group.*same command"):
        apply(settings(), made, aws)
    assert "ping health check" in deployment.status(settings(), aws).reason
    fake.ends_as, fake.fails_with = "InService", ""
    plan = deployment.planned(settings(), made, aws)
    assert "cannot be mended" in next(each for each in plan.actions if each.sign == "-").why
    carry_out(plan.actions, aws, None, AT_ONCE)
    assert deployment.status(settings(), aws).state == "InService"


def test_no_free_machines_are_told_from_other_failures(made, fake):
    fake.ends_as = "Failed"
    fake.fails_with = (
        "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity"
    )
    with pytest.raises(CapacityError, match="no such machines free now"):
        apply(settings(), made, fake.aws())


def test_an_endpoint_that_goes_away_meanwhile_is_said(made, fake):
    aws = fake.aws()
    plan = deployment.planned(settings(), made, aws)
    carry_out(plan.actions[:5], aws, None, AT_ONCE)
    fake.endpoints.clear()
    with pytest.raises(ConflictError, match=r"endpoint shop was removed meanwhile.*make it anew"):
        carry_out(plan.actions[5:], aws, None, AT_ONCE)
    apply(settings(), made, aws)
    assert deployment.status(settings(), aws).state == "InService"


def test_a_wait_ends(made, fake):
    clock = iter(range(0, 10_000, 60))
    patience = replace(AT_ONCE, wait_s=300.0, clock=lambda: float(next(clock)))
    plan = deployment.planned(settings(), made, fake.aws())
    carry_out(plan.actions[:5], fake.aws(), None, AT_ONCE)
    fake.endpoints["shop"]["left"] = 10_000
    with pytest.raises(CapacityError, match=r"still Creating after 300 s.*--status"):
        carry_out(plan.actions[5:], fake.aws(), None, patience)


def test_components_are_made_changed_and_removed(tmp_path, fake):
    from tests.deploy.sagemaker.test_parts import packed

    aws = fake.aws()
    asked = settings(components=True)
    one = replace(parts(tmp_path / "bundle"), adapters=(packed(tmp_path, "support"),))
    plan = deployment.planned(asked, one, aws)
    assert plan.adapters == {"support": "shop-support"}
    assert any("Not exercised" in each for each in plan.notes)
    carry_out(plan.actions, aws, None, AT_ONCE)
    assert list(fake.components) == ["shop-base", "shop-support"]
    assert deployment.status(asked, aws).components == dict.fromkeys(fake.components, "InService")
    assert deployment.planned(asked, one, aws).is_done
    assert list(fake.targets) == ["inference-component/shop-base"]

    other = replace(one, adapters=(packed(tmp_path, "support", seed=1), packed(tmp_path, "tax")))
    apply(asked, other, aws)
    assert list(fake.components) == ["shop-base", "shop-support", "shop-tax"]
    apply(asked, replace(one, adapters=()), aws)
    assert list(fake.components) == ["shop-base"]
    apply(asked, other, aws)
    carry_out(deployment.teardown(asked, aws).actions, aws, None, AT_ONCE)
    assert is_empty(fake)


def test_an_endpoint_with_components_is_not_made_one_without(made, fake):
    apply(settings(components=True), made, fake.aws())
    with pytest.raises(ConflictError, match="runs with inference components"):
        deployment.planned(settings(), made, fake.aws())


def test_a_shadow_variant_gets_its_share_and_rolls_at_once(tmp_path, made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    both = replace(made, shadow=served(tmp_path / "next", files={"a": b"next"}, name="next"))
    plan = deployment.planned(settings(shadow_share=0.25, shadow_instances=2), both, aws)
    assert any("watches no update" in each for each in plan.notes)
    carry_out(plan.actions, aws, None, AT_ONCE)
    config = fake.configs[deployment.status(settings(), aws).config]
    (shadow,) = config["ShadowProductionVariants"]
    (primary,) = config["ProductionVariants"]
    assert shadow["InitialVariantWeight"] / primary["InitialVariantWeight"] == 0.25
    assert shadow["ModelName"] != primary["ModelName"]
    assert plan.cost is not None
    assert plan.cost.n_machines == (7, 7, 302)


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


def test_a_way_back_that_is_not_there_is_said(made, fake):
    aws = fake.aws()
    with pytest.raises(GlassboxError, match="No endpoint 'shop'"):
        deployment.way_back(settings(), aws)
    apply(settings(), made, aws)
    with pytest.raises(ConflictError, match=r"has had no other configuration.*--to"):
        deployment.way_back(settings(), aws)
    with pytest.raises(GlassboxError, match="No endpoint configuration 'shop-1'"):
        deployment.way_back(settings(), aws, "shop-1")


def test_one_deployment_does_not_see_anothers_versions(made, fake):
    aws = fake.aws()
    for name in ("shop", "shop-2", "workshop"):
        apply(settings(name=name), made, aws)
    carry_out(deployment.teardown(settings(), aws, with_artifacts=True).actions, aws, None, AT_ONCE)
    assert sorted(fake.endpoints) == ["shop-2", "workshop"]
    assert len(fake.models) == len(fake.configs) == len(fake.alarms) == 2
    assert {key.split("/")[2] for key in fake.objects} == {"shop-2", "workshop"}


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
                                                               "alarm"]  # fmt: skip


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
