"""What a registry holds before anybody decided: a first version, and what the settings name.

Settings fill in only what is unset. Once an alias has been moved by anyone, the registry is the
truth and the settings are not asked again.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from glassbox.errors import ConflictError, UnknownName
from glassbox.rollout.version import (
    CHALLENGER,
    CHAMPION,
    DEFAULT_MODEL,
    Snapshot,
    Version,
)
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.version_names import find_version
from glassbox.settings import RolloutSettings, names_in

ACTOR: Final = "settings"
"""Who moves aliases here, as the history shows it."""


def seed(
    registry: Registry,
    rollout: RolloutSettings,
    first: Callable[[], Version] | None = None,
    *,
    is_strict: bool = True,
) -> Snapshot:
    """Return the registry with a champion, if there is any version to be one.

    Args:
        registry: What is filled in.
        rollout: Names the first champion and the first challengers.
        first: Registers the version that is there when nothing was registered.
        is_strict: Whether a version that the settings name must be there; otherwise the alias
            stays unset until it is.

    Raises:
        UnknownName: The settings name a version that is not registered; lists those that are.
        CapacityError: The database cannot be reached.
    """
    now = registry.snapshot(is_fresh=True)
    if not now.versions and first is not None:
        first()
        now = registry.snapshot(is_fresh=True)
    named = _found(now, rollout.active_model_version, is_strict=is_strict and not _reigns(now))
    is_named = bool(names_in(rollout.active_model_version))
    for version in _champions(now, named, is_waited_for=is_named):
        reason = "named by the settings" if version in named else "the first version"
        _set(registry, version, CHAMPION, reason)
    now = registry.snapshot(is_fresh=True)
    is_open = not registry.history(_main_model(now), 1, alias=CHALLENGER)
    shadows = _found(now, rollout.shadow_model_version, is_strict=is_strict and is_open)
    for model in sorted({each.model for each in shadows}):
        if registry.history(model, 1, alias=CHALLENGER):
            continue
        # The source's rule: shadow mode is on where the shadow differs from the active version.
        own = [each for each in shadows if each.model == model]
        own = [each for each in own if each != now.aliased(CHAMPION, model)]
        for place, version in enumerate(own, 1):
            alias = CHALLENGER if place == 1 else f"{CHALLENGER}-{place}"
            _set(registry, version, alias, "named by the settings")
    return registry.snapshot()


def unheeded(registry: Registry, rollout: RolloutSettings) -> list[str]:
    """Return what the settings name and the registry has long decided otherwise, in words."""
    now = registry.snapshot()
    words = []
    for names, heeded in (
        (names_in(rollout.active_model_version), [now.aliased(CHAMPION, _main_model(now))]),
        (names_in(rollout.shadow_model_version), [*now.challengers(_main_model(now))]),
    ):
        known = {each.name for each in heeded if each is not None}
        for name in names:
            found = now.named(name)
            if found is None and name not in known:
                words.append(
                    f"The settings name {name!r}, which is no registered version. Register it with "
                    "'glassbox versions register', or change the setting."
                )
            elif name not in known and found not in heeded:
                words.append(
                    f"The settings name {name!r}, but aliases were moved since; the settings only "
                    "fill in what was never set. See 'glassbox versions history'."
                )
    return words


def _champions(now: Snapshot, named: list[Version], *, is_waited_for: bool) -> Iterator[Version]:
    for model in sorted({each.model for each in now.versions}):
        if now.aliased(CHAMPION, model) is not None:
            continue
        own = next((each for each in named if each.model == model), None)
        if own is None and is_waited_for and model == _main_model(now):
            # The settings name a version that is still to be registered.
            continue
        first = own or now.numbered(1, model)
        if first is not None:
            yield first


def _found(now: Snapshot, names: str, *, is_strict: bool) -> list[Version]:
    found: list[Version] = []
    for name in names_in(names):
        try:
            version = find_version(now, name)
        except UnknownName as error:
            if is_strict:
                raise UnknownName(
                    "registered version as the settings name",
                    name,
                    [each.name for each in now.versions],
                    remedy="Register it with 'glassbox versions register', or change "
                    "rollout.active_model_version or rollout.shadow_model_version.",
                ) from error
        else:
            found += [version] if version not in found else []
    return found


def _main_model(now: Snapshot) -> str:
    models = sorted({each.model for each in now.versions})
    return models[0] if len(models) == 1 else DEFAULT_MODEL


def _reigns(now: Snapshot) -> bool:
    return now.aliased(CHAMPION, _main_model(now)) is not None


def _set(registry: Registry, version: Version, alias: str, reason: str) -> None:
    # Another server that starts at the same moment may have been faster: the same is meant.
    with contextlib.suppress(ConflictError):
        registry.move_alias(
            version.model, alias, version.number, expected=None, actor=ACTOR, reason=reason
        )
