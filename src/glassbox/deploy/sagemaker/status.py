"""How a deployment is: state, machines, what it serves, what is left over; pure."""

from dataclasses import dataclass
from typing import Any

from glassbox.deploy.sagemaker.naming import BUNDLE_TAG, PREVIOUS_TAG, Names
from glassbox.deploy.sagemaker.observed import Observed


@dataclass(frozen=True)
class Variant:
    """The machines of one variant."""

    name: str
    """Its name."""
    instance_type: str
    """Kind of machine."""
    n_current: int
    """Machines that run."""
    n_desired: int
    """Machines that are wanted now."""


@dataclass(frozen=True)
class Status:
    """How a deployment is."""

    deployment: str
    """Its name."""
    region: str
    """Where."""
    state: str
    """As AWS calls it; ``absent`` if there is no endpoint."""
    reason: str
    """Why it failed; empty if it did not."""
    is_ours: bool
    """Whether the endpoint carries the deployment's tag."""
    config: str
    """Endpoint configuration."""
    previous_config: str
    """The one before it, which --rollback takes; empty if there is none."""
    bundle: str
    """Digest of the bundle that answers."""
    variants: tuple[Variant, ...]
    """Machines."""
    components: dict[str, str]
    """State of each inference component."""
    scaling: tuple[str, ...]
    """What the number of machines follows, and between which bounds."""
    alarms: dict[str, str]
    """State of each alarm; ``absent`` if it is not there."""
    left_over: tuple[str, ...]
    """What carries its tag and is used by nothing: earlier versions, half-made ones."""

    @property
    def answers(self) -> bool:
        """Whether it takes requests."""
        return self.state in ("InService", "Updating", "SystemUpdating", "RollingBack",
                              "UpdateRollbackFailed")  # fmt: skip


def status_of(names: Names, region: str, there: Observed) -> Status:
    """Return how a deployment is."""
    endpoint, config = there.endpoint, there.config
    body: Any = endpoint.body if endpoint else {}
    previous = endpoint.tags.get(PREVIOUS_TAG, "") if endpoint else ""
    return Status(
        deployment=names.deployment,
        region=region,
        state=there.status or "absent",
        reason=str(body.get("FailureReason", "")),
        is_ours=endpoint is not None and endpoint.belongs_to(names.deployment),
        config=there.config_name,
        previous_config="" if previous == there.config_name else previous,
        bundle=config.tags.get(BUNDLE_TAG, "") if config else "",
        variants=tuple(_variants(there)),
        components={
            name: str(each.body["InferenceComponentStatus"])
            for name, each in there.components.items()
        },
        scaling=tuple(_scaling(there)),
        alarms={
            name: str(there.alarms[name].body.get("StateValue", ""))
            if name in there.alarms
            else "absent"
            for name in names.alarms
        },
        left_over=tuple(_left_over(names, there, previous)),
    )


def _variants(there: Observed) -> list[Variant]:
    found = []
    for key in ("ProductionVariants", "ShadowProductionVariants"):
        kinds = {
            each["VariantName"]: each.get("InstanceType", "")
            for each in (there.config.body.get(key) or () if there.config else ())
        }
        for each in there.endpoint.body.get(key) or () if there.endpoint else ():
            name = each["VariantName"]
            current = int(each.get("CurrentInstanceCount", 0))
            desired = int(each.get("DesiredInstanceCount", current))
            found.append(Variant(name, kinds.get(name, ""), current, desired))
    return found


def _scaling(there: Observed) -> list[str]:
    found = []
    for target in there.targets:
        policies = [
            f"{each['PolicyName']} at "
            f"{each.get('TargetTrackingScalingPolicyConfiguration', {}).get('TargetValue', 0):g}"
            for each in there.policies
            if each["ResourceId"] == target["ResourceId"]
        ]
        found.append(
            f"{target['MinCapacity']} to {target['MaxCapacity']} "
            f"({', '.join(policies) or 'no policy: nothing moves it'})"
        )
    return found


def _left_over(names: Names, there: Observed, previous: str) -> list[str]:
    kept = {there.config_name, previous}
    used = {
        str(variant.get("ModelName"))
        for name, each in there.configs.items()
        if name in kept
        for key in ("ProductionVariants", "ShadowProductionVariants")
        for variant in each.body.get(key) or ()
    }
    used |= {str(each.body.get("Specification", {}).get("ModelName"))
             for each in there.components.values()}  # fmt: skip
    ours = names.deployment
    return [
        *(f"endpoint configuration {name}" for name, each in there.configs.items()
          if each.belongs_to(ours) and name not in kept),
        *(f"model {name}" for name, each in there.models.items()
          if each.belongs_to(ours) and name not in used),
        *(f"alarm {name}" for name in there.alarms if not there.endpoint),
    ]  # fmt: skip
