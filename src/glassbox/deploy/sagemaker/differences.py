"""What is different between what is wished and what AWS says is there; pure.

AWS answers with more than it was told (defaults, times), so only what is wished is compared.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from glassbox.deploy.sagemaker.desired import Desired
from glassbox.deploy.sagemaker.naming import SHADOW_VARIANT, VARIANT
from glassbox.deploy.sagemaker.observed import Found, Observed

NOTHING: Final = "none"
"""Shown for what is not there."""

_CONFIG_FIELDS: Final = {
    "InstanceType": "instance type",
    "InitialInstanceCount": "machines at first",
    "InitialVariantWeight": "weight",
    "InferenceAmiVersion": "machine image",
    "ModelDataDownloadTimeoutInSeconds": "seconds to fetch the bundle",
    "ContainerStartupHealthCheckTimeoutInSeconds": "seconds to start",
    "ManagedInstanceScaling": "machines under components",
}
_CONTAINER_FIELDS: Final = {"Image": "image", "ModelDataSource": "bundle", "Environment": "setting"}


@dataclass(frozen=True)
class Change:
    """One thing that will be different."""

    what: str
    """For people."""
    before: str
    """As it is."""
    after: str
    """As it will be."""


def differs(wished: Any, found: Any) -> bool:
    """Return whether something wished is not so; what is not wished does not count."""
    return any(True for _ in _differences(wished, found, ""))


def shown(wished: Any, found: Any) -> str:
    """Return what is not as wished in a few words."""
    return ", ".join(
        f"{path.rpartition('.')[2]} {before} → {after}"
        for path, before, after in _differences(wished, found, "")
    )


def changes(wish: Desired, there: Observed) -> tuple[Change, ...]:
    """Return what will be different at an endpoint that is there."""
    models = {str(each.request["ModelName"]): each.request for each in wish.models}
    return between(there, wish.config.request, models)


def between(
    there: Observed, wished: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]
) -> tuple[Change, ...]:
    """Return what another configuration changes at an endpoint that is there.

    Args:
        there: What is there.
        wished: The configuration, as it is made or described.
        models: Its models by name, likewise.
    """
    name = str(wished["EndpointConfigName"])
    if there.endpoint is None or there.config_name == name:
        return ()
    found = [Change("configuration", there.config_name, name)]
    config = there.config
    if config is None:
        return tuple(found)
    for key, variant in (
        ("ProductionVariants", VARIANT),
        ("ShadowProductionVariants", SHADOW_VARIANT),
    ):
        before: Mapping[str, Any] = next(iter(config.body.get(key) or ()), {})
        after: Mapping[str, Any] = next(iter(wished.get(key) or ()), {})
        old, new = str(before.get("ModelName")), str(after.get("ModelName"))
        found += _of_variant(variant, before, after)
        found += _of_container(variant, there.models.get(old), models.get(new))
    return tuple(found)


def _of_variant(
    variant: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Change]:
    for key, what in _CONFIG_FIELDS.items():
        old, new = before.get(key), after.get(key)
        if not _same(new, old):
            yield Change(f"{variant}: {what}", _text(old), _text(new))


def _of_container(
    variant: str, before: Found | None, after: Mapping[str, Any] | None
) -> Iterator[Change]:
    old: Mapping[str, Any] = before.body.get("PrimaryContainer", {}) if before else {}
    new: Mapping[str, Any] = after["PrimaryContainer"] if after else {}
    for key, what in _CONTAINER_FIELDS.items():
        was, will = old.get(key), new.get(key)
        if key == "Environment":
            was, will = was or {}, will or {}
            for name in sorted({*was, *will}):
                if was.get(name) != will.get(name):
                    # Values may be secrets, so names alone are shown.
                    yield Change(
                        f"{variant}: {what} {name}", _is_set(was, name), _is_set(will, name)
                    )
        elif _place(was) != _place(will):
            yield Change(f"{variant}: {what}", _place(was), _place(will))


def _is_set(environment: Mapping[str, str], name: str) -> str:
    return "set" if name in environment else NOTHING


def _place(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("S3DataSource", {}).get("S3Uri", NOTHING))
    return _text(value)


def _differences(wished: Any, found: Any, path: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(wished, Mapping):
        for key, value in wished.items():
            inner = found.get(key) if isinstance(found, Mapping) else None
            yield from _differences(value, inner, f"{path}.{key}")
    elif not _same(wished, found):
        yield path, _text(found), _text(wished)


def _same(wished: Any, found: Any) -> bool:
    if isinstance(wished, list) and isinstance(found, list | tuple):
        return len(wished) == len(found) and all(
            not differs(one, other)
            for one, other in zip(_sorted(wished), _sorted(found), strict=True)
        )
    if isinstance(wished, float) or isinstance(found, float):
        return found is not None and wished is not None and float(wished) == float(found)
    return bool(wished == found) or (not wished and not found)


def _sorted(values: Any) -> list[Any]:
    return sorted(values, key=str)


def _text(value: Any) -> str:
    if value is None or value in ({}, []):
        return NOTHING
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
