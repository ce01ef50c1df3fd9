"""Drift reports, references, rollouts and alerts as they travel. Pure; knows no database."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from glassbox.rollout.alerts.messages import AlertMessage, FiringAlert
from glassbox.rollout.decisions.status import RolloutBrief as Brief
from glassbox.rollout.decisions.status import RolloutStatus as Status
from glassbox.rollout.drift.drift_store import Point, ReferenceBrief
from glassbox.rollout.drift.report import DriftReport
from glassbox.wire.alerts import AlertMessageAnswered, FiringAnswered
from glassbox.wire.drift import DriftPoint, DriftReportAnswered, ReferenceAnswered
from glassbox.wire.rollouts import RolloutBrief, RolloutStatus


def report_shown(report: DriftReport) -> DriftReportAnswered:
    """Return one comparison."""
    return DriftReportAnswered.model_validate(plain(report))


def reference_shown(reference: ReferenceBrief) -> ReferenceAnswered:
    """Return a reference without its rows."""
    return ReferenceAnswered.model_validate(plain(reference))


def point_shown(point: Point) -> DriftPoint:
    """Return one column at one comparison."""
    return DriftPoint.model_validate(plain(point))


def rollout_shown(status: Status) -> RolloutStatus:
    """Return one rollout in full."""
    return RolloutStatus.model_validate(plain(status))


def brief_shown(brief: Brief) -> RolloutBrief:
    """Return one rollout in one line."""
    return RolloutBrief.model_validate(plain(brief))


def firing_shown(alert: FiringAlert) -> FiringAnswered:
    """Return a rule whose condition holds."""
    return FiringAnswered.model_validate(plain(alert))


def message_shown(message: AlertMessage) -> AlertMessageAnswered:
    """Return a message and who was told."""
    fields = plain(message)
    for each in fields["delivered"]:
        each["last_error"] = each["last_error"] or None
    return AlertMessageAnswered.model_validate(fields)


def plain(value: Any) -> dict[str, Any]:
    """Return a frozen value as JSON values; NaN and infinity become null."""
    fields = value if isinstance(value, Mapping) else asdict(value)
    # Through the text: what JSON cannot say is what the reader would not get either.
    found: dict[str, Any] = orjson.loads(orjson.dumps(fields, default=dict))
    return found
