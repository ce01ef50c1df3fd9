"""Requests held against AWS's own description of its services, before anything is sent.

botocore ships that description. Its own check covers types and required fields; lengths, patterns
and enumerations are checked here too, so that a plan finds what the service would refuse. Knows
nothing of what the requests are for.
"""

import difflib
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from glassbox.deploy.sagemaker.calls import Call
from glassbox.errors import DependencyMissing, InvalidData

_FEW = 12


@functools.cache
def service_model(service: str) -> Any:
    """Return botocore's description of a service.

    Raises:
        DependencyMissing: botocore is not installed.
    """
    return _session().get_service_model(service)


def available_regions(service: str, *, partition_name: str) -> list[str]:
    """Return the regions in which a service is, as far as the installed botocore knows.

    Raises:
        DependencyMissing: botocore is not installed.
    """
    found: list[str] = _session().get_available_regions(service, partition_name)
    return found


def _session() -> Any:
    try:
        import botocore.session
    except ImportError as error:
        raise DependencyMissing("boto3", "sagemaker") from error
    return botocore.session.get_session()


def require(call: Call) -> None:
    """Let a request pass that its service describes as possible.

    Raises:
        InvalidData: It does not; says which field and why.
        DependencyMissing: botocore is not installed.
    """
    found = request_faults(call.service, call.operation, call.request)
    if found:
        raise InvalidData(
            f"AWS would refuse {call.operation} ({call.what}): {'; '.join(found)}. Change the "
            "setting that this comes from; nothing was sent."
        )


def request_faults(service: str, operation: str, request: Any) -> list[str]:
    """Return what is wrong with a request, one line each; empty if nothing is."""
    return faults(service_model(service).operation_model(operation).input_shape, request)


def faults(shape: Any, value: Any) -> list[str]:
    """Return where a value does not fit a shape of a service, one line each."""
    from botocore.validate import ParamValidator

    if shape is None:
        return [] if not value else ["takes no parameters"]
    report = ParamValidator().validate(value, shape)
    if report.has_errors():
        return [line.strip() for line in report.generate_report().splitlines()]
    return list(_beyond(shape, value, ""))


def _beyond(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Yield what botocore's own check lets through."""
    kind = shape.type_name
    if kind == "structure":
        for name, each in value.items():
            yield from _beyond(shape.members[name], each, f"{path}.{name}" if path else name)
    elif kind == "list":
        yield from _most(shape, len(value), path, "items")
        for place, each in enumerate(value):
            yield from _beyond(shape.member, each, f"{path}[{place}]")
    elif kind == "map":
        yield from _most(shape, len(value), path, "entries")
        for key, each in value.items():
            yield from _beyond(shape.key, key, f"{path} key {key}")
            yield from _beyond(shape.value, each, f"{path}.{key}")
    elif kind == "string":
        yield from _string(shape, value, path)
    elif kind in ("integer", "long", "float", "double"):
        yield from _most(shape, value, path, "")


def _most(shape: Any, size: float, path: str, unit: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and size > most:
        yield f"{path}: {size:g} {unit}".rstrip() + f", at most {most:g}"


def _string(shape: Any, value: str, path: str) -> Iterator[str]:
    yield from _most(shape, len(value), path, "characters")
    enum = shape.metadata.get("enum")
    if enum and value not in enum:
        yield f"{path}: {value!r} is none of {_few(value, enum)}"
    pattern = shape.metadata.get("pattern")
    known = _compiled(pattern) if pattern else None
    if known is not None and not known.fullmatch(value):
        yield f"{path}: {value!r} does not match {pattern}"


def _few(value: str, enum: Sequence[str]) -> str:
    """Return what is allowed; of many, how many and the nearest."""
    if len(enum) <= _FEW:
        return ", ".join(enum)
    nearest = difflib.get_close_matches(value, enum, n=3)
    near = f", the nearest being {', '.join(nearest)}" if nearest else ""
    return f"the {len(enum)} that the installed boto3 knows{near} (a newer one may know more)"


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """Return a pattern, None for one of Java's that Python cannot read (tags and free text)."""
    try:
        return re.compile(pattern)
    except re.error:
        return None
