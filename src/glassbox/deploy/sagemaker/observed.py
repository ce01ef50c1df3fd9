"""What is there of a deployment already, asked of AWS; nothing is changed by asking.

What is found by name is taken for ours only if it carries the deployment's tag; a scalable target
and its policies belong to the endpoint that they scale. Knows no wishes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from glassbox.deploy.sagemaker.aws import Aws
from glassbox.deploy.sagemaker.calls import Call, Service
from glassbox.deploy.sagemaker.naming import DEPLOYMENT_TAG, MAKER_TAG, Names, by_key
from glassbox.errors import ConflictError

MOVING: Final = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
"""States of an endpoint that change by themselves."""


@dataclass(frozen=True)
class Found:
    """Something at AWS."""

    name: str
    """Its name."""
    arn: str
    """Its full name."""
    tags: Mapping[str, str]
    """Its tags."""
    body: Mapping[str, Any]
    """What AWS says of it."""

    def belongs_to(self, deployment: str) -> bool:
        """Return whether it carries a deployment's tag."""
        return self.tags.get(DEPLOYMENT_TAG) == deployment


@dataclass(frozen=True)
class Observed:
    """Everything that is there under a deployment's names."""

    account: str = ""
    """Who asks; empty where nobody was asked."""
    endpoint: Found | None = None
    """The endpoint."""
    models: Mapping[str, Found] = field(default_factory=dict)
    """Models by name."""
    configs: Mapping[str, Found] = field(default_factory=dict)
    """Endpoint configurations by name."""
    components: Mapping[str, Found] = field(default_factory=dict)
    """Inference components by name."""
    targets: Sequence[Mapping[str, Any]] = ()
    """Scalable targets of the endpoint: of the variant, or of the base component."""
    policies: Sequence[Mapping[str, Any]] = ()
    """Their policies."""
    alarms: Mapping[str, Found] = field(default_factory=dict)
    """Alarms by name."""

    def check_maker(self) -> None:
        """Let pass what was made by ``glassbox deploy``.

        Raises:
            ConflictError: Something else made it and keeps account of it.
        """
        named = (self.alarms, self.configs, self.models)
        for each in (self.endpoint, *(found for kind in named for found in kind.values())):
            maker = each.tags.get(MAKER_TAG) if each else None
            if each is not None and maker:
                raise ConflictError(
                    f"{each.arn} was made by {maker}, which would undo or trip over what is done "
                    f"here. Change and remove it with {maker}, or choose another name with --name."
                )

    @property
    def status(self) -> str:
        """State of the endpoint; empty if there is none."""
        return str(self.endpoint.body["EndpointStatus"]) if self.endpoint else ""

    @property
    def config_name(self) -> str:
        """Configuration that the endpoint is in, or on its way to; empty if there is none."""
        if self.endpoint is None:
            return ""
        pending = self.endpoint.body.get("PendingDeploymentSummary") or {}
        return str(pending.get("EndpointConfigName") or self.endpoint.body["EndpointConfigName"])

    @property
    def config(self) -> Found | None:
        """That configuration, if it is still there."""
        return self.configs.get(self.config_name)


@dataclass(frozen=True)
class Wanted:
    """What a plan needs to know of, beside the endpoint and what that uses."""

    configs: frozenset[str]
    """Endpoint configurations by name."""
    models: frozenset[str]
    """Models by name."""


def observe(aws: Aws, names: Names, wanted: Wanted | None = None) -> Observed:
    """Return what is there.

    Args:
        aws: Where.
        names: The deployment's.
        wanted: What to look at; None looks at every version that was ever made, which takes two
            requests for each.

    Raises:
        GlassboxError: AWS refuses to say (``aws_errors``).
    """
    account = aws.call(Call("sts", "GetCallerIdentity", {}, "who asks"))["Account"]
    looking = _Looking(aws, names)
    endpoint = looking.described("Endpoint", names.deployment)
    if wanted is None:
        configs = looking.numbered("EndpointConfig")
        models = looking.numbered("Model")
    else:
        configs = looking.each("EndpointConfig", wanted.configs | _configs_of(endpoint))
        used = [_models_of(each) for each in configs.values()]
        models = looking.each("Model", wanted.models.union(*used))
    targets = looking.targets()
    return Observed(
        account=str(account),
        endpoint=endpoint,
        models=models,
        configs=configs,
        components=looking.components() if any(map(_has_components, configs.values())) else {},
        targets=targets,
        policies=[policy for each in targets for policy in looking.policies(each)],
        alarms=looking.alarms(),
    )


def describe_endpoint(name: str) -> Call:
    """Return the request that asks how an endpoint is."""
    return Call("sagemaker", "DescribeEndpoint", {"EndpointName": name}, f"endpoint {name}")


def describe_component(name: str) -> Call:
    """Return the request that asks how an inference component is."""
    request = {"InferenceComponentName": name}
    return Call("sagemaker", "DescribeInferenceComponent", request, f"component {name}")


def _configs_of(endpoint: Found | None) -> frozenset[str]:
    """Return the configuration that an endpoint is in, and the one it is on its way to."""
    if endpoint is None:
        return frozenset()
    pending = endpoint.body.get("PendingDeploymentSummary") or endpoint.body
    return frozenset({endpoint.body["EndpointConfigName"], pending["EndpointConfigName"]})


def _variants_of(config: Found) -> list[Mapping[str, Any]]:
    keys = ("ProductionVariants", "ShadowProductionVariants")
    return [variant for key in keys for variant in config.body.get(key) or ()]


def _models_of(config: Found) -> frozenset[str]:
    return frozenset(each["ModelName"] for each in _variants_of(config) if "ModelName" in each)


def _has_components(config: Found) -> bool:
    """Return whether models come to a configuration's machines as components."""
    return any("ModelName" not in each for each in _variants_of(config))


@dataclass(frozen=True)
class _Looking:
    aws: Aws
    names: Names

    def described(self, thing: str, name: str) -> Found | None:
        call = Call("sagemaker", f"Describe{thing}", {f"{thing}Name": name}, name)
        body = self.aws.find(call)
        if body is None:
            return None
        arn = body[f"{thing}Arn"]
        return Found(name, arn, self._tags(arn), body)

    def each(self, thing: str, names: Iterable[str]) -> dict[str, Found]:
        found = (self.described(thing, name) for name in sorted(names))
        return {each.name: each for each in found if each is not None}

    def numbered(self, thing: str) -> dict[str, Found]:
        """Return all models or configurations that are named as this deployment names them."""
        request = {"NameContains": self.names.deployment, "MaxResults": 100}
        call = Call("sagemaker", f"List{thing}s", request, f"{thing}s")
        named = [each[f"{thing}Name"] for each in self.aws.listed(call, f"{thing}s")]
        return self.each(thing, filter(self.names.is_numbered, named))

    def components(self) -> dict[str, Found]:
        request = {"EndpointNameEquals": self.names.deployment, "MaxResults": 100}
        call = Call("sagemaker", "ListInferenceComponents", request, "inference components")
        listed = self.aws.listed(call, "InferenceComponents")
        return self.each("InferenceComponent", [each["InferenceComponentName"] for each in listed])

    def targets(self) -> list[dict[str, Any]]:
        request = {
            "ServiceNamespace": "sagemaker",
            "ResourceIds": [self.names.resource, self.names.component_resource],
        }
        call = Call("application-autoscaling", "DescribeScalableTargets", request, "autoscaling")
        return list(self.aws.listed(call, "ScalableTargets"))

    def policies(self, target: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        request = {"ServiceNamespace": "sagemaker", "ResourceId": target["ResourceId"]}
        call = Call("application-autoscaling", "DescribeScalingPolicies", request, "autoscaling")
        return self.aws.listed(call, "ScalingPolicies")

    def alarms(self) -> dict[str, Found]:
        request = {"AlarmNames": [*self.names.alarms], "AlarmTypes": ["MetricAlarm"]}
        answer = self.aws.call(Call("cloudwatch", "DescribeAlarms", request, "alarms"))
        found = {}
        for body in answer.get("MetricAlarms", ()):
            name, arn = body["AlarmName"], body["AlarmArn"]
            tags = self._tags(arn, "cloudwatch", "ListTagsForResource", "ResourceARN")
            found[name] = Found(name, arn, tags, body)
        return found

    def _tags(
        self,
        arn: str,
        service: Service = "sagemaker",
        operation: str = "ListTags",
        key: str = "ResourceArn",
    ) -> dict[str, str]:
        answer = self.aws.find(Call(service, operation, {key: arn}, arn)) or {}
        return by_key(answer.get("Tags", ()))
