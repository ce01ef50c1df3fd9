"""What can be wrong with a wished deployment before AWS is asked, and what should be known of it.

Pure.
"""

import re
from typing import Final

from glassbox.deploy.sagemaker.naming import Names
from glassbox.deploy.sagemaker.parts import Parts
from glassbox.errors import InvalidValue, UnsupportedModel
from glassbox.settings import EndpointSettings

_IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.[a-z.]+/.+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):role/.+")

SECRET_WORDS: Final = ("TOKEN", "SECRET", "PASSWORD", "API_KEY", "PROMPT")
"""Words in the name of a variable whose value nobody should read in AWS's console."""


def check(settings: EndpointSettings, parts: Parts, region: str) -> str:
    """Return the role's account after looking at what does not need AWS to be seen.

    Raises:
        InvalidValue: A setting is missing or does not go with another; says what to do.
        UnsupportedModel: The bundle cannot be served like that.
    """
    role = _ROLE.fullmatch(settings.role)
    if role is None:
        raise InvalidValue(
            "endpoint.role",
            settings.role,
            "the ARN of a role that SageMaker may take",
            remedy="infra/terraform/sagemaker makes one; or name yours with --role.",
        )
    if not settings.image:
        raise InvalidValue(
            "endpoint.image",
            settings.image,
            "an image in ECR",
            remedy="Build infra/docker's image, push it, and name it with --image.",
        )
    image = _IMAGE.fullmatch(settings.image)
    if image is not None and image["region"] != region:
        raise InvalidValue(
            "endpoint.image",
            settings.image,
            f"an image in {region}, where the endpoint is to be",
            remedy="SageMaker fetches images from its own region only: push it there, or name "
            f"the region with --region {image['region']}.",
        )
    if not settings.min_instances <= settings.instances <= settings.max_instances:
        raise InvalidValue(
            "endpoint.instances",
            settings.instances,
            f"{settings.min_instances} to {settings.max_instances} "
            "(endpoint.min_instances, endpoint.max_instances)",
        )
    if bool(settings.subnets) != bool(settings.security_groups):
        raise InvalidValue(
            "endpoint.subnets", settings.subnets, "given together with endpoint.security_groups"
        )
    _check_components(settings, parts)
    _check_isolated(settings, parts)
    return role["account"]


def _check_components(settings: EndpointSettings, parts: Parts) -> None:
    if not settings.components:
        return
    if settings.scaling == "gpu":
        raise InvalidValue(
            "endpoint.scaling",
            "gpu",
            "concurrency or off with endpoint.components",
            remedy="Copies of a component share machines, so a GPU's use says nothing of one.",
        )
    if parts.shadow is not None:
        raise InvalidValue(
            "endpoint.components",
            True,
            "false with a shadow variant",
            remedy="AWS hosts components without shadow variants.",
        )
    names = [Names(settings.name).adapter_component(each.name) for each in parts.adapters]
    twice = {each for each in names if names.count(each) > 1}
    if twice:
        raise InvalidValue(
            "adapters",
            ", ".join(each.name for each in parts.adapters),
            "names that differ in more than punctuation",
            remedy=f"As components they would both be called {min(twice)}.",
        )


def _check_isolated(settings: EndpointSettings, parts: Parts) -> None:
    if not settings.isolated:
        return
    for served in (parts.served, parts.shadow):
        base = served.bundle.base if served else None
        if base is not None and not base.has_weights and base.kind != "embedded":
            raise UnsupportedModel(
                f"The bundle {served.bundle.name if served else ''} names {base.reference} without "
                "its weights, and endpoint.isolated leaves the container no network to fetch them. "
                "Make the bundle with its weights, or leave the network on."
            )
    if parts.adapters and not settings.components:
        raise UnsupportedModel(
            "endpoint.isolated leaves the container no network to fetch adapters that "
            "requests name. Put them into the bundle."
        )


def notes_of(settings: EndpointSettings, parts: Parts) -> tuple[str, ...]:
    """Return what people should know before anything is made."""
    notes = [each.note for each in parts.adapters if each.note]
    open_names = [
        name
        for name in parts.environment or {}
        if any(word in name.upper() for word in SECRET_WORDS)
    ]
    if open_names:
        notes.append(
            f"{', '.join(open_names)}: whoever may describe the model reads the values. Keep "
            "secrets in a store that the container's role may read."
        )
    if settings.components:
        notes.append(
            "Not exercised: inference components. How SageMaker hands an adapter's archive to a "
            "container that is not AWS's own is not documented."
        )
    if parts.shadow is not None:
        notes.append(
            f"The shadow variant stays at {settings.shadow_instances} machines: autoscaling "
            "follows the variant that answers."
        )
    return tuple(notes)
