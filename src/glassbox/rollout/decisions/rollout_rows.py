"""A rollout as it is kept: its value, and the columns of its row. Asks no database."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from glassbox.errors import CorruptArtifact, InvalidValue, UnknownName
from glassbox.rollout.decisions.gates import GateReading
from glassbox.rollout.decisions.plan import RolloutPlan, plan_from
from glassbox.rollout.decisions.policy import State, Verdict
from glassbox.rollout.decisions.status import (
    MOST_POINTS,
    UNREADABLE,
    DecisionSaid,
    EvidencePoint,
    RolloutBrief,
)
from glassbox.rollout.version import CHALLENGER

BEGUN: Final = DecisionSaid("wait", "It has just begun.")
"""What is said before the first look."""


@dataclass(frozen=True)
class Rollout:
    """A rollout as it is kept."""

    id: str
    """Names it."""
    model: str
    """Registered model."""
    champion: str
    """Name of the version that it compares with."""
    challenger: str
    """Name of the version that is to become champion."""
    plan: RolloutPlan
    """What it follows."""
    started_s: float
    """Unix time."""
    updated_s: float
    """Unix time of the last look."""
    alias: str = CHALLENGER
    """Alias of the challenger."""
    dry_run: bool = False
    """Whether it only says what it would do."""
    state: State = field(default_factory=State)
    """Where it stands."""
    decision: DecisionSaid = BEGUN
    """What the policy said last."""
    gates: tuple[GateReading, ...] = ()
    """What the gates said last."""
    cursor: int = 0
    """Sequence of the last event that its evidence holds."""
    revision: int = 0
    """Grows with every change."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Tallies, as plain values."""
    series: Mapping[str, Any] = field(default_factory=dict)
    """For each gate its ``points``, and at every how many looks (``stride``) one is kept."""

    def with_points(self, gates: tuple[GateReading, ...], time_s: float) -> "Rollout":
        """Return the rollout with a look more in its series."""
        series = {name: dict(value) for name, value in self.series.items()}
        for gate in gates:
            kept = series.setdefault(gate.name, {"stride": 1, "n_looks": 0, "points": []})
            points = list(kept["points"])
            point = [gate.n, time_s, gate.value, gate.low, gate.high, gate.limit]
            is_new = not points or points[-1][0] != gate.n
            if is_new and kept["n_looks"] % kept["stride"] == 0:
                points.append(point)
            kept["n_looks"] += is_new
            if len(points) > MOST_POINTS:
                points, kept["stride"] = points[::2], kept["stride"] * 2
            kept["points"] = points
        return replace(self, gates=gates, series=series)


@contextmanager
def _readable(row: Any) -> Iterator[None]:
    """Say of a row that is none of this version's what it is and what to do."""
    try:
        yield
    # A newer server of the same database may keep more of a rollout than is known here.
    except (KeyError, TypeError, ValueError, UnknownName, InvalidValue) as error:
        raise CorruptArtifact(
            f"rollout {row.id} of {row.model!r}",
            f"what is kept of it cannot be read ({error})",
            remedy="A newer Glassbox may have written it: upgrade this one.",
        ) from error


def answered_share(state: State, *, dry_run: bool) -> float:
    """Return the share of requests that a challenger answers, all of them once it is champion."""
    if state.phase in ("Finalising", "Succeeded"):
        return 0.0 if dry_run else 1.0
    return state.weight


def brief_of(row: Any) -> RolloutBrief:
    """Return a row in one line; one that cannot be read is named as such."""
    state = None
    with suppress(CorruptArtifact), _readable(row):
        state = State.from_json(orjson.loads(row.progress)["state"])
    return RolloutBrief(
        id=row.id,
        model=row.model,
        champion=row.champion,
        challenger=row.challenger,
        phase=UNREADABLE if state is None else state.phase,
        paused=state is not None and state.is_paused,
        weight=0.0 if state is None else answered_share(state, dry_run=bool(row.is_dry)),
        dry_run=bool(row.is_dry),
        started_s=float(row.started_s),
        updated_s=float(row.updated_s),
    )


def points_of(series: Mapping[str, Any]) -> tuple[EvidencePoint, ...]:
    """Return the points of all gates, for charts."""
    return tuple(
        EvidencePoint(int(n), float(time_s), name, *rest)
        for name, kept in series.items()
        for n, time_s, *rest in kept["points"]
    )


def row_of(rollout: Rollout) -> dict[str, Any]:
    """Return the columns that keep a rollout."""
    progress = {
        "plan": rollout.plan.to_json(),
        "state": rollout.state.to_json(),
        "decision": vars(rollout.decision),
        "gates": [each.to_json() for each in rollout.gates],
        "cursor": rollout.cursor,
        "alias": rollout.alias,
    }
    return {
        "id": rollout.id,
        "model": rollout.model,
        "champion": rollout.champion,
        "challenger": rollout.challenger,
        "is_active": 0 if rollout.state.is_ended else 1,
        "is_dry": int(rollout.dry_run),
        "started_s": rollout.started_s,
        "updated_s": rollout.updated_s,
        "revision": rollout.revision,
        "progress": orjson.dumps(progress).decode(),
        "evidence": orjson.dumps(rollout.evidence).decode(),
        "series": orjson.dumps(rollout.series).decode(),
    }


def rollout_of(row: Any) -> Rollout:
    """Return the rollout that a row keeps.

    Raises:
        CorruptArtifact: It cannot be read.
    """
    with _readable(row):
        progress = orjson.loads(row.progress)
        decision = progress["decision"]
        verdict: Verdict = decision["verdict"]
        return Rollout(
            id=row.id,
            model=row.model,
            champion=row.champion,
            challenger=row.challenger,
            plan=plan_from(progress["plan"]),
            started_s=float(row.started_s),
            updated_s=float(row.updated_s),
            alias=progress["alias"],
            dry_run=bool(row.is_dry),
            state=State.from_json(progress["state"]),
            decision=DecisionSaid(verdict, decision["reason"]),
            gates=tuple(GateReading.from_json(each) for each in progress["gates"]),
            cursor=int(progress["cursor"]),
            revision=int(row.revision),
            evidence=orjson.loads(row.evidence),
            series=orjson.loads(row.series),
        )
