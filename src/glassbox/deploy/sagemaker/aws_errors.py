"""AWS's refusals in our words: what was asked, what AWS said, what to do.

Source of the codes: the services' "Common Errors" pages and botocore's service models. Knows no
deployment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from glassbox.errors import (
    AccessDenied,
    CapacityError,
    ConflictError,
    DependencyMissing,
    GlassboxError,
    InvalidValue,
    Unreachable,
    is_not_signed_in,
)

CREDENTIALS: Final = (
    "Sign in ('aws sso login' or 'aws configure'), or name a profile with --profile; "
    "'aws sts get-caller-identity' shows who you are."
)
"""What to do where AWS does not know who asks."""

_UNKNOWN_CALLER = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_REFUSED = {
    "403",
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "OptInRequired",
}
_LIMITS = {"ResourceLimitExceeded", "LimitExceededException", "LimitExceeded"}
_SLOW_DOWN = {
    "429",
    "ConcurrentUpdateException",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_ABSENT = {"404", "NoSuchKey", "NoSuchBucket", "NotFound", "ObjectNotFoundException",
           "ResourceNotFound", "ResourceNotFoundException"}  # fmt: skip
_ELSEWHERE = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed",
              "IllegalLocationConstraintException"}  # fmt: skip
_ABSENT_WORDS = ("could not find", "does not exist", "not found")
_EXISTS_WORDS = ("already exist",)
_LOOK = "Look with --plan what is left to do."


def code_of(error: Any) -> str:
    """Return the code of a ``ClientError``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: Any) -> bool:
    """Return whether a ``ClientError`` says that the thing asked for is not there.

    SageMaker has no code of its own for that: it is a ``ValidationException`` whose words say so.
    """
    said = str(error.response.get("Error", {}).get("Message", "")).lower()
    code = code_of(error)
    return code in _ABSENT or (
        code in ("ValidationException", "ValidationError")
        and any(words in said for words in _ABSENT_WORDS)
    )


@contextmanager
def in_our_words(operation: str, what: str, region: str) -> Iterator[None]:
    """Give what goes wrong in the block our words.

    Args:
        operation: The operation as AWS spells it.
        what: What it is about, for people.
        region: Where it is asked.

    Raises:
        AccessDenied: Nobody signed in, or without the right to do this.
        CapacityError: A quota, throttling that does not end, or a fault of AWS.
        ConflictError: Something is in the way.
        InvalidValue: The region is wrong.
        Unreachable: AWS cannot be reached.
        DependencyMissing: boto3 is not installed.
    """
    try:
        from botocore import exceptions as theirs
    except ImportError as error:
        raise DependencyMissing("boto3", "sagemaker") from error
    try:
        yield
    except theirs.ClientError as error:
        raise _refusal(error, operation, what, region) from error
    except theirs.NoRegionError as error:
        raise InvalidValue("endpoint.region", "", "a region of AWS, as us-east-1") from error
    except (theirs.HTTPClientError, theirs.ConnectionError) as error:
        raise Unreachable(
            f"AWS could not be reached for {operation} in {region} ({error}). Look at the network "
            "and at the region; then run the same command again, which looks first at what was "
            "done."
        ) from error
    except theirs.BotoCoreError as error:
        if is_not_signed_in(error):
            raise AccessDenied(f"AWS does not know who asks ({error}). {CREDENTIALS}") from error
        raise ConflictError(f"{operation} ({what}) was not sent: {error}") from error


def _refusal(error: Any, operation: str, what: str, region: str) -> GlassboxError:
    code, said = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    told = f"{operation} ({what}) in {region}: {code}: {said}".rstrip(": ")
    if code in _UNKNOWN_CALLER:
        return AccessDenied(f"AWS does not know who asks. {told}. {CREDENTIALS}")
    if code in _REFUSED:
        return AccessDenied(
            f"AWS does not allow it. {told}. Give your role the right to {operation}; "
            "the how-to 'Deploy to SageMaker' lists all that deploying takes."
        )
    if code in _ELSEWHERE:
        return InvalidValue(
            "endpoint.artifacts",
            what,
            f"a bucket in {region}",
            remedy=f"This one is elsewhere ({code}). Name a bucket there, or the bucket's region "
            "with --region.",
        )
    if code in _LIMITS or code in _SLOW_DOWN or status >= 500:
        return CapacityError(_in_the_way(code, told))
    if any(words in said.lower() for words in _EXISTS_WORDS):
        return ConflictError(
            f"It is there already, made meanwhile by somebody else. {told}. {_LOOK}"
        )
    if is_absent(error):
        return ConflictError(f"Something that this needs is not there (any more). {told}. {_LOOK}")
    return ConflictError(f"AWS refuses. {told}.")


def _in_the_way(code: str, told: str) -> str:
    if code in _LIMITS:
        return (
            f"A quota of your account is in the way. {told}. Ask for more in Service Quotas "
            "(SageMaker, '… for endpoint usage' of that instance type), or take fewer machines "
            "or another type; then run the same command again: it goes on where it stopped."
        )
    if code in _SLOW_DOWN:
        return (
            f"AWS asks to be left alone for a while, and kept asking. {told}. Run the same "
            "command again in a minute: it goes on where it stopped."
        )
    return (
        f"AWS has a fault. {told}. Run the same command again later: it looks first at what was "
        "done all the same."
    )
