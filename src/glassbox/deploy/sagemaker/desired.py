"""What a deployment is to be: every request that would make it, from settings and bundle.

Pure: reads no clock, asks nobody. Knows AWS's words; does not know what is there already.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glassbox.deploy.sagemaker.calls import Call, Put
from glassbox.deploy.sagemaker.desired_checks import check, notes_of
from glassbox.deploy.sagemaker.desired_scaling import alarms, policy, scalable_target
from glassbox.deploy.sagemaker.naming import SHADOW_VARIANT, VARIANT, Names
from glassbox.deploy.sagemaker.parts import PackedAdapter, Parts, Served, Store
from glassbox.settings import EndpointSettings, known_settings, names_in

_MIB = 2**20
_LOCAL_DISK = re.compile(
    r"ml\.(g4dn|g5|g6e?|gr6|p3dn|p4de?|p5(e|en)?|trn1n?|trn2|[cmr][5-8]\w*d\w*)\."
)
"""Machines with a disk of their own, encrypted in hardware: AWS refuses another key for them."""


@dataclass(frozen=True)
class Desired:
    """Everything a deployment consists of, as the requests that make it."""

    names: Names
    """What things are called."""
    region: str
    """Where."""
    bundle: str
    """Digest of the bundle that answers."""
    puts: tuple[Put, ...]
    """Files in the object store."""
    models: tuple[Call, ...]
    """``CreateModel``: the one that answers, then the shadow's."""
    config: Call
    """``CreateEndpointConfig``."""
    endpoint: Call
    """``CreateEndpoint``."""
    components: tuple[Call, ...]
    """``CreateInferenceComponent``: the base, then adapters; empty without components."""
    target: Call | None
    """``RegisterScalableTarget``; None where nothing scales."""
    policy: Call | None
    """``PutScalingPolicy``; None where nothing scales."""
    alarms: tuple[Call, ...]
    """``PutMetricAlarm``."""
    adapters: Mapping[str, str]
    """What requests name for each adapter in the object store: address or component."""
    rolls: bool
    """Whether a new configuration is to replace the old in batches."""
    role_account: str
    """Account of the role, which must be the caller's."""
    notes: tuple[str, ...] = ()
    """What people should know before."""

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every request, to be held against the services' descriptions."""
        optional = [each for each in (self.target, self.policy) if each is not None]
        return (
            *self.models, self.config, *self.alarms, self.endpoint, *self.components, *optional
        )  # fmt: skip

    @property
    def config_name(self) -> str:
        """Name of the endpoint configuration."""
        return str(self.config.request["EndpointConfigName"])


def desired(settings: EndpointSettings, parts: Parts, region: str) -> Desired:
    """Return what is to be.

    Args:
        settings: What the endpoint is to be like.
        parts: What it is made of.
        region: Region of AWS.

    Raises:
        InvalidValue: A setting is missing or does not go with another; says what to do.
        UnsupportedModel: The bundle cannot be served like that.
    """
    names = Names(settings.name)
    store = Store(settings)
    role_account = check(settings, parts, region)
    served = (parts.served, *([parts.shadow] if parts.shadow else []))
    models = tuple(_model(settings, names, store, parts, each) for each in served)
    config = _config(settings, names, parts, models)
    endpoint = Call(
        "sagemaker",
        "CreateEndpoint",
        {
            "EndpointName": settings.name,
            "EndpointConfigName": config.request["EndpointConfigName"],
            "Tags": names.tags(parts.served.bundle.digest),
        },
        f"endpoint {settings.name}",
    )
    components = _components(settings, names, store, parts, models[0])
    adapters = {
        each.name: names.adapter_component(each.name) if components else store.adapter(each)
        for each in parts.adapters
    }
    return Desired(
        names=names,
        region=region,
        bundle=parts.served.bundle.digest,
        puts=(
            *(store.put_bundle(each) for each in served),
            *map(store.put_adapter, parts.adapters),
        ),
        models=models,
        config=config,
        endpoint=endpoint,
        components=components,
        target=scalable_target(settings, names),
        policy=policy(settings, names),
        alarms=alarms(settings, names, parts.served.bundle.digest),
        adapters=adapters,
        rolls=settings.update == "rolling",
        role_account=role_account,
        notes=notes_of(settings, parts),
    )


def _model(
    settings: EndpointSettings, names: Names, store: Store, parts: Parts, served: Served
) -> Call:
    environment = dict(parts.environment or {})
    if not settings.isolated:
        environment.setdefault(_variable("server.large_answers"), store.answers)
        if not settings.components:
            environment.setdefault(_variable("engine.adapter_url_prefix"), store.adapters)
    request: dict[str, Any] = {
        "PrimaryContainer": {
            "Image": settings.image,
            "ModelDataSource": {
                "S3DataSource": {
                    "S3Uri": store.bundle(served.bundle),
                    "S3DataType": "S3Prefix",
                    "CompressionType": "None",
                }
            },
            "Environment": environment,
        },
        "ExecutionRoleArn": settings.role,
        **_network(settings),
    }
    request["ModelName"] = names.numbered(request)
    request["Tags"] = names.tags(served.bundle.digest)
    return Call("sagemaker", "CreateModel", request, f"model {request['ModelName']}")


def _network(settings: EndpointSettings) -> dict[str, Any]:
    found: dict[str, Any] = {"EnableNetworkIsolation": True} if settings.isolated else {}
    if settings.subnets:
        found["VpcConfig"] = {
            "Subnets": list(names_in(settings.subnets)),
            "SecurityGroupIds": list(names_in(settings.security_groups)),
        }
    return found


def _config(
    settings: EndpointSettings, names: Names, parts: Parts, models: tuple[Call, ...]
) -> Call:
    if settings.components:
        variant = _component_variant(settings)
    else:
        variant = _variant(settings, VARIANT, models[0], settings.instances, 1.0)
    request: dict[str, Any] = {"ProductionVariants": [variant]}
    if settings.components:
        request |= {"ExecutionRoleArn": settings.role, **_network(settings)}
    if parts.shadow is not None:
        # A shadow's weight is its share of the requests: the other variant's weight is 1.
        request["ShadowProductionVariants"] = [
            _variant(
                settings,
                SHADOW_VARIANT,
                models[1],
                settings.shadow_instances,
                settings.shadow_share,
            )
        ]
    if settings.kms_key and not _LOCAL_DISK.match(settings.instance_type):
        request["KmsKeyId"] = settings.kms_key
    request["EndpointConfigName"] = names.numbered(request)
    request["Tags"] = names.tags(parts.served.bundle.digest)
    return Call(
        "sagemaker",
        "CreateEndpointConfig",
        request,
        f"endpoint configuration {request['EndpointConfigName']}",
    )


def _variant(
    settings: EndpointSettings, name: str, model: Call, n_instances: int, weight: float
) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model.request["ModelName"],
        "InstanceType": settings.instance_type,
        "InitialInstanceCount": n_instances,
        "InitialVariantWeight": weight,
        **_startup(settings),
        **({"InferenceAmiVersion": settings.ami} if settings.ami else {}),
        "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
    }


def _component_variant(settings: EndpointSettings) -> dict[str, Any]:
    """Return a variant without a model: components bring theirs, and its machines follow them."""
    return {
        "VariantName": VARIANT,
        "InstanceType": settings.instance_type,
        "InitialInstanceCount": settings.instances,
        **_startup(settings),
        **({"InferenceAmiVersion": settings.ami} if settings.ami else {}),
        "ManagedInstanceScaling": {
            "Status": "ENABLED",
            "MinInstanceCount": settings.min_instances,
            "MaxInstanceCount": settings.max_instances,
        },
        "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
    }


def _startup(settings: EndpointSettings) -> dict[str, int]:
    return {
        "ModelDataDownloadTimeoutInSeconds": settings.download_s,
        "ContainerStartupHealthCheckTimeoutInSeconds": settings.startup_s,
    }


def _components(
    settings: EndpointSettings, names: Names, store: Store, parts: Parts, model: Call
) -> tuple[Call, ...]:
    if not settings.components:
        return ()
    base = _component(
        names,
        names.base_component,
        {
            "ModelName": model.request["ModelName"],
            "StartupParameters": _startup(settings),
            "ComputeResourceRequirements": {
                "NumberOfAcceleratorDevicesRequired": 1.0,
                "MinMemoryRequiredInMb": settings.component_memory_bytes // _MIB,
            },
        },
        parts.served.bundle.digest,
    )
    base["RuntimeConfig"] = {"CopyCount": settings.instances}
    requests = [base, *(_adapter_component(names, store, each) for each in parts.adapters)]
    return tuple(
        Call(
            "sagemaker",
            "CreateInferenceComponent",
            request,
            f"inference component {request['InferenceComponentName']}",
        )
        for request in requests
    )


def _adapter_component(names: Names, store: Store, packed: PackedAdapter) -> dict[str, Any]:
    """Return an adapter's component; it has no resources of its own but the base's."""
    return _component(
        names,
        names.adapter_component(packed.name),
        {
            "BaseInferenceComponentName": names.base_component,
            "Container": {"ArtifactUrl": store.adapter(packed)},
        },
        packed.digest,
    )


def _component(
    names: Names, name: str, specification: Mapping[str, Any], digest: str
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "InferenceComponentName": name,
        "EndpointName": names.deployment,
        "Specification": dict(specification),
        "Tags": names.tags(digest),
    }
    if "BaseInferenceComponentName" not in specification:
        request["VariantName"] = VARIANT
    return request


def _variable(key: str) -> str:
    return next(each.variable for each in known_settings() if each.key == key)
