"""All servers of a database in one answer: what each sees, what they count, where they differ.

Pure: rows in, what travels out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from glassbox.server.fleet.counters import Buckets, Counters, added
from glassbox.storage.replicas import Fleet, Replica
from glassbox.wire.fleet import (
    AgreementAnswered,
    BucketsAnswered,
    CountersAnswered,
    FleetAnswered,
    FleetStage,
    FleetWarning,
    ReplicaAnswered,
    ReplicaLoad,
    RoutingSeen,
    WarningKind,
)

LOST_S: Final = 10.0
"""Seconds of silence after which a server is taken to be lost: five words that did not come."""

REACH_S: Final = 5.0
"""Seconds within which a move must have reached every server."""

CLOCK_S: Final = 2.0
"""Seconds by which a server's clock may differ; leases and records are dated by it."""

_UNROUTED: Final[dict[str, Any]] = {
    "challengers": [],
    "canary": None,
    "canary_weight": 0.0,
    "rollout_id": None,
}
_IDLE: Final[dict[str, Any]] = {
    "running": 0,
    "waiting": 0,
    "requests_per_s": None,
    "resident_bytes": None,
}
"""What stands where a server of another version says nothing."""

_STAGES: Final = {"loading", "ready", "failed", "draining", "left"}
_ENDED: Final = {"left", "failed"}


def fleet_shown(fleet: Fleet, answered_by: str) -> FleetAnswered:
    """Return all servers in one answer.

    Args:
        fleet: Their rows.
        answered_by: Id of the server that answers.
    """
    replicas = [_replica(each, fleet.now_s) for each in fleet.replicas]
    rows = {each.id: each for each in fleet.replicas}
    ready = [rows[each.id] for each in replicas if each.status == "ready"]
    counted = [_counters(each.body) for each in fleet.replicas]
    return FleetAnswered(
        time_s=fleet.now_s,
        answered_by=answered_by,
        replicas=replicas,
        agreement=_agreement(ready),
        totals=_counters_shown(added([_counters(fleet.departed), *counted])),
        warnings=[
            *_differences(ready),
            *_routing(ready, fleet.now_s),
            *_of_each(replicas),
        ],
    )


def _replica(row: Replica, now_s: float) -> ReplicaAnswered:
    body = row.body
    # A word from a time to come was said before the database's clock was set back.
    silent_s = abs(now_s - row.beat_s)
    stage = row.status if row.status in _STAGES else "ready"
    if stage not in _ENDED and silent_s > LOST_S:
        stage = "lost"
    return ReplicaAnswered(
        id=row.id,
        host=row.host,
        pid=row.pid,
        address=row.address,
        version=row.version,
        model=row.model,
        model_digest=body.get("model_digest", ""),
        bundle_digest=row.bundle,
        adapters=body.get("adapters", []),
        status=cast(FleetStage, stage),
        started_s=row.started_s,
        beat_s=row.beat_s,
        silent_s=silent_s,
        clock_skew_s=row.clock_s - row.beat_s,
        revision=body.get("revision"),
        routings={
            model: RoutingSeen.model_validate({**_UNROUTED, **each})
            for model, each in body.get("routings", {}).items()
        },
        jobs=body.get("jobs", []),
        degraded=body.get("degraded", {}),
        load=ReplicaLoad.model_validate({**_IDLE, **body.get("load", {})}),
        counters=_counters_shown(_counters(body)),
    )


def _agreement(ready: Sequence[Replica]) -> AgreementAnswered:
    seen = [
        (each.body["revision"], each) for each in ready if each.body.get("revision") is not None
    ]
    newest = max((revision for revision, _ in seen), default=None)
    have = [each for revision, each in seen if revision == newest]
    # Who started under it tells nothing of how long it took to arrive.
    since_s = [_since_s(each) for each in have if each.body.get("adopted_running")]
    is_alike = len(_grouped(ready, lambda each: repr(each.body.get("routings")))) == 1
    is_whole = is_alike and len(have) == len(ready) and len(since_s) > 1
    return AgreementAnswered(
        revision=newest,
        n_ready=len(ready),
        n_behind=len(ready) - len(have),
        reached_s=max(since_s) - min(since_s) if is_whole else None,
    )


def _differences(ready: Sequence[Replica]) -> list[FleetWarning]:
    found: list[FleetWarning] = []
    kinds: tuple[tuple[WarningKind, str, Callable[[Replica], str], str], ...] = (
        (
            "versions",
            "Servers run different versions of Glassbox",
            lambda each: each.version,
            "Finish the update, or take it back.",
        ),
        (
            "models",
            "Servers serve different base models",
            lambda each: f"{each.model} ({each.body.get('model_digest', '')[:12]})",
            "The same question gets different answers: start them with the same model.",
        ),
        (
            "bundles",
            "Servers serve different bundles",
            lambda each: each.bundle[:12] or "none",
            "Finish the update, or take it back.",
        ),
    )
    for kind, what, value, remedy in kinds:
        groups = _grouped(ready, value)
        if len(groups) > 1:
            found.append(_warning(kind, f"{what}: {_named(groups)}. {remedy}", ready))
    return [*found, *_settings(ready), *_adapters(ready)]


def _settings(ready: Sequence[Replica]) -> Iterable[FleetWarning]:
    keys = sorted({key for each in ready for key in each.body.get("settings", {})})
    for key in keys:
        groups = _grouped(
            [each for each in ready if key in each.body.get("settings", {})],
            lambda each, key=key: str(each.body["settings"][key]),  # type: ignore[misc]
        )
        if len(groups) > 1:
            message = f"{key} differs: {_named(groups)}. Give all servers the same settings."
            yield _warning("settings", message, [each for some in groups.values() for each in some])


def _adapters(ready: Sequence[Replica]) -> Iterable[FleetWarning]:
    names = sorted({name for each in ready for name in each.body.get("adapters", [])})
    for name in names:
        without = [each for each in ready if name not in each.body.get("adapters", [])]
        if without:
            message = (
                f"Adapter {name!r} is loaded on {len(ready) - len(without)} of {len(ready)} "
                f"servers: requests for it fail on {_ids(without)}. Load it there too, or start "
                "all servers with it."
            )
            yield _warning("adapters", message, without)


def _routing(ready: Sequence[Replica], now_s: float) -> Iterable[FleetWarning]:
    for each in ready:
        for model, reason in each.body.get("failures", {}).items():
            what = f"{model} is not answered as it should be" if model else "The registry is away"
            yield _warning("routing", f"{what} on {each.id}: {reason}", [each])
    newest = max((each.body.get("revision") or 0 for each in ready), default=0)
    behind = [each for each in ready if (each.body.get("revision") or 0) < newest]
    have_s = [_since_s(each) for each in ready if each.body.get("revision") == newest]
    if behind and now_s - min(have_s) > REACH_S:
        message = (
            f"{_ids(behind)} still answers under an older revision than {newest}, "
            f"{now_s - min(have_s):.0f} s after the first server took that over. Can it reach the "
            "database? If it stays so, start it again."
        )
        yield _warning("routing", message, behind)
    groups = _grouped(ready, lambda each: repr(each.body.get("routings")))
    is_settled = all(now_s - _since_s(each) > REACH_S for each in ready)
    if len(groups) > 1 and not behind and is_settled:
        message = (
            f"Servers answer differently under the same revision {newest}, for more than "
            f"{REACH_S:g} s: compare their champions and canary weights."
        )
        yield _warning("routing", message, ready)


def _of_each(replicas: Sequence[ReplicaAnswered]) -> Iterable[FleetWarning]:
    for each in replicas:
        if each.status == "lost":
            yield FleetWarning(
                kind="lost",
                message=f"{each.id} (process {each.pid} on {each.host}) has said nothing for "
                f"{each.silent_s:.0f} s. It was killed, hangs, or cannot reach the database.",
                replicas=[each.id],
            )
        elif each.status not in _ENDED and abs(each.clock_skew_s) > CLOCK_S:
            direction = "ahead of" if each.clock_skew_s > 0 else "behind"
            yield FleetWarning(
                kind="clock",
                message=f"The clock of {each.host} is {abs(each.clock_skew_s):.0f} s {direction} "
                "the database's: records are misdated. Set it by NTP.",
                replicas=[each.id],
            )
        if each.status == "ready":
            for part, reason in each.degraded.items():
                yield FleetWarning(
                    kind="part", message=f"{part} on {each.id}: {reason}", replicas=[each.id]
                )


def _since_s(row: Replica) -> float:
    """Return the moment since which a server answers as it does, by the database's clock."""
    adopted_s = float(row.body.get("adopted_s", 0.0))
    return adopted_s - (row.clock_s - row.beat_s)


def _grouped(rows: Iterable[Replica], value: Callable[[Replica], str]) -> dict[str, list[Replica]]:
    groups: defaultdict[str, list[Replica]] = defaultdict(list)
    for each in rows:
        groups[value(each)].append(each)
    return dict(groups)


def _named(groups: Mapping[str, Sequence[Replica]]) -> str:
    return "; ".join(f"{value} on {_ids(rows)}" for value, rows in sorted(groups.items()))


def _ids(rows: Sequence[Replica]) -> str:
    shown = ", ".join(each.id for each in rows[:3])
    return shown if len(rows) <= 3 else f"{shown} and {len(rows) - 3} more"


def _warning(kind: WarningKind, message: str, rows: Iterable[Replica]) -> FleetWarning:
    return FleetWarning(kind=kind, message=message, replicas=[each.id for each in rows])


def _counters(body: Mapping[str, Any]) -> Counters:
    return Counters.from_json(body.get("counters", {}))


def _counters_shown(counters: Counters) -> CountersAnswered:
    predictions = {
        name.removeprefix("prediction|"): each
        for name, each in counters.durations.items()
        if name.startswith("prediction|")
    }
    return CountersAnswered(
        requests=counters.of("requests"),
        prompt_tokens=counters.numbers.get("prompt_tokens", 0),
        generation_tokens=counters.numbers.get("generation_tokens", 0),
        predictions=_by_version(counters.of("predictions")),
        shadows=_by_version(counters.of("shadows")),
        labels=counters.numbers.get("labels", 0),
        request_s=_buckets_shown(counters.durations.get("request")),
        prediction_s={name: _buckets_shown(each) for name, each in predictions.items()},
    )


def _by_version(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, count in counts.items():
        status, _, version = name.partition("|")
        found[version][status] = count
    return dict(found)


def _buckets_shown(buckets: Buckets | None) -> BucketsAnswered:
    buckets = buckets or Buckets((), (0,))
    return BucketsAnswered(
        edges=list(buckets.edges),
        counts=list(buckets.counts),
        total_s=buckets.total_s,
        p50_s=buckets.quantile(0.5),
        p99_s=buckets.quantile(0.99),
    )
