"""The way back: the configuration that an endpoint had before; pure."""

from glassbox.deploy.prices import SHIPPED, Prices
from glassbox.deploy.sagemaker.calls import Action, Wait
from glassbox.deploy.sagemaker.cost import cost_of_going_back
from glassbox.deploy.sagemaker.differences import between
from glassbox.deploy.sagemaker.naming import BUNDLE_TAG, PREVIOUS_TAG, Names
from glassbox.deploy.sagemaker.observed import MOVING, Observed
from glassbox.deploy.sagemaker.plan import Plan
from glassbox.deploy.sagemaker.steps import (
    OFF_MEANWHILE,
    OTHER_TYPE,
    SIDE_BY_SIDE,
    changes_type,
    drop_targets,
    put_back,
    remember,
    update_endpoint,
)
from glassbox.errors import ConflictError, UnknownName


def going_back(
    names: Names,
    region: str,
    there: Observed,
    to: str | None = None,
    *,
    prices: Prices = SHIPPED,
) -> Plan:
    """Return the steps that give an endpoint an earlier configuration.

    All machines are replaced at once, beside the old ones: the way back is not the time to wait.
    Autoscaling stays as it is.

    Args:
        names: The deployment's.
        region: Where it is.
        there: What is there of it.
        to: The configuration; None takes the one before, so twice is there and back again.
        prices: What an hour of an instance costs.

    Raises:
        UnknownName: There is no such endpoint or configuration.
        ConflictError: It is not this deployment's, or there is nothing to go back to.
    """
    there.check_maker()
    endpoint = there.endpoint
    if endpoint is None:
        raise UnknownName("endpoint", names.deployment, remedy=f"There is none in {region}.")
    if not endpoint.belongs_to(names.deployment):
        raise ConflictError(f"The endpoint {endpoint.name} is not a deployment of Glassbox.")
    wished = to or endpoint.tags.get(PREVIOUS_TAG, "")
    _check_wished(names, there, endpoint.name, wished, is_asked=to is not None)
    if wished == there.config_name and there.status == "InService":
        return Plan(names.deployment, region, ())
    if there.status == "Failed":
        raise ConflictError(
            f"The endpoint {endpoint.name} failed and cannot be changed, only made anew: apply the "
            "bundle that you want back."
        )
    steps: list[Action] = []
    if there.status in MOVING:
        steps.append(Wait("endpoint", endpoint.name, "settled", why=f"it is {there.status}"))
    earlier = there.configs[wished]
    bundle = earlier.tags.get(BUNDLE_TAG, "")
    notes = [f"From {there.config_name} to {wished} (bundle {bundle[:12] or 'unknown'})."]
    is_unscaled = bool(there.targets) and changes_type(there, earlier.body)
    if is_unscaled:
        steps += drop_targets(there, OTHER_TYPE)
        notes.append(OFF_MEANWHILE)
    steps += [
        remember(there, bundle),
        update_endpoint(names.deployment, wished, there),
        Wait("endpoint", endpoint.name, "in service", wished),
    ]
    if is_unscaled:
        steps += put_back(there)
    return Plan(
        names.deployment,
        region,
        tuple(steps),
        changes=between(
            there, earlier.body, {name: each.body for name, each in there.models.items()}
        ),
        cost=cost_of_going_back(earlier.body, there, prices, region),
        notes=(*notes, SIDE_BY_SIDE),
    )


def _check_wished(
    names: Names, there: Observed, endpoint: str, wished: str, *, is_asked: bool
) -> None:
    ours = [name for name, each in there.configs.items() if each.belongs_to(names.deployment)]
    if not is_asked and (not wished or wished == there.config_name):
        others = ", ".join(name for name in ours if name != there.config_name) or "none"
        raise ConflictError(
            f"The endpoint {endpoint} has had no other configuration than {there.config_name}, as "
            f"far as its tags say. Others of this deployment: {others}; name one with --to."
        )
    if wished not in ours:
        raise UnknownName("endpoint configuration", wished, ours)
