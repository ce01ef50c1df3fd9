"""Steps that change or remove what is there; pure. Which are needed is the plan's affair."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from glassbox.deploy.sagemaker.calls import Action, Call, Service, Wait
from glassbox.deploy.sagemaker.desired import Desired
from glassbox.deploy.sagemaker.desired_scaling import ALARM_PERIOD_S, ALARM_PERIODS
from glassbox.deploy.sagemaker.naming import BUNDLE_TAG, PREVIOUS_TAG, listed
from glassbox.deploy.sagemaker.observed import Observed

BATCH_SHARE: Final = 25
"""Percent of the machines that a rolling update replaces at a time, 5 to 50 at AWS."""

BAKE_S: Final = ALARM_PERIODS * ALARM_PERIOD_S + 120
"""Seconds that new machines are watched: until the alarm can ring, and figures come late."""

OTHER_TYPE: Final = "the instance type changes, which AWS refuses else"
"""Why autoscaling is taken off."""

OFF_MEANWHILE: Final = (
    "Autoscaling is off while the kind of machine changes, and is put on again after it. If that "
    "stops before, or AWS takes the update back, it stays off: --status shows it, and --apply of "
    "what answers then puts it on."
)
"""What people should know before autoscaling is taken off."""

SIDE_BY_SIDE: Final = (
    "While it is updated, the old machines and the new ones run side by side, and cost."
)
"""What people should know before all machines are replaced at once."""

_TARGET_KEYS: Final = ("ServiceNamespace", "ResourceId", "ScalableDimension", "MinCapacity",
                       "MaxCapacity", "SuspendedState")  # fmt: skip
_POLICY_KEYS: Final = ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension",
                       "PolicyType", "TargetTrackingScalingPolicyConfiguration",
                       "StepScalingPolicyConfiguration")  # fmt: skip

Deployed = Literal["in batches", "at once", "unwatched"]
"""How AWS replaces machines: some at a time, all beside the old ones, or so and without a look."""


def remember(there: Observed, bundle: str) -> Call:
    """Return the request that tags an endpoint with the way back and what it serves now."""
    assert there.endpoint is not None
    tags = {PREVIOUS_TAG: there.config_name, BUNDLE_TAG: bundle}
    return Call(
        "sagemaker",
        "AddTags",
        {"ResourceArn": there.endpoint.arn, "Tags": listed(tags)},
        f"tag of endpoint {there.endpoint.name}: the way back is {there.config_name}",
        sign="~",
    )


def update_endpoint(name: str, config: str, there: Observed, wish: Desired | None = None) -> Call:
    """Return the request that gives an endpoint another configuration.

    The number of machines stays what autoscaling made of it. An update goes back by itself if the
    alarm rings.

    Args:
        name: The endpoint.
        config: The configuration that it gets.
        there: What is there.
        wish: What is to be; None goes the way back, which nothing watches.
    """
    # AWS would keep the weights, too, and with them the share that a shadow variant gets.
    own = ["DesiredWeight"]
    # A wish for autoscaling counts also where it is off for the moment: a command that goes on
    # where it stopped must not shrink what had grown.
    is_scaled = bool(there.targets) if wish is None else wish.target is not None
    if not is_scaled:
        own.append("DesiredInstanceCount")
    request: dict[str, Any] = {
        "EndpointName": name,
        "EndpointConfigName": config,
        "RetainAllVariantProperties": True,
        "ExcludeRetainedVariantProperties": [{"VariantPropertyType": each} for each in own],
    }
    how = deployed(wish, there)
    if how == "in batches":
        request["DeploymentConfig"] = {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": BATCH_SHARE},
                "WaitIntervalInSeconds": BAKE_S,
            }
        }
    elif how == "at once":
        request["DeploymentConfig"] = {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "ALL_AT_ONCE",
                    "WaitIntervalInSeconds": BAKE_S,
                }
            }
        }
    if how != "unwatched" and wish is not None:
        quiet = [each for each in wish.names.alarms if each not in ringing(there)]
        if quiet:
            request["DeploymentConfig"]["AutoRollbackConfiguration"] = {
                "Alarms": [{"AlarmName": each} for each in quiet]
            }
    return Call("sagemaker", "UpdateEndpoint", request, f"endpoint {name} to {config}", sign="~")


def deployed(wish: Desired | None, there: Observed) -> Deployed:
    """Return how AWS would replace the machines; it looks at none where a shadow variant is.

    Source: AWS, "Deployment guardrails: Exclusions" (multi-variant endpoints).
    """
    if wish is None:
        return "unwatched"
    config = there.config
    configs = [wish.config.request, *([config.body] if config else [])]
    if any(each.get("ShadowProductionVariants") for each in configs):
        return "unwatched"
    return "in batches" if wish.rolls else "at once"


def ringing(there: Observed) -> list[str]:
    """Return the alarms that ring now: they would take every update back, the cure as well."""
    return [name for name, each in there.alarms.items() if each.body.get("StateValue") == "ALARM"]


def delete_endpoint(name: str, why: str) -> Call:
    """Return the request that removes an endpoint."""
    return Call(
        "sagemaker",
        "DeleteEndpoint",
        {"EndpointName": name},
        f"endpoint {name}",
        why,
        sign="-",
        skip_if_absent=True,
    )


def drop_target(target: Mapping[str, Any], why: str) -> Call:
    """Return the request that ends autoscaling; its policies go with it."""
    keys = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    return Call(
        "application-autoscaling",
        "DeregisterScalableTarget",
        {key: target[key] for key in keys},
        f"autoscaling of {target['ResourceId']}",
        why,
        sign="-",
        skip_if_absent=True,
    )


def drop_targets(there: Observed, why: str) -> Iterator[Call]:
    """Yield the steps that end all autoscaling of an endpoint."""
    for each in there.targets:
        yield drop_target(each, why)


def put_back(there: Observed) -> Iterator[Call]:
    """Yield the steps that put all autoscaling of an endpoint on again, as it was."""
    autoscaling: Service = "application-autoscaling"
    for each in there.targets:
        request = {key: each[key] for key in _TARGET_KEYS if key in each}
        what = f"autoscaling of {each['ResourceId']}"
        yield Call(autoscaling, "RegisterScalableTarget", request, what, "as it was")
    for each in there.policies:
        request = {key: each[key] for key in _POLICY_KEYS if key in each}
        what = f"scaling policy {each['PolicyName']}"
        yield Call(autoscaling, "PutScalingPolicy", request, what, "as it was")


def changes_type(there: Observed, config: Mapping[str, Any]) -> bool:
    """Return whether a configuration has another kind of machines than the one in force.

    AWS refuses to change the kind of machines that autoscaling counts.

    Args:
        there: What is there.
        config: The configuration, as it is made or described.
    """
    now = there.config
    return now is None or _types(now.body) != _types(config)


def _types(config: Mapping[str, Any]) -> list[str]:
    return [each.get("InstanceType", "") for each in config["ProductionVariants"]]


def drop_components(there: Observed, why: str) -> Iterator[Action]:
    """Yield the steps that remove every inference component, adapters before their base."""
    stands_on = {
        each.name: "BaseInferenceComponentName" in each.body.get("Specification", {})
        for each in there.components.values()
    }
    for is_adapter in (True, False):
        names = [name for name, each in stands_on.items() if each is is_adapter]
        yield from (delete_component(name, why) for name in names)
        yield from (Wait("component", name, "gone") for name in names)


def delete_component(name: str, why: str) -> Call:
    """Return the request that removes an inference component."""
    return Call(
        "sagemaker",
        "DeleteInferenceComponent",
        {"InferenceComponentName": name},
        f"inference component {name}",
        why,
        sign="-",
        skip_if_absent=True,
    )
