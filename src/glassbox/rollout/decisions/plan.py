"""What a rollout follows: its steps, its times and the limits of its gates.

Read from TOML or JSON; every key has a default. Knows nothing of what is measured.
"""

import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from glassbox.errors import InvalidData, InvalidValue, UnknownName


@dataclass(frozen=True)
class GateLimits:
    """How much worse than the champion a challenger may be; None turns a gate off."""

    difference: float | None = 0.05
    """Largest mean difference to the champion's answers beyond the champion's own noise."""
    difference_cap: float = 1.0
    """A larger difference counts as this one; 1 is the most that classifiers can differ."""
    most_noise: float = 0.2
    """What the champion surely does not differ from itself on average, known beforehand."""
    error_rate: float | None = 0.01
    """Largest increase of the share of requests that fail, a fraction."""
    slow_share: float | None = 0.05
    """Largest share of the challenger's answers that are slow, a fraction."""
    slow_ms: float | None = None
    """Milliseconds from which an answer is slow; None compares with the champion."""
    slow_ratio: float = 2.0
    """Without ``slow_ms``: slow is what takes so many times the champion's time …"""
    slow_slack_ms: float = 20.0
    """… and this many milliseconds."""
    calibration: float | None = 0.02
    """Largest increase of the Brier score (half the squared distance, [0, 1]), with labels."""
    confidence: float = 0.1
    """Largest increase of the mean confidence, as long as there are no labels."""
    alpha: float = 0.05
    """Probability with which a challenger that is worse than a limit is promoted, at most."""


@dataclass(frozen=True)
class RolloutPlan:
    """Shadow, canary steps, promotion, bake."""

    step_weight: float = 0.1
    """Share of requests by which each canary step grows, in (0, 1]."""
    max_weight: float = 0.5
    """Share of the last step, in (0, 1]."""
    step_s: float = 60.0
    """Seconds that each step lasts at least; only time that was watched counts."""
    min_requests: int = 200
    """Requests that both versions answered before the shadow's gates may pass."""
    min_distinct: int = 50
    """Different inputs among them."""
    min_step_requests: int = 20
    """Requests that the challenger answered in each step."""
    consecutive_passes: int = 3
    """Looks in a row at which all gates pass before the next phase."""
    confirm: bool = False
    """Whether a person has to say so before the promotion."""
    bake_s: float = 600.0
    """Seconds after the promotion in which a breach still rolls back."""
    min_bake_requests: int = 100
    """Requests in that time, without which it goes on."""
    max_duration_s: float = 7 * 86400.0
    """Seconds until a rollout that is still in doubt ends as failed."""
    cooldown_s: float = 600.0
    """Seconds after a failed rollout of the same challenger before the next one."""
    limits: GateLimits = field(default_factory=GateLimits)
    """Limits of the gates."""

    def __post_init__(self) -> None:
        _check(self)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return asdict(self)


def plan_from(value: Mapping[str, Any] | None) -> RolloutPlan:
    """Return a plan; what is left out has its default.

    Args:
        value: Keys of ``RolloutPlan``, with ``limits`` as a table of those of ``GateLimits``.
            Limits of gates may be ``"off"``, because TOML has no null.

    Raises:
        UnknownName: A key that no plan has.
        InvalidValue: A value that is not allowed.
    """
    given = dict(value or {})
    limits = given.pop("limits", {})
    if not isinstance(limits, Mapping):
        raise InvalidValue("limits", limits, "a table of limits")
    return RolloutPlan(
        **_typed(RolloutPlan, given, "key of a plan"),
        limits=GateLimits(**_typed(GateLimits, limits, "limit")),
    )


def load_plan(path: Path) -> RolloutPlan:
    """Return the plan of a TOML file.

    Raises:
        UnknownName: No such file, or a key that no plan has.
        InvalidData: It is no TOML.
        InvalidValue: A value that is not allowed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnknownName("file", str(path)) from error
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"this is no TOML: {error}", source=str(path)) from error
    return plan_from(content)


MOST_COUNT: Final = 10**12
"""Largest number of requests or looks; what is beyond the 64 bits of JSON's readers could not be
kept."""

_OPTIONAL = ("difference", "error_rate", "slow_share", "slow_ms", "calibration")
"""Limits that may be off."""

_FRACTIONS = ("step_weight", "max_weight")
_COUNTS = ("min_requests", "min_distinct", "min_step_requests", "consecutive_passes")
_DURATIONS = ("step_s", "bake_s", "cooldown_s", "min_bake_requests")
_LIMIT_AMOUNTS = ("most_noise", "slow_ratio", "slow_slack_ms", "slow_ms")
_LIMIT_FRACTIONS = ("error_rate", "slow_share", "calibration", "confidence")


def _typed(kind: Any, given: Mapping[str, Any], what: str) -> dict[str, Any]:
    defaults = {each.name: each for each in fields(kind) if each.name != "limits"}
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key not in defaults:
            raise UnknownName(what, str(key), defaults)
        default = defaults[key].default
        if key in _OPTIONAL and value in (None, "off"):
            found[key] = None
        elif isinstance(default, bool) or isinstance(value, bool):
            if not (isinstance(default, bool) and isinstance(value, bool)):
                raise InvalidValue(key, value, "true or false" if default is False else "a number")
            found[key] = value
        elif isinstance(default, int):
            if not isinstance(value, int) or abs(value) > MOST_COUNT:
                raise InvalidValue(key, value, f"a whole number up to {MOST_COUNT:,}")
            found[key] = value
        else:
            # Written so that NaN fails, and a whole number that no float holds.
            if not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
                raise InvalidValue(key, value, "a number")
            found[key] = float(value)
    return found


def _check(plan: RolloutPlan) -> None:
    limits = plan.limits
    for name in _FRACTIONS:
        _require(name, getattr(plan, name), "a fraction in (0, 1]", lambda value: 0 < value <= 1)
    for name in _COUNTS:
        _require(name, getattr(plan, name), "an integer of at least 1", lambda value: value >= 1)
    for name in _DURATIONS:
        _require(name, getattr(plan, name), "at least 0", lambda value: value >= 0)
    _require("max_duration_s", plan.max_duration_s, "above 0", lambda value: value > 0)
    if plan.step_weight > plan.max_weight:
        raise InvalidValue("step_weight", plan.step_weight, f"at most max_weight {plan.max_weight}")
    for name in _LIMIT_FRACTIONS:
        allowed = 'a fraction in (0, 1), or "off"'
        _require(f"limits.{name}", getattr(limits, name), allowed, lambda value: 0 < value < 1)
    for name in _LIMIT_AMOUNTS:
        _require(f"limits.{name}", getattr(limits, name), "at least 0", lambda value: value >= 0)
    _require("limits.alpha", limits.alpha, "in (0, 0.5]", lambda value: 0 < value <= 0.5)
    cap = limits.difference_cap
    _require("limits.difference_cap", cap, "above 0", lambda value: value > 0)
    allowed = "above 0 and below limits.difference_cap"
    _require("limits.difference", limits.difference, allowed, lambda value: 0 < value < cap)


def _require(
    name: str, value: float | None, allowed: str, is_allowed: Callable[[float], bool]
) -> None:
    if value is not None and not is_allowed(value):
        raise InvalidValue(name, value, allowed)
