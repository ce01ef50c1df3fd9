"""What takes a deployment down again, in the order that AWS wants; pure.

Only what carries the deployment's tag is removed; what has its name alone is left and named.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from glassbox.deploy.sagemaker.calls import Action, Call, Remove, Service, Wait
from glassbox.deploy.sagemaker.naming import Names
from glassbox.deploy.sagemaker.observed import MOVING, Found, Observed
from glassbox.deploy.sagemaker.plan import Plan
from glassbox.deploy.sagemaker.steps import delete_endpoint, drop_components, drop_target
from glassbox.wording import counted

_GONE = "the deployment is removed"


def removal(
    names: Names, region: str, there: Observed, objects: Sequence[str] | None = None
) -> Plan:
    """Return the steps that remove a deployment.

    Args:
        names: The deployment's.
        region: Where it is.
        there: What is there of it.
        objects: Addresses of its objects, if they are to go too; None leaves them.
    """
    there.check_maker()
    foreign = list(_foreign(names, there))
    steps = (*_endpoint(names, there), *_records(names, there), *_objects(objects or ()))
    notes = [f"Left alone, as no tag says that it is ours: {each}." for each in foreign]
    if objects is None:
        notes.append(
            "Bundles and adapters stay in the object store; --with-artifacts removes them too."
        )
    return Plan(names.deployment, region, steps, notes=tuple(notes))


def _endpoint(names: Names, there: Observed) -> Iterator[Action]:
    endpoint = there.endpoint
    if endpoint is None or not endpoint.belongs_to(names.deployment):
        return
    for each in there.targets:
        yield drop_target(each, _GONE)
    if there.status in MOVING and there.status != "Deleting":
        # AWS refuses to remove an endpoint on its way to another state.
        yield Wait("endpoint", endpoint.name, "settled", why=f"it is {there.status}")
    yield from drop_components(there, _GONE)
    if there.status != "Deleting":
        yield delete_endpoint(endpoint.name, _GONE)
    yield Wait("endpoint", endpoint.name, "gone")


def _records(names: Names, there: Observed) -> Iterator[Call]:
    """Yield the steps that remove alarms, configurations and models; the endpoint is gone."""
    for each in _ours(names, there.alarms.values()):
        alarms = {"AlarmNames": [each.name]}
        yield _delete("cloudwatch", "DeleteAlarms", alarms, f"alarm {each.name}")
    if there.endpoint is not None and not there.endpoint.belongs_to(names.deployment):
        return
    for each in _ours(names, there.configs.values()):
        request = {"EndpointConfigName": each.name}
        what = f"endpoint configuration {each.name}"
        yield _delete("sagemaker", "DeleteEndpointConfig", request, what)
    for each in _ours(names, there.models.values()):
        yield _delete("sagemaker", "DeleteModel", {"ModelName": each.name}, f"model {each.name}")


def _delete(service: Service, operation: str, request: Mapping[str, Any], what: str) -> Call:
    return Call(service, operation, request, what, _GONE, "-", skip_if_absent=True)


def _objects(urls: Sequence[str]) -> Iterator[Remove]:
    if urls:
        yield Remove(tuple(urls), f"{counted(len(urls), 'object')} of bundles and adapters", _GONE)


def _ours(names: Names, found: Iterable[Found]) -> list[Found]:
    return [each for each in found if each.belongs_to(names.deployment)]


def _foreign(names: Names, there: Observed) -> Iterator[str]:
    candidates = (
        *([("endpoint", there.endpoint)] if there.endpoint else ()),
        *(("alarm", each) for each in there.alarms.values()),
        *(("endpoint configuration", each) for each in there.configs.values()),
        *(("model", each) for each in there.models.values()),
    )
    for kind, each in candidates:
        if each is not None and not each.belongs_to(names.deployment):
            yield f"{kind} {each.name}"
