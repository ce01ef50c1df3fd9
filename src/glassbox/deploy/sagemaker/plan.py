"""From what is to be and what is there to an ordered list of steps; pure.

The same wish twice gives no steps the second time. What carries another deployment's tag, or none,
is never touched: the plan stops there and says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from glassbox.deploy.prices import SHIPPED, Prices
from glassbox.deploy.sagemaker.calls import Action, Call, Put, Wait
from glassbox.deploy.sagemaker.cost import Cost, cost_of
from glassbox.deploy.sagemaker.desired import Desired
from glassbox.deploy.sagemaker.differences import Change, changes, differs, shown
from glassbox.deploy.sagemaker.naming import SHADOW_VARIANT
from glassbox.deploy.sagemaker.observed import MOVING, Found, Observed
from glassbox.deploy.sagemaker.steps import (
    OFF_MEANWHILE,
    OTHER_TYPE,
    SIDE_BY_SIDE,
    changes_type,
    delete_component,
    delete_endpoint,
    deployed,
    drop_components,
    drop_target,
    drop_targets,
    remember,
    ringing,
    update_endpoint,
)
from glassbox.errors import ConflictError, InvalidValue


@dataclass(frozen=True)
class Plan:
    """What applying would do."""

    deployment: str
    """Name of the deployment."""
    region: str
    """Where."""
    actions: tuple[Action, ...]
    """Steps, in order; empty where all is as wished."""
    changes: tuple[Change, ...] = ()
    """What will be different at an endpoint that is there."""
    cost: Cost | None = None
    """What a month costs after it; None where nothing will run."""
    adapters: Mapping[str, str] | None = None
    """What requests name for each adapter outside the bundle."""
    notes: tuple[str, ...] = ()
    """What people should know before."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.actions


def plan(
    wish: Desired,
    there: Observed,
    *,
    stored: frozenset[str] = frozenset(),
    prices: Prices = SHIPPED,
) -> Plan:
    """Return the steps from what is there to what is to be.

    Args:
        wish: What is to be.
        there: What is there.
        stored: Addresses of files that are in the object store already.
        prices: What an hour of an instance costs.

    Raises:
        ConflictError: A name is taken by something that is not this deployment's.
        InvalidValue: The role belongs to another account than the caller.
    """
    _check_owner(wish, there)
    _check_kind(wish, there)
    steps = (
        *_puts(wish, stored),
        *_models(wish, there),
        *_alarms(wish, there),
        *_endpoint(wish, there),
        *_components(wish, there),
        *_scaling(wish, there),
    )
    return Plan(
        deployment=wish.names.deployment,
        region=wish.region,
        actions=tuple(steps),
        changes=changes(wish, there),
        cost=cost_of(wish, there, prices),
        adapters=wish.adapters,
        notes=(*wish.notes, *_notes(wish, there)),
    )


def _check_owner(wish: Desired, there: Observed) -> None:
    there.check_maker()
    name = wish.names.deployment
    if there.account and there.account != wish.role_account:
        raise InvalidValue(
            "endpoint.role",
            f"…:{wish.role_account}:role/…",
            f"a role of account {there.account}, as which you are signed in",
            remedy="Sign in to the other account (--profile), or name a role of this one.",
        )
    wished = {str(each.request["ModelName"]) for each in wish.models}
    found = [
        ("endpoint", there.endpoint),
        ("endpoint configuration", there.configs.get(wish.config_name)),
        *(("alarm", each) for each in there.alarms.values()),
        *(("model", there.models.get(each)) for each in wished),
    ]
    for kind, each in found:
        if each is not None and not each.belongs_to(name):
            raise ConflictError(
                f"The name is taken: {kind} {each.name} in {wish.region} does not belong to a "
                f"deployment {name!r} of Glassbox (no tag says so). Choose another name with "
                f"--name; or, if it is to become this deployment's, tag it yourself: "
                f"glassbox:deployment={name}."
            )


def _check_kind(wish: Desired, there: Observed) -> None:
    """Refuse to turn an endpoint with components into one without, and the other way round."""
    config = there.config
    if config is None or there.status in ("", "Failed", "Deleting"):
        return
    has, wished = (
        "ModelName" not in each["ProductionVariants"][0]
        for each in (config.body, wish.config.request)
    )
    if has != wished:
        raise ConflictError(
            f"The endpoint {wish.names.deployment} runs {'with' if has else 'without'} inference "
            "components, and AWS cannot change that while it runs. Make one under another name "
            "(--name), move the callers, then remove this one with --destroy."
        )


def _puts(wish: Desired, stored: frozenset[str]) -> Iterator[Put]:
    for each in wish.puts:
        if each.uploads[-1].url not in stored:
            yield replace(each, why="not in the object store")


def _models(wish: Desired, there: Observed) -> Iterator[Call]:
    for call in dict((each.request["ModelName"], each) for each in wish.models).values():
        if call.request["ModelName"] not in there.models:
            yield replace(call, why="does not exist")
    if wish.config_name not in there.configs:
        yield replace(wish.config, why="does not exist")


def _endpoint(wish: Desired, there: Observed) -> Iterator[Action]:
    """Yield the steps to an endpoint in service with the wished configuration."""
    name = wish.names.deployment
    in_service = Wait("endpoint", name, "in service", wish.config_name)
    status = there.status
    if status == "Failed":
        reason = str(there.endpoint.body.get("FailureReason", "")) if there.endpoint else ""
        yield from drop_targets(there, "goes with the endpoint")
        yield from drop_components(there, "goes with the endpoint")
        yield delete_endpoint(
            name, f"it failed and cannot be mended: {reason or 'AWS gives no why'}"
        )
    if status in ("Failed", "Deleting"):
        yield Wait("endpoint", name, "gone")
    if status in ("", "Failed", "Deleting"):
        yield replace(wish.endpoint, why="does not exist" if not status else "made anew")
        yield in_service
        return
    is_wished = there.config_name == wish.config_name
    if status in MOVING:
        why = f"it is {status}"
        yield (
            replace(in_service, why=why)
            if is_wished
            else Wait("endpoint", name, "settled", why=why)
        )
    if is_wished:
        if status not in MOVING and status != "InService":
            yield replace(in_service, why=f"it is {status}")
        return
    yield from _update(wish, there)
    yield in_service


def _update(wish: Desired, there: Observed) -> Iterator[Call]:
    """Yield the steps that give an endpoint another configuration."""
    if changes_type(there, wish.config.request):
        yield from drop_targets(there, OTHER_TYPE)
    yield remember(there, wish.bundle)
    yield update_endpoint(wish.names.deployment, wish.config_name, there, wish)


def _components(wish: Desired, there: Observed) -> Iterator[Action]:
    """Yield the steps to the wished components: the base before adapters, old ones removed."""
    is_new = there.status in ("", "Failed", "Deleting")
    known = {} if is_new else there.components
    wished = {str(each.request["InferenceComponentName"]): each for each in wish.components}
    for name, call in wished.items():
        yield from _component(name, call, known.get(name))
    for name, found in known.items():
        if name not in wished and found.belongs_to(wish.names.deployment):
            yield delete_component(name, "no longer wished")
            yield Wait("component", name, "gone")


def _component(name: str, call: Call, found: Found | None) -> Iterator[Action]:
    in_service = Wait("component", name, "in service")
    if found is not None and found.body["InferenceComponentStatus"] == "Failed":
        reason = str(found.body.get("FailureReason", "")) or "AWS gives no why"
        yield delete_component(name, f"it failed: {reason}")
        yield Wait("component", name, "gone")
        found = None
    if found is None:
        yield replace(call, why="does not exist")
        yield in_service
        return
    wished = {"Specification": call.request["Specification"]}
    if differs(wished, found.body):
        request = {"InferenceComponentName": name, **wished}
        why = shown(wished, found.body)
        yield Call("sagemaker", "UpdateInferenceComponent", request, call.what, why, sign="~")
        yield in_service
    elif found.body["InferenceComponentStatus"] != "InService":
        yield replace(in_service, why=f"it is {found.body['InferenceComponentStatus']}")


def _alarms(wish: Desired, there: Observed) -> Iterator[Call]:
    for wished in wish.alarms:
        request = {key: value for key, value in wished.request.items() if key != "Tags"}
        found = there.alarms.get(str(request["AlarmName"]))
        if found is None:
            yield replace(wished, why="does not exist")
        elif differs(request, found.body):
            yield replace(wished, why=shown(request, found.body), sign="~")


def _scaling(wish: Desired, there: Observed) -> Iterator[Call]:
    """Yield the steps to the wished autoscaling, which needs the endpoint in service."""
    is_new = there.status in ("", "Failed", "Deleting")
    is_moved = there.config_name != wish.config_name
    is_dropped = is_new or (is_moved and changes_type(there, wish.config.request))
    targets = () if is_dropped else there.targets
    resource = wish.target.request["ResourceId"] if wish.target else None
    for each in targets:
        if each["ResourceId"] != resource:
            yield drop_target(each, "no longer wished")
    found = next((each for each in targets if each["ResourceId"] == resource), None)
    if wish.target is not None:
        yield from _put(wish.target, found)
    if wish.policy is not None:
        yield from _policies(wish.policy, [] if found is None else there.policies)


def _policies(wished: Call, there: Sequence[Mapping[str, Any]]) -> Iterator[Call]:
    name, resource = wished.request["PolicyName"], wished.request["ResourceId"]
    ours = [each for each in there if each["ResourceId"] == resource]
    yield from _put(wished, next((each for each in ours if each["PolicyName"] == name), None))
    for each in ours:
        if each["PolicyName"] != name:
            keys = ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension")
            yield Call(
                "application-autoscaling",
                "DeleteScalingPolicy",
                {key: each[key] for key in keys},
                f"scaling policy {each['PolicyName']}",
                "two policies would pull at one count",
                sign="-",
                skip_if_absent=True,
            )


def _put(wished: Call, found: Mapping[str, Any] | None) -> Iterator[Call]:
    if found is None:
        yield replace(wished, why="does not exist")
    elif differs(wished.request, found):
        yield replace(wished, why=shown(wished.request, found), sign="~")


def _notes(wish: Desired, there: Observed) -> Iterator[str]:
    if there.endpoint is not None and there.config is None:
        yield (
            f"The configuration {there.config_name} that the endpoint runs is gone, so what its "
            "machines are and cost now is not known."
        )
    if there.endpoint is None or there.config_name == wish.config_name:
        return
    how = deployed(wish, there)
    if how == "unwatched":
        yield (
            f"AWS watches no update where a {SHADOW_VARIANT} variant is: the new machines are made "
            "beside all of the old ones, and no alarm takes anything back."
        )
    else:
        for name in ringing(there):
            yield f"The alarm {name} rings now, so it does not take this update back; watch it."
    if there.targets and wish.target and changes_type(there, wish.config.request):
        yield OFF_MEANWHILE
    if how != "in batches":
        yield SIDE_BY_SIDE
