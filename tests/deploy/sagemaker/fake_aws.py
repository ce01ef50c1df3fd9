"""A small AWS in memory: what moto does not do, each request and answer as AWS describes them.

Endpoints take a few looks until they are there, as the real ones take minutes; what AWS refuses is
refused. Faults come where a test puts them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from glassbox.deploy.sagemaker.aws import Aws
from glassbox.deploy.sagemaker.service_model import faults, service_model
from tests.deploy.sagemaker.fake_store import ACCOUNT, REGION, FakeStore, listed, refusal

N_LOOKS = 2
"""Looks at something until it has become what it is to become."""

Fault = Callable[[], BaseException]


def not_there(kind: str, name: str) -> ClientError:
    return refusal("ValidationException", f'Could not find {kind} "{name}".')


@dataclass
class FakeAws(FakeStore):
    """State of one account in one region."""

    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    components: dict[str, dict[str, Any]] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    alarms: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    before: dict[int, Fault] = field(default_factory=dict)
    """By the number of a changing request: raised in its stead."""
    after: dict[int, Fault] = field(default_factory=dict)
    """By the number of a changing request: raised although it was done."""
    refuses: dict[str, Fault] = field(default_factory=dict)
    """By operation: always raised in its stead."""
    ends_as: str = "InService"
    """What an endpoint on its way becomes."""
    fails_with: str = ""
    """Why, where that is no good end."""
    n_changes: int = 0
    ticks: int = 0

    def aws(self) -> Aws:
        return Aws(REGION, lambda service: Client(self, service))

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.asked]

    def changing(self) -> list[str]:
        return [each for each in self.operations() if not _only_looks(each)]

    def ask(self, service: str, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        model = service_model(service).operation_model(operation)
        wrong = faults(model.input_shape, request)
        assert not wrong, (operation, wrong)
        self.asked.append((operation, request))
        self._strike(operation, self.before)
        answer: dict[str, Any] = getattr(self, f"_{xform_name(operation)}")(request) or {}
        if model.output_shape is not None:
            wrong = faults(model.output_shape, answer)
            assert not wrong, (operation, wrong)
        self._strike(operation, self.after, counts=True)
        return answer

    def _strike(self, operation: str, where: dict[int, Fault], *, counts: bool = False) -> None:
        if operation in self.refuses and not counts:
            raise self.refuses[operation]()
        if _only_looks(operation):
            return
        fault = where.pop(self.n_changes, None)
        if counts:
            self.n_changes += 1
        if fault is not None:
            raise fault()

    # What SageMaker knows.

    def _create_model(self, request):
        self._make(self.models, "ModelName", "model", request)
        return {"ModelArn": _arn("model", request["ModelName"])}

    def _create_endpoint_config(self, request):
        for each in _variants(request):
            if "ModelName" in each and each["ModelName"] not in self.models:
                raise not_there("model", each["ModelName"])
        self._make(self.configs, "EndpointConfigName", "endpoint-config", request)
        return {"EndpointConfigArn": _arn("endpoint-config", request["EndpointConfigName"])}

    def _create_endpoint(self, request):
        self._require_config(request["EndpointConfigName"])
        self._make(self.endpoints, "EndpointName", "endpoint", request)
        self._moves(self.endpoints[request["EndpointName"]], "Creating", request)
        return {"EndpointArn": _arn("endpoint", request["EndpointName"])}

    def _update_endpoint(self, request):
        name = request["EndpointName"]
        endpoint = self._get(self.endpoints, name, "endpoint")
        self._require_config(request["EndpointConfigName"])
        if endpoint["EndpointStatus"] not in ("InService", "UpdateRollbackFailed"):
            raise refusal("ValidationException", "Cannot update in-progress endpoint.")
        before = self.configs[endpoint["EndpointConfigName"]]
        after = self.configs[request["EndpointConfigName"]]
        is_scaled = any(name in each for each in self.targets)
        if is_scaled and _types(before) != _types(after):
            raise refusal("ValidationException", "The variant is a target of autoscaling.")
        taken = {each["VariantPropertyType"]
                 for each in request.get("ExcludeRetainedVariantProperties", ())}  # fmt: skip
        if not request.get("RetainAllVariantProperties") or "DesiredInstanceCount" in taken:
            endpoint.pop("ProductionVariants", None)
        guards = request.get("DeploymentConfig", {})
        is_multiple = any("ShadowProductionVariants" in each for each in (before, after))
        assert not (is_multiple and guards), "AWS has no guardrails for shadow variants"
        alarms = guards.get("AutoRollbackConfiguration", {})
        for each in alarms.get("Alarms", ()):
            if each["AlarmName"] not in self.alarms:
                raise refusal("ValidationException", f"No alarm {each['AlarmName']}.")
        self._moves(endpoint, "Updating", request)
        return {"EndpointArn": _arn("endpoint", name)}

    def _delete_endpoint(self, request):
        endpoint = self._get(self.endpoints, request["EndpointName"], "endpoint")
        assert endpoint["EndpointStatus"] not in ("Creating", "Updating"), "AWS refuses that"
        if self.components:
            raise refusal("ValidationException", "The endpoint has inference components.")
        endpoint |= {"EndpointStatus": "Deleting", "left": N_LOOKS}

    def _delete_endpoint_config(self, request):
        used = {each["EndpointConfigName"] for each in self.endpoints.values()}
        assert request["EndpointConfigName"] not in used, "a configuration in use"
        self._drop(self.configs, request["EndpointConfigName"], "endpoint configuration")

    def _delete_model(self, request):
        used = {each.get("ModelName") for config in self.configs.values()
                for each in _variants(config)}  # fmt: skip
        assert request["ModelName"] not in used, "a model in use"
        self._drop(self.models, request["ModelName"], "model")

    def _describe_model(self, request):
        return _shown(self._get(self.models, request["ModelName"], "model"))

    def _describe_endpoint_config(self, request):
        name = request["EndpointConfigName"]
        return _shown(self._get(self.configs, name, "endpoint configuration"))

    def _describe_endpoint(self, request):
        name = request["EndpointName"]
        endpoint = self._get(self.endpoints, name, "endpoint")
        shown = _shown(endpoint)
        if endpoint["left"]:
            endpoint["left"] -= 1
        elif endpoint["EndpointStatus"] == "Deleting":
            del self.endpoints[name]
        elif endpoint["EndpointStatus"] in ("Creating", "Updating"):
            self._arrives(endpoint)
            shown = _shown(endpoint)
        shown.pop("DeploymentConfig", None)
        return shown

    def _arrives(self, endpoint):
        endpoint["EndpointStatus"] = self.ends_as
        if self.fails_with:
            endpoint["FailureReason"] = self.fails_with
        pending = endpoint.pop("PendingDeploymentSummary", None)
        if self.ends_as == "InService" and pending and not self.fails_with:
            endpoint["EndpointConfigName"] = pending["EndpointConfigName"]
        config = self.configs[endpoint["EndpointConfigName"]]
        counts = {each["VariantName"]: each["CurrentInstanceCount"]
                  for each in endpoint.get("ProductionVariants", ())}  # fmt: skip
        for key in ("ProductionVariants", "ShadowProductionVariants"):
            endpoint[key] = [
                {
                    "VariantName": each["VariantName"],
                    "CurrentInstanceCount": counts.get(
                        each["VariantName"], each["InitialInstanceCount"]
                    ),
                    "DesiredInstanceCount": each["InitialInstanceCount"],
                }
                for each in config.get(key, ())
            ]
        if not endpoint["ShadowProductionVariants"]:
            del endpoint["ShadowProductionVariants"]

    def _moves(self, endpoint, status, request):
        endpoint |= {"EndpointStatus": status, "left": N_LOOKS, "LastModifiedTime": self._now()}
        endpoint.pop("FailureReason", None)
        if status == "Updating":
            endpoint["PendingDeploymentSummary"] = {
                "EndpointConfigName": request["EndpointConfigName"]
            }

    def _list_models(self, request):
        return {"Models": self._list(self.models, "Model", request)}

    def _list_endpoint_configs(self, request):
        return {"EndpointConfigs": self._list(self.configs, "EndpointConfig", request)}

    def _list_tags(self, request):
        return {"Tags": listed(self.tags.get(request["ResourceArn"], {}))}

    def _add_tags(self, request):
        known = self.tags.setdefault(request["ResourceArn"], {})
        known |= {each["Key"]: each["Value"] for each in request["Tags"]}
        return {"Tags": listed(known)}

    # Inference components: the six calls that moto lacks.

    def _create_inference_component(self, request):
        endpoint = self._get(self.endpoints, request["EndpointName"], "endpoint")
        if endpoint["EndpointStatus"] != "InService":
            raise refusal("ValidationException", "The endpoint is not in service.")
        specification = request["Specification"]
        base = specification.get("BaseInferenceComponentName")
        if base is None:
            assert "ComputeResourceRequirements" in specification
        else:
            assert "ComputeResourceRequirements" not in specification, "an adapter has none"
            assert specification["Container"]["ArtifactUrl"].endswith(".tar.gz")
            self._require_component(base)
        self._make(self.components, "InferenceComponentName", "inference-component", request)
        component = self.components[request["InferenceComponentName"]]
        component |= {"InferenceComponentStatus": "Creating", "left": N_LOOKS}
        component["EndpointArn"] = _arn("endpoint", request["EndpointName"])
        return {"InferenceComponentArn": component["InferenceComponentArn"]}

    def _update_inference_component(self, request):
        component = self._get(self.components, request["InferenceComponentName"], "component")
        component |= {"Specification": request["Specification"], "left": N_LOOKS}
        component["InferenceComponentStatus"] = "Updating"
        return {"InferenceComponentArn": component["InferenceComponentArn"]}

    def _delete_inference_component(self, request):
        name = request["InferenceComponentName"]
        component = self._get(self.components, name, "inference component")
        for each in self.components.values():
            if each["Specification"].get("BaseInferenceComponentName") == name:
                raise refusal("ValidationException", "Adapters stand on this component.")
        component |= {"InferenceComponentStatus": "Deleting", "left": N_LOOKS}

    def _describe_inference_component(self, request):
        name = request["InferenceComponentName"]
        component = self._get(self.components, name, "inference component")
        shown = _shown(component)
        shown.pop("RuntimeConfig", None)
        if component["left"]:
            component["left"] -= 1
        elif component["InferenceComponentStatus"] == "Deleting":
            del self.components[name]
        elif component["InferenceComponentStatus"] in ("Creating", "Updating"):
            component["InferenceComponentStatus"] = self.ends_as
            if self.fails_with:
                component["FailureReason"] = self.fails_with
            shown = _shown(component)
            shown.pop("RuntimeConfig", None)
        return shown

    def _list_inference_components(self, request):
        keys = ("InferenceComponentName", "InferenceComponentArn", "EndpointName", "EndpointArn",
                "CreationTime", "LastModifiedTime")  # fmt: skip
        found = [
            {key: each[key] for key in keys} | {"VariantName": "primary"}
            for each in self.components.values()
            if each["EndpointName"] == request["EndpointNameEquals"]
        ]
        return {"InferenceComponents": found}

    # Application Auto Scaling and CloudWatch.

    def _register_scalable_target(self, request):
        resource = request["ResourceId"]
        if resource.startswith("endpoint/"):
            self._require_endpoint(resource.split("/")[1])
        else:
            self._require_component(resource.split("/")[1])
        self.targets[resource] = {**request, "RoleARN": _role(), "CreationTime": self._now()}
        return {"ScalableTargetARN": "arn:aws:autoscaling"}

    def _describe_scalable_targets(self, request):
        wanted = request["ResourceIds"]
        return {"ScalableTargets": [self.targets[each] for each in wanted if each in self.targets]}

    def _deregister_scalable_target(self, request):
        resource = request["ResourceId"]
        if resource not in self.targets:
            raise refusal("ObjectNotFoundException", f"No scalable target {resource}.")
        del self.targets[resource]
        self.policies = {key: each for key, each in self.policies.items() if key[0] != resource}

    def _put_scaling_policy(self, request):
        if request["ResourceId"] not in self.targets:
            raise refusal("ObjectNotFoundException", "No scalable target.")
        key = request["ResourceId"], request["PolicyName"]
        self.policies[key] = {**request, "PolicyARN": "arn:p", "CreationTime": self._now()}
        return {"PolicyARN": "arn:p"}

    def _delete_scaling_policy(self, request):
        del self.policies[request["ResourceId"], request["PolicyName"]]

    def _describe_scaling_policies(self, request):
        found = [each for (resource, _), each in self.policies.items()
                 if resource == request["ResourceId"]]  # fmt: skip
        return {"ScalingPolicies": found}

    def _put_metric_alarm(self, request):
        arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{request['AlarmName']}"
        kept = {key: value for key, value in request.items() if key != "Tags"}
        self.alarms[request["AlarmName"]] = {**kept, "AlarmArn": arn, "StateValue": "OK"}
        self.tags.setdefault(arn, {each["Key"]: each["Value"] for each in request["Tags"]})

    def _describe_alarms(self, request):
        return {"MetricAlarms": [self.alarms[each] for each in request["AlarmNames"]
                                 if each in self.alarms]}  # fmt: skip

    def _list_tags_for_resource(self, request):
        return {"Tags": listed(self.tags.get(request["ResourceARN"], {}))}

    def _delete_alarms(self, request):
        for each in request["AlarmNames"]:
            del self.alarms[each]

    # Small things.

    def _make(self, where, key, kind, request):
        name = request[key]
        if name in where:
            raise refusal("ValidationException", f"Cannot create already existing {kind}.")
        arn_key = key.replace("Name", "Arn")
        arn = _arn(kind, name)
        kept = {key: value for key, value in request.items() if key != "Tags"}
        where[name] = {**kept, arn_key: arn, "CreationTime": self._now()}
        if kind in ("endpoint", "inference-component"):
            where[name]["LastModifiedTime"] = self._now()
        self.tags[arn] = {each["Key"]: each["Value"] for each in request.get("Tags", ())}

    def _get(self, where, name, kind):
        if name not in where:
            raise not_there(kind, name)
        return where[name]

    def _drop(self, where, name, kind):
        self._get(where, name, kind)
        del where[name]

    def _list(self, where, thing, request):
        return [
            {key: each[key] for key in (f"{thing}Name", f"{thing}Arn", "CreationTime")}
            for name, each in where.items()
            if request["NameContains"] in name
        ]

    def _require_config(self, name):
        self._get(self.configs, name, "endpoint configuration")

    def _require_endpoint(self, name):
        if self.endpoints.get(name, {}).get("EndpointStatus") != "InService":
            raise refusal("ValidationException", "The endpoint is not in service.")

    def _require_component(self, name):
        if self.components.get(name, {}).get("InferenceComponentStatus") != "InService":
            raise refusal("ValidationException", f"The component {name} is not in service.")

    def _now(self):
        self.ticks += 1
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.ticks)


class Client:
    """What boto3 gives for a service, as far as it is used."""

    def __init__(self, fake: FakeAws, service: str) -> None:
        names = service_model(service).operation_names
        self._operations = {xform_name(each): each for each in names}
        self._fake, self._service = fake, service

    def __getattr__(self, name: str) -> Any:
        operation = self._operations[name]
        return lambda **request: self._fake.ask(self._service, operation, request)

    def upload_fileobj(self, body: Any, bucket: str, key: str, **given: Any) -> None:
        request = {"Bucket": bucket, "Key": key, "Body": body.read(), **given["ExtraArgs"]}
        self._fake.ask("s3", "PutObject", request)


def is_empty(fake: FakeAws) -> bool:
    names = ["endpoints", "configs", "models", "components", "targets", "policies", "alarms"]
    return not any(getattr(fake, each) for each in names)


def _only_looks(operation: str) -> bool:
    return operation.startswith(("Describe", "List", "Get", "Head"))


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def _role() -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/aws-service-role"


def _variants(config: Mapping[str, Any]) -> list[Any]:
    return [*config["ProductionVariants"], *config.get("ShadowProductionVariants", ())]


def _types(config: Mapping[str, Any]) -> list[str]:
    return [each["InstanceType"] for each in config["ProductionVariants"]]


def _shown(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "left"}
