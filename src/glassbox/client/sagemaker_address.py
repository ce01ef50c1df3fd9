"""``sagemaker://ENDPOINT?region=…``: which endpoint is meant, as values.

Knows neither boto3 nor any request.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from glassbox.errors import InvalidValue, UnknownName

SCHEME = "sagemaker"
"""Start of an address that means an endpoint of Amazon SageMaker."""

EXAMPLE = "sagemaker://ENDPOINT?region=eu-west-1"
"""What such an address looks like."""

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
"""Source: SageMaker Runtime's service model, shape EndpointName."""

_OPTIONS = ("region", "profile", "variant", "component")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint, and which part of it is to answer."""

    name: str
    """Its name."""
    region: str | None = None
    """AWS region; None takes that of the environment or the profile."""
    profile: str | None = None
    """Profile of the AWS configuration; None takes what the environment says."""
    variant: str | None = None
    """Variant that is to answer; None lets the endpoint choose."""
    component: str | None = None
    """Inference component that is to answer; endpoints made of components need one."""

    @property
    def url(self) -> str:
        """The address, as messages show it."""
        return f"{SCHEME}://{self.name}" + (f"?region={self.region}" if self.region else "")


def is_endpoint(url: str) -> bool:
    """Return whether an address means an endpoint of SageMaker."""
    return isinstance(url, str) and url.partition("://")[0].lower() == SCHEME


def endpoint_of(url: str) -> Endpoint:
    """Return which endpoint an address means.

    Raises:
        InvalidValue: It has another form.
        UnknownName: It has an option that there is none of.
    """
    parsed = urlsplit(url)
    if not _NAME.fullmatch(parsed.netloc) or parsed.path.strip("/") or parsed.fragment:
        raise InvalidValue(
            "url", url, f"an address such as {EXAMPLE}, the name of letters, digits and dashes"
        )
    given: dict[str, str] = {}
    for name, value in parse_qsl(parsed.query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise UnknownName("option of a SageMaker address", name, _OPTIONS)
        if not value or name in given:
            raise InvalidValue(name, value, f"one value, as in {EXAMPLE}")
        given[name] = value
    return Endpoint(parsed.netloc, **given)
