"""An endpoint is made, changed and removed; stopped anywhere, it goes on from there."""

from dataclasses import replace

import pytest

from glassbox.deploy.sagemaker import deployment
from glassbox.deploy.sagemaker.carrying_out import carry_out
from glassbox.errors import CapacityError, ConflictError
from glassbox.settings import EndpointSettings
from tests.deploy.sagemaker.fake_aws import FakeAws, is_empty, refusal
from tests.deploy.sagemaker.world import AT_ONCE, apply, parts, served, settings

pytest.importorskip("boto3", reason="deploying needs boto3 (extra 'sagemaker')")
pytest.importorskip("moto", reason="the AWS of these tests is moto's")

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
MOTO_TYPE = "ml.g4dn.2xlarge"
"""moto's list of instance types ends before the g5 family."""


def wish(**given: object) -> EndpointSettings:
    return settings(**{"instance_type": MOTO_TYPE, **given})


def test_it_is_made_seen_and_removed(aws, made):
    asked = wish()
    plan = deployment.planned(asked, made, aws)
    assert [each.sign for each in plan.actions] == list("++++++·++")
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


@pytest.mark.parametrize("step", range(8))
def test_a_removal_that_stopped_goes_on(made, fake, step):
    aws = fake.aws()
    apply(settings(), made, aws)
    fake.after[fake.n_changes + step] = lambda: refusal("InternalFailure", "!", status=500)
    remove = lambda: carry_out(  # noqa: E731
        deployment.teardown(settings(), aws, with_artifacts=True).actions, aws, None, AT_ONCE
    )
    if step < 7:
        with pytest.raises(CapacityError, match="AWS has a fault"):
            remove()
    remove()
    assert is_empty(fake)
    assert not fake.objects


def test_a_half_made_endpoint_is_finished(made, fake):
    """Somebody pulled the plug while AWS was still making it."""
    aws = fake.aws()
    plan = deployment.planned(settings(), made, aws)
    carry_out(plan.actions[:6], aws, None, AT_ONCE)
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
    carry_out(plan.actions[:6], aws, None, AT_ONCE)
    fake.endpoints.clear()
    with pytest.raises(ConflictError, match=r"endpoint shop was removed meanwhile.*make it anew"):
        carry_out(plan.actions[6:], aws, None, AT_ONCE)
    apply(settings(), made, aws)
    assert deployment.status(settings(), aws).state == "InService"


def test_a_wait_ends(made, fake):
    clock = iter(range(0, 10_000, 60))
    patience = replace(AT_ONCE, wait_s=300.0, clock=lambda: float(next(clock)))
    plan = deployment.planned(settings(), made, fake.aws())
    carry_out(plan.actions[:6], fake.aws(), None, AT_ONCE)
    fake.endpoints["shop"]["left"] = 10_000
    with pytest.raises(CapacityError, match=r"still Creating after 300 s.*--status"):
        carry_out(plan.actions[6:], fake.aws(), None, patience)


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
