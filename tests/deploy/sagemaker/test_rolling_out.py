"""A new bundle or another machine is rolled out, watched, and taken back."""

import pytest

from glassbox.deploy.prices import SHIPPED
from glassbox.deploy.sagemaker import deployment
from glassbox.deploy.sagemaker.calls import Call
from glassbox.deploy.sagemaker.carrying_out import carry_out
from glassbox.deploy.sagemaker.desired_scaling import ALARM_PERIOD_S, ALARM_PERIODS
from glassbox.deploy.sagemaker.parts import Parts, Store
from glassbox.deploy.sagemaker.steps import BAKE_S
from glassbox.errors import CapacityError, ConflictError, GlassboxError
from tests.deploy.sagemaker.fake_aws import is_empty, refusal
from tests.deploy.sagemaker.world import AT_ONCE, apply, parts, settings

pytest.importorskip("boto3", reason="deploying needs boto3 (extra 'sagemaker')")
pytest.importorskip("moto", reason="the AWS of these tests is moto's")

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


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
    assert [each["AlarmName"] for each in rolling["AutoRollbackConfiguration"]["Alarms"]] == [
        "shop-p99-latency", "shop-server-errors"
    ]  # fmt: skip

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
    # A version that fails at once is quick.
    assert guards["AutoRollbackConfiguration"]["Alarms"] == [
        {"AlarmName": "shop-p99-latency"},
        {"AlarmName": "shop-server-errors"},
    ]


def test_an_alarm_that_rings_already_does_not_take_the_cure_back(tmp_path, made, fake):
    aws = fake.aws()
    apply(settings(), made, aws)
    fake.alarms["shop-p99-latency"]["StateValue"] = "ALARM"
    cure = parts(tmp_path / "cure", files={"notes/a.txt": b"faster"})
    plan = deployment.planned(settings(), cure, aws)
    assert any("shop-p99-latency rings now" in each for each in plan.notes)
    carry_out(plan.actions, aws, None, AT_ONCE)
    (update,) = [request for name, request in fake.asked if name == "UpdateEndpoint"]
    watched = update["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert watched == [{"AlarmName": "shop-server-errors"}]
    fake.alarms["shop-server-errors"]["StateValue"] = "ALARM"
    worse = parts(tmp_path / "worse", files={"notes/a.txt": b"worse"})
    apply(settings(), worse, aws)
    *_, update = [request for name, request in fake.asked if name == "UpdateEndpoint"]
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
    assert len(fake.models) == len(fake.configs) == len(fake.alarms) / 2 == 2
    assert {key.split("/")[2] for key in fake.objects} == {"shop-2", "workshop"}
