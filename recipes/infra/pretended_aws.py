"""``python pretended_aws.py PORT``: moto's server, mended where Terraform would trip over it.

Runs in the environment of ``cloud-tools.txt`` and imports nothing of this repository. Mended in
moto 5.2, each as Amazon describes its service: tags of scalable targets are kept and can be asked
for; an endpoint can be updated, and tells how it was deployed; what nobody gave is left out of
answers instead of being an empty object.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.responses import ActionResult
from moto.sagemaker.responses import SageMakerResponse
from moto.server import main

_tags: dict[str, dict[str, str]] = {}
"""Tags of each scalable target, by its ARN."""

Answers = Callable[[Any], Any]


def keeping_tags(register: Answers) -> Answers:
    """Return moto's registration of a scalable target, whose tags are kept."""

    def registered(self: Any) -> str:
        said = str(register(self))
        given = self._get_param("Tags")
        if given is not None:
            _tags[json.loads(said)["ScalableTargetARN"]] = given
        return said

    return registered


def list_tags_for_resource(self: Any) -> str:
    """Return the tags of one scalable target."""
    return json.dumps({"Tags": _tags.get(self._get_param("ResourceARN"), {})})


def without_empty(describe: Answers) -> Answers:
    """Return a description that leaves out what nobody gave."""

    def described(self: Any) -> ActionResult:
        return ActionResult({k: v for k, v in describe(self).result.items() if v != {}})

    return described


def remembering(create: Answers) -> Answers:
    """Return moto's making of an endpoint, which remembers how it is deployed."""

    def created(self: Any) -> Any:
        said = create(self)
        _endpoint(self).last_deployment_config = self._get_param("DeploymentConfig")
        return said

    return created


def update_endpoint(self: Any) -> ActionResult:
    """Give an endpoint another configuration; it takes no time."""
    endpoint = _endpoint(self)
    name = self._get_param("EndpointConfigName")
    found = self.sagemaker_backend.describe_endpoint_config(name)
    endpoint.endpoint_config_name = name
    endpoint.production_variants = endpoint._process_production_variants(
        found["ProductionVariants"]
    )
    given = self._get_param("DeploymentConfig")
    if given is not None:
        endpoint.last_deployment_config = given
    return ActionResult({"EndpointArn": endpoint.arn})


def _endpoint(self: Any) -> Any:
    return self.sagemaker_backend.endpoints[self._get_param("EndpointName")]


def mend() -> None:
    """Put all of it into moto."""
    scaling: Any = ApplicationAutoScalingResponse
    scaling.register_scalable_target = keeping_tags(scaling.register_scalable_target)
    scaling.list_tags_for_resource = list_tags_for_resource
    sagemaker: Any = SageMakerResponse
    for name in ("describe_model", "describe_endpoint_config", "describe_endpoint"):
        setattr(sagemaker, name, without_empty(getattr(sagemaker, name)))
    sagemaker.create_endpoint = remembering(sagemaker.create_endpoint)
    sagemaker.update_endpoint = update_endpoint


if __name__ == "__main__":
    mend()
    main(["-p", sys.argv[1]])
