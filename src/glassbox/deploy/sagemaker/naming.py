"""What things of a deployment are called, and how it is known that they belong to it.

Models and endpoint configurations never change at AWS. They carry a digest of what they are in
their name, so that the same wish finds what it made before. Knows no service.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from glassbox.artifacts import digest_json
from glassbox.errors import InvalidValue

DEPLOYMENT_TAG: Final = "glassbox:deployment"
"""Tag whose value is the deployment's name: what lacks it is never changed or removed."""

BUNDLE_TAG: Final = "glassbox:bundle"
"""Tag whose value is the digest of the bundle that is served."""

PREVIOUS_TAG: Final = "glassbox:previous-config"
"""Tag of an endpoint: the configuration that it had before, for the way back."""

MAKER_TAG: Final = "glassbox:made-by"
"""Tag whose value says what made a thing, where that was not this."""

VARIANT: Final = "primary"
"""The variant that answers."""

SHADOW_VARIANT: Final = "shadow"
"""The variant that gets copies and never answers."""

MAX_NAME: Final = 50
"""Longest name: AWS allows 63 characters, and a digest is hung on it."""

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_DIGITS = 10
_UNNAMED = {"ModelName", "EndpointConfigName", "Tags"}


@dataclass(frozen=True)
class Names:
    """The names of one deployment."""

    deployment: str
    """Its own, and its endpoint's."""

    def __post_init__(self) -> None:
        """Refuse what AWS would."""
        if len(self.deployment) > MAX_NAME or not _NAME.fullmatch(self.deployment):
            raise InvalidValue(
                "endpoint.name",
                self.deployment,
                f"letters, digits and single hyphens between them, at most {MAX_NAME}",
            )

    @property
    def resource(self) -> str:
        """The variant that answers, as Application Auto Scaling names it."""
        return f"endpoint/{self.deployment}/variant/{VARIANT}"

    @property
    def base_component(self) -> str:
        """The inference component with the base model."""
        return f"{self.deployment}-base"

    @property
    def component_resource(self) -> str:
        """That component, as Application Auto Scaling names it."""
        return f"inference-component/{self.base_component}"

    @property
    def alarms(self) -> tuple[str, str]:
        """The alarms: about latency, and about requests that fail."""
        return f"{self.deployment}-p99-latency", f"{self.deployment}-server-errors"

    def policy(self, scaling: str) -> str:
        """Return the name of the scaling policy that follows something."""
        return f"{self.deployment}-{scaling}"

    def adapter_component(self, adapter: str) -> str:
        """Return the name of the inference component of an adapter."""
        return f"{self.deployment}-{re.sub('[^a-zA-Z0-9]+', '-', adapter).strip('-')}"

    def numbered(self, request: Mapping[str, Any]) -> str:
        """Return the name of something unchangeable: the same content has the same one."""
        content = {key: value for key, value in request.items() if key not in _UNNAMED}
        return f"{self.deployment}-{digest_json(content)[:_DIGITS]}"

    def is_numbered(self, name: str) -> bool:
        """Return whether ``numbered`` could have given a name."""
        return bool(re.fullmatch(rf"{re.escape(self.deployment)}-[0-9a-f]{{{_DIGITS}}}", name))

    def tags(self, bundle: str) -> list[dict[str, str]]:
        """Return the tags of everything that is made, as AWS lists them."""
        return listed({DEPLOYMENT_TAG: self.deployment, BUNDLE_TAG: bundle})


def listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def by_key(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return tags by their key."""
    return {each["Key"]: each["Value"] for each in tags}
