"""The services of AWS, asked one request at a time.

Every request is held against the service's own description first. Throttling is waited out by
botocore (exponential, with jitter); what remains comes in our words. Knows no deployment.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from glassbox.deploy.sagemaker.aws_errors import in_our_words, is_absent
from glassbox.deploy.sagemaker.calls import Call, Service, bucket_and_key
from glassbox.deploy.sagemaker.service_model import require
from glassbox.errors import DependencyMissing, InvalidValue, UnknownName

PATIENCE: Final = {
    "connect_timeout": 10,
    "read_timeout": 60,
    "retries": {"mode": "standard", "total_max_attempts": 8},
}
"""Seconds and attempts. Source: botocore, "Retries": standard mode backs off up to 20 s."""

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Connect(Protocol):
    """Makes a client of a service."""

    def __call__(self, service: str) -> Any:
        """Return a client as boto3's."""


@dataclass(frozen=True)
class Aws:
    """AWS in one region, as one caller."""

    region: str
    """Where."""
    connect: Connect
    """Makes the clients."""

    @functools.cached_property
    def client(self) -> Callable[[Service], Any]:
        """Gives the client of a service, made once."""
        return functools.cache(self.connect)

    def call(self, call: Call) -> dict[str, Any]:
        """Return the answer to one request.

        Raises:
            GlassboxError: As ``in_our_words``; also where the request cannot be one.
        """
        require(call)
        with in_our_words(call.operation, call.what, self.region):
            return self._send(call)

    def find(self, call: Call) -> dict[str, Any] | None:
        """Return the answer to one request, or None if what it asks for is not there."""
        from botocore.exceptions import ClientError

        require(call)
        with in_our_words(call.operation, call.what, self.region):
            try:
                return self._send(call)
            except ClientError as error:
                if is_absent(error):
                    return None
                raise

    def listed(self, call: Call, key: str) -> Iterator[dict[str, Any]]:
        """Yield what a listing operation lists under a key, page by page."""
        request: dict[str, Any] = dict(call.request)
        while True:
            page = self.call(Call(call.service, call.operation, request, call.what))
            yield from page.get(key, ())
            if not page.get("NextToken"):
                return
            request["NextToken"] = page["NextToken"]

    def put_file(self, url: str, body: Any, extra: Mapping[str, Any]) -> None:
        """Put a file into the object store, in parts if it is large.

        Args:
            url: ``s3://bucket/key``.
            body: The open file.
            extra: As boto3's ``ExtraArgs``.
        """
        bucket, key = bucket_and_key(url)
        with in_our_words("PutObject", url, self.region):
            self.client("s3").upload_fileobj(body, bucket, key, ExtraArgs=dict(extra))

    def _send(self, call: Call) -> dict[str, Any]:
        client = self.client(call.service)
        answer: dict[str, Any] = getattr(client, method_name(call.operation))(**call.request)
        return answer


def method_name(operation: str) -> str:
    """Return the name of the client's method for an operation."""
    return _BOUNDARY.sub("_", operation).lower()


def connect(region: str, profile: str) -> Aws:
    """Return AWS as the settings and AWS's own configuration say.

    Args:
        region: Region; empty takes the one of AWS's own configuration.
        profile: Profile; empty takes AWS's default.

    Raises:
        DependencyMissing: boto3 is not installed.
        InvalidValue: No region is configured.
        UnknownName: AWS has no such region.
        AccessDenied: There is no such profile.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise DependencyMissing("boto3", "sagemaker") from error
    with in_our_words("signing in", f"profile {profile or 'default'}", region):
        session = boto3.session.Session(profile_name=profile or None, region_name=region or None)
    here = checked_region(session.region_name or "", session.get_available_regions)
    config = Config(**PATIENCE)
    return Aws(here, lambda service: session.client(service, region_name=here, config=config))


def checked_region(region: str, available: Any) -> str:
    """Return a region in which SageMaker is.

    Args:
        region: As given; empty is refused.
        available: boto3's ``get_available_regions``.

    Raises:
        InvalidValue: None is given.
        UnknownName: AWS has no such region, as far as the installed boto3 knows.
    """
    if not region:
        raise InvalidValue(
            "endpoint.region",
            region,
            "a region of AWS",
            remedy="Name one with --region us-east-1, or configure one for AWS.",
        )
    known = [
        each
        for partition in ("aws", "aws-us-gov", "aws-cn")
        for each in available("sagemaker", partition_name=partition)
    ]
    if region not in known:
        raise UnknownName(
            "region", region, known, remedy="A newer boto3 may know regions that are new."
        )
    return region
