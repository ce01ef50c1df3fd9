"""What travels beside the body of SageMaker's InvokeEndpoint: our keys in its custom attributes.

One header carries ``key=value`` pairs with commas between them, both ways. With ``glassbox-path``
a request goes to a route of the whole server instead of the source document's own. Knows no
request and no route's fields.

Source: Amazon SageMaker Runtime's service model, shape CustomAttributesHeader: at most 1024
characters, ASCII only.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from glassbox.errors import InvalidValue

INVOCATIONS: Final = "/invocations"
"""The platform's one route for requests."""

ATTRIBUTES_HEADER: Final = "x-amzn-sagemaker-custom-attributes"
"""Header of the container's requests and answers."""

MOST_ATTRIBUTES: Final = 1024
"""Characters that it may have."""

MOST_BODY_BYTES: Final = 6_291_456
"""Largest body of a request. Source: shape BodyBlob of the same service model."""

PREFIX: Final = "glassbox-"
"""Start of our keys; those of others are let through."""

PATH: Final = "glassbox-path"
"""Route that is to answer; without it ``/invocations`` does."""

METHOD: Final = "glassbox-method"
"""HTTP method of that route; POST without it."""

ADAPTER: Final = "glassbox-adapter"
"""Adapter that is to answer ``/invocations``; of an answer, the digest of the one that did."""

TIMEOUT: Final = "glassbox-timeout"
"""Seconds after which nobody waits for the answer any more."""

BUNDLE: Final = "glassbox-bundle"
"""Of an answer: digest of the bundle that is served."""

VERSION: Final = "glassbox-version"
"""Of an answer: version of Glassbox that answered."""

LOCATION: Final = "glassbox-location"
"""Of an answer: where in an object store the whole of it is, because it was too large to send."""

TYPE: Final = "glassbox-type"
"""Of an answer: content type of what is at that place."""

ASKED: Final = frozenset({PATH, METHOD, ADAPTER, TIMEOUT})
"""Keys that a request may carry."""

CARRIED: Final = frozenset(
    {
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/classify"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/lens"),
        ("POST", "/v1/states"),
        ("POST", "/v1/verify"),
    }
)
"""(method, path) pairs that a request may name: predictions; nothing that changes the server."""

_PLAIN = "/:.-_~"


def write_attributes(attributes: Mapping[str, str]) -> str:
    """Return the header's value; what is not plain in a value is percent-encoded.

    Args:
        attributes: Value by key, in the order in which they are written.

    Raises:
        InvalidValue: It would be longer than the platform takes.
    """
    text = ",".join(f"{key}={quote(value, safe=_PLAIN)}" for key, value in attributes.items())
    if len(text) > MOST_ATTRIBUTES:
        raise InvalidValue("custom attributes", text, f"at most {MOST_ATTRIBUTES} characters")
    return text


def read_attributes(text: str) -> dict[str, str]:
    """Return the value of each key; parts without ``=`` are somebody else's and left out.

    Raises:
        InvalidValue: One of our keys stands there twice.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        key, is_pair, value = part.strip().partition("=")
        if not is_pair:
            continue
        if key in found and key.startswith(PREFIX):
            raise InvalidValue(key, value, "given once")
        found[key] = unquote(value)
    return found
